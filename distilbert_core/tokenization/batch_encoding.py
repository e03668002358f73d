"""`BatchEncoding`: the output of a tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from distilbert_core.errors import InputError
from distilbert_core.tokenization.columns import to_tensor
from distilbert_core.tokenization.engine import Encoding


class CharSpan(NamedTuple):
    """Characters of a text, from `start` to before `end`."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens of an encoding, from `start` to before `end`."""

    start: int
    end: int


class BatchEncoding(dict[str, Any]):
    """The output of a tokenizer: a dict of `input_ids`, `attention_mask` and other columns, also as attributes.

    A column is a list for one text, a list of lists for several, and an array [B, T] with `return_tensors`. The methods
    that map between tokens, words and characters take an index in the only text, or the index of a text in the batch
    and an index in that text.

    Args:
        data: The columns.
        encoding: The encodings of the engine, or a single one.
        tensor_type: Type of arrays that the columns are converted to: 'np', 'pt', 'tf' or 'jax'. None: they are not
            converted.
        prepend_batch_axis: Convert the columns of a single text to a batch [1, T].
        n_sequences: 1 for texts, 2 for pairs; None: as in `encoding`.
        padding: Arguments of the encodings' `pad`, which is called when they are first read.

    Example:
        >>> from distilbert_core import DistilBertTokenizerFast
        >>> encoding = DistilBertTokenizerFast.from_pretrained("sst2-tiny")("Embeddings help")
        >>> encoding.tokens()
        ['[CLS]', 'em', '##bed', '##ding', '##s', 'help', '[SEP]']
        >>> encoding.word_to_tokens(0), encoding.token_to_chars(5)
        (TokenSpan(start=1, end=5), CharSpan(start=11, end=15))
    """

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        encoding: Encoding | Sequence[Encoding] | None = None,
        tensor_type: str | None = None,
        prepend_batch_axis: bool = False,
        n_sequences: int | None = None,
        *,
        padding: Mapping[str, Any] | None = None,
    ):
        super().__init__(data or {})
        self._encodings: list[Encoding] = _as_list(encoding)
        self._padding = padding
        self._n_sequences = n_sequences
        self.convert_to_tensors(tensor_type, prepend_batch_axis)

    @property
    def encodings(self) -> list[Encoding]:
        """The encoding of each text, from the tokenizer's engine; empty if no tokenizer made this object."""
        if self._padding is not None:
            for encoding in self._encodings:
                encoding.pad(**self._padding)
            self._padding = None
        return self._encodings

    @property
    def is_fast(self) -> bool:
        """Whether there are encodings. The methods that map between tokens, words and characters need them."""
        return bool(self._encodings)

    @property
    def n_sequences(self) -> int | None:
        """1 for texts, 2 for pairs, None if unknown."""
        if self._n_sequences is None and self._encodings:
            return self._encodings[0].n_sequences
        return self._n_sequences

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f"This encoding has no {name!r}; it has {list(self)}.")

    def __getitem__(self, key: Any) -> Any:
        """Return a column by name, or the encoding of a text by index; without encodings, the rows of a slice."""
        if isinstance(key, slice) and not self._encodings:
            return {name: rows[key] for name, rows in self.items()}
        return self._encoding(key) if isinstance(key, int | slice) else super().__getitem__(key)

    def copy(self) -> BatchEncoding:
        """Return a shallow copy."""
        return BatchEncoding(self, self.encodings, n_sequences=self._n_sequences)

    @property
    def data(self) -> dict[str, Any]:
        """The columns as a plain dict, a copy. Assigning a mapping replaces the columns."""
        return dict(self)

    @data.setter
    def data(self, entries: Mapping[str, Any]) -> None:
        entries = dict(entries)
        self.clear()
        self.update(entries)

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[str, ...]]:
        """Return the columns and their names, for tree libraries.

        The encodings are left out, so that a compiled function serves all batches of one shape.
        """
        return tuple(self.values()), tuple(self)

    @classmethod
    def tree_unflatten(cls, names: tuple[str, ...], values: Any) -> BatchEncoding:
        """Return an object with columns of these names."""
        return cls(dict(zip(names, values, strict=True)))

    def convert_to_tensors(self, tensor_type: str | None = None, prepend_batch_axis: bool = False) -> BatchEncoding:
        """Convert the columns to arrays, in place, and return this object.

        Integers become int64 (int32 in JAX unless it runs with 64-bit numbers), booleans stay booleans, and fractions
        become float64 in NumPy and float32 in the frameworks; arrays and tensors keep their dtype.

        Args:
            tensor_type: 'np', 'pt', 'tf' or 'jax'; None: the columns are not converted.
            prepend_batch_axis: Convert the columns of a single text to a batch [1, T].

        Raises:
            InputError: A column cannot be an array: a value is not a number, or rows have different lengths.
        """
        if tensor_type is not None:
            columns = {name: [rows] if prepend_batch_axis else rows for name, rows in self.items()}
            self.update({name: to_tensor(rows, name, tensor_type) for name, rows in columns.items()})
        return self

    def to(self, device: Any, *, non_blocking: bool = False) -> BatchEncoding:
        """Move PyTorch tensors to a device, in place, and return this object. Other columns are not moved.

        Args:
            device: A name such as 'cuda:0', a number, or a `torch.device`.
            non_blocking: Copy asynchronously, from pinned memory.

        Raises:
            InputError: No column is a PyTorch tensor, or `device` is a dtype: ids must stay integers.
        """
        if not isinstance(device, str | int) and type(device).__name__ != "device":
            raise InputError(f"device must be a name, a number or a torch.device, got {device!r}; ids stay integers.")
        options = {"non_blocking": True} if non_blocking else {}
        moved = {name: value.to(device, **options) for name, value in self.items() if hasattr(value, "to")}
        if self and not moved:
            raise InputError("This encoding has no PyTorch tensors to move; ask for them with return_tensors='pt'.")
        self.update(moved)
        return self

    # -- from tokens to texts and back --------------------------------------------------------------------------

    def tokens(self, batch_index: int = 0) -> list[str]:
        """Return the tokens of one text."""
        return self._encoding(batch_index).tokens

    def words(self, batch_index: int = 0) -> list[int | None]:
        """Return, for each token of one text, the index of its word, or None for special tokens."""
        return self.word_ids(batch_index)

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return, for each token of one text, the index of its word, or None for special tokens."""
        return self._encoding(batch_index).word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return, for each token of one text, 0 or 1, its text of the pair, or None for special tokens."""
        return self._encoding(batch_index).sequence_ids

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Return 0 or 1, a token's text of the pair; None for special tokens and past the end."""
        encoding, token = self._locate(batch_or_token_index, token_index)
        return encoding.sequence_ids[token] if token < len(encoding) else None

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Return the index of a token's word; None for special tokens and past the end."""
        encoding, token = self._locate(batch_or_token_index, token_index)
        return encoding.word_ids[token] if token < len(encoding) else None

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """Return the characters of a token; None for special tokens and past the end."""
        encoding, token = self._locate(batch_or_token_index, token_index)
        inside = token < len(encoding) and encoding.sequence_ids[token] is not None
        return CharSpan(*encoding.offsets[token]) if inside else None

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """Return the tokens of a word; None if the word has none."""
        encoding, word = self._locate(batch_or_word_index, word_index)
        tokens = [token for token, index in _tokens_of(encoding, sequence_index, encoding.word_ids) if index == word]
        return TokenSpan(tokens[0], tokens[-1] + 1) if tokens else None

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """Return the characters of a word; None if the word has no token."""
        tokens = self.word_to_tokens(batch_or_word_index, word_index, sequence_index)
        if tokens is None:
            return None
        offsets = self._locate(batch_or_word_index, word_index)[0].offsets
        return CharSpan(offsets[tokens.start][0], offsets[tokens.end - 1][1])

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the index of the token of a character; None if no token has it."""
        encoding, char = self._locate(batch_or_char_index, char_index)
        offsets = _tokens_of(encoding, sequence_index, encoding.offsets)
        return next((token for token, (start, end) in offsets if start <= char < end), None)

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the index of the word of a character; None if no word has it."""
        token = self.char_to_token(batch_or_char_index, char_index, sequence_index)
        return None if token is None else self._locate(batch_or_char_index, char_index)[0].word_ids[token]

    def _locate(self, batch_or_index: int, index: int | None) -> tuple[Encoding, int]:
        """Return an encoding and an index in it."""
        return (self._encoding(0), batch_or_index) if index is None else (self._encoding(batch_or_index), index)

    def _encoding(self, index: int | slice) -> Any:
        if not self._encodings:
            raise InputError(
                "Tokens, words and characters are known only in the output of a tokenizer; this encoding has only its "
                "entries."
            )
        return self.encodings[index]


def _tokens_of(encoding: Encoding, sequence: int, values: Sequence[Any]) -> list[tuple[int, Any]]:
    """Return the indices of the tokens of one text of a pair, each with its value."""
    return [(token, values[token]) for token, index in enumerate(encoding.sequence_ids) if index == sequence]


def _as_list(encoding: Encoding | Iterable[Encoding] | None) -> list[Encoding]:
    """Return encodings, or a single one, as a list."""
    if encoding is None:
        return []
    return list(encoding) if isinstance(encoding, Iterable) else [encoding]
