"""The vocabulary of a tokenizer: from tokens to ids and back."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from tokenizers import AddedToken

from distilbert_core.checks import check_choice
from distilbert_core.errors import InputError
from distilbert_core.tokenization.columns import as_array
from distilbert_core.tokenization.engine import Engine
from distilbert_core.tokenization.special_tokens import (
    ADDITIONAL,
    SPECIAL_TOKENS,
    TOKEN_NAMES,
    TokenId,
    no_token,
    not_in_vocabulary,
    token_of,
)

LARGEST_ID = 2**32 - 1  # ids have 32 bits in the `tokenizers` library


class Vocabulary:
    """Looks tokens and ids up."""

    bos_token: str | None
    eos_token: str | None
    unk_token: str
    sep_token: str
    pad_token: str | None
    cls_token: str
    mask_token: str | None
    additional_special_tokens: list[str]
    backend_tokenizer: Engine

    bos_token_id = TokenId[int | None]()
    eos_token_id = TokenId[int | None]()
    unk_token_id = TokenId[int]()
    sep_token_id = TokenId[int]()
    pad_token_id = TokenId[int | None]()
    cls_token_id = TokenId[int]()
    mask_token_id = TokenId[int | None]()

    @property
    def vocab_size(self) -> int:
        """Number of tokens in the vocabulary, without added ones."""
        return self.backend_tokenizer.get_vocab_size(with_added_tokens=False)

    def __len__(self) -> int:
        return self.backend_tokenizer.get_vocab_size(with_added_tokens=True)

    @property
    def vocab(self) -> dict[str, int]:
        """The id of every token."""
        return self.get_vocab()

    def get_vocab(self) -> dict[str, int]:
        """Return the id of every token, added ones too."""
        return self.backend_tokenizer.get_vocab(with_added_tokens=True)

    def get_added_vocab(self) -> dict[str, int]:
        """Return the ids of the special and the added tokens."""
        return {token.content: index for index, token in self.added_tokens_decoder.items()}

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """The special and the added tokens, with their options, by id."""
        return self.backend_tokenizer.get_added_tokens_decoder()

    @property
    def special_tokens_map(self) -> dict[str, Any]:
        """The special tokens by argument name, without unset ones."""
        tokens = {name: getattr(self, name) for name in (*TOKEN_NAMES, ADDITIONAL)}
        return {name: value if isinstance(value, str) else list(value) for name, value in tokens.items() if value}

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens, without unset ones."""
        tokens = filter(None, (getattr(self, name) for name in TOKEN_NAMES))
        return list(dict.fromkeys([*tokens, *self.additional_special_tokens]))

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of the special tokens.

        Raises:
            InputError: `additional_special_tokens` was changed and has a token that is not in the vocabulary.
        """
        ids = {token: self.backend_tokenizer.token_to_id(token) for token in self.all_special_tokens}
        missing = [token for token, index in ids.items() if index is None]
        if missing:
            raise InputError(not_in_vocabulary(ADDITIONAL, missing))
        return [index for index in ids.values() if index is not None]

    def _token_id(self, token: str) -> int:
        index = self.backend_tokenizer.token_to_id(token)
        if index is None:
            index = self.backend_tokenizer.token_to_id(self.unk_token)
            assert index is not None  # the constructor and the setter check that the vocabulary has `unk_token`
        return index

    def special_id(self, name: str) -> int:
        """Return the id of a special token by argument name, such as 'mask_token'.

        Raises:
            InputError: The token is not set.
        """
        token = getattr(self, check_choice("name", name, SPECIAL_TOKENS))
        if token is None:
            raise InputError(no_token(name))
        return self._token_id(token)

    @property
    def additional_special_tokens_ids(self) -> list[int]:
        """Ids of `additional_special_tokens`. Assigning ids replaces these tokens by the tokens of the ids."""
        return list(map(self._token_id, self.additional_special_tokens))

    @additional_special_tokens_ids.setter
    def additional_special_tokens_ids(self, ids: Iterable[int]) -> None:
        self.additional_special_tokens = [token_of(self, index) for index in ids]

    def convert_tokens_to_ids(self, tokens: str | Sequence[str]) -> int | list[int]:
        """Return the id of a token, or of each token; unknown tokens have the id of `unk_token`.

        Raises:
            InputError: A token is not a text.
        """
        if isinstance(tokens, str):
            return self._token_id(tokens)
        return list(map(self._token_id, as_texts("tokens", tokens)))

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """Return the token of an id, or of each id [T].

        Args:
            ids: An id, or ids as a list, an array or a tensor.
            skip_special_tokens: Leave special tokens out of a list.

        Returns:
            The token or the tokens; None for an unknown id.

        Raises:
            InputError: An id is a fraction, a text, or a negative number.
        """
        array = as_ids("ids", ids)
        if array.ndim > 1:
            raise InputError(f"ids must be an id or have shape [tokens], got {array.shape}.")
        single = array.ndim == 0
        skipped = self._special_ids() if skip_special_tokens and not single else set()
        added = self.added_tokens_decoder  # the library's own look-up returns these normalised
        tokens = [
            added[index].content if index in added else self._token(index)
            for index in np.atleast_1d(array).tolist()
            if index not in skipped
        ]
        return tokens[0] if single else tokens

    def _token(self, index: int) -> str | None:
        return self.backend_tokenizer.id_to_token(index) if index <= LARGEST_ID else None

    def _special_ids(self) -> set[int]:
        added = self.added_tokens_decoder.items()
        return {*self.all_special_ids, *(index for index, token in added if token.special)}


def as_ids(name: str, values: Any) -> np.ndarray:
    """Return an id, or ids in lists, an array or a tensor, as an array."""
    ids = as_array(values, name)
    if ids.dtype.kind not in "iu":
        raise InputError(f"{name} must be integers, got {reprlib.repr(values)}.")
    if ids.size and ids.min() < 0:
        raise InputError(f"An id must not be negative, got {ids.min()}; replace labels such as -100 first.")
    return ids


def as_texts(name: str, values: Iterable[Any]) -> list[str]:
    """Return texts as a list, or raise InputError if a value is not a text."""
    texts = list(values)
    for text in texts:
        if not isinstance(text, str):
            raise InputError(f"{name} must be texts, got {text!r}.")
    return texts
