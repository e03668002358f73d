"""The interface of a tokenizer's engine, which turns texts into tokens.

There are two engines: `tokenizers.Tokenizer`, and `wordpiece.WordPieceTokenizer` in plain Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from tokenizers import AddedToken


class Encoding(Protocol):
    """The tokens of a text or pair: lists with one entry for each token."""

    @property
    def ids(self) -> list[int]:
        """The id of each token."""

    @property
    def tokens(self) -> list[str]:
        """The tokens."""

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """First character of each token in its text, and the character after its last one."""

    @property
    def word_ids(self) -> list[int | None]:
        """Index of each token's word; None for special tokens."""

    @property
    def sequence_ids(self) -> list[int | None]:
        """0 or 1, the text of the pair; None for special tokens."""

    @property
    def special_tokens_mask(self) -> list[int]:
        """1 for special tokens."""

    @property
    def type_ids(self) -> list[int]:
        """1 for the second text of a pair and the [SEP] after it."""

    @property
    def overflowing(self) -> Sequence[Any]:
        """The further windows of a truncated text."""

    @property
    def n_sequences(self) -> int:
        """1 for a text, 2 for a pair."""

    def __len__(self) -> int:
        """Return the number of tokens."""

    def pad(self, length: int, *, direction: str, pad_id: int, pad_token: str) -> None:
        """Pad the encoding to a length, in place."""


class Engine(Protocol):
    """The methods that the tokenizers call of an engine.

    Attributes:
        encode_special_tokens: Split special tokens in a text like other words.
        normalizer: The normaliser; None: texts are not normalised.
    """

    encode_special_tokens: bool
    normalizer: Any

    def token_to_id(self, token: str) -> int | None:
        """Return the id of a token; None for an unknown one."""

    def id_to_token(self, index: int) -> str | None:
        """Return the token of an id; None for an unknown one."""

    def get_vocab(self, with_added_tokens: bool = True) -> dict[str, int]:
        """Return the id of every token."""

    def get_vocab_size(self, with_added_tokens: bool = True) -> int:
        """Return the number of tokens."""

    def get_added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Return the added tokens by id."""

    def add_tokens(self, tokens: list[Any]) -> Any:
        """Add tokens to the vocabulary."""

    def enable_truncation(self, max_length: int, *, stride: int, strategy: str, direction: str) -> None:
        """Truncate the texts of the following calls."""

    def no_truncation(self) -> None:
        """Do not truncate the texts of the following calls."""

    def num_special_tokens_to_add(self, is_pair: bool) -> int:
        """Return how many special tokens surround one text, or a pair."""

    def encode_batch(
        self, inputs: Sequence[Any], /, is_pretokenized: bool = False, add_special_tokens: bool = True
    ) -> Sequence[Encoding]:
        """Return the encodings of texts and pairs."""
