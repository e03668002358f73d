"""The rows of the heads: a row that lacks a field or has an invalid one fails when it is defined."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from distilbert_core import DistilBertConfig, Head, InputError, Parameter
from distilbert_core.model.outputs import TokenClassifierOutput
from distilbert_core.model.parameters import Kind, dense


def layers(config: DistilBertConfig) -> Iterator[Parameter]:
    return dense("scorer", of_head=True, labels=3, embed=config.dim)


FIELDS: dict[str, Any] = {
    "value": "ForTokenScoring",
    "reads": "tokens",
    "layers": layers,
    "outputs": ("logits",),
    "labels": ("labels",),
    "output_type": TokenClassifierOutput,
    "dropout": "dropout",
    "keras_name": "tf_distil_bert_for_token_scoring",
}


def test_a_head_is_found_by_its_value_and_iterated_over() -> None:
    assert [head.value for head in Head][:2] == ["Model", "ForMaskedLM"]
    assert Head("ForMaskedLM") is Head.MASKED_LM
    assert Head.NONE is Head.BASE
    assert len(Head) == len(list(Head)) == 6
    assert (str(Head.MASKED_LM), repr(Head.MASKED_LM)) == ("ForMaskedLM", "Head('ForMaskedLM')")
    with pytest.raises(ValueError, match="'ForPoetry' is not a head; the heads are Model, ForMaskedLM, "):
        Head("ForPoetry")


def test_a_head_stays_itself() -> None:
    for head in Head:
        assert pickle.loads(pickle.dumps(head)) is head
        assert copy.deepcopy(head) is copy.copy(head) is head


def test_a_head_can_be_defined_and_removed() -> None:
    head = Head(**FIELDS)
    try:
        assert head in list(Head)
        assert Head("ForTokenScoring") is head
        assert head.architecture == "DistilBertForTokenScoring"
        with pytest.raises(InputError, match="value must be new, got 'ForTokenScoring'"):
            Head(**FIELDS)
    finally:
        head.remove()
    assert head not in list(Head)


@pytest.mark.parametrize("field", FIELDS)
def test_a_row_that_lacks_a_field_names_it(field: str) -> None:
    with pytest.raises(TypeError, match=f"'{field}'"):
        Head(**{name: value for name, value in FIELDS.items() if name != field})
    assert len(Head) == 6


WRONG: dict[str, tuple[str, Any]] = {
    "value": ("For Scoring", "the end of a class name"),
    "reads": ("words", "one of tokens, first, choices"),
    "layers": ((), "a function"),
    "outputs": (("scores",), "fields of its output_type"),
    "labels": ("labels", "a tuple of names"),
    "output_type": (dict, "a subclass of ModelOutput"),
    "dropout": ("head_dropout", "None or a field of the configuration"),
    "keras_name": (None, "a name"),
}


@pytest.mark.parametrize("field", WRONG)
def test_a_row_with_an_invalid_field_names_it(field: str) -> None:
    value, expected = WRONG[field]
    with pytest.raises(InputError, match=f"{field} of a head must be {expected}"):
        Head(**FIELDS | {field: value})
    assert len(Head) == 6


def test_every_field_has_a_wrong_case() -> None:
    assert WRONG.keys() == FIELDS.keys() == {field.name for field in fields(Head)}


def test_layers_without_axes_are_named() -> None:
    for axes in ((), ("labels",), ("labels", "features")):
        row = Parameter("scorer.weight", (3, 12), Kind.KERNEL, axes, of_head=True)
        with pytest.raises(InputError, match=r"axes of scorer\.weight must name each axis of \(3, 12\)"):
            Head(**FIELDS | {"layers": lambda config, row=row: iter([row])})


def test_layers_that_are_not_of_the_head_are_named() -> None:
    row = Parameter("scorer.weight", (3, 12), Kind.KERNEL, ("labels", "embed"))
    with pytest.raises(InputError, match=r"scorer\.weight must have of_head=True"):
        Head(**FIELDS | {"layers": lambda config: iter([row])})


def test_several_outputs_share_the_last_axis() -> None:
    logits = np.arange(12).reshape(2, 3, 2)
    named = Head.QUESTION_ANSWERING.named(logits)
    assert list(named) == ["start_logits", "end_logits"]
    np.testing.assert_array_equal(named["end_logits"], logits[..., 1])
    assert Head.MASKED_LM.named(logits)["logits"] is logits
