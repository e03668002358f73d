"""Rows of one value for each token: filling them up to one length, and making arrays of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from distilbert_core.backends import load_backend
from distilbert_core.errors import InputError

TENSOR_BACKENDS = {"pt": "pt", "tf": "tf", "jax": "flax", "flax": "flax"}  # return_tensors -> backend that makes them

Rows = Sequence[Sequence[Any]]


def pad(rows: Rows, length: int, value: Any, left: bool) -> list[list[Any]]:
    """Return the rows, those that are shorter than `length` filled up with `value`."""
    fillings = ([value] * (length - len(row)) for row in rows)
    return [[*fill, *row] if left else [*row, *fill] for row, fill in zip(rows, fillings, strict=True)]


def pad_to_array(rows: Rows, length: int, value: Any, left: bool) -> np.ndarray:
    """Return the rows, none of them longer than `length`, as an array [rows, length] or [rows, length, 2] of int64."""
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    places = np.arange(length) < lengths[:, None]
    if left:
        places = places[:, ::-1]
    array = np.full((*places.shape, *np.shape(value)), value, np.int64)
    values = chain.from_iterable(rows)
    if np.ndim(value):
        array[places] = np.array([*values, value], np.int64)[:-1]  # one more, so that none have their shape too
    else:
        array[places] = np.fromiter(values, np.int64, lengths.sum())
    return array


def to_tensor(rows: Any, name: str, kind: str) -> Any:
    """Return rows of one length, or an array, as integers of a framework.

    Raises:
        InputError: The rows have different lengths, or the framework is not known.
    """
    if kind != "np" and kind not in TENSOR_BACKENDS:
        raise InputError(f"return_tensors must be one of {', '.join(('np', *TENSOR_BACKENDS))}, got {kind!r}.")
    try:
        array = np.asarray(rows, dtype=np.int64)
    except ValueError:
        raise InputError(
            f"The texts have different lengths, so {name} cannot be one array; use padding=True."
        ) from None
    return array if kind == "np" else load_backend(TENSOR_BACKENDS[kind]).to_tensor(array)
