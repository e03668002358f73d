"""What a model may be given, decided once: shapes, ranges, problem types. No framework, only sizes and numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from distilbert_core.errors import InputError
from distilbert_core.model.config import DistilBertConfig

IGNORE_INDEX = -100  # a label that takes no part in the loss

Shape = Sequence[int | None]  # None: not known while a graph is being traced


def check_shapes(config: DistilBertConfig, shapes: Mapping[str, Shape | None]) -> None:
    """Raise InputError, naming the argument, if the model's inputs do not fit together.

    Args:
        config: The model's configuration.
        shapes: Shape, or None for an argument that is not given, of 'input_ids', 'inputs_embeds', 'attention_mask',
            'position_ids', 'head_mask', 'segment_ids' and 'output_tokens'. A size of None is not checked.
    """
    ids, embeds = shapes["input_ids"], shapes["inputs_embeds"]
    if ids is None and embeds is None:
        raise InputError("Give input_ids or inputs_embeds; got neither.")
    if ids is not None and embeds is not None:
        raise InputError("Give input_ids or inputs_embeds, not both.")
    if ids is not None:
        _check_shape("input_ids", ids, (None, None), "[batch, tokens]")
        batch, tokens = ids
    else:
        assert embeds is not None
        _check_shape("inputs_embeds", embeds, (None, None, config.dim), f"[batch, tokens, dim={config.dim}]")
        batch, tokens = embeds[:2]
    _check_shape("attention_mask", shapes["attention_mask"], (batch, tokens), "[batch, tokens] like the input")
    positions = shapes["position_ids"]
    if positions is None:
        _check_length(tokens, config.max_position_embeddings, "input_ids" if ids is not None else "inputs_embeds")
    elif len(positions) != 1:
        first = 1 if positions[0] == 1 else batch
        _check_shape("position_ids", positions, (first, tokens), "[tokens], [1, tokens] or [batch, tokens]")
    else:
        _check_shape("position_ids", positions, (tokens,), "[tokens], [1, tokens] or [batch, tokens]")
    segments = shapes.get("segment_ids")
    if segments is not None:
        _check_shape("segment_ids", segments, (batch, tokens), "[batch, tokens] like the input")
        if positions is None or shapes["attention_mask"] is not None:
            raise InputError("segment_ids go with position_ids, and without attention_mask: padding is a segment too.")
    _check_shape("output_tokens", shapes.get("output_tokens"), (batch, None), "[batch, any number]")
    head_mask = shapes["head_mask"]
    if head_mask is not None:
        expected = (config.n_heads,) if len(head_mask) == 1 else (config.n_layers, config.n_heads)
        _check_shape("head_mask", head_mask, expected, "[heads] or [layers, heads]")


def _check_shape(name: str, shape: Shape | None, expected: Shape, meaning: str) -> None:
    if shape is None:
        return
    fits = len(shape) == len(expected) and all(
        size is None or want is None or size == want for size, want in zip(shape, expected, strict=True)
    )
    if not fits:
        wanted = ", ".join("?" if size is None else str(size) for size in expected)
        raise InputError(f"{name} must have shape {meaning} = ({wanted}), got {tuple(shape)}.")


def choice_count(input_ids: Shape | None, inputs_embeds: Shape | None) -> int:
    """Return the number of choices C of a multiple-choice input, from its shape.

    Args:
        input_ids: Shape [B, C, T], or None.
        inputs_embeds: Shape [B, C, T, D], or None.

    Raises:
        InputError: The input has no axis for choices, or there is none.
    """
    shape = input_ids if inputs_embeds is None else inputs_embeds
    if shape is None:
        raise InputError("Give input_ids or inputs_embeds; got neither.")
    _check_shape("input_ids", input_ids, (None, None, None), "[batch, choices, tokens]")
    _check_shape("inputs_embeds", inputs_embeds, (None, None, None, None), "[batch, choices, tokens, dim]")
    count = shape[1]
    if count is None:
        raise InputError("The number of choices must be known when the model is traced.")
    return count


def _check_length(tokens: int | None, longest: int, name: str) -> None:
    if tokens is not None and tokens > longest:
        raise InputError(
            f"{name} has {tokens} tokens, more than max_position_embeddings={longest}; truncate the text "
            "(truncation=True in the tokenizer) or enlarge the table with resize_position_embeddings."
        )


def check_range(name: str, lowest: int, highest: int, size: int, meaning: str) -> None:
    """Raise InputError if ids from `lowest` to `highest` do not all lie in [0, size).

    Args:
        name: The argument.
        lowest: Smallest value found in it.
        highest: Largest value found in it.
        size: First value that is too large.
        meaning: What `size` is, e.g. 'vocab_size'.
    """
    if lowest < 0 or highest >= size:
        wrong = lowest if lowest < 0 else highest
        raise InputError(f"{name} must lie in [0, {meaning}={size}), got {wrong}.")


def problem_type(config: DistilBertConfig, labels_are_integers: bool) -> str:
    """Return what sequence-classification labels mean: the config's word, else inferred from size and dtype."""
    if config.problem_type is not None:
        return config.problem_type
    if config.num_labels == 1:
        return "regression"
    return "single_label_classification" if labels_are_integers else "multi_label_classification"


def check_label_shape(labels: Shape, logits: Shape, name: str = "labels") -> None:
    """Raise InputError if `labels` do not have as many entries, in the same order, as the `logits` they judge.

    A size of 1 may be missing or extra (labels [B, 1] for logits [B], and the other way round).
    """
    wanted, got = ([size for size in shape if size != 1] for shape in (logits, labels))
    _check_shape(name, got, wanted, "like what the model predicts")


def check_multi_label(labels: Shape, logits: Shape, dtype: Any) -> None:
    """Raise InputError if labels that are taken for several in each row do not have the shape of the logits.

    Args:
        labels: Their shape.
        logits: Shape [B, L].
        dtype: That of the labels, for the message.
    """
    try:
        check_label_shape(labels, logits)
    except InputError as error:
        raise InputError(
            f"labels of {dtype} are several labels in a row (multi-label) unless config.problem_type says otherwise. "
            f"{error} Give classes as integers."
        ) from None


def weight_axes(name: str, weights: Shape, losses: Shape) -> int:
    """Return how many axes of the losses their weights have: the first ones, which axes of size 1 may follow.

    Args:
        name: The argument.
        weights: Its shape.
        losses: Shape of the losses of single labels, such as [B, T]. Sizes of None are not checked.

    Raises:
        InputError: The weights do not fit, such as [B, 3] for [B, T].

    Example:
        >>> from distilbert_core.model.inputs import weight_axes
        >>> weight_axes("sample_weight", (8,), (8, 128)), weight_axes("sample_weight", (8, 128), (8, 128))
        (1, 2)
    """
    axes = len(weights)
    while axes > 1 and weights[axes - 1] == 1:
        axes -= 1
    _check_shape(name, weights[:axes], losses[: max(axes, 1)], "[batch], or that of the labels,")
    return axes


def check_interval(name: str, lowest: float, highest: float, largest: float = math.inf) -> None:
    """Raise InputError if numbers from `lowest` to `highest` are not finite or do not all lie in [0, largest].

    Args:
        name: The argument.
        lowest: Smallest value found in it; NaN if one of them is NaN.
        highest: Largest value found in it; likewise.
        largest: Largest value that is right.
    """
    if not (lowest >= 0 and highest <= largest and highest < math.inf):
        expected = "be finite numbers >= 0" if largest == math.inf else f"lie in [0, {largest:g}]"
        raise InputError(f"{name} must {expected}, got {highest if lowest >= 0 else lowest}.")


def check_whole(name: str, fractions: Sequence[float]) -> None:
    """Raise InputError if there are numbers of classes that are not whole.

    Args:
        name: The argument.
        fractions: Those of its values that are not integers.
    """
    if len(fractions):
        raise InputError(f"{name} must be integers, the numbers of classes, got {fractions[0]}.")


def refuse_weights(sample_weight: Any) -> None:
    """Raise InputError if weights of labels are given without labels."""
    if sample_weight is not None:
        raise InputError("sample_weight says how much each label counts: give labels too, or leave it out.")


def check_distillation(what: str, student: Shape, teacher: Shape, mask: Shape | None, temperature: float = 1.0) -> None:
    """Raise InputError if what a student is taught with does not fit together.

    Args:
        what: 'logits' or 'hidden': the arguments are called student_logits or student_hidden, and so on.
        student: Shape [..., C].
        teacher: Shape, the same.
        mask: Shape [...] without the last axis, or None. Sizes of None are not checked.
        temperature: Must be finite and above 0.
    """
    _check_shape(f"teacher_{what}", teacher, student, f"like student_{what}")
    _check_shape("mask", mask, student[:-1], f"like student_{what} without the last axis")
    if not 0 < temperature < math.inf:
        raise InputError(f"temperature must be a finite number above 0, got {temperature}.")


def choose(value: Any, default: Any) -> Any:
    """Return the argument of a call if it was given, else the configuration's default."""
    return default if value is None else value
