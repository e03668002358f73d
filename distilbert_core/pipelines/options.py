"""The options of pipelines, as tables: for each its default and what it may be.

A constructor and a call take the same ones. What has no effect here is in `distilbert_core.compatibility`.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from distilbert_core.checks import positive_integer
from distilbert_core.errors import InputError, InputWarning

Check = Callable[[str, Any], object]  # from the name and the value of an option; raises InputError


@dataclass(frozen=True)
class Option:
    """An option of a task.

    Attributes:
        default: Its value where neither a call nor the pipeline gives one.
        check: Raises InputError for an impossible value. None is checked only where it is not the default.
        takes_none: None is a value of its own. Elsewhere it means that the option is left out.
    """

    default: Any
    check: Check
    takes_none: bool = False


def check_choice(name: str, value: Any, allowed: Iterable[Any]) -> None:
    """Raise InputError if an option is none of the allowed values."""
    allowed = tuple(allowed)
    if value not in allowed:
        raise InputError(f"{name} must be one of {', '.join(map(str, allowed))}, got {value!r}.")


def check_flag(name: str, value: Any) -> None:
    """Raise InputError if an option is not True or False."""
    if value not in (True, False):
        raise InputError(f"{name} must be True or False, got {value!r}.")


def one_of(*allowed: Any) -> Check:
    """Return the check of an option that is one of these values."""
    return lambda name, value: check_choice(name, value, allowed)


def not_negative(name: str, value: Any) -> None:
    """Raise InputError if an option is not an integer of at least 0."""
    if value != 0 or isinstance(value, bool | float):
        positive_integer(name, value)


def check_text(name: str, value: Any) -> None:
    """Raise InputError if an option is not a text."""
    if not isinstance(value, str):
        raise InputError(f"{name} must be a text, got {value!r}.")


FLAG_OFF, FLAG_ON = Option(False, check_flag), Option(True, check_flag)

# Of every task: how its inputs are run.
RUNNING: dict[str, Option] = {
    "batch_size": Option(None, positive_integer),
    "batch_tokens": Option(4096, positive_integer),
    "progress": Option(None, one_of(None, True, False)),
}

NO_TRUNCATION = (False, "do_not_truncate")
STRATEGIES = ("longest_first", "only_first", "only_second")  # of a tokenizer; of a single text all are the same

# Of tasks whose texts are tokenized as they are: what the tokenizer is asked for.
TOKENIZING: dict[str, Option] = {
    "truncation": Option(None, one_of(None, True, *NO_TRUNCATION, *STRATEGIES)),
    "max_length": Option(None, positive_integer),
    "add_special_tokens": FLAG_ON,
}


def unpack(name: str, allowed: Iterable[str]) -> Callable[[Any, Mapping[str, Any]], dict[str, Any]]:
    """Return how an option that is a dict of others is taken apart.

    Args:
        name: Its name.
        allowed: Names of those others.
    """
    allowed = tuple(allowed)

    def unpacked(value: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise InputError(f"{name} must be a dict of options of the tokenizer, got {value!r}.")
        unknown = sorted(map(str, value.keys() - set(allowed)))
        if unknown:
            raise InputError(f"{name} must have options of {', '.join(allowed)}, got {', '.join(unknown)}.")
        twice = sorted(value.keys() & given.keys())
        if twice:
            raise InputError(f"{name} has {', '.join(twice)}, which is given beside it too; give it once.")
        return dict(value)

    return unpacked


def warn(message: str, category: type[Warning] = InputWarning) -> None:
    """Warn of something in the call that entered the pipelines, however deep."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals["__name__"].startswith(__package__):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
