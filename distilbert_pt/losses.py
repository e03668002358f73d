"""Formulas of the losses: scalars in at least float32, means over the labels that count, 0 if no label counts."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

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
from distilbert_pt.tensors import shape_of, upcast, values_known


def _as_classes(labels: Tensor, name: str) -> Tensor:
    """Return classes as int64. A fraction is an error; in a graph it becomes -1, which is not a class."""
    if not labels.is_floating_point():
        return labels.long()
    whole = labels == labels.round()
    if values_known(labels):
        check_whole(name, labels[~whole].tolist())
    return torch.where(whole, labels, -1).long()


def _spread(weights: Tensor, losses: Tensor, shape: torch.Size) -> Tensor:
    """Return weights for losses [M] or [...], given the shape of the losses before they were flattened."""
    axes = weight_axes("sample_weight", weights.shape, shape)
    weights = weights.to(losses.dtype)
    if values_known(weights) and weights.numel():
        lowest, highest = torch.aminmax(weights)
        check_interval("sample_weight", float(lowest), float(highest))
    return weights.reshape(*shape[:axes], *[1] * (len(shape) - axes)).expand(shape).reshape(losses.shape)


def cross_entropy(logits: Tensor, labels: Tensor, name: str = "labels", weights: Tensor | None = None) -> Tensor:
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
    check_label_shape(labels.shape, logits.shape[:-1], name)
    classes = logits.shape[-1]
    labels = _as_classes(labels, name).flatten()
    counted = labels != IGNORE_INDEX
    if not labels.is_cuda and values_known(labels) and counted.any():  # a GPU checks them itself, without waiting
        lowest, highest = torch.aminmax(labels[counted])
        check_range(name, int(lowest), int(highest), classes, "number of classes")
    reduction = "sum" if weights is None else "none"
    losses = F.cross_entropy(
        upcast(logits).reshape(-1, classes), labels, ignore_index=IGNORE_INDEX, reduction=reduction
    )
    total = losses if weights is None else (losses * _spread(weights, losses, logits.shape[:-1])).sum()
    return total / counted.sum().clamp(min=1)


def _weighted_mean(function: Callable[..., Tensor], logits: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return function(logits, targets)
    losses = function(logits, targets, reduction="none")
    return (losses * _spread(weights, losses, losses.shape)).mean()


def mean_squared_error(predictions: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean squared error, each squared difference multiplied by its weight.

    Args:
        predictions: Tensor of any shape.
        targets: Tensor with the entries of the predictions.
        weights: Shape of the predictions, or of their first axes; see `cross_entropy`.
    """
    check_label_shape(targets.shape, predictions.shape)
    predictions = upcast(predictions)
    targets = targets.to(predictions.dtype).reshape(predictions.shape)
    return _weighted_mean(F.mse_loss, predictions, targets, weights)


def binary_cross_entropy(logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean binary cross-entropy, each term multiplied by its weight.

    Args:
        logits: Tensor of any shape.
        targets: Numbers in [0, 1] of the shape of the logits.
        weights: Shape of the logits, or of their first axes; see `cross_entropy`.
    """
    check_label_shape(targets.shape, logits.shape)
    logits = upcast(logits)
    targets = targets.to(logits.dtype).reshape(logits.shape)
    if values_known(targets) and targets.numel():
        lowest, highest = torch.aminmax(targets)
        check_interval("labels", float(lowest), float(highest), largest=1)
    return _weighted_mean(F.binary_cross_entropy_with_logits, logits, targets, weights)


def sequence_classification_loss(
    config: DistilBertConfig, logits: Tensor, labels: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Return the loss of a sequence classifier: regression, single-label or multi-label.

    Args:
        config: Gives `problem_type`; if that is None it is inferred from `num_labels` and the labels' dtype.
        logits: [B, L].
        labels: [B] classes, [B] or [B, L] numbers, or [B, L] of 0 and 1.
        weights: [B], or [B, L] if the labels have that shape; see `cross_entropy`.
    """
    integers = not labels.is_floating_point() and labels.dtype != torch.bool
    match sequence_problem_type(config, labels.shape, logits.shape, labels.dtype, integers):
        case "regression":
            return mean_squared_error(logits, labels, weights)
        case "single_label_classification":
            return cross_entropy(logits, labels, weights=weights)
        case _:
            return binary_cross_entropy(logits, labels, weights)


def question_answering_loss(
    start_logits: Tensor,
    end_logits: Tensor,
    start_positions: Tensor | None,
    end_positions: Tensor | None,
    weights: Tensor | None = None,
) -> Tensor | None:
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
    start, end = (counted_positions(x, start_logits.shape[1], torch.where) for x in positions)
    loss = cross_entropy(start_logits, start, "start_positions", weights)
    return (loss + cross_entropy(end_logits, end, "end_positions", weights)) / 2


def distillation_loss(
    student_logits: Tensor, teacher_logits: Tensor, temperature: float = 2.0, mask: Tensor | None = None
) -> Tensor:
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
    check_distillation("logits", student_logits.shape, teacher_logits.shape, shape_of(mask), temperature)
    student, teacher = _counted(student_logits, teacher_logits, mask)
    student = F.log_softmax(student / temperature, dim=-1)
    teacher = F.log_softmax(teacher / temperature, dim=-1)
    probabilities = teacher.exp()
    terms = torch.where(probabilities > 0, probabilities * (teacher - student), 0)  # 0 * log 0 is 0
    return temperature**2 * _mean(terms.sum(-1), mask)


def cosine_loss(student_hidden: Tensor, teacher_hidden: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the mean of 1 - cosine similarity between the hidden states of student and teacher.

    The teacher gets no gradient. A hidden state of zeros has similarity 0 to everything.

    Args:
        student_hidden: [..., D].
        teacher_hidden: [..., D]. Project a teacher of another width first.
        mask: [...], as in `distillation_loss`.

    Raises:
        InputError: The shape of teacher or mask does not match the student.
    """
    check_distillation("hidden", student_hidden.shape, teacher_hidden.shape, shape_of(mask))
    student, teacher = _counted(student_hidden, teacher_hidden, mask)
    return _mean(1 - (_unit(student) * _unit(teacher)).sum(-1), mask)


def hidden_loss(student_hidden: Tensor, teacher_hidden: Tensor, mask: Tensor | None = None) -> Tensor:
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
    check_distillation("hidden", student_hidden.shape, teacher_hidden.shape, shape_of(mask))
    student, teacher = _counted(student_hidden, teacher_hidden, mask)
    counted = torch.ones_like(teacher[..., 0]) if mask is None else mask.bool()
    centre = teacher.reshape(-1, teacher.shape[-1]).sum(0) / counted.sum().clamp(min=1)  # [D]
    variance = _mean((teacher - centre).square().sum(-1), mask)
    return _mean((student - teacher).square().sum(-1), mask) / torch.where(variance > 0, variance, 1)


def cosine_similarities(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine similarity of each row of one matrix with each row of another one.

    Args:
        a: [M, D].
        b: [N, D].

    Returns:
        [M, N] in at least float32. A row of zeros has similarity 0 to every row.
    """
    return _unit(upcast(a)) @ _unit(upcast(b)).mT


def logits_squared_error(student_logits: Tensor, teacher_logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the squared differences of student and teacher, summed over classes, averaged over positions.

    DistilBERT was trained with this reduction. The teacher gets no gradient.

    Args:
        student_logits: [..., C].
        teacher_logits: [..., C].
        mask: [...], as in `distillation_loss`.

    Raises:
        InputError: The shape of teacher or mask does not match the student.
    """
    check_distillation("logits", student_logits.shape, teacher_logits.shape, shape_of(mask))
    student, teacher = _counted(student_logits, teacher_logits, mask)
    return _mean((student - teacher).square().sum(-1), mask)


def _counted(student: Tensor, teacher: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return both in the student's dtype, at least float32, with zeros where the mask is false: NaN * 0 is NaN."""
    student = upcast(student)
    teacher = teacher.detach().to(student.dtype)
    if mask is None:
        return student, teacher
    counted = mask.bool()[..., None]
    return torch.where(counted, student, 0), torch.where(counted, teacher, 0)


def _unit(x: Tensor) -> Tensor:
    # Inside the root, as in torch.nn.functional.cosine_embedding_loss: sqrt((|s|² + 1e-12) (|t|² + 1e-12)) divides s·t.
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-12)


def _mean(losses: Tensor, mask: Tensor | None) -> Tensor:
    counted = torch.ones_like(losses) if mask is None else mask.bool()
    return (losses * counted).sum() / counted.sum().clamp(min=1)
