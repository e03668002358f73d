"""Columns of encodings: checking them, filling their rows up to one length, and making arrays of them."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.model.backends import load_backend
from distilbert_core.tokenization.special_tokens import no_token

TENSOR_BACKENDS = {"pt": "pt", "tf": "tf", "jax": "flax", "flax": "flax"}  # return_tensors -> backend that makes them

FILLINGS: dict[str, Any] = {  # column -> what padding has in it
    "token_type_ids": 0,
    "attention_mask": 0,
    "special_tokens_mask": 1,
    "offset_mapping": (0, 0),
}
PADDED = ("input_ids", *FILLINGS)  # columns with a value for each token; the pad token fills `input_ids` up

Rows = Sequence[Sequence[Any]]


def columns_of(encoded: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], bool]:
    """Return encodings, given row by row or column by column, as columns, and whether they are of one text alone.

    Raises:
        InputError: There is no `input_ids`, or the keys, the numbers of rows or the lengths of a row differ.
    """
    if isinstance(encoded, Mapping):
        columns = dict(encoded)
    else:
        for index, row in enumerate(encoded):
            if not isinstance(row, Mapping):
                raise InputError(f"encoded_inputs[{index}] must be an encoding, got {reprlib.repr(row)}.")
            for name in row.keys() ^ encoded[0].keys():
                has, lacks = (index, 0) if name in row else (0, index)
                raise InputError(
                    f"encoded_inputs must all have the same keys, but encoded_inputs[{has}] has {name!r} and "
                    f"encoded_inputs[{lacks}] does not."
                )
        names = encoded[0] if len(encoded) else ["input_ids"]
        columns = {name: [row[name] for row in encoded] for name in names}
    if "input_ids" not in columns:
        raise InputError(f"encoded_inputs must have input_ids, got {', '.join(columns) or 'nothing'}.")
    ids = columns["input_ids"]
    single = isinstance(encoded, Mapping) and len(ids) > 0 and np.ndim(ids[0]) == 0
    if single:
        columns = {name: [values] for name, values in columns.items()}
    lengths = [len(row) if np.ndim(row) else -1 for row in columns["input_ids"]]
    if -1 in lengths:
        raise InputError(f"input_ids must have a list of ids for each text, got {reprlib.repr(columns['input_ids'])}.")
    for name, rows in columns.items():
        if not hasattr(rows, "__len__") or len(rows) != len(lengths):
            raise InputError(f"{name} must have {len(lengths)} rows, as input_ids has, got {reprlib.repr(rows)}.")
        for index, row in enumerate(rows if name in PADDED else ()):
            if len(row) != lengths[index]:
                raise InputError(f"{name}[{index}] must have {lengths[index]} values, one for each id, got {len(row)}.")
    return columns, single


def plain_rows(rows: Sequence[Any]) -> list[Any]:
    """Return rows with arrays and tensors as lists and Python's numbers."""
    return [np.asarray(row).tolist() if hasattr(row, "dtype") else row for row in rows]


def array_rows(rows: Sequence[Any], name: str) -> list[Any]:
    """Return rows with tensors as arrays, which are faster to go through."""
    return [as_array(row, name) if hasattr(row, "dtype") else row for row in rows]


def pad(rows: Rows, length: int, value: Any, left: bool) -> list[list[Any]]:
    """Return the rows, those that are shorter than `length` filled up with `value`."""
    fillings = ([value] * (length - len(row)) for row in rows)
    return [[*fill, *row] if left else [*row, *fill] for row, fill in zip(rows, fillings, strict=True)]


def pad_to_array(rows: Rows, length: int, value: Any, left: bool, dtype: Any = np.int64) -> np.ndarray:
    """Return the rows, none of them longer than `length`, as an array [rows, length] or [rows, length, 2].

    Raises:
        InputError: A row is shorter than `length` and there is no `value` to fill it up.
    """
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    places = np.arange(length) < lengths[:, None]
    if value is None:
        if not places.all():
            raise InputError(no_token("pad_token"))
        value = 0  # nothing is filled up
    if left:
        places = places[:, ::-1]
    array = np.full((*places.shape, *np.shape(value)), value, dtype)
    values = chain.from_iterable(rows)
    if np.ndim(value):
        # With a dummy at the end, no values at all have the shape of values, too.
        array[places] = np.array([*values, value], dtype)[:-1]
    else:
        array[places] = np.fromiter(values, dtype, lengths.sum())
    return array


def to_tensor(values: Any, name: str, kind: str) -> Any:
    """Return a column as an array, or as a tensor of a framework.

    Args:
        values: Numbers, nested lists of them, arrays or tensors.
        name: The column's name, for errors.
        kind: 'np', 'pt', 'tf' or 'jax'.

    Returns:
        Python's integers become int64, its booleans bool, and its fractions float64 in NumPy and float32 in the
        frameworks. Arrays and tensors keep their dtype. JAX has 32 bits at most, unless 64 are enabled.

    Raises:
        InputError: The values cannot be an array, or the framework is not known.

    Example:
        >>> from distilbert_core.tokenization.columns import to_tensor
        >>> to_tensor([[0.75, 1], [0, 0.5]], "labels", "np").tolist()
        [[0.75, 1.0], [0.0, 0.5]]
    """
    kind = getattr(kind, "value", kind)  # of Transformers' TensorType
    if kind != "np" and kind not in TENSOR_BACKENDS:
        raise InputError(f"return_tensors must be one of {', '.join(('np', *TENSOR_BACKENDS))}, got {kind!r}.")
    array = as_array(values, name, kind)
    if kind == "np":
        return array
    try:
        return load_backend(TENSOR_BACKENDS[kind]).to_tensor(array)
    except InputError as error:
        raise InputError(f"{name} cannot be a tensor: {error}") from error


def as_array(values: Any, name: str, kind: str = "np") -> np.ndarray:
    """Return a column as the array that becomes a tensor; see `to_tensor`.

    Raises:
        InputError: The values cannot be an array; the message names the column and says why.
    """
    try:
        array = np.asarray(values)
    except Exception as error:  # NumPy and each framework raise their own types
        raise InputError(_fault(values, name, str(error))) from error
    if not _is_numeric(array.dtype):
        raise InputError(_fault(values.tolist() if values is array else values, name, _TOO_LARGE))
    if array.dtype not in (np.float64, np.uint64) or any(hasattr(leaf, "dtype") for leaf in _leaves(values)):
        return array
    if array.size == 0:
        return array.astype(np.int64)
    if all(isinstance(number, int) for number in _leaves(values)):  # NumPy rounds integers beyond int64
        raise InputError(_fault(values, name, _TOO_LARGE))
    return array if kind == "np" else array.astype(np.float32)


def _leaves(values: Any) -> Iterator[Any]:
    """Yield what nested lists hold."""
    if isinstance(values, list | tuple):
        for value in values:
            yield from _leaves(value)
    else:
        yield values


def _is_numeric(dtype: np.dtype) -> bool:
    """Say whether a dtype is one of numbers or booleans; the kind of bfloat16 is 'V', which records have too."""
    return dtype.kind in "biufc" or (dtype.kind == "V" and not issubclass(dtype.type, np.void))


def _is_number(leaf: Any) -> bool:
    dtype = getattr(leaf, "dtype", None)
    return _is_numeric(dtype) if isinstance(dtype, np.dtype) else dtype is not None or isinstance(leaf, int | float)


def _fault(values: Any, name: str, otherwise: str) -> str:
    """Say why values cannot be an array: `otherwise` if they are numbers and have one shape."""
    strange = [leaf for leaf in _leaves(values) if not _is_number(leaf)]
    if strange:
        return f"{name} must hold only numbers to become an array, got {reprlib.repr(strange[0])}."
    shapes = list(dict.fromkeys(map(_shape, values))) if isinstance(values, list | tuple) else [()]
    if len(shapes) == 1 and shapes[0] is not None:
        return f"{name} cannot be an array: {otherwise}."
    if name in PADDED:
        return (
            f"The texts have different lengths, so {name} cannot be one array; use padding=True, and truncation=True "
            "where a text is longer than max_length."
        )
    sizes = " and ".join("uneven" if shape is None else str(shape) for shape in shapes[:2])
    return (
        f"{name} must have rows of one shape to become an array, got {sizes}; pad them before, as only "
        f"{', '.join(PADDED)} are padded here."
    )


def _shape(row: Any) -> tuple[int, ...] | None:
    """Return the shape of a row; None if the rows of a row have different ones."""
    try:
        return tuple(np.shape(row))
    except ValueError:
        return None


_TOO_LARGE = "an integer does not fit int64"
