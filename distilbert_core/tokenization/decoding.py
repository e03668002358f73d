"""From ids back to text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from distilbert_core.compatibility import TOKENIZER_DECODING, accept_only
from distilbert_core.errors import InputError
from distilbert_core.tokenization.vocabulary import Vocabulary, as_ids, as_texts

SPACES = (  # replacements that clean a decoded text up, in this order
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)


class Decoding(Vocabulary):
    """Decodes ids to texts."""

    clean_up_tokenization_spaces: bool

    def _join(self, tokens: Sequence[str], clean_up: bool) -> str:
        """Join pieces to words, and words by spaces; `clean_up` applies `SPACES` to each token."""
        raise NotImplementedError

    @staticmethod
    def clean_up_tokenization(out_string: str) -> str:
        """Remove the spaces before punctuation and around apostrophes from a text."""
        for spaced, joined in SPACES:
            out_string = out_string.replace(spaced, joined)
        return out_string

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Return the text of tokens: pieces are joined to words, and words by spaces, except before . , ? and !

        Raises:
            InputError: A token is not a text.
        """
        return self._join(as_texts("tokens", tokens), clean_up=True)

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> str:
        """Return the text of an id, or of a list or array of ids [T]. Unknown ids are left out.

        Args:
            token_ids: The ids.
            skip_special_tokens: Leave special tokens out.
            clean_up_tokenization_spaces: Remove the spaces before punctuation and around apostrophes. None: use the
                tokenizer's own setting.
            **kwargs: `spaces_between_special_tokens=True`; accepted for compatibility with Transformers.

        Raises:
            InputError: The ids have more than one axis (use `batch_decode`), are not integers, or one is negative.
        """
        accept_only(kwargs, TOKENIZER_DECODING, "decode")
        ids = np.atleast_1d(as_ids("token_ids", token_ids))
        if ids.ndim != 1:
            raise InputError(f"token_ids must have shape [tokens], got {ids.shape}; batch_decode takes several texts.")
        tokens = self.convert_ids_to_tokens(ids, skip_special_tokens=skip_special_tokens)
        text = self._join([token for token in tokens if token is not None], clean_up=False)
        clean_up = (
            self.clean_up_tokenization_spaces if clean_up_tokenization_spaces is None else clean_up_tokenization_spaces
        )
        return self.clean_up_tokenization(text) if clean_up else text

    def batch_decode(
        self,
        sequences: Iterable[Any],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Return the texts of several lists of ids, or of an array of ids [B, T].

        Args:
            sequences: The ids of each text.
            skip_special_tokens: Leave special tokens out.
            clean_up_tokenization_spaces: Remove the spaces before punctuation and around apostrophes. None: use the
                tokenizer's own setting.
            **kwargs: `spaces_between_special_tokens=True`; accepted for compatibility with Transformers.

        Raises:
            InputError: Ids are not integers, or one is negative.
        """
        return [self.decode(ids, skip_special_tokens, clean_up_tokenization_spaces, **kwargs) for ids in sequences]
