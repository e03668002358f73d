"""Model outputs: each type is an object, a dict and a tuple."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from distilbert_core import (
    BaseModelOutput,
    Head,
    MaskedLMOutput,
    ModelOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)

LOSS_AND_LOGITS = ("loss", "logits", "hidden_states", "attentions")
FIELDS: dict[type[ModelOutput], tuple[str, ...]] = {
    BaseModelOutput: ("last_hidden_state", "hidden_states", "attentions"),
    MaskedLMOutput: LOSS_AND_LOGITS,
    SequenceClassifierOutput: LOSS_AND_LOGITS,
    MultipleChoiceModelOutput: LOSS_AND_LOGITS,
    TokenClassifierOutput: LOSS_AND_LOGITS,
    QuestionAnsweringModelOutput: ("loss", "start_logits", "end_logits", "hidden_states", "attentions"),
}
# Each type with all fields, and with every other one None.
FULL = [kind(**{name: f"value of {name}" for name in fields}) for kind, fields in FIELDS.items()]
PARTIAL = [kind(**{name: f"value of {name}" for name in fields[::2]}) for kind, fields in FIELDS.items()]

every_output = pytest.mark.parametrize("output", FULL + PARTIAL, ids=lambda o: f"{type(o).__name__}-{len(o)}")
every_type = pytest.mark.parametrize("kind", FIELDS, ids=lambda kind: kind.__name__)


def assert_same(output: ModelOutput, expected: ModelOutput) -> None:
    assert type(output) is type(expected)
    assert list(output.items()) == list(expected.items())


def test_all_types_are_here() -> None:
    assert {head.output_type for head in Head} == set(FIELDS)


@every_type
def test_fields_and_their_order(kind: type[ModelOutput]) -> None:
    assert kind.fields == FIELDS[kind]
    values = {name: index for index, name in enumerate(kind.fields)}
    backwards = dict(reversed(values.items()))
    for output in (
        kind(**backwards),
        kind(backwards),
        kind(backwards.items()),
        kind(list(backwards.items())),
    ):
        assert list(output.items()) == list(values.items())


@every_output
def test_one_value_by_attribute_key_and_index(output: ModelOutput) -> None:
    present = [name for name in output.fields if name in output]
    assert list(output) == present
    assert output.to_tuple() == tuple(f"value of {name}" for name in present) == tuple(output.values())
    for index, name in enumerate(present):
        assert getattr(output, name) == output[name] == output[index] == output[index - len(present)]


@every_output
@pytest.mark.parametrize("cut", [slice(2), slice(1, None), slice(None, None, -1), slice(9, None)], ids=str)
def test_slices(output: ModelOutput, cut: slice) -> None:
    assert output[cut] == output.to_tuple()[cut]


@every_output
def test_fields_that_are_none_are_left_out(output: ModelOutput) -> None:
    absent = [name for name in output.fields if name not in output]
    assert all(getattr(output, name) is None for name in absent)
    assert all(output.get(name) is None for name in absent)
    assert_same(type(output)(**output, **dict.fromkeys(absent)), output)
    for name in absent:
        with pytest.raises(KeyError, match=name):
            output[name]
    with pytest.raises(IndexError, match="tuple index out of range"):
        output[len(output)]


@every_type
def test_values_that_are_false_are_kept(kind: type[ModelOutput]) -> None:
    for value in (0, 0.0, (), np.zeros(3), np.zeros(())):
        output = kind(**{kind.fields[0]: value})
        assert output[0] is value
        assert getattr(output, kind.fields[0]) is value


@every_type
def test_no_field_at_all(kind: type[ModelOutput]) -> None:
    output = kind()
    assert (len(output), output.to_tuple(), output[:2]) == (0, (), ())
    assert all(getattr(output, name) is None for name in kind.fields)


@every_type
def test_unknown_fields(kind: type[ModelOutput]) -> None:
    message = f"^'?{kind.__name__} has no field {{}}; it has {', '.join(kind.fields)}.'?$"
    output = kind()
    with pytest.raises(TypeError, match=message.format("another, pooler_output")):
        kind(pooler_output=1, another=2)
    with pytest.raises(AttributeError, match=message.format("pooler_output")):
        output.pooler_output  # noqa: B018  the test is about the look-up
    with pytest.raises(AttributeError, match=message.format("pooler_output")):
        output.pooler_output = 1
    assert not hasattr(output, "pooler_output")
    assert output == {}


def test_further_entries_follow_the_fields() -> None:
    """Transformers' pipelines put the ids beside the logits."""
    output = BaseModelOutput(attentions=3)
    output["input_ids"] = 4
    output["last_hidden_state"] = 1
    assert list(output.items()) == [("last_hidden_state", 1), ("attentions", 3), ("input_ids", 4)]
    assert (output.input_ids, output[-1], list(copy.deepcopy(output))) == (4, 4, list(output))


@every_type
@pytest.mark.parametrize("write", [lambda o, n, v: setattr(o, n, v), lambda o, n, v: o.__setitem__(n, v)])
def test_a_field_set_later_is_the_same_everywhere(kind: type[ModelOutput], write: Any) -> None:
    first, second, *_ = kind.fields
    output = kind(**{second: 2})
    write(output, first, 1)
    write(output, second, 3)
    assert_same(output, kind(**{first: 1, second: 3}))
    assert (getattr(output, first), output[first], output[0]) == (1, 1, 1)
    assert output[:2] == (1, 3)
    write(output, first, None)
    assert_same(output, kind(**{second: 3}))


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    **{f"pickle-{n}": lambda o, n=n: pickle.loads(pickle.dumps(o, n)) for n in range(2, pickle.HIGHEST_PROTOCOL + 1)},
    "tree": lambda o: type(o).tree_unflatten(*reversed(o.tree_flatten())),
    "dict": lambda o: type(o)(dict(o)),
    "keywords": lambda o: type(o)(**o),
}


@every_output
@pytest.mark.parametrize("way", COPIES)
def test_copies(output: ModelOutput, way: str) -> None:
    same = COPIES[way](output)
    assert same is not output
    assert_same(same, output)


def test_a_deep_copy_shares_nothing() -> None:
    output = BaseModelOutput(last_hidden_state=np.zeros(3), hidden_states=(np.zeros(2),))
    copied = copy.deepcopy(output)
    copied.last_hidden_state[:] = 1
    copied.hidden_states[0][:] = 1
    assert not output.last_hidden_state.any()
    assert not output.hidden_states[0].any()


@every_output
def test_trees(output: ModelOutput) -> None:
    values, names = output.tree_flatten()
    assert values == output.to_tuple()
    assert names == tuple(output)
    hash(names)  # tree libraries compare and cache it


def test_a_tree_may_carry_anything() -> None:
    """A tree library fills in placeholders, None among them: their order and number must stay."""
    _, names = FULL[1].tree_flatten()
    placeholders = [None, object(), None, 0]
    output = MaskedLMOutput.tree_unflatten(names, iter(placeholders))
    assert output.tree_flatten() == (tuple(placeholders), names)
    empty = MaskedLMOutput.tree_unflatten(names, [None] * 4)
    assert_same(pickle.loads(pickle.dumps(empty)), empty)
    with pytest.raises(ValueError, match="shorter"):
        MaskedLMOutput.tree_unflatten(names, [1, 2])
