"""The options of pipelines, as tables: the default of each option and a check of its values.

A constructor and a call take the same options. `distilbert_core.compatibility` has the options of Transformers that
have no effect here.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from distilbert_core.checks import check_choice, positive_integer
from distilbert_core.compatibility import PIPELINES, accept
from distilbert_core.errors import InputError, InputWarning

Options = Mapping[str, Any]
Check = Callable[[str, Any], object]  # takes the name and the value of an option; raises InputError
# Takes the value of an option under an older name, and all options of the call; returns the present options.
Older = Callable[[Any, Options], dict[str, Any]]


@dataclass(frozen=True)
class Option:
    """An option of a task.

    Attributes:
        default: Its value if neither the call nor the pipeline gives one.
        check: Raises InputError for an impossible value. None is not checked.
        takes_none: None is a value of its own. For other options it means that the option is left out.
    """

    default: Any
    check: Check
    takes_none: bool = False


def check_flag(name: str, value: Any) -> None:
    """Raise InputError if an option is not True or False."""
    if value not in (True, False):
        raise InputError(f"{name} must be True or False, got {value!r}.")


def one_of(*allowed: Any) -> Check:
    """Return the check of an option that has one of these values."""
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

# Options of every task: how its inputs are run.
RUNNING: dict[str, Option] = {
    "batch_size": Option(None, positive_integer),
    "batch_tokens": Option(4096, positive_integer),
    "progress": Option(None, one_of(None, True, False)),
}

NO_TRUNCATION = (False, "do_not_truncate")
STRATEGIES = ("longest_first", "only_first", "only_second")  # of a tokenizer; for a single text all are the same

# Options of the tokenizer, of every task but question answering.
TOKENIZING: dict[str, Option] = {
    "truncation": Option(None, one_of(None, True, *NO_TRUNCATION, *STRATEGIES)),
    "max_length": Option(None, positive_integer),
    "add_special_tokens": FLAG_ON,
}


def unpack(name: str, allowed: Iterable[str]) -> Callable[[Any, Mapping[str, Any]], dict[str, Any]]:
    """Return a function that takes an option apart that is a dict of other options.

    Args:
        name: Name of the option.
        allowed: Names of the other options.
    """
    allowed = tuple(allowed)

    def unpacked(value: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise InputError(f"{name} must be a dict of options of the tokenizer, got {value!r}.")
        unknown = sorted(map(str, value.keys() - set(allowed)))
        if unknown:
            raise InputError(f"{name} must have options of {', '.join(allowed)}, got {', '.join(unknown)}.")
        both = sorted(value.keys() & given.keys())
        if both:
            raise InputError(f"{name} has {', '.join(both)}, which is given beside it too; give it once.")
        return dict(value)

    return unpacked


def current_options(
    task: str, table: Mapping[str, Option], older: Mapping[str, Older], options: Options
) -> dict[str, Any]:
    """Return options under their present names, without those that have no effect.

    Args:
        task: Name of the task, for the error.
        table: The options of the task.
        older: Older or other names of options.
        options: The options of a call.

    Raises:
        TypeError: An option is unknown, or has an effect in Transformers that it does not have here.
    """
    given = {name: value for name, value in options.items() if name not in older}
    for name in older.keys() & options.keys():
        if options[name] is not None:
            given = {**older[name](options[name], options), **given}
    unknown = accept({name: value for name, value in given.items() if name not in table}, PIPELINES)
    if unknown:
        raise TypeError(
            f"Unknown keyword argument(s): {', '.join(sorted(unknown))}. {task} has the options {', '.join(table)}."
        )
    return {name: value for name, value in given.items() if name in table}


def warn(message: str, category: type[Warning] = InputWarning) -> None:
    """Warn with the stack level of the call that entered this package."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals["__name__"].startswith(__package__):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
