"""Errors and warnings. A message says what was expected, what was given, and what to do."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any


class DistilBertError(Exception):
    """Base class of the errors of this package."""


class ConfigError(DistilBertError, ValueError):
    """A configuration has an impossible value. The message names the field."""


class InputError(DistilBertError, ValueError):
    """An argument has an impossible shape or value. The message names it."""


class CheckpointError(DistilBertError, OSError):
    """A checkpoint is missing, damaged, or does not fit. The message names the file and the entries."""


class BackendNotInstalledError(DistilBertError, ImportError):
    """A framework, or a library of an extra, is not installed. The message has the command that installs it."""


class TrainingError(DistilBertError, ArithmeticError):
    """Training failed, for example because a loss is NaN. The message names the step."""


class ConfigWarning(UserWarning):
    """A configuration contradicts itself. The message names the field that is used."""


class InputWarning(UserWarning):
    """A part of an input or an option has no effect, as when a text is truncated; or a default model is downloaded."""


class CheckpointWarning(UserWarning):
    """Entries of a checkpoint are not used, or parameters are newly initialised. The message names them."""


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return a suggestion for the message about an unknown name: the most similar known name, or nothing.

    Args:
        name: The unknown name.
        known: The known names.
        cutoff: Smallest similarity of two names, from 0 to 1.

    Example:
        >>> from distilbert_core.errors import did_you_mean
        >>> did_you_mean("learning_rat", ["learning_rate", "epochs"])
        " Did you mean 'learning_rate'?"
    """
    return "".join(f" Did you mean {match!r}?" for match in get_close_matches(name, list(known), 1, cutoff))


def listed(names: Sequence[str], separator: str = ", ", most: int = 8) -> str:
    """Return names joined by a separator. A long list is cut after its first names.

    Args:
        names: The names.
        separator: Text between two names.
        most: Largest number of names.

    Example:
        >>> from distilbert_core.errors import listed
        >>> listed(["a", "b", "c", "d"], most=2)
        'a, b and 2 more'
    """
    return separator.join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def shortened(value: Any, most: int = 100) -> str:
    """Return the `repr` of a value from a file or a caller, for a message: at most `most` characters.

    Args:
        value: The value.
        most: Largest number of characters.

    Example:
        >>> from distilbert_core.errors import shortened
        >>> shortened("x" * 5000, most=20)
        "'xxxxxx ... xxxxxx'"
        >>> shortened(10**5000)
        'an integer of more than 4300 digits'
    """
    printer = reprlib.Repr()
    printer.maxstring = printer.maxother = printer.maxlong = 2 * most  # cut below, as a whole
    try:
        text = printer.repr(value)
    except ValueError:  # Python does not print longer integers
        text = "an integer of more than 4300 digits" if isinstance(value, int) else f"a {type(value).__name__}"
    return text if len(text) <= most else f"{text[: (most - 5) // 2]} ... {text[-((most - 5) // 2) :]}"
