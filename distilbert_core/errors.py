"""The exceptions of this package: each says what was expected, what came, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


class DistilBertError(Exception):
    """Base class of every error that this package raises on its own account."""


class ConfigError(DistilBertError, ValueError):
    """A configuration with an impossible value; the message names the field."""


class InputError(DistilBertError, ValueError):
    """A model or tokenizer argument with an impossible shape or value; the message names it."""


class CheckpointError(DistilBertError, OSError):
    """A checkpoint that is not there, is damaged, or does not fit; the message names file and entries."""


class BackendNotInstalledError(DistilBertError, ImportError):
    """A framework, or a library of an extra, that is not installed; the message gives the command that installs it."""


class TrainingError(DistilBertError, ArithmeticError):
    """Training that went wrong, such as a loss that is no number; the message names the step."""


class ConfigWarning(UserWarning):
    """A configuration that contradicts itself; the message says which field was believed."""


class InputWarning(UserWarning):
    """An input or option of which a part has no effect, such as a text that is cut; or a default that is downloaded."""


class CheckpointWarning(UserWarning):
    """Entries of a checkpoint that were left out, or parameters that were freshly initialised, by name."""


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return what to add to the message of an unknown name: the known name that is most like it, if one is.

    Args:
        name: The unknown name.
        known: The known ones.
        cutoff: How alike two names must be, from 0 to 1.

    Example:
        >>> from distilbert_core.errors import did_you_mean
        >>> did_you_mean("learning_rat", ["learning_rate", "epochs"])
        " Did you mean 'learning_rate'?"
    """
    return "".join(f" Did you mean {match!r}?" for match in get_close_matches(name, list(known), 1, cutoff))


def listed(names: Sequence[str], separator: str = ", ", most: int = 8) -> str:
    """Return names joined by a separator, only the first of them where there are many.

    Example:
        >>> from distilbert_core.errors import listed
        >>> listed(["a", "b", "c", "d"], most=2)
        'a, b and 2 more'
    """
    return separator.join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
