"""Batches of all shapes need few compilations, and an inference object sees changes of its model."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from flax import nnx

import distilbert_flax.inference as inference
from distilbert_core import Head
from distilbert_core.model.loading import load_inference
from distilbert_core.model.packing import cheapest_length
from distilbert_flax.inference import ArraysOf, groups, output_count, row_lengths
from support.checkpoints import save_random, small_config


@pytest.mark.parametrize("most", [1, 8, 64])
@pytest.mark.parametrize("rows", range(1, 70))
def test_groups(rows, most):
    sizes = [group.stop - group.start for group in groups(rows, most)]
    rest = [bit for bit in (32, 16, 8, 4, 2, 1) if bit < most and rows & bit]
    assert sizes == [most] * (rows // most) + rest
    assert list(np.concatenate([np.arange(rows)[group] for group in groups(rows, most)])) == list(range(rows))


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([3], 16),
        ([16], 16),
        ([17], 24),
        ([17, 1], 32),
        ([49], 64),
        ([65], 96),
        ([128] * 32, 128),
        ([30] * 32, 128),
        ([30] * 3, 32),
        ([20] * 3, 64),  # in one row, where rows of 32 have room for one each
        ([20, 12], 32),
        ([513], 1024),
        ([300, 200], 512),
    ],
)
def test_length_of_packed_rows(lengths, expected):
    assert cheapest_length(lengths, row_lengths(lengths), dim=768) == expected


def test_numbers_of_outputs():
    counts = [output_count(wanted) for wanted in range(1, 513)]
    assert all(count >= wanted for wanted, count in enumerate(counts, 1))
    assert set(counts) == {1, *(2**power for power in range(3, 10))}


@pytest.fixture
def classifier(tmp_path):
    save_random(tmp_path, small_config(max_position_embeddings=128), Head.SEQUENCE_CLASSIFICATION)
    return load_inference("flax", Head.SEQUENCE_CLASSIFICATION, tmp_path)


def test_few_shapes_are_compiled(classifier, monkeypatch):
    """Three hundred batches of sentences, each of another shape: batches of 32, and their last ones."""
    shapes = set()

    def record(structure, arrays, rows):
        shapes.add(tuple(array.shape for array in rows.values()))
        return np.zeros((*rows["output_tokens"].shape, 7))

    monkeypatch.setattr(inference, "_run_packed", record)
    monkeypatch.setattr(inference, "_run_few", lambda: record)
    rng = np.random.default_rng(0)
    given = set()
    for number in range(300):
        lengths = np.clip(rng.lognormal(3.2, 0.6, 32 if number % 10 else rng.integers(1, 32)), 4, 128).astype(int)
        mask = np.arange(lengths.max()) < lengths[:, None]
        assert len(classifier(input_ids=np.ones(mask.shape, int), attention_mask=mask)["logits"]) == len(lengths)
        given.add((mask.shape, mask.sum()))
    assert len(given) > 290
    assert len(shapes) <= 16


def test_a_model_is_compiled_once_for_each_shape(classifier, tmp_path):
    compiled = inference._run_few()._cache_size()
    for seed in range(3):
        classifier(input_ids=np.random.default_rng(seed).integers(1, 40, (1, 9 + seed)))
    again = load_inference("flax", Head.SEQUENCE_CLASSIFICATION, tmp_path)
    again(input_ids=np.array([[5, 6, 7]]))
    assert inference._run_few()._cache_size() == compiled + 1


def test_what_is_done_to_the_model_is_seen(classifier):
    model, ids = classifier.model, np.array([[5, 6, 7]])
    before = classifier(input_ids=ids)["logits"]
    model.classifier.bias[...] += 1.0
    np.testing.assert_allclose(classifier(input_ids=ids)["logits"], before + 1, rtol=1e-6)  # one rounding of float32
    model.classifier = nnx.Linear(12, 3, rngs=nnx.Rngs(0))  # another layer
    assert classifier(input_ids=ids)["logits"].shape == (1, 3)
    model.prune_heads({0: [1]})
    pruned = classifier(input_ids=ids)["logits"]
    np.testing.assert_allclose(pruned, model(ids).logits, atol=1e-6)  # measured: 1e-7
    model.train()  # inference never drops
    np.testing.assert_array_equal(classifier(input_ids=ids)["logits"], pruned)


def test_a_model_is_walked_over_once(classifier, monkeypatch):
    ids = np.array([[5, 6, 7]])
    before = classifier(input_ids=ids)["logits"]
    walked = []
    monkeypatch.setattr(inference, "ArraysOf", lambda model: walked.append(model) or ArraysOf(model))
    classifier.model.classifier.bias[...] += 1.0  # another array in the same variable
    np.testing.assert_allclose(classifier(input_ids=ids)["logits"], before + 1, rtol=1e-6)
    assert not walked
    classifier.model.classifier = nnx.Linear(12, 3, rngs=nnx.Rngs(0))
    assert classifier(input_ids=ids)["logits"].shape == (1, 3)
    assert walked == [classifier.model]


def replace_a_variable(model):
    model.pre_classifier.bias = nnx.Param(model.pre_classifier.bias[...] + 1.0)


def share_a_variable(model):
    model.distilbert.transformer.layer[0].ffn.lin1 = model.distilbert.transformer.layer[1].ffn.lin1


def replace_a_block(model):
    model.distilbert.transformer.layer[0] = model.distilbert.transformer.layer[1]


def drop_a_block(model):
    del model.distilbert.transformer.layer[1]
    model.config.n_layers = 1


def change_the_configuration(model):
    model.config.problem_type = "regression"


def change_the_activation(model):
    model.distilbert.transformer.layer[0].ffn.activation = nnx.relu


def change_the_epsilon(model):
    model.distilbert.embeddings.LayerNorm.epsilon = 0.5


def name_an_axis(model):
    model.classifier.bias.set_metadata(user="a note")


def add_an_array(model):
    model.more = nnx.data(np.zeros(3))


def add_a_tuple_without_a_hash(model):
    model.more = nnx.data((nnx.Param(np.zeros(3)),))


@pytest.mark.parametrize(
    "change",
    [
        replace_a_variable,
        share_a_variable,
        replace_a_block,
        drop_a_block,
        change_the_configuration,
        change_the_activation,
        change_the_epsilon,
        name_an_axis,
        add_an_array,
        add_a_tuple_without_a_hash,
    ],
)
def test_each_change_of_a_model_is_seen(classifier, change):
    model, ids = classifier.model, np.array([[5, 6, 7]])
    classifier(input_ids=ids)
    arrays = ArraysOf(model)
    assert not arrays.changed()
    change(model)
    assert arrays.changed()
    np.testing.assert_allclose(classifier(input_ids=ids)["logits"], model(ids).logits, atol=1e-6)  # measured: 2e-7


@pytest.mark.parametrize("change", [add_an_array, add_a_tuple_without_a_hash])
def test_a_model_with_attributes_of_other_kinds_is_flattened_in_each_call(classifier, change):
    change(classifier.model)
    arrays = ArraysOf(classifier.model)
    assert arrays.changed()
    assert len(arrays.now()) == len(jax.tree.leaves(classifier.model))


def test_products_of_few_tokens_compute_the_same(classifier):
    arrays = ArraysOf(classifier.model)
    rows = {name: np.ones((1, 8), np.int32) for name in ("input_ids", "position_ids", "segment_ids")}
    one, other = (run(arrays.structure, arrays.now(), rows) for run in (inference._run_few(), inference._run_packed))
    assert inference._run_few() is not inference._run_packed  # this version of XLA has the option
    np.testing.assert_allclose(one, other, atol=1e-5)  # measured: 1e-6
