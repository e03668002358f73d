"""Task losses: scalars in at least float32, means over the labels that count, 0 where none does.

Labels outside the classes are an error when called eagerly. In a tf.function TensorFlow raises on the CPU; with
`jit_compile` and on accelerators the loss becomes NaN.
"""

from __future__ import annotations

import tensorflow as tf
from keras import ops

from distilbert_core.config import DistilBertConfig
from distilbert_core.errors import InputError
from distilbert_core.inputs import IGNORE_INDEX, check_label_shape, check_range, problem_type
from distilbert_tf.attention import upcast
from distilbert_tf.pretrained import values_known


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor, name: str = "labels") -> tf.Tensor:
    """Return the mean cross-entropy over the labels that are not -100.

    Args:
        logits: [..., C] scores of the classes.
        labels: [...] integers in [0, C), or -100 for positions that do not count.
        name: The argument to name in errors.

    Raises:
        InputError: Labels do not fit the logits, or lie outside the classes.
    """
    check_label_shape(tuple(labels.shape), tuple(logits.shape)[:-1], name)
    classes = ops.shape(logits)[-1]  # not known while tracing for all lengths: the tokens of an answer
    labels = ops.reshape(ops.cast(labels, "int64"), (-1,))
    counted = ops.not_equal(labels, IGNORE_INDEX)
    if values_known(labels) and tf.reduce_any(counted):
        chosen = labels[counted]
        check_range(name, int(ops.min(chosen)), int(ops.max(chosen)), classes, "number of classes")
    logits = upcast(ops.reshape(logits, (-1, classes)))
    targets = ops.where(counted, labels, 0)
    losses = ops.sparse_categorical_crossentropy(targets, logits, from_logits=True)
    counted = ops.cast(counted, losses.dtype)
    return ops.sum(losses * counted) / ops.maximum(ops.sum(counted), 1)


def mean_squared_error(predictions: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Return the mean of the squared differences of two tensors with as many entries."""
    check_label_shape(tuple(targets.shape), tuple(predictions.shape))
    predictions = upcast(predictions)
    targets = ops.reshape(ops.cast(targets, predictions.dtype), ops.shape(predictions))
    return ops.mean(ops.square(predictions - targets))


def binary_cross_entropy(logits: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Return the mean binary cross-entropy of logits against targets in [0, 1] of the same shape."""
    check_label_shape(tuple(targets.shape), tuple(logits.shape))
    logits = upcast(logits)
    targets = ops.reshape(ops.cast(targets, logits.dtype), ops.shape(logits))
    return ops.mean(ops.softplus(logits) - targets * logits)


def sequence_classification_loss(config: DistilBertConfig, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return the loss that the labels mean: regression, single-label or multi-label.

    Args:
        config: Gives `problem_type`; if that is None it is inferred from `num_labels` and the labels' dtype.
        logits: [B, L].
        labels: [B] classes, [B] or [B, L] numbers, or [B, L] of 0 and 1.
    """
    match problem_type(config, labels.dtype.is_integer):
        case "regression":
            return mean_squared_error(logits, labels)
        case "single_label_classification":
            return cross_entropy(logits, labels)
        case _:
            return binary_cross_entropy(logits, labels)


def question_answering_loss(
    start_logits: tf.Tensor,
    end_logits: tf.Tensor,
    start_positions: tf.Tensor | None,
    end_positions: tf.Tensor | None,
) -> tf.Tensor | None:
    """Return the mean of the cross-entropies of start and end, or None if neither position is given.

    Args:
        start_logits: [B, T].
        end_logits: [B, T].
        start_positions: [B] or [B, 1] integers. Negative ones count as 0, those from T on do not count.
        end_positions: Likewise.

    Raises:
        InputError: Only one of the positions is given, or one has the wrong shape.
    """
    if start_positions is None and end_positions is None:
        return None
    if start_positions is None or end_positions is None:
        raise InputError("Give start_positions and end_positions, or neither; got only one of them.")
    start = cross_entropy(start_logits, _inside(start_positions, start_logits), "start_positions")
    end = cross_entropy(end_logits, _inside(end_positions, end_logits), "end_positions")
    return (start + end) / 2


def _inside(positions: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    positions = ops.cast(positions, "int64")
    tokens = ops.cast(ops.shape(logits)[1], "int64")
    return ops.where(positions >= tokens, IGNORE_INDEX, ops.maximum(positions, 0))
