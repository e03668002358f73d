"""The options of a tokenizer's calls, and the notes that are logged about them."""

from __future__ import annotations

from typing import Any

import numpy as np

from distilbert_core.checks import check_choice
from distilbert_core.errors import InputError, shortened

NO_MAX_LENGTH = int(1e30)  # Transformers stores this for an unknown length

SIDES = ("right", "left")
TRUNCATIONS = ("longest_first", "only_first", "only_second")
PADDINGS = ("longest", "max_length")
COLUMNS = ("input_ids", "token_type_ids", "attention_mask")  # values of model_input_names

NOTES = {  # key in `deprecation_warnings`, as in Transformers -> message, which is logged once
    "sequence-length-is-longer-than-the-specified-maximum": (
        "A text has %d tokens, but model_max_length is %d, the most that the model takes. Give truncation=True; with "
        "return_overflowing_tokens=True, all windows of the text are returned."
    ),
    "Truncation-not-explicitly-activated": (
        "max_length=%d truncates longer texts, as truncation and padding are left out; give truncation=True, or False "
        "to keep texts whole."
    ),
    "max_length-without-effect": (
        "max_length=%d has no effect: it needs truncation=True to cut texts, or padding='max_length' to pad them."
    ),
    "Asking-to-truncate-to-max_length": (
        "truncation=%r has no effect: this tokenizer has no model_max_length. Give max_length."
    ),
}


def plain(value: Any) -> Any:
    """Return the value of an enumeration's member, such as Transformers' PaddingStrategy; return others unchanged."""
    return getattr(value, "value", value)


def truncation_strategy(truncation: Any, padding: Any, max_length: int | None) -> str | None:
    """Return the strategy of truncation; None: texts stay whole.

    Without `truncation` and `padding`, a `max_length` truncates.
    """
    truncation = plain(truncation)
    if truncation is None:
        truncation = max_length is not None and padding_strategy(padding) is None
    if truncation in (False, "do_not_truncate"):
        return None
    return check_choice("truncation", "longest_first" if truncation is True else truncation, TRUNCATIONS)


def padding_strategy(padding: Any) -> str | None:
    """Return the strategy of padding; None: texts are not padded."""
    padding = plain(padding)
    if padding in (False, "do_not_pad"):
        return None
    return check_choice("padding", "longest" if padding is True else padding, PADDINGS)


def token_count(name: str, value: Any) -> int:
    """Return an argument's value, or raise InputError if it is not a number of tokens, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise InputError(f"{name} must be a number of tokens, got {shortened(value)}.")
    return int(value)
