"""What counts in a loss, what is ignored, and what is an error."""

from __future__ import annotations

import numpy as np
import pytest
from checkpoints import HEADS_WITH_LOSS, random_inputs, save_random, small_config
from comparison import assert_close
from reference import forward

from distilbert_core import Head, InputError

LABELS_THAT_DO_NOT_COUNT = {
    Head.MASKED_LM: {"labels": np.full((5, 11), -100)},
    Head.TOKEN_CLASSIFICATION: {"labels": np.full((5, 11), -100)},
    Head.SEQUENCE_CLASSIFICATION: {"labels": np.full(5, -100)},
    Head.MULTIPLE_CHOICE: {"labels": np.full(5, -100)},
    Head.QUESTION_ANSWERING: {"start_positions": np.full(5, 11), "end_positions": np.full(5, 99)},
}


@pytest.mark.parametrize("head", HEADS_WITH_LOSS)
def test_no_label_that_counts_gives_zero_and_zero_gradients(framework, tmp_path, head):
    config = small_config()
    save_random(tmp_path, config, head)
    model = framework.load(head, tmp_path, dtype="float64")
    inputs = {**random_inputs(config, head), **LABELS_THAT_DO_NOT_COUNT[head]}
    assert framework.call(model, **inputs).loss == 0
    gradients = framework.gradients(model, **inputs)
    assert gradients
    assert all((gradient == 0).all() for gradient in gradients.values())


@pytest.mark.parametrize(
    ("head", "labels", "message"),
    [
        (Head.MASKED_LM, np.full((5, 11), 47), r"labels must lie in \[0, number of classes=47\), got 47"),
        (Head.MASKED_LM, np.full((5, 11), -1), r"labels must lie in \[0, number of classes=47\), got -1"),
        (Head.TOKEN_CLASSIFICATION, np.full((5, 11), 7), r"number of classes=7\), got 7"),
        (Head.TOKEN_CLASSIFICATION, np.full((5, 11), -99), r"number of classes=7\), got -99"),
        (Head.TOKEN_CLASSIFICATION, np.zeros((5, 10), np.int64), r"labels must have shape .*\(5, 11\), got \(5, 10\)"),
        (Head.SEQUENCE_CLASSIFICATION, np.full(5, 7), r"number of classes=7\), got 7"),
        (Head.SEQUENCE_CLASSIFICATION, np.zeros(4, np.int64), r"labels must have shape .*\(5\), got \(4,\)"),
        (Head.MULTIPLE_CHOICE, np.full(5, 4), r"number of classes=4\), got 4"),
    ],
)
def test_impossible_labels(framework, tmp_path, head, labels, message):
    config = small_config()
    save_random(tmp_path, config, head)
    model = framework.load(head, tmp_path)
    inputs = {**random_inputs(config, head), "labels": labels}
    with pytest.raises(InputError, match=message):
        framework.call(model, **inputs)


@pytest.mark.parametrize("given", ["start_positions", "end_positions"])
def test_one_position_without_the_other(framework, tmp_path, given):
    config = small_config()
    save_random(tmp_path, config, Head.QUESTION_ANSWERING)
    model = framework.load(Head.QUESTION_ANSWERING, tmp_path)
    inputs = random_inputs(config, Head.QUESTION_ANSWERING)
    del inputs[given]
    with pytest.raises(InputError, match="Give start_positions and end_positions, or neither"):
        framework.call(model, **inputs)


def test_positions_with_an_axis_more(framework, tmp_path):
    config = small_config()
    arrays = save_random(tmp_path, config, Head.QUESTION_ANSWERING)
    model = framework.load(Head.QUESTION_ANSWERING, tmp_path, dtype="float64")
    inputs = random_inputs(config, Head.QUESTION_ANSWERING)
    wanted = forward(config, Head.QUESTION_ANSWERING, arrays, **inputs)["loss"]
    for name in ("start_positions", "end_positions"):
        inputs[name] = inputs[name][:, None]
    assert_close(framework.call(model, **inputs).loss, wanted, 1e-12)


@pytest.mark.parametrize(
    ("changes", "labels"),
    [
        ({}, np.array([0, 1, 2, 3, 6])),
        ({}, np.random.default_rng(0).random((5, 7))),
        ({"problem_type": "multi_label_classification"}, np.eye(7, dtype=np.int64)[:5]),
        ({"num_labels": 1}, np.array([0.5, 1.5, -2.0, 0.0, 3.0])),
        ({"num_labels": 1}, np.array([[0.5], [1.5], [-2.0], [0.0], [3.0]])),
        ({"num_labels": 1}, np.array([1, 2, 3, 4, 5])),
        ({"num_labels": 3, "problem_type": "regression"}, np.arange(15.0).reshape(5, 3)),
    ],
    ids=[
        "classes",
        "inferred multi-label",
        "integer multi-label",
        "number",
        "number [B, 1]",
        "integer number",
        "3 numbers",
    ],
)
def test_what_sequence_labels_mean(framework, tmp_path, changes, labels):
    config = small_config(**changes)
    arrays = save_random(tmp_path, config, Head.SEQUENCE_CLASSIFICATION)
    model = framework.load(Head.SEQUENCE_CLASSIFICATION, tmp_path, dtype="float64")
    inputs = {**random_inputs(config, Head.SEQUENCE_CLASSIFICATION), "labels": labels}
    wanted = forward(config, Head.SEQUENCE_CLASSIFICATION, arrays, **inputs)["loss"]
    assert_close(framework.call(model, **inputs).loss, wanted, 1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_losses_are_at_least_float32(framework, tmp_path, dtype):
    config = small_config()
    for head in HEADS_WITH_LOSS:
        save_random(tmp_path / head.name, config, head)
        model = framework.load(head, tmp_path / head.name, dtype=dtype)
        assert framework.call(model, **random_inputs(config, head)).loss.dtype == np.float32
