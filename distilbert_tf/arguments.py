"""Inputs of models as tensors: Python lists become arrays, and ragged tensors are padded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from distilbert_core.errors import InputError
from distilbert_core.model.inputs import IGNORE_INDEX
from distilbert_core.tokenization.columns import as_array


def depth(value: Any) -> int | None:
    """Return the nesting depth of lists of Python numbers; None for lists of anything else.

    Example:
        >>> from distilbert_tf.arguments import depth
        >>> depth([[101, 7592, 102]]), depth([[]]), depth(["a"])
        (2, 2, None)
    """
    levels = 0
    while isinstance(value, list | tuple):
        levels += 1
        if not value:
            return levels
        value = value[0]
    return levels if isinstance(value, int | float | np.number | np.bool_) else None


def as_tensor(name: str, value: Any) -> Any:
    """Return a list of numbers as an array; return any other value unchanged.

    Raises:
        InputError: The rows of the list have different lengths: the texts must be padded.
    """
    return as_array(value, name) if isinstance(value, list | tuple) and depth(value) is not None else value


def refuse_texts(value: Any) -> None:
    """Raise InputError if a value holds texts: models take the ids of tokens."""
    first = value[0] if isinstance(value, list | tuple) and value else value
    kind = getattr(getattr(value, "dtype", None), "kind", "")  # of NumPy and pandas
    if kind == "O":
        first = next(iter(np.asarray(value).flat), None)
    if isinstance(first, str) or kind in ("U", "S") or getattr(value, "dtype", None) == tf.string:
        raise InputError(
            "input_ids must hold ids of tokens, got texts: give tokenizer(texts, padding=True, return_tensors='np')."
        )


def as_inputs(x: Any, pad_token_id: int | None, axes: int) -> Any:
    """Return inputs in the form that Keras takes: a dict of arrays and tensors if they are a dict or contain lists.

    Args:
        x: Inputs by name, such as the output of a tokenizer, a list of inputs in order, or ids alone.
        pad_token_id: Id of the padding token, which pads ragged ids; 0 if the model has none.
        axes: Number of axes of ids.

    Raises:
        InputError: The rows of a list have different lengths, or the inputs are texts.
    """
    refuse_texts(x)
    if isinstance(x, tf.RaggedTensor) or depth(x) == axes:
        x = {"input_ids": x}
    elif isinstance(x, list | tuple) and any(isinstance(value, list | tf.RaggedTensor) for value in x):
        x = dict(zip(("input_ids", "attention_mask"), x, strict=True))
    return dense(x, pad_token_id) if isinstance(x, Mapping) else x


def dense(arguments: Mapping[str, Any], pad_token_id: int | None) -> dict[str, Any]:
    """Return arguments of a model with arrays in place of lists, and padded tensors in place of ragged ones.

    Args:
        arguments: Inputs and labels, by name. The dict is not changed.
        pad_token_id: Id of the padding token, which pads `input_ids`; 0 if the model has none.

    Raises:
        InputError: The rows of a list have different lengths.

    Example:
        >>> import tensorflow as tf
        >>> from distilbert_tf.arguments import dense
        >>> arguments = dense({"input_ids": tf.ragged.constant([[5, 6], [7]])}, pad_token_id=0)
        >>> {name: value.numpy().tolist() for name, value in arguments.items()}
        {'input_ids': [[5, 6], [7, 0]], 'attention_mask': [[1, 1], [1, 0]]}
    """
    arguments = {name: as_tensor(name, value) for name, value in arguments.items()}
    ids = arguments.get("input_ids")
    if isinstance(ids, tf.RaggedTensor) and arguments.get("attention_mask") is None:
        arguments["attention_mask"] = tf.ones_like(ids)
    padding = {"input_ids": pad_token_id or 0, "labels": IGNORE_INDEX}
    return {
        name: value.to_tensor(padding.get(name, 0)) if isinstance(value, tf.RaggedTensor) else value
        for name, value in arguments.items()
    }
