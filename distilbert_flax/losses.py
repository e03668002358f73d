"""Formulas of the losses: scalars in at least float32, means over the labels that count, 0 if no label counts.

Labels outside the classes are an error when called eagerly, and make the loss NaN under `jax.jit`.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.inputs import IGNORE_INDEX, check_interval, check_range
from distilbert_core.model.losses import (
    check_distillation,
    check_label_shape,
    check_whole,
    counted_positions,
    labels_given,
    sequence_problem_type,
    weight_axes,
)
from distilbert_flax.tensors import at_least_float32, shape_of, values_known


def _upcast(logits: Array) -> Array:
    return logits.astype(at_least_float32(logits.dtype))


def _with_targets(logits: Array, targets: Array) -> tuple[Array, Array]:
    """Return logits and targets in the shape of the logits and in the wider of their dtypes, at least float32."""
    logits, targets = _upcast(logits), targets.reshape(logits.shape)
    fractions = jnp.issubdtype(targets.dtype, jnp.floating)
    dtype = np.promote_types(logits.dtype, targets.dtype) if fractions else logits.dtype
    return logits.astype(dtype), targets.astype(dtype)


def _as_classes(labels: ArrayLike, name: str) -> Array:
    """Return classes as integers. A fraction is an error; under jit it becomes -1, which is not a class."""
    labels = jnp.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.floating):
        return labels.astype(int) if labels.dtype == bool else labels
    if values_known(labels):
        known = np.asarray(labels)
        check_whole(name, known[known != known.round()])
    return jnp.where(labels == labels.round(), labels, -1).astype(int)


def _weighted(losses: Array, weights: ArrayLike | None) -> Array:
    """Return losses times weights, whose axes are the first axes of the losses."""
    if weights is None:
        return losses
    axes = weight_axes("sample_weight", jnp.shape(weights), losses.shape)
    if values_known(weights) and np.size(weights):
        known = np.asarray(weights)
        check_interval("sample_weight", known.min(), known.max())
    weights = jnp.asarray(weights, losses.dtype)
    return losses * weights.reshape(*losses.shape[:axes], *[1] * (losses.ndim - axes))


def cross_entropy(logits: Array, labels: ArrayLike, name: str = "labels", weights: ArrayLike | None = None) -> Array:
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
    check_label_shape(jnp.shape(labels), logits.shape[:-1], name)
    classes = logits.shape[-1]
    labels = _as_classes(labels, name).reshape(logits.shape[:-1])
    counted = labels != IGNORE_INDEX
    if values_known(labels):
        known = np.asarray(labels)  # NumPy: under jit, results of jnp are tracers even for known values
        known = known[known != IGNORE_INDEX]
        if known.size:
            check_range(name, int(known.min()), int(known.max()), classes, "number of classes")
    log_probabilities = jax.nn.log_softmax(_upcast(logits))  # [..., C]
    chosen = jnp.where(counted, labels, 0)[..., None]
    losses = -jnp.take_along_axis(log_probabilities, chosen, axis=-1, mode="fill")[..., 0]
    losses = jnp.where(counted & (labels < 0), jnp.nan, losses)  # a negative index would count from the end
    return _weighted(jnp.where(counted, losses, 0), weights).sum() / _at_least_one(counted, losses.dtype)


def mean_squared_error(predictions: Array, targets: ArrayLike, weights: ArrayLike | None = None) -> Array:
    """Return the mean squared error, each squared difference multiplied by its weight.

    Args:
        predictions: Tensor of any shape.
        targets: Tensor with the entries of the predictions.
        weights: Shape of the predictions, or of their first axes; see `cross_entropy`.
    """
    targets = jnp.asarray(targets)
    check_label_shape(targets.shape, predictions.shape)
    predictions, targets = _with_targets(predictions, targets)
    return _weighted(jnp.square(predictions - targets), weights).mean()


def binary_cross_entropy(logits: Array, targets: ArrayLike, weights: ArrayLike | None = None) -> Array:
    """Return the mean binary cross-entropy, each term multiplied by its weight.

    Args:
        logits: Tensor of any shape.
        targets: Numbers in [0, 1] of the shape of the logits.
        weights: Shape of the logits, or of their first axes; see `cross_entropy`.
    """
    targets = jnp.asarray(targets)
    check_label_shape(targets.shape, logits.shape)
    if values_known(targets) and targets.size:
        known = np.asarray(targets)
        check_interval("labels", known.min(), known.max(), largest=1)
    logits, targets = _with_targets(logits, targets)
    return _weighted(jax.nn.softplus(logits) - targets * logits, weights).mean()


def sequence_classification_loss(
    config: DistilBertConfig, logits: Array, labels: ArrayLike, weights: ArrayLike | None = None
) -> Array:
    """Return the loss of a sequence classifier: regression, single-label or multi-label.

    Args:
        config: Gives `problem_type`; if that is None it is inferred from `num_labels` and the labels' dtype.
        logits: [B, L].
        labels: [B] classes, [B] or [B, L] numbers, or [B, L] of 0 and 1.
        weights: [B], or [B, L] if the labels have that shape; see `cross_entropy`.
    """
    labels = jnp.asarray(labels)
    integers = jnp.issubdtype(labels.dtype, jnp.integer)
    match sequence_problem_type(config, labels.shape, logits.shape, labels.dtype, integers):
        case "regression":
            return mean_squared_error(logits, labels, weights)
        case "single_label_classification":
            return cross_entropy(logits, labels, weights=weights)
        case _:
            return binary_cross_entropy(logits, labels, weights)


def question_answering_loss(
    start_logits: Array,
    end_logits: Array,
    start_positions: ArrayLike | None,
    end_positions: ArrayLike | None,
    weights: ArrayLike | None = None,
) -> Array | None:
    """Return the mean of the cross-entropies of start and end, or None if neither position is given.

    Args:
        start_logits: [B, T].
        end_logits: [B, T].
        start_positions: [B] or [B, 1] integers. A negative one counts as 0; one of T or more does not count.
        end_positions: [B] or [B, 1] integers with the same rules.
        weights: [B], for both positions; see `cross_entropy`.

    Raises:
        InputError: Only one of the positions is given, one has the wrong shape, or weights are given without them.
    """
    positions = start_positions, end_positions
    if not labels_given(Head.QUESTION_ANSWERING, positions, weights):
        return None
    start, end = (counted_positions(jnp.asarray(x), start_logits.shape[1], jnp.where) for x in positions)
    loss = cross_entropy(start_logits, start, "start_positions", weights)
    return (loss + cross_entropy(end_logits, end, "end_positions", weights)) / 2


def distillation_loss(
    student_logits: Array, teacher_logits: ArrayLike, temperature: float = 2.0, mask: ArrayLike | None = None
) -> Array:
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
    check_distillation("logits", student_logits.shape, jnp.shape(teacher_logits), shape_of(mask), temperature)
    student, teacher = _counted(student_logits, teacher_logits, mask)
    student = jax.nn.log_softmax(student / temperature)
    teacher = jax.nn.log_softmax(teacher / temperature)
    probabilities = jnp.exp(teacher)
    terms = jnp.where(probabilities > 0, probabilities * (teacher - student), 0)  # 0 * log 0 is 0
    return temperature**2 * _mean(terms.sum(-1), mask)


def cosine_loss(student_hidden: Array, teacher_hidden: ArrayLike, mask: ArrayLike | None = None) -> Array:
    """Return the mean of 1 - cosine similarity between the hidden states of student and teacher.

    The teacher gets no gradient. A hidden state of zeros has similarity 0 to everything.

    Args:
        student_hidden: [..., D].
        teacher_hidden: [..., D]. Project a teacher of another width first.
        mask: [...], as in `distillation_loss`.

    Raises:
        InputError: The shape of teacher or mask does not match the student.
    """
    check_distillation("hidden", student_hidden.shape, jnp.shape(teacher_hidden), shape_of(mask))
    student, teacher = _counted(student_hidden, teacher_hidden, mask)
    return _mean(1 - (_unit(student) * _unit(teacher)).sum(-1), mask)


def hidden_loss(student_hidden: Array, teacher_hidden: ArrayLike, mask: ArrayLike | None = None) -> Array:
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
    check_distillation("hidden", student_hidden.shape, jnp.shape(teacher_hidden), shape_of(mask))
    student, teacher = _counted(student_hidden, teacher_hidden, mask)
    counted = jnp.ones_like(teacher[..., 0]) if mask is None else jnp.asarray(mask, bool)
    centre = teacher.reshape(-1, teacher.shape[-1]).sum(0) / _at_least_one(counted, teacher.dtype)  # [D]
    variance = _mean(jnp.square(teacher - centre).sum(-1), mask)
    return _mean(jnp.square(student - teacher).sum(-1), mask) / jnp.where(variance > 0, variance, 1)


def cosine_similarities(a: ArrayLike, b: ArrayLike) -> Array:
    """Return the cosine similarity of each row of one matrix with each row of another one.

    Args:
        a: [M, D].
        b: [N, D].

    Returns:
        [M, N] in at least float32. A row of zeros has similarity 0 to every row.
    """
    return _unit(_upcast(jnp.asarray(a))) @ _unit(_upcast(jnp.asarray(b))).T


def logits_squared_error(student_logits: Array, teacher_logits: ArrayLike, mask: ArrayLike | None = None) -> Array:
    """Return the squared differences of student and teacher, summed over classes, averaged over positions.

    DistilBERT was trained with this reduction. The teacher gets no gradient.

    Args:
        student_logits: [..., C].
        teacher_logits: [..., C].
        mask: [...], as in `distillation_loss`.

    Raises:
        InputError: The shape of teacher or mask does not match the student.
    """
    check_distillation("logits", student_logits.shape, jnp.shape(teacher_logits), shape_of(mask))
    student, teacher = _counted(student_logits, teacher_logits, mask)
    return _mean(jnp.square(student - teacher).sum(-1), mask)


def _counted(student: Array, teacher: ArrayLike, mask: ArrayLike | None) -> tuple[Array, Array]:
    """Return both in the student's dtype, at least float32, with zeros where the mask is false: NaN * 0 is NaN."""
    student = _upcast(student)
    teacher = jax.lax.stop_gradient(jnp.asarray(teacher, student.dtype))
    if mask is None:
        return student, teacher
    counted = jnp.asarray(mask, bool)[..., None]
    return jnp.where(counted, student, 0), jnp.where(counted, teacher, 0)


def _unit(x: Array) -> Array:
    # Inside the root, as in torch.nn.functional.cosine_embedding_loss: sqrt((|s|² + 1e-12) (|t|² + 1e-12)) divides s·t.
    return x * jax.lax.rsqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-12)


def _mean(losses: Array, mask: ArrayLike | None) -> Array:
    counted = jnp.ones_like(losses) if mask is None else jnp.asarray(mask, bool)
    return jnp.where(counted, losses, 0).sum() / _at_least_one(counted, losses.dtype)


def _at_least_one(counted: Array, dtype: Any) -> Array:
    """Return the number of positions that count, at least 1, in a dtype."""
    return jnp.maximum(counted.sum(), 1).astype(dtype)
