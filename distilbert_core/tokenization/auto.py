"""`AutoTokenizer` of Transformers."""

from __future__ import annotations

from typing import Any

from distilbert_core.model.auto import Auto
from distilbert_core.tokenization.base import BaseTokenizer
from distilbert_core.tokenization.fast import DistilBertTokenizerFast
from distilbert_core.tokenization.slow import DistilBertTokenizer


class AutoTokenizer(Auto[BaseTokenizer]):
    """`AutoTokenizer` of Transformers: `from_pretrained` gives the fast tokenizer, or with `use_fast=False` the other.

    Example:
        >>> from distilbert_core import AutoTokenizer
        >>> AutoTokenizer.from_pretrained("sst2-tiny")("A film.")["input_ids"]
        [101, 1037, 2143, 1012, 102]
    """

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: Any, *args: Any, use_fast: bool = True, **kwargs: Any
    ) -> BaseTokenizer:
        """Load a tokenizer; the arguments are those of `from_pretrained` of the tokenizers.

        Args:
            pretrained_model_name_or_path: A folder, an embedded model or a Hub id.
            *args: Further positional arguments.
            use_fast: Load a `DistilBertTokenizerFast`, else a `DistilBertTokenizer`.
            **kwargs: Keyword arguments. `config` is ignored; Transformers reads the architecture from it.

        Raises:
            CheckpointError: The tokenizer is missing or damaged.
        """
        made = DistilBertTokenizerFast if use_fast else DistilBertTokenizer
        kwargs.pop("config", None)
        return made.from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
