"""Checks of arguments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np

from distilbert_core.errors import InputError, shortened

Value = TypeVar("Value")


def positive_integer(name: str, value: object) -> int:
    """Return an argument's value, or raise InputError if it is not an integer above 0."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name} must be a positive integer, got {shortened(value)}.")
    return int(value)


def check_choice(name: str, value: Value, allowed: Iterable[Any]) -> Value:
    """Return an argument's value, or raise InputError if it is not one of the allowed values."""
    allowed = tuple(allowed)
    if value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(map(str, allowed))}, got {shortened(value)}.")
    return value
