"""Tensors and NumPy arrays, and checks of the arguments of a call."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from distilbert_core.errors import InputError
from distilbert_core.model.inputs import check_range


def to_tensor(array: np.ndarray) -> tf.Tensor:
    """Return a TensorFlow tensor of a NumPy array."""
    return tf.convert_to_tensor(array)


def values_known(tensor: Any) -> bool:
    """Return whether the values of a tensor can be read: not in a tf.function, nor in a functional model's graph."""
    return tf.executing_eagerly() and not isinstance(tensor, keras.KerasTensor)


def shape_of(tensor: Any) -> tuple[int | None, ...] | None:
    """Return the shape of a tensor, with None for unknown sizes; None if there is no tensor.

    Raises:
        InputError: The number of axes is unknown.
    """
    if isinstance(tensor, tf.Tensor) and tensor.shape.rank is None:
        raise InputError(
            "The number of axes of an input is not known: this graph was traced for inputs with different ones. Give "
            "input_ids [batch, tokens], for multiple choice [batch, choices, tokens]."
        )
    return None if tensor is None else tuple(tensor.shape)


def check_values(name: str, ids: tf.Tensor | None, size: int, meaning: str) -> None:
    """Raise InputError if ids are not integers in [0, size); does nothing while values are not known.

    Args:
        name: The argument.
        ids: Its value.
        size: The limit.
        meaning: The name of the limit, such as 'vocab_size'.
    """
    if ids is None or not values_known(ids) or not tf.size(ids):
        return
    if not ids.dtype.is_integer and tf.reduce_any(tf.round(ids) != ids):
        raise InputError(f"{name} must be integers, got fractions among {ids.dtype.name} values.")
    check_range(name, int(ops.min(ids)), int(ops.max(ids)), size, meaning)


def is_nonzero(x: tf.Tensor) -> tf.Tensor:
    """Return True for the elements that are not 0 or -0.0, as booleans.

    Floating-point numbers are compared by their bits: TensorFlow's kernels take denormal numbers for 0.
    """
    if not x.dtype.is_floating:
        return tf.cast(x, tf.bool)
    integer = {1: tf.int8, 2: tf.int16, 4: tf.int32, 8: tf.int64}[x.dtype.size]
    bits = tf.bitcast(x, integer)
    return tf.logical_and(bits != 0, bits != integer.min)  # 0 and -0.0


def upcast(x: tf.Tensor) -> tf.Tensor:
    """Return a tensor in at least float32."""
    return x if x.dtype == tf.float64 else tf.cast(x, tf.float32)
