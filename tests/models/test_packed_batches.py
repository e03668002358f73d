"""Packed rows in a user's own training loop: `model(**batch)` of a packing collator against the padded call."""

from __future__ import annotations

import numpy as np
import pytest

from distilbert_core import Head, InputError
from distilbert_core.tokenization.collators import DataCollatorWithPacking
from support.checkpoints import BATCH, HEADS_WITH_LOSS, TOKENS, random_inputs, random_labels, small_config
from support.comparison import assert_close

FLOAT64_TOLERANCE = 1e-12  # measured: 1e-15


def padded_batch(head, config, with_padding=True):
    """Ids with a mask (padding on the right, on the left, and with a hole), and labels."""
    batch = {name: random_inputs(config, head)[name] for name in ("input_ids", "attention_mask")}
    batch |= random_labels(config, head, np.random.default_rng(1))
    batch["attention_mask"][..., 0] |= 1  # the padded model reads the first place, padding or not
    if not with_padding:
        batch["attention_mask"][:] = 1
    if head.reads_tokens and len(head.labels) == 1:
        batch["labels"] = np.where(batch["attention_mask"] == 0, -100, batch["labels"])
    return batch


def packed_batch(model, batch, **options):
    """The batch as a collator packs it, which another collator has padded."""
    return DataCollatorWithPacking(model, lambda rows: rows, return_tensors="np", **options)(batch)


@pytest.mark.parametrize("head", HEADS_WITH_LOSS)
def test_the_loss_and_the_gradients_are_those_of_the_padded_batch(framework, head, tmp_path):
    """For question answering without padding: the padded model has padding in its softmax."""
    model, _ = framework.random_model(head, tmp_path)
    batch = padded_batch(head, model.config, with_padding=head is not Head.QUESTION_ANSWERING)
    plain = framework.call(model, **packed_batch(model, batch))
    batch["sample_weight"] = 1.0 + np.arange(BATCH) % 3
    packed = packed_batch(model, batch)
    expected, got = framework.call(model, **batch), framework.call(model, **packed)
    assert_close({"loss": got["loss"]}, {"loss": expected["loss"]}, FLOAT64_TOLERANCE)
    assert abs(plain["loss"] - got["loss"]) > 1e-3
    if not head.reads_tokens:
        assert_close(got["logits"], expected["logits"], FLOAT64_TOLERANCE)
    assert_close(framework.gradients(model, **packed), framework.gradients(model, **batch), FLOAT64_TOLERANCE)


def test_labels_of_tokens_are_beside_their_logits(framework, tmp_path):
    model, _ = framework.random_model(Head.TOKEN_CLASSIFICATION, tmp_path)
    batch = padded_batch(Head.TOKEN_CLASSIFICATION, model.config)
    packed = packed_batch(model, batch)
    logits = framework.call(model, **packed)["logits"]
    expected = framework.call(model, **batch)["logits"]
    assert logits.shape[:2] == packed["labels"].shape == packed["output_tokens"].shape
    pairs = [
        np.column_stack([labels[labels != -100], values[labels != -100]])
        for labels, values in ((packed["labels"], logits), (batch["labels"], expected))
    ]
    pairs = [rows[np.lexsort(rows.T)] for rows in pairs]
    assert_close(pairs[0], pairs[1], FLOAT64_TOLERANCE)


def test_answers_are_not_in_padding(framework, tmp_path):
    """The loss is the cross-entropy over real tokens."""
    model, _ = framework.random_model(Head.QUESTION_ANSWERING, tmp_path)
    batch = padded_batch(Head.QUESTION_ANSWERING, model.config)
    mask = batch["attention_mask"] == 1
    rows = np.arange(BATCH)
    first = mask.argmax(axis=1)
    batch |= {"start_positions": first, "end_positions": TOKENS - 1 - mask[:, ::-1].argmax(axis=1)}
    got = framework.call(model, **packed_batch(model, batch))
    padded = framework.call(model, **batch)
    losses = []
    for name, label in (("start_logits", "start_positions"), ("end_logits", "end_positions")):
        logits = np.where(mask, padded[name], -np.inf)
        assert_close(np.exp(got[name][:, :TOKENS]), np.exp(logits), FLOAT64_TOLERANCE)
        losses.append(np.log(np.exp(logits).sum(axis=1)) - logits[rows, batch[label]])
    assert abs(got["loss"] - np.mean(losses)) < FLOAT64_TOLERANCE
    assert abs(got["loss"] - padded["loss"]) > 1e-3


def test_a_number_of_rows_that_devices_can_share(framework, tmp_path):
    model, _ = framework.random_model(Head.SEQUENCE_CLASSIFICATION, tmp_path)
    batch = padded_batch(Head.SEQUENCE_CLASSIFICATION, model.config)
    packed = packed_batch(model, batch, row_multiple=3)
    assert len(packed["input_ids"]) % 3 == 0
    expected = framework.call(model, **batch)
    assert_close(framework.call(model, **packed)["logits"], expected["logits"], FLOAT64_TOLERANCE)


@pytest.mark.parametrize(
    ("head", "changes", "message"),
    [
        (Head.SEQUENCE_CLASSIFICATION, {"output_indices": None}, "Packed rows hold several texts: give output_indices"),
        (Head.SEQUENCE_CLASSIFICATION, {"segment_ids": None}, "output_tokens is for packed rows: give segment_ids"),
        (Head.SEQUENCE_CLASSIFICATION, {"output_indices": np.zeros((2, 2), int)}, r"output_indices must have shape"),
        (Head.QUESTION_ANSWERING, {"output_indices": np.zeros(2, int)}, r"\[texts, tokens\] = \(\?, \?\), got \(2,\)"),
        (Head.TOKEN_CLASSIFICATION, {"output_indices": np.zeros(2, int)}, "output_indices is not for a head that"),
    ],
)
def test_arguments_that_do_not_go_together(framework, head, changes, message, tmp_path):
    model, _ = framework.random_model(head, tmp_path, n_layers=1)
    packed = {**packed_batch(model, padded_batch(head, model.config)), **changes}
    packed = {name: value for name, value in packed.items() if value is not None}
    with pytest.raises(InputError, match=message):
        framework.call(model, **packed)


def test_indices_beyond_the_outputs(framework, tmp_path):
    model, _ = framework.random_model(Head.SEQUENCE_CLASSIFICATION, tmp_path, n_layers=1)
    packed = packed_batch(model, padded_batch(Head.SEQUENCE_CLASSIFICATION, small_config()))
    for index in (-1, packed["output_tokens"].size):
        packed["output_indices"][0] = index
        with pytest.raises(InputError, match=r"output_indices must lie in \[0, outputs="):
            framework.call(model, **packed)
