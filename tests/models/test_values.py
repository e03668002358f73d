"""Every output of every head in float64 against the formulas in NumPy, and in lower precision within its rounding."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from distilbert_core import DistilBertConfig, Head, InputError
from distilbert_core.model.config import ACTIVATIONS
from support.checkpoints import CASE_IDS, CASES, HEADS, random_inputs, save_random, small_config
from support.comparison import assert_close
from support.reference import ACTIVATIONS as FORMULAS
from support.reference import forward

EVERYTHING = {"output_attentions": True, "output_hidden_states": True}
# Measured: at most 9e-15, but 6.1e-13 in ForMaskedLM-one-layer, whose random weights give the head's LayerNorm a row of
# standard deviation 5e-4.
FLOAT64_TOLERANCE = 5e-12


@pytest.mark.parametrize(("_name", "head", "changes"), CASES, ids=CASE_IDS)
def test_all_outputs(framework, tmp_path, _name, head, changes):
    config = small_config(**changes)
    arrays = save_random(tmp_path, config, head)
    inputs = random_inputs(config, head)
    got = framework.call(framework.load(head, tmp_path, dtype="auto"), **inputs, **EVERYTHING)
    assert_close(got, forward(config, head, arrays, **inputs), FLOAT64_TOLERANCE)


def _other_inputs(config, head: Head) -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(1)
    inputs = random_inputs(config, head)
    ids = inputs["input_ids"]
    embeds = rng.normal(size=(*ids.shape, config.dim))
    mask = {"attention_mask": inputs["attention_mask"]}
    return {
        "no mask": {"input_ids": ids},
        "boolean mask": {"input_ids": ids, "attention_mask": inputs["attention_mask"].astype(bool)},
        "float mask": {"input_ids": ids, "attention_mask": inputs["attention_mask"].astype(np.float32)},
        "head mask per head": {"input_ids": ids, **mask, "head_mask": np.array([0.0, 1.0, 0.5])},
        "head mask per layer": {"input_ids": ids, **mask, "head_mask": rng.random((2, 3))},
        "embeddings": {"inputs_embeds": embeds, **mask},
        "positions": {"input_ids": ids, **mask, "position_ids": rng.integers(0, 23, ids.shape)},
        "longest input": {"input_ids": rng.integers(0, 47, (*ids.shape[:-1], 23))},
        "one token": {"input_ids": ids[..., :1]},
    }


@pytest.mark.parametrize("kind", _other_inputs(small_config(), Head.BASE))
@pytest.mark.parametrize("head", HEADS)
def test_other_inputs(framework, tmp_path, head, kind):
    config = small_config()
    arrays = save_random(tmp_path, config, head)
    inputs = _other_inputs(config, head)[kind]
    got = framework.call(framework.load(head, tmp_path, dtype="auto"), **inputs, **EVERYTHING)
    assert_close(got, forward(config, head, arrays, **inputs), FLOAT64_TOLERANCE)


@pytest.mark.parametrize("shape", [(11,), (1, 11)])
def test_positions_shared_by_the_batch(framework, tmp_path, shape):
    config = small_config()
    arrays = save_random(tmp_path, config, Head.BASE)
    ids = random_inputs(config, Head.BASE)["input_ids"]
    positions = np.arange(11)[::-1].copy()
    got = framework.call(
        framework.load(Head.BASE, tmp_path, dtype="auto"),
        input_ids=ids,
        position_ids=positions.reshape(shape),
        **EVERYTHING,
    )
    assert_close(got, forward(config, Head.BASE, arrays, input_ids=ids, position_ids=positions), FLOAT64_TOLERANCE)


@pytest.mark.parametrize("shape", [(11,), (1, 11), (5, 4, 11)])
def test_positions_of_choices(framework, tmp_path, shape):
    config = small_config(n_layers=1)
    save_random(tmp_path, config, Head.MULTIPLE_CHOICE)
    model = framework.load(Head.MULTIPLE_CHOICE, tmp_path, dtype="auto")
    inputs = random_inputs(config, Head.MULTIPLE_CHOICE)
    positions = np.broadcast_to(np.arange(11)[::-1], shape).copy()
    every = np.broadcast_to(positions, inputs["input_ids"].shape).copy()
    got, expected = (framework.call(model, **inputs, position_ids=each) for each in (positions, every))
    assert_close(got, expected, 0.0)
    assert abs(got.logits - framework.call(model, **inputs).logits).max() > 1e-3


@pytest.mark.parametrize("name", ["attention_mask", "position_ids"])
def test_choices_in_another_order_are_an_error(framework, tmp_path, name):
    """The number of texts is the same, so they would be mixed up in silence."""
    config = small_config(n_layers=1)
    save_random(tmp_path, config, Head.MULTIPLE_CHOICE)
    model = framework.load(Head.MULTIPLE_CHOICE, tmp_path)
    inputs = {**random_inputs(config, Head.MULTIPLE_CHOICE), name: np.ones((4, 5, 11), np.int64)}
    with pytest.raises(InputError, match=rf"{name} must have shape .*= \(5, 4, 11\), got \(4, 5, 11\)"):
        framework.call(model, **inputs)


@pytest.mark.parametrize(
    ("dtype", "smallest"), [("float16", 6e-8), ("bfloat16", 1e-40), ("float32", 1e-42), (float, 5e-324)]
)
def test_denormal_numbers_in_a_mask_show_tokens(framework, tmp_path, dtype, smallest):
    """And -0.0 hides them. TensorFlow and XLA take denormal numbers for 0 when they compare."""
    config = small_config(n_layers=1)
    save_random(tmp_path, config, Head.BASE)
    model = framework.load(Head.BASE, tmp_path)
    inputs = random_inputs(config, Head.BASE)
    shown = inputs["attention_mask"] == 1
    mask = np.where(shown, smallest, -0.0).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    assert (mask != 0).sum() == shown.sum()
    got = framework.call(model, **{**inputs, "attention_mask": mask})
    assert_close(got, framework.call(model, **inputs), 0.0)


def test_head_mask_of_a_pruned_model_counts_original_heads(framework, tmp_path):
    config = small_config(pruned_heads={0: [1], 1: [0, 2]})
    arrays = save_random(tmp_path, config, Head.BASE)
    inputs = {**random_inputs(config, Head.BASE), "head_mask": np.array([[0.3, 0.5, 0.7], [0.2, 0.4, 0.6]])}
    got = framework.call(framework.load(Head.BASE, tmp_path, dtype="auto"), **inputs, **EVERYTHING)
    assert_close(got, forward(config, Head.BASE, arrays, **inputs), FLOAT64_TOLERANCE)


# Hidden states here are of order 1. Measured largest differences, over the heads and the three backends:
# float32 3.0e-6, bfloat16 7.6e-2 (8 bits of mantissa), float16 6.9e-3.
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.2), ("float16", 0.02)])
@pytest.mark.parametrize("head", HEADS)
def test_lower_precision(framework, tmp_path, head, dtype, tolerance):
    config = small_config()
    arrays = save_random(tmp_path, config, head, dtype=dtype)
    inputs = random_inputs(config, head)
    model = framework.load(head, tmp_path, dtype=dtype)
    assert {array.dtype.name for array in framework.parameters(model).values()} == {dtype}
    assert_close(framework.call(model, **inputs), _without_details(forward(config, head, arrays, **inputs)), tolerance)


def _without_details(outputs):
    return {name: value for name, value in outputs.items() if name not in ("hidden_states", "attentions")}


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_empty_row_attends_to_all_keys_alike(framework, tmp_path, dtype):
    config = small_config()
    save_random(tmp_path, config, Head.BASE)
    inputs = random_inputs(config, Head.BASE)
    inputs["attention_mask"][:] = 0
    model = framework.load(Head.BASE, tmp_path, dtype=dtype)
    got = framework.call(model, **inputs, output_attentions=True)
    uniform = np.full((5, 3, 11, 11), 1 / 11).astype(got.attentions[0].dtype)
    assert_close(got.attentions, (uniform, uniform), np.finfo(np.float32).eps)
    assert np.isfinite(np.asarray(got.last_hidden_state, np.float64)).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_by_name(framework, name):
    function = framework.module("model").activation_function(DistilBertConfig(activation=name))
    x = np.linspace(-12, 12, 97)
    got = np.asarray(function(framework.module("tensors").to_tensor(x)))
    assert got.dtype == np.float64
    assert_close(got, FORMULAS[name](x), FLOAT64_TOLERANCE)


def test_callable_activation(framework, tmp_path):
    config = small_config(activation="relu")
    arrays = save_random(tmp_path, config, Head.MASKED_LM)
    model = framework.load(Head.MASKED_LM, tmp_path, dtype="auto", activation=lambda x: x * (x > 0))
    inputs = random_inputs(config, Head.MASKED_LM)
    if framework.name == "tf":
        import keras

        model = framework.load(Head.MASKED_LM, tmp_path, dtype="auto", activation=keras.ops.relu)
    got = framework.call(model, **inputs, **EVERYTHING)
    assert_close(got, forward(config, Head.MASKED_LM, arrays, **inputs), FLOAT64_TOLERANCE)


@pytest.mark.parametrize("head", HEADS)
def test_tuples_and_defaults_of_the_configuration(framework, tmp_path, head):
    config = small_config(output_attentions=True, output_hidden_states=True)
    save_random(tmp_path, config, head)
    model = framework.load(head, tmp_path)
    inputs = random_inputs(config, head)
    output = framework.call(model, **inputs)
    assert list(output) == [name for name in type(output).fields if name in output]
    assert list(output)[-2:] == ["hidden_states", "attentions"]
    as_tuple = framework.call(model, **inputs, return_dict=False)
    assert isinstance(as_tuple, tuple)
    assert_close(as_tuple, output.to_tuple(), 0.0)
    fewer = framework.call(model, **inputs, output_attentions=False, output_hidden_states=False)
    assert list(fewer) == list(output)[:-2]


def test_a_call_does_not_change_the_configuration(framework, tmp_path):
    config = small_config()
    save_random(tmp_path, config, Head.SEQUENCE_CLASSIFICATION)
    model = framework.load(Head.SEQUENCE_CLASSIFICATION, tmp_path)
    before = model.config.to_dict()
    framework.call(model, **random_inputs(config, Head.SEQUENCE_CLASSIFICATION))
    assert model.config.to_dict() == before


def test_arguments_are_not_changed(framework, tmp_path):
    config = small_config()
    save_random(tmp_path, config, Head.QUESTION_ANSWERING)
    inputs = random_inputs(config, Head.QUESTION_ANSWERING)
    before = {name: array.copy() for name, array in inputs.items()}
    framework.call(framework.load(Head.QUESTION_ANSWERING, tmp_path), **inputs)
    assert_close(inputs, before, 0.0)
