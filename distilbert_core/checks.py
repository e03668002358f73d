"""Checks of arguments."""

from __future__ import annotations

import numpy as np

from distilbert_core.errors import InputError


def positive_integer(name: str, value: object) -> int:
    """Return `value`, or raise InputError, naming the argument, if it is no integer above 0."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name} must be a positive integer, got {value!r}.")
    return int(value)
