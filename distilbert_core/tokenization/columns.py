"""Columns of encodings: checks, padding, and conversion to arrays and tensors."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np

from distilbert_core.checks import check_choice
from distilbert_core.errors import InputError
from distilbert_core.model.backends import get_backend
from distilbert_core.tokenization.special_tokens import no_token

TENSOR_BACKENDS = {"pt": "pt", "tf": "tf", "jax": "flax", "flax": "flax"}  # return_tensors -> backend

PADDING_VALUES: dict[str, Any] = {  # column -> value of padding; the value of `input_ids` is the pad token
    "token_type_ids": 0,
    "attention_mask": 0,
    "special_tokens_mask": 1,
    "offset_mapping": (0, 0),
}
PADDED = ("input_ids", *PADDING_VALUES)  # columns with a value for each token

Rows = Sequence[Sequence[Any]]


def columns_of(encoded: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], bool]:
    """Return encodings, given as rows or as columns, as columns, and whether they are a single row.

    Raises:
        InputError: `input_ids` is missing; or keys, numbers of rows or lengths of a row differ.
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
    """Return rows with lists of Python's numbers in place of arrays and tensors."""
    return [np.asarray(row).tolist() if hasattr(row, "dtype") else row for row in rows]


def array_rows(rows: Sequence[Any], name: str) -> list[Any]:
    """Return rows with arrays in place of tensors, which are slow to iterate over."""
    return [as_array(row, name) if hasattr(row, "dtype") else row for row in rows]


def pad_lists(rows: Rows, length: int, value: Any, left: bool) -> list[list[Any]]:
    """Return rows as lists, padded with `value` to `length`; longer rows keep their length."""
    paddings = ([value] * (length - len(row)) for row in rows)
    return [[*padding, *row] if left else [*row, *padding] for row, padding in zip(rows, paddings, strict=True)]


def pad_to_array(rows: Rows, length: int, value: Any, left: bool, dtype: Any = np.int64) -> np.ndarray:
    """Return rows of at most `length` values as an array [rows, length] or [rows, length, 2], padded with `value`.

    Raises:
        InputError: A row is shorter than `length`, and `value` is None.
    """
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    is_value = np.arange(length) < lengths[:, None]
    if value is None:
        if not is_value.all():
            raise InputError(no_token("pad_token"))
        value = 0  # not used
    if left:
        is_value = is_value[:, ::-1]
    array = np.full((*is_value.shape, *np.shape(value)), value, dtype)
    values = chain.from_iterable(rows)
    if np.ndim(value):
        # A dummy at the end gives an empty list the shape of its values, too.
        array[is_value] = np.array([*values, value], dtype)[:-1]
    else:
        array[is_value] = np.fromiter(values, dtype, lengths.sum())
    return array


def to_tensor(values: Any, name: str, kind: str) -> Any:
    """Return a column as an array or a tensor.

    Args:
        values: Numbers, nested lists of them, arrays or tensors.
        name: The column's name, for errors.
        kind: 'np', 'pt', 'tf' or 'jax'.

    Returns:
        Python's integers become int64, its booleans bool, and its fractions float64 in NumPy and float32 in the
        frameworks. Arrays and tensors keep their dtype. JAX has 32-bit numbers, unless 64-bit ones are enabled.

    Raises:
        InputError: The values cannot be an array, or `kind` is unknown.

    Example:
        >>> from distilbert_core.tokenization.columns import to_tensor
        >>> to_tensor([[0.75, 1], [0, 0.5]], "labels", "np").tolist()
        [[0.75, 1.0], [0.0, 0.5]]
    """
    kind = getattr(kind, "value", kind)  # of Transformers' TensorType
    check_choice("return_tensors", kind, ("np", *TENSOR_BACKENDS))
    array = as_array(values, name, kind)
    if kind == "np":
        return array
    try:
        return get_backend(TENSOR_BACKENDS[kind]).to_tensor(array)
    except InputError as error:
        raise InputError(f"{name} cannot be a tensor: {error}") from error


def as_array(values: Any, name: str, kind: str = "np") -> np.ndarray:
    """Return a column as an array, with the dtype that `to_tensor` gives it.

    Args:
        values: Numbers, nested lists of them, arrays or tensors.
        name: The column's name, for errors.
        kind: 'np', 'pt', 'tf' or 'jax'.

    Raises:
        InputError: The values cannot be an array. The message names the column and the reason.
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
    """Yield the values in nested lists."""
    if isinstance(values, list | tuple):
        for value in values:
            yield from _leaves(value)
    else:
        yield values


def _is_numeric(dtype: np.dtype) -> bool:
    """Return whether a dtype is numeric or boolean. bfloat16 has the kind 'V', like records."""
    return dtype.kind in "biufc" or (dtype.kind == "V" and not issubclass(dtype.type, np.void))


def _is_number(leaf: Any) -> bool:
    dtype = getattr(leaf, "dtype", None)
    return _is_numeric(dtype) if isinstance(dtype, np.dtype) else dtype is not None or isinstance(leaf, int | float)


def _fault(values: Any, name: str, otherwise: str) -> str:
    """Return why values cannot be an array: `otherwise` if they are numbers and have one shape."""
    not_numbers = [leaf for leaf in _leaves(values) if not _is_number(leaf)]
    if not_numbers:
        return f"{name} must hold only numbers to become an array, got {reprlib.repr(not_numbers[0])}."
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
        f"{name} must have rows of one shape to become an array, got {sizes}; pad them first: a tokenizer pads only "
        f"{', '.join(PADDED)}."
    )


def _shape(row: Any) -> tuple[int, ...] | None:
    """Return the shape of a row; None if the row itself has rows of different shapes."""
    try:
        return tuple(np.shape(row))
    except ValueError:
        return None


_TOO_LARGE = "an integer does not fit int64"
