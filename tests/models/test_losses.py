"""Losses: labels that count, labels that are ignored, and labels that are an error."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from distilbert_core import Head, InputError
from support.checkpoints import HEADS_WITH_LOSS, TOKENS, random_inputs, save_random, small_config
from support.comparison import assert_close
from support.reference import forward, softmax

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
        (Head.MASKED_LM, np.full((5, 11), 1.5), r"labels must be integers, the indices of classes, got 1\.5"),
        (Head.MULTIPLE_CHOICE, np.array([0.0, 1.0, np.nan, 1.0, 1.0]), r"the indices of classes, got nan"),
        (Head.SEQUENCE_CLASSIFICATION, np.full((5, 7), 2.0), r"labels must lie in \[0, 1\], got 2"),
        (Head.SEQUENCE_CLASSIFICATION, np.full((5, 7), -0.5), r"labels must lie in \[0, 1\], got -0\.5"),
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
        save_random(tmp_path / head.value, config, head)
        model = framework.load(head, tmp_path / head.value, dtype=dtype)
        assert framework.call(model, **random_inputs(config, head)).loss.dtype == np.float32


@pytest.mark.parametrize("head", [Head.TOKEN_CLASSIFICATION, Head.QUESTION_ANSWERING])
def test_whole_numbers_are_classes_in_any_dtype(framework, tmp_path, head):
    config = small_config(n_layers=1)
    save_random(tmp_path, config, head)
    model = framework.load(head, tmp_path, dtype="float64")
    inputs = random_inputs(config, head)
    names = inputs.keys() - {"input_ids", "attention_mask"}
    as_floats = inputs | {name: inputs[name].astype(np.float32) for name in names}
    assert framework.call(model, **as_floats).loss == framework.call(model, **inputs).loss


# -- weights ----------------------------------------------------------------------------------------------------------


def by_formula(name, logits, labels):
    """The loss of each label, its derivative by the logits, and which labels count."""
    if name == "mean_squared_error":
        return (logits - labels) ** 2, 2 * (logits - labels), np.ones(labels.shape, bool)
    if name == "binary_cross_entropy":
        return np.log(1 + np.exp(logits)) - labels * logits, 1 / (1 + np.exp(-logits)) - labels, labels >= 0
    chosen = np.eye(logits.shape[-1])[np.maximum(labels, 0)]
    return -np.log((softmax(logits) * chosen).sum(-1)), softmax(logits) - chosen, labels != -100


def by_pt(loss, logits, labels, weights, compiled):
    import torch

    if compiled:
        loss = torch.compile(loss, backend="eager", fullgraph=True, dynamic=True)
    logits = torch.tensor(logits, requires_grad=True)
    value = loss(logits, torch.tensor(labels), weights=torch.tensor(weights))
    value.backward()
    return value.detach().numpy(), logits.grad.numpy()


def by_tf(loss, logits, labels, weights, compiled):
    import tensorflow as tf

    def judge(logits, labels, weights):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(logits, labels, weights=weights)
        return value, tape.gradient(value, logits)

    arguments = [tf.constant(array) for array in (logits, labels, weights)]
    if compiled:
        specs = [tf.TensorSpec([None if size > 1 else 1 for size in x.shape], x.dtype) for x in arguments]
        judge = tf.function(judge, input_signature=specs)
    return [tensor.numpy() for tensor in judge(*arguments)]


def by_flax(loss, logits, labels, weights, compiled):
    import jax

    judge = jax.value_and_grad(lambda logits, labels, weights: loss(logits, labels, weights=weights))
    return [np.asarray(array) for array in (jax.jit(judge) if compiled else judge)(logits, labels, weights)]


BY_BACKEND = {"pt": by_pt, "tf": by_tf, "flax": by_flax}
RNG = np.random.default_rng(3)
CLASSES = np.where(RNG.random((5, 11)) < 0.3, -100, RNG.integers(0, 7, (5, 11)))
JUDGED = [  # loss, logits, labels
    ("cross_entropy", RNG.normal(size=(5, 11, 7)), CLASSES),
    ("cross_entropy", RNG.normal(size=(5, 7)), np.array([3, 0, -100, 6, 3])),
    ("mean_squared_error", RNG.normal(size=(5, 3)), RNG.normal(size=(5, 3))),
    ("binary_cross_entropy", RNG.normal(size=(5, 7)), RNG.integers(0, 2, (5, 7)).astype(np.float64)),
]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize(("name", "logits", "labels"), JUDGED, ids=["tokens", "rows", "numbers", "multi-label"])
def test_weighted_losses_and_their_gradients(framework, name, logits, labels, compiled):
    """Against the formulas, in float64. Measured: 4e-16."""
    losses, derivatives, counted = by_formula(name, logits, labels)
    for shape in ((5,), (5, 1), labels.shape):
        weights = RNG.uniform(0, 4, shape)
        weights[1] = 0
        factors = np.ones(labels.shape) * (weights.ravel() if labels.ndim == 1 else weights.reshape(5, -1))
        factors = factors * counted / counted.sum()
        gradient = derivatives * (factors[..., None] if name == "cross_entropy" else factors)
        loss = getattr(framework.module("losses"), name)
        got = BY_BACKEND[framework.name](loss, logits, labels, weights, compiled)
        assert_close(tuple(got), ((losses * factors).sum(), gradient), 1e-14)


@pytest.mark.parametrize("head", HEADS_WITH_LOSS)
def test_weighted_labels_of_a_model(framework, tmp_path, head):
    """The loss of one row, in which all labels count, is that of the model without the others' labels, by its share."""
    config = small_config(n_layers=1)
    save_random(tmp_path, config, head)
    model = framework.load(head, tmp_path, dtype="float64")
    inputs = random_inputs(config, head)
    labels = {name: inputs[name] for name in inputs.keys() - {"input_ids", "attention_mask"}}
    none = TOKENS if head is Head.QUESTION_ANSWERING else -100  # does not count
    if head is Head.QUESTION_ANSWERING:
        labels["end_positions"][1] = 4
    others = {
        name: np.stack([row if i == 3 else np.full_like(row, none) for i, row in enumerate(x)])
        for name, x in labels.items()
    }
    share = np.mean([(x[3] != none).sum() / (x != none).sum() for x in labels.values()])
    weighted = framework.call(model, **inputs, sample_weight=3.0 * (np.arange(5) == 3)).loss
    assert_close(weighted, 3 * share * framework.call(model, **inputs | others).loss, 1e-14)
    twice = framework.call(model, **inputs, sample_weight=np.full(5, 2)).loss
    assert_close(twice, 2 * framework.call(model, **inputs).loss, 1e-14)


ROWS = "sample_weight must have shape \\[batch\\], or that of the labels, ="
IMPOSSIBLE_WEIGHTS = [  # weights, message
    (np.array([1.0, -0.5, 1, 1, 1]), r"sample_weight must be finite numbers >= 0, got -0\.5"),
    (np.array([1.0, np.nan, 1, 1, 1]), "sample_weight must be finite numbers >= 0, got nan"),
    (np.array([1.0, np.inf, 1, 1, 1]), "sample_weight must be finite numbers >= 0, got inf"),
    (np.ones(4), rf"{ROWS} \(5\), got \(4,\)"),
    (np.ones(1), rf"{ROWS} \(5\), got \(1,\)"),
    (np.ones(()), rf"{ROWS} \(5\), got \(\)"),
    (np.ones((5, 3)), rf"{ROWS} \(5(, 11)?\), got \(5, 3\)"),
    (np.ones((5, 11, 2)), rf"{ROWS} \(5(, 11)?\), got \(5, 11, 2\)"),
]


@pytest.mark.parametrize("head", [Head.SEQUENCE_CLASSIFICATION, Head.TOKEN_CLASSIFICATION, Head.QUESTION_ANSWERING])
def test_impossible_weights(framework, tmp_path, head):
    config = small_config(n_layers=1)
    save_random(tmp_path, config, head)
    model = framework.load(head, tmp_path)
    inputs = random_inputs(config, head)
    for weights, message in IMPOSSIBLE_WEIGHTS:
        with pytest.raises(InputError, match=message):
            framework.call(model, **inputs, sample_weight=weights)


@pytest.mark.parametrize("head", HEADS_WITH_LOSS)
def test_only_labels_are_called_so(framework, head):
    """Transformers' Trainer takes every argument with 'label' in its name for labels, and measures nothing without."""
    cls = framework.cls(head)
    call = {"pt": "forward", "tf": "call", "flax": "__call__"}[framework.name]
    names = [name for name in inspect.signature(getattr(cls, call)).parameters if "label" in name]
    assert names == ([] if head is Head.QUESTION_ANSWERING else ["labels"])


@pytest.mark.parametrize("head", HEADS_WITH_LOSS)
def test_weights_without_labels(framework, tmp_path, head):
    config = small_config(n_layers=1)
    save_random(tmp_path, config, head)
    model = framework.load(head, tmp_path)
    inputs = {name: random_inputs(config, head)[name] for name in ("input_ids", "attention_mask")}
    with pytest.raises(InputError, match="sample_weight says how much each label counts: give labels too"):
        framework.call(model, **inputs, sample_weight=np.ones(5))
