"""Formulas of the losses: scalars in at least float32, means over the labels that count, 0 if no label counts.

Labels outside the classes are an error when called eagerly. In a tf.function TensorFlow raises on the CPU; with
`jit_compile` and on accelerators the loss becomes NaN.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from keras import ops

from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.inputs import IGNORE_INDEX, check_interval, check_range
from distilbert_core.model.losses import (
    CLASSES,
    check_distillation,
    check_label_shape,
    check_whole,
    counted_positions,
    labels_given,
    problem_type_by_shape,
    weight_axes,
)
from distilbert_tf.tensors import shape_of, upcast, values_known


def _as_classes(labels: tf.Tensor, name: str) -> tf.Tensor:
    """Return classes as int64. A fraction is an error; in a graph it becomes -1, which is not a class."""
    if tf.as_dtype(labels.dtype).is_floating:
        whole = ops.equal(labels, ops.round(labels))
        if values_known(labels):
            check_whole(name, labels[~whole].numpy())
        labels = ops.where(whole, labels, -1)
    return ops.cast(labels, "int64")


def _weighted(losses: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
    """Return losses times weights, whose axes are the first axes of the losses."""
    if weights is None:
        return losses
    axes = weight_axes("sample_weight", tuple(weights.shape), tuple(losses.shape))
    if values_known(weights) and tf.size(weights):
        values = np.asarray(weights)
        check_interval("sample_weight", values.min(), values.max())
    shape = ops.shape(losses)
    return losses * ops.reshape(ops.cast(weights, losses.dtype), (*shape[:axes], *[1] * (len(shape) - axes)))


def cross_entropy(
    logits: tf.Tensor, labels: tf.Tensor, name: str = "labels", weights: tf.Tensor | None = None
) -> tf.Tensor:
    """Return the mean cross-entropy over the labels that are not -100.

    Args:
        logits: [..., C] scores of the classes.
        labels: [...] integers in [0, C); -100 for positions that do not count.
        name: The argument that errors name.
        weights: [...] or its first axes, such as [B]: finite numbers >= 0, which multiply the losses. The divisor of
            the sum stays the number of labels that count.

    Raises:
        InputError: The shape of labels or weights does not match the logits, or labels lie outside the classes.
    """
    check_label_shape(tuple(labels.shape), tuple(logits.shape)[:-1], name)
    classes = ops.shape(logits)[-1]  # the number of tokens is not known while a graph for all lengths is traced
    labels = ops.reshape(_as_classes(labels, name), (-1,))
    counted = ops.not_equal(labels, IGNORE_INDEX)
    if values_known(labels) and tf.reduce_any(counted):
        chosen = labels[counted]
        check_range(name, int(ops.min(chosen)), int(ops.max(chosen)), classes, "number of classes")
    targets = ops.where(counted, labels, 0)
    losses = ops.sparse_categorical_crossentropy(targets, upcast(ops.reshape(logits, (-1, classes))), from_logits=True)
    losses = ops.where(counted, losses, 0)  # not times 0: a class with a logit of -inf would become NaN
    if weights is not None:
        losses = _weighted(ops.reshape(losses, ops.shape(logits)[:-1]), weights)
    return ops.sum(losses) / ops.maximum(ops.sum(ops.cast(counted, losses.dtype)), 1)


def mean_squared_error(predictions: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
    """Return the mean squared error, each squared difference multiplied by its weight.

    Args:
        predictions: Tensor of any shape.
        targets: Tensor with the entries of the predictions.
        weights: Shape of the predictions, or of their first axes; see `cross_entropy`.
    """
    check_label_shape(tuple(targets.shape), tuple(predictions.shape))
    predictions = upcast(predictions)
    targets = ops.reshape(ops.cast(targets, predictions.dtype), ops.shape(predictions))
    return ops.mean(_weighted(ops.square(predictions - targets), weights))


def binary_cross_entropy(logits: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
    """Return the mean binary cross-entropy, each term multiplied by its weight.

    Args:
        logits: Tensor of any shape.
        targets: Numbers in [0, 1] of the shape of the logits.
        weights: Shape of the logits, or of their first axes; see `cross_entropy`.
    """
    check_label_shape(tuple(targets.shape), tuple(logits.shape))
    logits = upcast(logits)
    targets = ops.reshape(ops.cast(targets, logits.dtype), ops.shape(logits))
    if values_known(targets) and tf.size(targets):
        values = np.asarray(targets)
        check_interval("labels", values.min(), values.max(), largest=1)
    return ops.mean(_weighted(ops.softplus(logits) - targets * logits, weights))


def kind_of(dtype: tf.DType) -> str | None:
    """Return the kind of a dtype of labels; None for other dtypes, such as texts."""
    if dtype.is_bool:
        return "boolean"
    return "integer" if dtype.is_integer else "floating" if dtype.is_floating else None


def labels_mean(config: DistilBertConfig, labels: tf.Tensor, logits: tuple[int | None, ...]) -> str:
    """Return the problem type of labels by their dtype and their shape.

    Args:
        config: The configuration of the model.
        labels: The labels, a tensor or its spec.
        logits: Shape [B, L] of the logits.

    Raises:
        InputError: The labels are not numbers, or integers of the shape [B, L].

    Example:
        >>> import tensorflow as tf
        >>> from distilbert_tf import DistilBertConfig
        >>> from distilbert_tf.losses import labels_mean
        >>> config = DistilBertConfig(num_labels=3)
        >>> labels_mean(config, tf.constant([0.0, 2.0]), (2, 3)), labels_mean(config, tf.zeros((2, 3)), (2, 3))
        ('single_label_classification', 'multi_label_classification')
    """
    dtype = tf.as_dtype(labels.dtype)
    return problem_type_by_shape(config, tuple(labels.shape), logits, dtype.name, kind_of(dtype))


def check_labels(config: DistilBertConfig, labels: np.ndarray) -> None:
    """Raise InputError if labels do not fit a sequence classifier. A graph would raise a less helpful error.

    Args:
        config: The configuration of the model.
        labels: Labels of any number of rows.
    """
    meaning = labels_mean(config, labels, (len(labels), config.num_labels))
    if meaning == CLASSES and labels.dtype.kind == "f":
        check_whole("labels", labels[labels != np.round(labels)])


def sequence_classification_loss(
    config: DistilBertConfig, logits: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor | None = None
) -> tf.Tensor:
    """Return the loss of a sequence classifier: regression, single-label or multi-label.

    Args:
        config: Gives `problem_type`; if that is None it is inferred; see `labels_mean`.
        logits: [B, L].
        labels: [B] classes, [B] or [B, L] numbers, or [B, L] of 0 and 1.
        weights: [B], or [B, L] if the labels have that shape; see `cross_entropy`.
    """
    match labels_mean(config, labels, tuple(logits.shape)):
        case "regression":
            return mean_squared_error(logits, labels, weights)
        case "single_label_classification":
            return cross_entropy(logits, labels, weights=weights)
        case _:
            return binary_cross_entropy(logits, labels, weights)


def question_answering_loss(
    start_logits: tf.Tensor,
    end_logits: tf.Tensor,
    start_positions: tf.Tensor | None,
    end_positions: tf.Tensor | None,
    weights: tf.Tensor | tuple[tf.Tensor, tf.Tensor] | None = None,
) -> tf.Tensor | None:
    """Return the mean of the cross-entropies of start and end, or None if neither position is given.

    Args:
        start_logits: [B, T].
        end_logits: [B, T].
        start_positions: [B] or [B, 1] integers. A negative one counts as 0; one of T or more does not count.
        end_positions: [B] or [B, 1] integers with the same rules.
        weights: [B], for both positions, or a pair for start and end; see `cross_entropy`.

    Raises:
        InputError: Only one of the positions is given, one has the wrong shape, or weights are given without them.
    """
    if not labels_given(Head.QUESTION_ANSWERING, (start_positions, end_positions), weights):
        return None
    of_start, of_end = weights if isinstance(weights, tuple) else (weights, weights)
    start = _targets(start_positions, start_logits, "start_positions")
    end = _targets(end_positions, end_logits, "end_positions")
    loss = cross_entropy(start_logits, start, "start_positions", of_start)
    return (loss + cross_entropy(end_logits, end, "end_positions", of_end)) / 2


def _targets(positions: tf.Tensor, logits: tf.Tensor, name: str) -> tf.Tensor:
    return counted_positions(_as_classes(positions, name), ops.cast(ops.shape(logits)[1], "int64"), ops.where)


def distillation_loss(
    student_logits: tf.Tensor, teacher_logits: tf.Tensor, temperature: float = 2.0, mask: tf.Tensor | None = None
) -> tf.Tensor:
    """Return temperature² times the mean Kullback-Leibler divergence KL(teacher || student).

    The temperature softens both distributions; its square keeps the size of the gradients the same at every
    temperature (Hinton et al. 2015, https://arxiv.org/abs/1503.02531; Sanh et al. 2019,
    https://arxiv.org/abs/1910.01108). The teacher gets no gradient. The mean is over positions, not over classes.

    Args:
        student_logits: [..., C] scores of the classes.
        teacher_logits: [..., C]. A class with -inf has probability 0 and adds nothing.
        temperature: Finite and above 0; 1 does not change the distributions.
        mask: [...] boolean or of 0 and 1, true where a position counts; None: all positions count. Values at the
            other positions, NaN included, change neither loss nor gradients.

    Raises:
        InputError: The shape of teacher or mask does not match the student, or the temperature is impossible.
    """
    check_distillation("logits", tuple(student_logits.shape), tuple(teacher_logits.shape), shape_of(mask), temperature)
    student, teacher, mask = _counted(student_logits, teacher_logits, mask)
    student = ops.log_softmax(student / temperature)
    teacher = ops.log_softmax(teacher / temperature)
    probabilities = ops.exp(teacher)
    terms = ops.where(probabilities > 0, probabilities * (teacher - student), 0)  # 0 * log 0 is 0
    return temperature**2 * _mean(ops.sum(terms, axis=-1), mask)


def cosine_loss(student_hidden: tf.Tensor, teacher_hidden: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
    """Return the mean of 1 - cosine similarity between the hidden states of student and teacher.

    The teacher gets no gradient. A hidden state of zeros has similarity 0 to everything.

    Args:
        student_hidden: [..., D].
        teacher_hidden: [..., D]. Project a teacher of another width first.
        mask: [...], as in `distillation_loss`.

    Raises:
        InputError: The shape of teacher or mask does not match the student.
    """
    check_distillation("hidden", tuple(student_hidden.shape), tuple(teacher_hidden.shape), shape_of(mask))
    student, teacher, mask = _counted(student_hidden, teacher_hidden, mask)
    return _mean(1 - ops.sum(_unit(student) * _unit(teacher), axis=-1), mask)


def hidden_loss(student_hidden: tf.Tensor, teacher_hidden: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
    """Return the squared error of hidden states, divided by the variance of the teacher's: the variance not explained.

    It is 1 for a student that knows only the mean, and does not depend on the scale of the states. So layers of
    different scales can be added. If the teacher's states do not vary, it is the squared error itself. The teacher gets
    no gradient. Jiao et al. 2019 (https://arxiv.org/abs/1909.10351, equation 8) use the mean squared error.

    Args:
        student_hidden: [..., D].
        teacher_hidden: [..., D]. Project a student of another width first.
        mask: [...], as in `distillation_loss`.

    Raises:
        InputError: The shape of teacher or mask does not match the student.
    """
    check_distillation("hidden", tuple(student_hidden.shape), tuple(teacher_hidden.shape), shape_of(mask))
    student, teacher, mask = _counted(student_hidden, teacher_hidden, mask)
    counted = ops.ones_like(teacher[..., 0]) if mask is None else ops.cast(mask, teacher.dtype)
    rows = ops.reshape(teacher, (-1, teacher.shape[-1] or ops.shape(teacher)[-1]))
    centre = ops.sum(rows, axis=0) / ops.maximum(ops.sum(counted), 1)  # [D]
    variance = _mean(ops.sum(ops.square(teacher - centre), axis=-1), mask)
    error = _mean(ops.sum(ops.square(student - teacher), axis=-1), mask)
    return error / ops.where(variance > 0, variance, 1)


def cosine_similarities(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Return the cosine similarity of each row of one matrix with each row of another one.

    Args:
        a: [M, D].
        b: [N, D].

    Returns:
        [M, N] in at least float32. A row of zeros has similarity 0 to every row.
    """
    return ops.matmul(_unit(upcast(a)), ops.transpose(_unit(upcast(b))))


def logits_squared_error(
    student_logits: tf.Tensor, teacher_logits: tf.Tensor, mask: tf.Tensor | None = None
) -> tf.Tensor:
    """Return the squared differences of student and teacher, summed over classes, averaged over positions.

    DistilBERT was trained with this reduction. The teacher gets no gradient.

    Args:
        student_logits: [..., C].
        teacher_logits: [..., C].
        mask: [...], as in `distillation_loss`.

    Raises:
        InputError: The shape of teacher or mask does not match the student.
    """
    check_distillation("logits", tuple(student_logits.shape), tuple(teacher_logits.shape), shape_of(mask))
    student, teacher, mask = _counted(student_logits, teacher_logits, mask)
    return _mean(ops.sum(ops.square(student - teacher), axis=-1), mask)


def _counted(
    student: tf.Tensor, teacher: tf.Tensor, mask: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor | None]:
    """Return both in the student's dtype, at least float32, with zeros where the mask is false: NaN * 0 is NaN."""
    student = upcast(student)
    teacher = ops.cast(ops.stop_gradient(teacher), student.dtype)
    teacher = ops.reshape(teacher, ops.shape(student))  # sizes that are unknown while tracing must not broadcast
    if mask is None:
        return student, teacher, None
    mask = ops.reshape(ops.cast(mask, "bool"), ops.shape(student)[:-1])
    return ops.where(mask[..., None], student, 0), ops.where(mask[..., None], teacher, 0), mask


def _unit(x: tf.Tensor) -> tf.Tensor:
    # Inside the root, as in torch.nn.functional.cosine_embedding_loss: sqrt((|s|² + 1e-12) (|t|² + 1e-12)) divides s·t.
    return x * ops.rsqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-12)


def _mean(losses: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
    counted = ops.ones_like(losses) if mask is None else ops.cast(mask, losses.dtype)
    return ops.sum(losses * counted) / ops.maximum(ops.sum(counted), 1)
