"""The tokenizer of a pipeline."""

from __future__ import annotations

import os
from typing import Any

from distilbert_core.errors import InputError
from distilbert_core.tokenization import DistilBertTokenizer, DistilBertTokenizerFast
from distilbert_core.tokenization.base import BaseTokenizer


def find_tokenizer(
    tokenizer: BaseTokenizer | str | os.PathLike[str] | None, source: Any, use_fast: bool = True, **hub_options: Any
) -> BaseTokenizer:
    """Return the given tokenizer, or load one.

    Args:
        tokenizer: A tokenizer of this package, or where to find one; None: with the model.
        source: Where the model was loaded from; empty if it was not.
        use_fast: Load a `DistilBertTokenizerFast`, else a `DistilBertTokenizer`.
        **hub_options: Options of the Hub; `revision` and `subfolder` are the model's, and hold for its source only.

    Raises:
        CheckpointError: No tokenizer was found.
        InputError: The object is not a tokenizer of this package.
    """
    if isinstance(tokenizer, BaseTokenizer):
        return tokenizer
    cls = DistilBertTokenizerFast if use_fast else DistilBertTokenizer
    if isinstance(tokenizer, str | os.PathLike):
        elsewhere = {name: value for name, value in hub_options.items() if name not in ("revision", "subfolder")}
        return cls.from_pretrained(tokenizer, **elsewhere)
    if tokenizer is not None:
        raise InputError(
            "tokenizer must be a DistilBertTokenizerFast or DistilBertTokenizer of this package, or where to find one; "
            f"got {type(tokenizer).__module__}.{type(tokenizer).__qualname__}: save it, and give its folder."
        )
    return cls.from_pretrained(source, **hub_options)
