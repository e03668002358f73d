"""Batches of packed rows in a user's NNX loop: the weights of the padded loop, every row once, and few shapes."""

from __future__ import annotations

import numpy as np
import optax
import pytest
from flax import nnx

from distilbert_core import Head, InputError
from distilbert_flax import FlaxDistilBertForSequenceClassification, PackedBatches
from support.checkpoints import save_random, small_config

LENGTHS = (3, 7, 5, 2, 6, 4, 7, 1, 5, 3)


def make_rows(vocab_size=30):
    rng = np.random.default_rng(0)
    return [
        {"input_ids": rng.integers(5, vocab_size, length).tolist(), "label": int(rng.integers(0, 2))}
        for length in LENGTHS
    ]


def padded(rows):
    ids = np.zeros((len(rows), 7), int)
    for index, row in enumerate(rows):
        ids[index, : len(row["input_ids"])] = row["input_ids"]
    mask = np.arange(7) < np.array([[len(row["input_ids"])] for row in rows])
    return {"input_ids": ids, "attention_mask": mask, "labels": np.array([row["label"] for row in rows])}


@nnx.jit
def train_step(model, optimizer, batch):
    loss, gradients = nnx.value_and_grad(lambda model: model(**batch).loss)(model)
    optimizer.update(model, gradients)
    return loss


def trained(folder, batches):
    model = FlaxDistilBertForSequenceClassification.from_pretrained(folder, dtype="float64")
    optimizer = nnx.Optimizer(model, optax.adamw(1e-2), wrt=nnx.Param)
    losses = [float(train_step(model, optimizer, batch)) for batch in batches(model)]
    return losses, {p.name: np.asarray(model._get_array(p)) for p in model.parameter_table}


def test_an_epoch_gives_the_weights_of_the_padded_loop(tmp_path):
    """Measured: 3e-14."""
    save_random(tmp_path, small_config(n_layers=1), Head.SEQUENCE_CLASSIFICATION)
    rows = make_rows()
    losses, weights = trained(tmp_path, lambda model: PackedBatches(model, rows, 4, shuffle=False))
    expected = trained(tmp_path, lambda model: (padded(rows[start : start + 4]) for start in (0, 4, 8)))
    np.testing.assert_allclose(losses, expected[0], atol=1e-12)
    for name, array in expected[1].items():
        np.testing.assert_allclose(weights[name], array, atol=1e-10, err_msg=name)


def test_an_epoch_has_every_row_once_and_another_order_than_the_next():
    model = FlaxDistilBertForSequenceClassification(small_config(n_layers=1))
    rows = make_rows()
    batches = PackedBatches(model, rows, 4, seed=1)
    assert len(batches) == 3

    def epoch(batches):
        return [batch["input_ids"][batch["segment_ids"] > 0] for batch in batches]

    first, second = epoch(batches), epoch(batches)
    everything = sorted(token for row in rows for token in row["input_ids"])
    assert sorted(np.concatenate(first)) == sorted(np.concatenate(second)) == everything
    assert any(not np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    again = PackedBatches(model, rows, 4, seed=1)
    again.epoch = 1
    assert all(np.array_equal(a, b) for a, b in zip(epoch(again), second, strict=True))
    assert len([*PackedBatches(model, rows, 4, drop_remainder=True)]) == 2


def test_batches_of_sentences_have_few_shapes():
    model = FlaxDistilBertForSequenceClassification(small_config(n_layers=1, max_position_embeddings=128))
    lengths = np.clip(np.random.default_rng(0).lognormal(3.2, 0.6, 3200), 4, 128).astype(int)
    rows = [{"input_ids": [5] * length, "label": 0} for length in lengths]
    shapes = {tuple((name, array.shape) for name, array in batch.items()) for batch in PackedBatches(model, rows)}
    assert len(shapes) <= 16


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([], {}, "rows must fill at least one batch of 32, got 0 rows"),
        (make_rows(), {"drop_remainder": True}, "rows must fill at least one batch of 32, got 10 rows"),
        (make_rows(), {"batch_size": 0}, "batch_size must be a positive integer, got 0"),
    ],
)
def test_impossible_batches(rows, options, message):
    model = FlaxDistilBertForSequenceClassification(small_config(n_layers=1))
    with pytest.raises(InputError, match=message):
        PackedBatches(model, rows, **options)
