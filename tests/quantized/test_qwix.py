"""Flax models whose weights qwix quantizes: they compute, are saved and loaded, or are refused by name."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint
import pytest
import qwix
from flax import nnx

from distilbert_core import DEFAULT_MODEL, DistilBertTokenizerFast, Head, InputError
from distilbert_core.model.loading import inference_of
from distilbert_core.pipelines import pipeline
from support.checkpoints import random_inputs, save_random, small_config
from support.frameworks import FRAMEWORKS
from support.sentences import CLEAR_CASES

FLAX = FRAMEWORKS["flax"]
HEAD = Head.SEQUENCE_CLASSIFICATION
CONFIG = small_config()
INPUTS = {name: random_inputs(CONFIG, HEAD)[name][[0, 1, 3]] for name in ("input_ids", "attention_mask")}  # begin at 0
ROWS = {name: np.ones((1, 2), np.int32) for name in ("input_ids", "position_ids", "segment_ids")}
WEIGHTS, DYNAMIC = (
    qwix.PtqProvider([qwix.QuantizationRule(weight_qtype=jnp.int8, act_qtype=activations)])
    for activations in (None, jnp.int8)
)
PROVIDERS = pytest.mark.parametrize("provider", [WEIGHTS, DYNAMIC], ids=["weights", "dynamic"])


@pytest.fixture
def folder(tmp_path):
    save_random(tmp_path / "model", CONFIG, HEAD, dtype="float32")
    return tmp_path / "model"


def packed(model, provider):
    """The model with quantized weights, for inference objects."""
    return qwix.quantize_model(model, provider, methods=("packed_outputs",), **ROWS)


# Of the largest logit; measured: 0.006 and 0.017.
@PROVIDERS
def test_a_quantized_model_computes_about_the_same(folder, provider):
    model = FLAX.load(HEAD, folder)
    before = FLAX.call(model, **INPUTS).logits
    quantized = qwix.quantize_model(model, provider, **INPUTS)
    after = FLAX.call(quantized, **INPUTS).logits
    assert 1e-4 < abs(after - before).max() / abs(before).max() < 0.05
    integers = [leaf for leaf in jax.tree.leaves(nnx.state(quantized)) if leaf.dtype == jnp.int8]
    assert len(integers) == 6 * CONFIG.n_layers + 2
    assert np.array_equal(FLAX.call(model, **INPUTS).logits, before)  # the model itself is not changed


def test_the_integers_and_scales_are_the_weights(folder):
    """A model with the weights that the integers and scales stand for computes the same."""
    model = FLAX.load(HEAD, folder)
    quantized = qwix.quantize_model(model, WEIGHTS, **INPUTS)
    changed = 0
    for path, layer in nnx.iter_modules(quantized):
        if isinstance(layer, nnx.Linear):
            array = layer.kernel.array
            floating = dict(nnx.iter_modules(model))[path]
            floating.kernel.set_value(array.qvalue[...].astype(jnp.float32) * array.scale[...])
            changed += 1
    assert changed == 6 * CONFIG.n_layers + 2
    expected = FLAX.call(model, **INPUTS).logits
    assert abs(FLAX.call(quantized, **INPUTS).logits - expected).max() < 1e-5  # measured: 0 with AVX2


# Each token has its own scale, so the other tokens of a row do not matter. A rounding that falls the other way does.
@PROVIDERS
@pytest.mark.parametrize("head", [HEAD, Head.TOKEN_CLASSIFICATION, Head.MASKED_LM])
def test_packed_rows(tmp_path, provider, head):
    save_random(tmp_path, CONFIG, head, dtype="float32")
    model = FLAX.load(head, tmp_path)
    before = FLAX.call(model, **INPUTS).logits
    by_call = qwix.quantize_model(model, provider, **INPUTS)
    padded = FLAX.call(by_call, **INPUTS).logits
    real = INPUTS["attention_mask"] != 0 if head.reads_tokens else ...
    for quantized in (packed(model, provider), by_call):  # the second computes padded batches
        answer = inference_of(quantized, head, "test")(**INPUTS)["logits"]
        assert abs(answer[real] - padded[real]).max() < 0.05 * abs(before).max()  # measured: 5e-7 and 0.021
        assert abs(answer[real] - before[real]).max() > 1e-4 * abs(before).max()


def test_one_method_is_quantized_the_other_is_an_error(folder):
    quantized = packed(FLAX.load(HEAD, folder), WEIGHTS)
    with pytest.raises((TypeError, ValueError)):
        FLAX.call(quantized, **INPUTS)


def test_saved_by_orbax_and_loaded(folder, tmp_path):
    model = FLAX.load(HEAD, folder)
    quantized = qwix.quantize_model(model, WEIGHTS, **INPUTS)
    again = qwix.quantize_model(type(model)(CONFIG, seed=1), WEIGHTS, **INPUTS)
    assert not np.array_equal(FLAX.call(again, **INPUTS).logits, FLAX.call(quantized, **INPUTS).logits)
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(Path(tmp_path) / "state", nnx.state(quantized))
        checkpointer.wait_until_finished()
        nnx.update(again, checkpointer.restore(Path(tmp_path) / "state", nnx.state(again)))
    assert np.array_equal(FLAX.call(again, **INPUTS).logits, FLAX.call(quantized, **INPUTS).logits)


@pytest.mark.parametrize(
    "change",
    [
        lambda model, folder: model.save_pretrained(folder),
        lambda model, folder: model.save_pretrained(folder, safe_serialization=False),
        lambda model, folder: model.prune_heads({0: [1]}),
    ],
    ids=["safetensors", "msgpack", "prune"],
)
@pytest.mark.parametrize("method", ["__call__", "packed_outputs"])
def test_refused(folder, tmp_path, method, change):
    model = FLAX.load(HEAD, folder)
    quantized = qwix.quantize_model(model, WEIGHTS, **INPUTS) if method == "__call__" else packed(model, WEIGHTS)
    with pytest.raises(InputError, match=r"kernel is quantized \(it consists of array\.qvalue, .*Save .* with Orbax"):
        change(quantized, tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_tables_stay_floating_and_can_be_resized(folder):
    quantized = qwix.quantize_model(FLAX.load(HEAD, folder), WEIGHTS, **INPUTS)
    before = FLAX.call(quantized, **INPUTS).logits
    quantized.resize_token_embeddings(60)
    assert np.array_equal(FLAX.call(quantized, **INPUTS).logits, before)


@PROVIDERS
def test_the_embedded_model(provider):
    tokenizer = DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL)
    tokens = tokenizer(list(CLEAR_CASES), padding=True, return_tensors="np")
    model = FLAX.load(HEAD, DEFAULT_MODEL)
    before = FLAX.call(model, **tokens).logits
    quantized = packed(model, provider)
    after = inference_of(quantized, HEAD, "test")(**tokens)["logits"]
    assert abs(after - before).max() < 0.1  # of 3.4; measured: 0.020 and 0.038
    classify = pipeline("text-classification", model=quantized, tokenizer=tokenizer)
    assert [answer["label"] for answer in classify(list(CLEAR_CASES))] == list(CLEAR_CASES.values())
