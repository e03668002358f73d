"""The options of a tokenizer's calls: which values they have, and what else is said about them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.tokenization.vocabulary import one_of

NO_MAX_LENGTH = int(1e30)  # what Transformers writes where no length is known

SIDES = ("right", "left")
TRUNCATIONS = ("longest_first", "only_first", "only_second")
PADDINGS = ("longest", "max_length")
COLUMNS = ("input_ids", "token_type_ids", "attention_mask")  # that model_input_names may have

logger = logging.getLogger("distilbert_core.tokenization")

NOTES = {  # key in `deprecation_warnings`, which is Transformers' -> what is said once
    "sequence-length-is-longer-than-the-specified-maximum": (
        "A text has %d tokens, but model_max_length is %d: the model takes no more. Give truncation=True, and with "
        "return_overflowing_tokens=True all windows are returned."
    ),
    "Truncation-not-explicitly-activated": (
        "max_length=%d cuts longer texts, as truncation and padding are left out; give truncation=True, or False to "
        "cut nothing."
    ),
    "max_length-without-effect": (
        "max_length=%d has no effect: nothing is cut without truncation=True, and nothing filled up to it without "
        "padding='max_length'."
    ),
    "Asking-to-truncate-to-max_length": (
        "truncation=%r has no effect: this tokenizer knows no model_max_length. Give max_length."
    ),
}


def plain(value: Any) -> Any:
    """Return the value of an enumeration's member, such as Transformers' PaddingStrategy, and others as they are."""
    return getattr(value, "value", value)


def truncation_strategy(truncation: Any, padding: Any, max_length: int | None) -> str | None:
    """Return how texts are cut, None if they are not; left out, `max_length` without padding cuts them."""
    truncation = plain(truncation)
    if truncation is None:
        truncation = max_length is not None and padding_strategy(padding) is None
    if truncation in (False, "do_not_truncate"):
        return None
    return one_of("truncation", "longest_first" if truncation is True else truncation, TRUNCATIONS)


def padding_strategy(padding: Any) -> str | None:
    """Return to which length texts are filled up, None if they are not."""
    padding = plain(padding)
    if padding in (False, "do_not_pad"):
        return None
    return one_of("padding", "longest" if padding is True else padding, PADDINGS)


def token_count(name: str, value: Any) -> int:
    """Return a number of tokens.

    Raises:
        InputError: It is something else, or negative.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise InputError(f"{name} must be a number of tokens, got {value!r}.")
    return int(value)


def note_lengths(
    tokenizer: Any, lengths: Iterable[int], truncation: Any, padding: Any, max_length: int | None, verbose: bool
) -> None:
    """Say, once for a tokenizer, that texts are too long, or what `max_length` or `truncation` does unasked or not.

    It is logged, and not a Python warning: a caller may well cut the ids of a long text himself, also where warnings
    are errors.
    """
    if not (verbose and tokenizer.verbose):
        return
    longest, most = max(lengths, default=0), tokenizer.model_max_length
    cut = truncation_strategy(truncation, padding, max_length)
    if max_length is None and longest > most > 0:
        _say(tokenizer, "sequence-length-is-longer-than-the-specified-maximum", longest, most)
    if max_length is None and cut and most >= NO_MAX_LENGTH:
        _say(tokenizer, "Asking-to-truncate-to-max_length", plain(truncation))
    if max_length is not None and cut and truncation is None:
        _say(tokenizer, "Truncation-not-explicitly-activated", max_length)
    if max_length is not None and not cut and padding_strategy(padding) != "max_length":
        _say(tokenizer, "max_length-without-effect", max_length)


def _say(tokenizer: Any, key: str, *values: Any) -> None:
    if not tokenizer.deprecation_warnings.get(key):
        logger.warning(NOTES[key], *values)
        tokenizer.deprecation_warnings[key] = True
