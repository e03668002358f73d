"""A Flax model under jit, grad, split, merge and vmap, and with explicit randomness."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from distilbert_core import Head, InputError
from support.checkpoints import HEADS, random_inputs, save_random, small_config
from support.comparison import assert_close, largest_difference
from support.frameworks import FRAMEWORKS
from support.jax_trees import numbers

FLAX = FRAMEWORKS["flax"]


@pytest.mark.parametrize("head", HEADS)
def test_jit(tmp_path, head):
    model, inputs = FLAX.random_model(head, tmp_path)
    expected = model(**inputs)
    got = nnx.jit(lambda model, inputs: model(**inputs))(model, inputs)
    assert type(got) is type(expected)
    assert_close(numbers(got), numbers(expected), 1e-13)


def test_split_and_merge_under_plain_jax(tmp_path):
    model, inputs = FLAX.random_model(Head.MASKED_LM, tmp_path)
    graph, parameters, rest = nnx.split(model, nnx.Param, ...)

    @jax.jit
    def loss(parameters, inputs):
        return nnx.merge(graph, parameters, rest)(**inputs).loss

    value, gradients = jax.value_and_grad(loss)(parameters, inputs)
    assert_close(np.asarray(value), np.asarray(model(**inputs).loss), 1e-14)
    expected = nnx.grad(lambda model: model(**inputs).loss)(model)
    assert_close(numbers(gradients), numbers(expected), 1e-13)


def test_vmap_over_parameters(tmp_path):
    config = small_config()
    models = []
    for seed in (0, 1, 2):
        save_random(tmp_path / str(seed), config, Head.SEQUENCE_CLASSIFICATION, seed=seed)
        models.append(FLAX.cls(Head.SEQUENCE_CLASSIFICATION).from_pretrained(tmp_path / str(seed), dtype="float64"))
    inputs = random_inputs(config, Head.SEQUENCE_CLASSIFICATION)
    graph, _, rest = nnx.split(models[0], nnx.Param, ...)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(nnx.state(model, nnx.Param) for model in models))
    logits = jax.vmap(lambda parameters: nnx.merge(graph, parameters, rest)(**inputs).logits)(stacked)
    assert_close(np.asarray(logits), np.stack([np.asarray(model(**inputs).logits) for model in models]), 1e-13)


def test_per_example_gradients(tmp_path):
    model, inputs = FLAX.random_model(Head.SEQUENCE_CLASSIFICATION, tmp_path)
    graph, parameters, rest = nnx.split(model, nnx.Param, ...)

    def loss(parameters, example):
        return nnx.merge(graph, parameters, rest)(**{name: value[None] for name, value in example.items()}).loss

    per_example = jax.vmap(jax.grad(loss), (None, 0))(parameters, inputs)
    whole = jax.grad(lambda p: nnx.merge(graph, p, rest)(**inputs).loss)(parameters)
    summed = jax.tree.map(lambda leaf: leaf.sum(0) / 4, per_example)  # one of the five labels is ignored
    assert_close(numbers(summed), numbers(whole), 1e-13)


def test_ways_to_say_training(tmp_path):
    model, inputs = FLAX.random_model(Head.SEQUENCE_CLASSIFICATION, tmp_path)
    plain = np.asarray(model(**inputs).logits)
    for quiet in ({"train": False}, {"deterministic": True}, {"train": False, "deterministic": True}):
        assert_close(np.asarray(model(**inputs, **quiet).logits), plain, 0.0)
    for noisy in ({"train": True}, {"deterministic": False}):
        assert largest_difference(np.asarray(model(**inputs, **noisy).logits), plain) > 1e-3
    with pytest.raises(InputError, match="train and deterministic contradict each other: both are True"):
        model(**inputs, train=True, deterministic=True)
    model.train()
    assert largest_difference(np.asarray(model(**inputs).logits), plain) > 1e-3
    assert_close(np.asarray(model(**inputs, train=False).logits), plain, 0.0)
    model.eval()
    assert_close(np.asarray(model(**inputs).logits), plain, 0.0)


@pytest.mark.parametrize("make", [lambda: jax.random.key(3), lambda: nnx.Rngs(dropout=3)])
def test_dropout_follows_the_given_randomness(tmp_path, make):
    model, inputs = FLAX.random_model(Head.QUESTION_ANSWERING, tmp_path)
    first, again = (numbers(model(**inputs, train=True, rngs=make())) for _ in range(2))
    other = numbers(model(**inputs, train=True, rngs=jax.random.key(4)))
    assert_close(again, first, 0.0)
    assert largest_difference(other, first) > 1e-3


def test_one_key_drops_other_places_at_each_site(tmp_path):
    model, inputs = FLAX.random_model(Head.BASE, tmp_path, dropout=0.5, attention_dropout=0.5)
    first, second = model(**inputs, train=True, rngs=jax.random.key(0), output_attentions=True).attentions
    assert ((np.asarray(first) == 0) != (np.asarray(second) == 0)).mean() > 0.3


def test_nothing_abstract_is_left_after_loading(tmp_path):
    model, _ = FLAX.random_model(Head.MASKED_LM, tmp_path, sinusoidal_pos_embds=True)
    leaves = jax.tree.leaves(nnx.state(model))
    assert leaves
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)


def test_computation_dtype_beside_parameter_dtype(tmp_path):
    save_random(tmp_path, small_config(), Head.MASKED_LM)
    inputs = random_inputs(small_config(), Head.MASKED_LM)
    exact = FLAX.cls(Head.MASKED_LM).from_pretrained(tmp_path, dtype="float64")(**inputs)
    model = FLAX.cls(Head.MASKED_LM).from_pretrained(tmp_path, dtype="bfloat16", param_dtype="float32")
    got = model(**inputs)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))} == {"float32"}
    assert (got.logits.dtype, got.loss.dtype) == (jnp.bfloat16, jnp.float32)
    assert_close(np.asarray(got.logits), np.asarray(exact.logits), 0.2)  # measured 6.4e-2


def test_float64_without_x64_is_an_error(tmp_path):
    save_random(tmp_path, small_config(), Head.BASE)
    with jax.enable_x64(False), pytest.raises(InputError, match="jax_enable_x64"):
        FLAX.cls(Head.BASE).from_pretrained(tmp_path, dtype="float64")


@pytest.mark.parametrize("wrong", [47, -1])
def test_under_jit_a_wrong_id_makes_its_row_not_a_number(tmp_path, wrong):
    model, inputs = FLAX.random_model(Head.BASE, tmp_path)
    ids = inputs["input_ids"].copy()
    ids[2, 0] = wrong
    hidden = np.asarray(nnx.jit(lambda model, ids: model(ids).last_hidden_state)(model, ids))
    assert np.isnan(hidden[2]).all()
    assert np.isfinite(np.delete(hidden, 2, 0)).all()


@pytest.mark.parametrize("wrong", [7, -1, -99])
def test_under_jit_a_wrong_label_makes_the_loss_not_a_number(tmp_path, wrong):
    model, inputs = FLAX.random_model(Head.TOKEN_CLASSIFICATION, tmp_path)
    inputs["labels"][0, 0] = wrong
    assert np.isnan(nnx.jit(lambda model, inputs: model(**inputs).loss)(model, inputs))
