"""Dtypes by name, whatever framework names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from distilbert_core.errors import CheckpointError, InputError
from distilbert_core.files.checkpoint import SAFETENSORS_CODES, SAFETENSORS_DTYPES, Entry

HALF_LIMIT = 65520.0  # the smallest number that float16 rounds to infinity


def dtype_name(dtype: Any) -> str:
    """Return the name of a dtype given as a name or as an object of NumPy, PyTorch, TensorFlow or JAX.

    Raises:
        InputError: The dtype is not float64, float32, float16 or bfloat16.

    Example:
        >>> import numpy as np
        >>> from distilbert_core.model.dtypes import dtype_name
        >>> dtype_name("bfloat16"), dtype_name(np.float32)
        ('bfloat16', 'float32')
    """
    name = getattr(dtype, "name", None) or getattr(dtype, "__name__", None) or str(dtype)
    name = name.removeprefix("torch.")
    if name not in SAFETENSORS_CODES:
        raise InputError(f"dtype must be 'auto' or one of {', '.join(SAFETENSORS_CODES)}, got {dtype!r}.")
    return name


def requested_dtype(dtype: Any, entries: Mapping[str, Entry], of_config: Any = None) -> str | None:
    """Return the name of a requested dtype; None if none is requested.

    Args:
        dtype: A dtype, 'auto' for the dtype of the checkpoint, or None.
        entries: The stored parameters by name.
        of_config: The `torch_dtype` of the configuration, which 'auto' means; None: that of the first parameter.

    Raises:
        CheckpointError: A stored parameter does not have a floating dtype.
    """
    for name, entry in entries.items():
        if entry.dtype not in SAFETENSORS_DTYPES:
            raise CheckpointError(f"{entry.path}: {name} must be of a floating dtype, got {entry.dtype}.")
    if isinstance(dtype, str) and dtype == "auto":
        if of_config is not None:
            return dtype_name(of_config)
        first = next(iter(entries.values()), None)
        return None if first is None else SAFETENSORS_DTYPES[first.dtype]
    return None if dtype is None else dtype_name(dtype)


def overflows_half(array: Any) -> bool:
    """Return whether a finite value of an array, of NumPy or PyTorch, is too large for float16."""
    return 0 not in array.shape and HALF_LIMIT <= float(abs(array).max()) < np.inf
