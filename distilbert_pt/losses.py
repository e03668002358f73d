"""Task losses: scalars in at least float32, means over the labels that count, 0 where none does."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from distilbert_core.config import DistilBertConfig
from distilbert_core.errors import InputError
from distilbert_core.inputs import IGNORE_INDEX, check_label_shape, check_range, problem_type
from distilbert_pt.pretrained import values_known


def _upcast(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def cross_entropy(logits: Tensor, labels: Tensor, name: str = "labels") -> Tensor:
    """Return the mean cross-entropy over the labels that are not -100.

    Args:
        logits: [..., C] scores of the classes.
        labels: [...] integers in [0, C), or -100 for positions that do not count.
        name: The argument to name in errors.

    Raises:
        InputError: Labels do not fit the logits, or lie outside the classes.
    """
    check_label_shape(labels.shape, logits.shape[:-1], name)
    classes = logits.shape[-1]
    labels = labels.flatten().long()
    counted = labels != IGNORE_INDEX
    if values_known(labels) and counted.any():
        lowest, highest = torch.aminmax(labels[counted])
        check_range(name, int(lowest), int(highest), classes, "number of classes")
    total = F.cross_entropy(_upcast(logits).reshape(-1, classes), labels, ignore_index=IGNORE_INDEX, reduction="sum")
    return total / counted.sum().clamp(min=1)


def mean_squared_error(predictions: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of the squared differences of two tensors with as many entries."""
    check_label_shape(targets.shape, predictions.shape)
    predictions = _upcast(predictions)
    return F.mse_loss(predictions, targets.to(predictions.dtype).reshape(predictions.shape))


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of logits against targets in [0, 1] of the same shape."""
    check_label_shape(targets.shape, logits.shape)
    logits = _upcast(logits)
    return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype).reshape(logits.shape))


def sequence_classification_loss(config: DistilBertConfig, logits: Tensor, labels: Tensor) -> Tensor:
    """Return the loss that the labels mean: regression, single-label or multi-label.

    Args:
        config: Gives `problem_type`; if that is None it is inferred from `num_labels` and the labels' dtype.
        logits: [B, L].
        labels: [B] classes, [B] or [B, L] numbers, or [B, L] of 0 and 1.
    """
    integers = not labels.is_floating_point() and labels.dtype != torch.bool
    match problem_type(config, integers):
        case "regression":
            return mean_squared_error(logits, labels)
        case "single_label_classification":
            return cross_entropy(logits, labels)
        case _:
            return binary_cross_entropy(logits, labels)


def question_answering_loss(
    start_logits: Tensor, end_logits: Tensor, start_positions: Tensor | None, end_positions: Tensor | None
) -> Tensor | None:
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
    start = cross_entropy(start_logits, _inside(start_positions, start_logits.shape[1]), "start_positions")
    end = cross_entropy(end_logits, _inside(end_positions, end_logits.shape[1]), "end_positions")
    return (start + end) / 2


def _inside(positions: Tensor, tokens: int) -> Tensor:
    return positions.clamp(min=0).masked_fill(positions >= tokens, IGNORE_INDEX)
