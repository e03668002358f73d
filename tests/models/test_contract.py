"""Each backend has what `distilbert_core.model.contract` names, with the same arguments in the same order."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from distilbert_core import Head
from distilbert_core.model import contract
from distilbert_core.model.backends import BACKENDS, get_backend


def members(protocol: Any) -> Iterator[tuple[str, Any]]:
    """The members that a protocol names, with those that it inherits."""
    for cls in protocol.__mro__:
        if cls.__module__ == contract.__name__:
            yield from ((name, value) for name, value in vars(cls).items() if name[0] != "_")
            yield from ((name, None) for name in vars(cls).get("__annotations__", {}))


def arguments(function: Any) -> list[tuple[str, Any]]:
    """Names and defaults of the arguments of a function or a method, without **kwargs."""
    function = inspect.unwrap(getattr(function, "__func__", function))
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, p.default) for p in parameters if p.name not in ("self", "cls") and p.kind is not p.VAR_KEYWORD]


def faults(protocol: Any, thing: Any) -> list[str]:
    """What a thing lacks, or has with other arguments.

    Arguments of the framework, such as the one that turns dropout on, may follow those of the contract.
    """
    found = []
    for name, member in members(protocol):
        has_it = hasattr(thing, name) or name in getattr(thing, "__annotations__", {})
        if not has_it:
            found.append(f"{name} is missing")
        elif inspect.isfunction(member):
            expected, actual = arguments(member), arguments(getattr(thing, name))
            if actual[: len(expected)] != expected:
                found.append(f"{name} must take {expected}, takes {actual}")
    return found


def test_the_row_and_the_backend_agree(framework: Any) -> None:
    backend = get_backend(framework.name)
    assert backend is framework.package.BACKEND
    assert backend.registration is BACKENDS[framework.name]
    assert (backend.name, backend.package) == (framework.name, framework.package.__name__)


def test_models(framework: Any) -> None:
    for head in Head:
        model = get_backend(framework.name).model_class(head)
        assert model.head is head
        assert model.__name__ == BACKENDS[framework.name].class_prefix + head.value
        protocol = contract.Model if head is Head.NONE else contract.ModelWithHead
        of_instances = {"config is missing", "distilbert is missing"}
        assert set(faults(protocol, model)) <= of_instances


def test_a_model_has_its_attributes(framework: Any) -> None:
    model = framework.load(Head.SEQUENCE_CLASSIFICATION, "sst2-tiny")
    assert faults(contract.ModelWithHead, model) == []
    assert faults(contract.Model, model.base_model) == []


def test_runner(framework: Any) -> None:
    runner = get_backend(framework.name).runner.load(Head.SEQUENCE_CLASSIFICATION, "sst2-tiny")
    assert faults(contract.Runner, runner) == []


def test_engine_and_losses(framework: Any) -> None:
    backend = get_backend(framework.name)
    assert faults(contract.Engine, backend.engine) == []
    assert faults(contract.Losses, backend.losses) == []


def test_to_tensor(framework: Any) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(np.asarray(get_backend(framework.name).to_tensor(array)), array)


def test_on_cpu_keeps_float64(framework: Any) -> None:
    array = np.array([1 / 3, 2**-40])
    with get_backend(framework.name).on_cpu() as to_tensor:
        found = np.asarray(to_tensor(array))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, array)


def cosine_loss(teacher_hidden: Any, student_hidden: Any, mask: Any = None) -> Any:
    """Its arguments are in another order."""


def test_what_a_backend_lacks_is_found_by_name(framework: Any) -> None:
    losses = SimpleNamespace(**vars(get_backend(framework.name).losses))
    losses.cosine_loss = cosine_loss
    del losses.distillation_loss
    missing, swapped = faults(contract.Losses, losses)
    assert missing == "distillation_loss is missing"
    assert swapped.startswith("cosine_loss must take [('student_hidden',")


def test_an_incomplete_backend_cannot_be_made() -> None:
    class Incomplete(contract.Backend):
        def to_tensor(self, array: np.ndarray) -> Any:
            return array

    with pytest.raises(
        TypeError, match=r"abstract methods '?engine'?, '?losses'?, '?model_class'?, '?on_cpu'?, '?runner'?"
    ):
        Incomplete(BACKENDS["pt"])  # type: ignore[abstract]
