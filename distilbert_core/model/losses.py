"""Rules of the losses, for all backends: the problem type, the shapes of labels and weights, and which labels count.

A backend's module `losses` has the formulas. Functions here see shapes, dtypes and numbers; only `counted_positions`
takes a tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from distilbert_core.errors import InputError
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.inputs import IGNORE_INDEX, Shape, check_shape

REGRESSION, CLASSES, MULTI_LABEL = "regression", "single_label_classification", "multi_label_classification"

# Problem types of labels by their kind of dtype, for labels [B] or [B, 1] and for labels [B, L] like the logits.
# Floating labels of the first shape are whole numbers: Keras turns integers into them. None: the labels are ambiguous.
BY_SHAPE = {
    "integer": (CLASSES, None),
    "boolean": (CLASSES, MULTI_LABEL),
    "floating": (CLASSES, MULTI_LABEL),
}


# -- which loss -------------------------------------------------------------------------------------------------


def problem_type(config: DistilBertConfig, labels_are_integers: bool) -> str:
    """Return the problem type of labels of a sequence classifier.

    `config.problem_type` decides if it is set. Otherwise one label means regression, integers are classes, and other
    numbers are several labels in each row.
    """
    if config.problem_type is not None:
        return config.problem_type
    if config.num_labels == 1:
        return REGRESSION
    return CLASSES if labels_are_integers else MULTI_LABEL


def sequence_problem_type(
    config: DistilBertConfig, labels: Shape, logits: Shape, dtype: Any, labels_are_integers: bool
) -> str:
    """Return the problem type of labels of a sequence classifier, or raise InputError if they do not have its shape.

    Args:
        config: The configuration of the model.
        labels: Shape of the labels.
        logits: Shape [B, L] of the logits.
        dtype: Dtype of the labels, for the message.
        labels_are_integers: Whether the dtype is an integer dtype.

    Example:
        >>> from distilbert_core import DistilBertConfig
        >>> from distilbert_core.model.losses import sequence_problem_type
        >>> sequence_problem_type(DistilBertConfig(num_labels=3), (2, 3), (2, 3), "float32", False)
        'multi_label_classification'
    """
    found = problem_type(config, labels_are_integers)
    if found == MULTI_LABEL:
        check_multi_label(labels, logits, dtype)
    return found


def problem_type_by_shape(config: DistilBertConfig, labels: Shape, logits: Shape, dtype: str, kind: str | None) -> str:
    """Return the problem type of labels by their shape and their dtype, as Keras passes them to a loss.

    Args:
        config: The configuration of the model. Its `problem_type` decides if it is set.
        labels: Shape of the labels.
        logits: Shape [B, L] of the logits.
        dtype: Dtype of the labels, for messages.
        kind: 'integer', 'boolean' or 'floating'; None for any other dtype.

    Raises:
        InputError: The labels are not numbers, or integers of the shape [B, L].
    """
    if kind is None:
        raise InputError(f"labels must be numbers, got {dtype}: replace each name of a class by its index.")
    known = problem_type(config, labels_are_integers=True)
    if config.problem_type is not None or known == REGRESSION:
        return known
    meaning = BY_SHAPE[kind][_fit(labels, logits)]
    if meaning is None:
        raise InputError(
            f"labels have the shape {tuple(labels)} of the logits and the dtype {dtype}. For several labels "
            'in a row set problem_type="multi_label_classification", or give 0.0 and 1.0; for one class written as a '
            "vector give its index, labels.argmax(-1)."
        )
    return meaning


# -- labels and weights -----------------------------------------------------------------------------------------


def labels_given(head: Head, labels: Sequence[Any], sample_weight: Any) -> bool:
    """Return whether the labels of a head are given.

    Args:
        head: The head.
        labels: The labels in the order of `head.labels`; None for labels that are not given.
        sample_weight: Weights of the labels.

    Raises:
        InputError: Some of the labels are given and some are not, or weights are given without labels.
    """
    missing = [label is None for label in labels]
    if not any(missing):
        return True
    if not all(missing):
        raise InputError(f"Give {' and '.join(head.labels)}, or neither; got only one of them.")
    if sample_weight is not None:
        raise InputError("sample_weight says how much each label counts: give labels too, or leave it out.")
    return False


def single(values: Iterable[Any]) -> Any:
    """Return a single value itself, and several values as a tuple: `task_loss` takes them in this form."""
    values = tuple(values)
    return values if len(values) > 1 else values[0]


def counted_positions(positions: Any, tokens: Any, where: Callable[[Any, Any, Any], Any]) -> Any:
    """Return the positions of answers as labels: negative ones count as 0, those from `tokens` on do not count.

    Args:
        positions: [B] integers, a tensor of any framework.
        tokens: Number of tokens T.
        where: The framework's function: where(condition, value, other value).
    """
    return where(positions >= tokens, IGNORE_INDEX, where(positions < 0, 0, positions))


def check_label_shape(labels: Shape, logits: Shape, name: str = "labels") -> None:
    """Raise InputError if labels do not have the shape of the predictions.

    An axis of size 1 may be missing or extra: labels [B, 1] fit predictions [B], and the reverse.

    Args:
        labels: Shape of the labels.
        logits: Shape of the predictions.
        name: The argument with the labels.
    """
    expected, got = ([size for size in shape if size != 1] for shape in (logits, labels))
    check_shape(name, got, expected, "like the predictions")


def _fit(labels: Shape, logits: Shape) -> bool:
    try:
        check_label_shape(labels, logits)
    except InputError:
        return False
    return True


def check_multi_label(labels: Shape, logits: Shape, dtype: Any) -> None:
    """Raise InputError if labels of several classes in a row do not have the shape of the logits.

    Args:
        labels: Shape of the labels.
        logits: Shape [B, L] of the logits.
        dtype: Dtype of the labels, for the message.
    """
    try:
        check_label_shape(labels, logits)
    except InputError as error:
        raise InputError(
            f"labels of {dtype} are several labels in a row (multi-label) unless config.problem_type says otherwise. "
            f"{error} Give classes as integers."
        ) from None


def check_whole(name: str, fractions: Sequence[float]) -> None:
    """Raise InputError if classes are not whole numbers.

    Args:
        name: The argument with the classes.
        fractions: The classes that are not integers.
    """
    if len(fractions):
        raise InputError(f"{name} must be integers, the indices of classes, got {fractions[0]}.")


def weight_axes(name: str, weights: Shape, losses: Shape) -> int:
    """Return the number of leading axes of the losses that weights have. Axes of size 1 may follow them.

    Args:
        name: The argument with the weights.
        weights: Shape of the weights.
        losses: Shape of the losses of single labels, such as [B, T]. A size of None is not checked.

    Raises:
        InputError: The weights do not fit, such as [B, 3] for [B, T].

    Example:
        >>> from distilbert_core.model.losses import weight_axes
        >>> weight_axes("sample_weight", (8,), (8, 128)), weight_axes("sample_weight", (8, 128), (8, 128))
        (1, 2)
    """
    axes = len(weights)
    while axes > 1 and weights[axes - 1] == 1:
        axes -= 1
    check_shape(name, weights[:axes], losses[: max(axes, 1)], "[batch], or that of the labels,")
    return axes


def check_distillation(what: str, student: Shape, teacher: Shape, mask: Shape | None, temperature: float = 1.0) -> None:
    """Raise InputError if the shapes of student and teacher do not match, or the temperature is impossible.

    Args:
        what: 'logits' or 'hidden': the arguments are called student_logits or student_hidden, and so on.
        student: Shape [..., C].
        teacher: Shape of the teacher's tensor, which must be the same.
        mask: Shape [...] without the last axis, or None. A size of None is not checked.
        temperature: Must be finite and above 0.
    """
    check_shape(f"teacher_{what}", teacher, student, f"like student_{what}")
    check_shape("mask", mask, student[:-1], f"like student_{what} without the last axis")
    if not 0 < temperature < math.inf:
        raise InputError(f"temperature must be a finite number above 0, got {temperature}.")
