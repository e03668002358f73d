"""Checks of the inputs of a model, for all backends: shapes and ranges, by sizes and numbers alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from distilbert_core.errors import InputError
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head

IGNORE_INDEX = -100  # a label that does not count in the loss

Shape = Sequence[int | None]  # None: a size that is not known while a graph is traced


def check_shapes(config: DistilBertConfig, shapes: Mapping[str, Shape | None]) -> None:
    """Raise InputError, which names the argument, if the shapes of a model's inputs do not match.

    Args:
        config: The configuration of the model.
        shapes: Shapes of 'input_ids', 'inputs_embeds', 'attention_mask', 'position_ids', 'head_mask', 'segment_ids' and
            'output_tokens'; None for an argument that is not given. A size of None is not checked.
    """
    ids, embeds = shapes["input_ids"], shapes["inputs_embeds"]
    if ids is None and embeds is None:
        raise InputError("Give input_ids or inputs_embeds; got neither.")
    if ids is not None and embeds is not None:
        raise InputError("Give input_ids or inputs_embeds, not both.")
    if ids is not None:
        check_shape("input_ids", ids, (None, None), "[batch, tokens]")
        batch, tokens = ids
    else:
        assert embeds is not None
        check_shape("inputs_embeds", embeds, (None, None, config.dim), f"[batch, tokens, dim={config.dim}]")
        batch, tokens = embeds[:2]
    check_shape("attention_mask", shapes["attention_mask"], (batch, tokens), "[batch, tokens] like the input")
    positions = shapes["position_ids"]
    if positions is None:
        _check_length(tokens, config.max_position_embeddings, "input_ids" if ids is not None else "inputs_embeds")
    elif len(positions) != 1:
        first = 1 if positions[0] == 1 else batch
        check_shape("position_ids", positions, (first, tokens), "[tokens], [1, tokens] or [batch, tokens]")
    else:
        check_shape("position_ids", positions, (tokens,), "[tokens], [1, tokens] or [batch, tokens]")
    segments = shapes.get("segment_ids")
    if segments is not None:
        check_shape("segment_ids", segments, (batch, tokens), "[batch, tokens] like the input")
        if positions is None or shapes["attention_mask"] is not None:
            raise InputError("segment_ids go with position_ids, and without attention_mask: padding is a segment too.")
    check_shape("output_tokens", shapes.get("output_tokens"), (batch, None), "[batch, any number]")
    head_mask = shapes["head_mask"]
    if head_mask is not None:
        expected = (config.n_heads,) if len(head_mask) == 1 else (config.n_layers, config.n_heads)
        check_shape("head_mask", head_mask, expected, "[heads] or [layers, heads]")


def check_packed(head: Head, segment_ids: Any, output_tokens: Any, output_indices: Shape | None) -> None:
    """Raise InputError if the arguments for packed rows of a model with a head do not go together.

    Args:
        head: The head of the model.
        segment_ids: The argument; None if it is not given.
        output_tokens: The argument; None if it is not given.
        output_indices: Shape of the argument; None if it is not given.
    """
    if segment_ids is None:
        for name, value in (("output_tokens", output_tokens), ("output_indices", output_indices)):
            if value is not None:
                raise InputError(f"{name} is for packed rows: give segment_ids and position_ids too, or leave it out.")
    elif head.labels_tokens:
        if output_indices is not None:
            raise InputError("output_indices is not for a head that predicts something for each token: leave it out.")
    elif output_indices is None:
        raise InputError(
            "Packed rows hold several texts: give output_indices, where the outputs of each text are, as "
            "DataCollatorWithPacking does."
        )
    elif head.reads == "first":
        check_shape("output_indices", output_indices, (None,), "[texts]")
    else:
        meaning = "[texts, choices]" if head.has_choices else "[texts, tokens]"
        check_shape("output_indices", output_indices, (None, None), meaning)


def check_shape(name: str, shape: Shape | None, expected: Shape, meaning: str) -> None:
    """Raise InputError if an argument has another shape than expected.

    Args:
        name: The argument.
        shape: Its shape; None if it is not given, which fits.
        expected: The expected shape. A size of None, here or in `shape`, is not checked.
        meaning: The expected shape in words, for the message.
    """
    if shape is None:
        return
    fits = len(shape) == len(expected) and all(
        size is None or other is None or size == other for size, other in zip(shape, expected, strict=True)
    )
    if not fits:
        sizes = ", ".join("?" if size is None else str(size) for size in expected)
        raise InputError(f"{name} must have shape {meaning} = ({sizes}), got {tuple(shape)}.")


def choice_count(
    input_ids: Shape | None,
    inputs_embeds: Shape | None,
    attention_mask: Shape | None = None,
    position_ids: Shape | None = None,
) -> int:
    """Return the number of choices C of a multiple-choice input, from its shape.

    Args:
        input_ids: Shape [B, C, T], or None.
        inputs_embeds: Shape [B, C, T, D], or None.
        attention_mask: Shape [B, C, T], or None.
        position_ids: Shape [B, C, T], [1, T] or [T], or None.

    Raises:
        InputError: The input has no axis of choices, or no input is given, or the mask or the positions have sizes of
            these axes in another order.
    """
    shape = input_ids if inputs_embeds is None else inputs_embeds
    if shape is None:
        raise InputError("Give input_ids or inputs_embeds; got neither.")
    check_shape("input_ids", input_ids, (None, None, None), "[batch, choices, tokens]")
    check_shape("inputs_embeds", inputs_embeds, (None, None, None, None), "[batch, choices, tokens, dim]")
    count = shape[1]
    if count is None:
        raise InputError("The number of choices must be known when the model is traced.")
    expected = shape[:3]
    check_shape("attention_mask", attention_mask, expected, "[batch, choices, tokens] like the input")
    if position_ids is not None and len(position_ids) > 2:
        if tuple(position_ids[:2]) == (1, 1):
            expected = (1, 1, shape[2])
        check_shape("position_ids", position_ids, expected, "[tokens], [1, tokens] or [batch, choices, tokens]")
    return count


def _check_length(tokens: int | None, longest: int, name: str) -> None:
    if tokens is not None and tokens > longest:
        raise InputError(
            f"{name} has {tokens} tokens, more than max_position_embeddings={longest}; truncate the text "
            "(truncation=True in the tokenizer) or enlarge the table with resize_position_embeddings."
        )


def check_range(name: str, lowest: int, highest: int, size: int, meaning: str) -> None:
    """Raise InputError if the ids of an argument do not all lie in [0, size).

    Args:
        name: The argument.
        lowest: Its smallest id.
        highest: Its largest id.
        size: The smallest id that is too large.
        meaning: Name of `size`, such as 'vocab_size'.
    """
    if lowest < 0 or highest >= size:
        outside = lowest if lowest < 0 else highest
        raise InputError(f"{name} must lie in [0, {meaning}={size}), got {outside}.")


def check_interval(name: str, lowest: float, highest: float, largest: float = math.inf) -> None:
    """Raise InputError if the numbers of an argument are not finite or do not all lie in [0, largest].

    Args:
        name: The argument.
        lowest: Its smallest number; NaN if it contains NaN.
        highest: Its largest number; NaN if it contains NaN.
        largest: The largest valid number.
    """
    if not (lowest >= 0 and highest <= largest and highest < math.inf):
        expected = "be finite numbers >= 0" if largest == math.inf else f"lie in [0, {largest:g}]"
        raise InputError(f"{name} must {expected}, got {highest if lowest >= 0 else lowest}.")


def choose(value: Any, default: Any) -> Any:
    """Return an argument of a call, or the configuration's default if the argument is None."""
    return default if value is None else value
