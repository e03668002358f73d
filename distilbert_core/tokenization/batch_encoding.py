"""`BatchEncoding`: what a tokenizer returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from distilbert_core.errors import InputError
from distilbert_core.tokenization.columns import to_tensor


class CharSpan(NamedTuple):
    """Characters of a text, from `start` to before `end`."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Tokens of an encoding, from `start` to before `end`."""

    start: int
    end: int


class BatchEncoding(dict[str, Any]):
    """What the tokenizer returns: `input_ids`, `attention_mask` and what else was asked for, also as attributes.

    For one text each entry is a list, for several a list of lists, or with `return_tensors` an array [B, T].
    The methods that go between tokens, words and characters take a place in the only text, or first the number of the
    text in the batch and then the place in it.

    Args:
        data: The entries.
        encoding: The encodings of the engine, or the only one.
        tensor_type: What `convert_to_tensors` makes of the entries; None: they stay as they are.
        prepend_batch_axis: As for `convert_to_tensors`.
        n_sequences: 1 for texts, 2 for pairs; None: as `encoding` says.
        padding: How the encodings are to be filled up, as arguments of their `pad`.

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
        encoding: Any | Sequence[Any] | None = None,
        tensor_type: str | None = None,
        prepend_batch_axis: bool = False,
        n_sequences: int | None = None,
        *,
        padding: Mapping[str, Any] | None = None,
    ):
        super().__init__(data or {})
        self._encodings: list[Any] = [encoding] if hasattr(encoding, "ids") else list(encoding or ())
        self._padding = padding  # arguments of `pad` of the encodings, which is only done for who looks at them
        self._n_sequences = n_sequences
        self.convert_to_tensors(tensor_type, prepend_batch_axis)

    @property
    def encodings(self) -> list[Any]:
        """The encoding of each text, as the engine of the tokenizer gives it; none if no tokenizer made this one."""
        if self._padding is not None:
            for encoding in self._encodings:
                encoding.pad(**self._padding)
            self._padding = None
        return self._encodings

    @property
    def is_fast(self) -> bool:
        """Whether there are encodings, which the methods between tokens, words and characters need."""
        return bool(self._encodings)

    @property
    def n_sequences(self) -> int | None:
        """1 for texts, 2 for pairs, None if not known."""
        if self._n_sequences is None and self._encodings:
            return self._encodings[0].n_sequences
        return self._n_sequences

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f"This encoding has no {name!r}; it has {list(self)}.")

    def __getitem__(self, key: Any) -> Any:
        """Return an entry by name, or the encoding of one text by its number; without encodings, rows for a slice."""
        if isinstance(key, slice) and not self._encodings:
            return {name: rows[key] for name, rows in self.items()}
        return self._encoding(key) if isinstance(key, int | slice) else super().__getitem__(key)

    def copy(self) -> BatchEncoding:
        """Return a shallow copy."""
        return BatchEncoding(self, self.encodings, n_sequences=self._n_sequences)

    @property
    def data(self) -> dict[str, Any]:
        """The entries as a plain dict, a copy; to assign a mapping replaces the entries."""
        return dict(self)

    @data.setter
    def data(self, entries: Mapping[str, Any]) -> None:
        entries = dict(entries)
        self.clear()
        self.update(entries)

    def tree_flatten(self) -> tuple[tuple, tuple[str, ...]]:
        """Return the entries and their names, as tree libraries ask for them.

        The encodings of the texts are left out: a compiled function is made for all batches of one shape.
        """
        return tuple(self.values()), tuple(self)

    @classmethod
    def tree_unflatten(cls, names: tuple[str, ...], values: Any) -> BatchEncoding:
        """Put entries back under their names."""
        return cls(dict(zip(names, values, strict=True)))

    def convert_to_tensors(self, tensor_type: str | None = None, prepend_batch_axis: bool = False) -> BatchEncoding:
        """Turn the entries into arrays of 'np', 'pt', 'tf' or 'jax', in place, and return this encoding.

        `prepend_batch_axis` makes a batch [1, T] of a single text. Without `tensor_type` nothing is done.

        Integers become int64 (int32 in JAX unless it runs with 64-bit numbers), booleans stay booleans, and fractions
        become float64 in NumPy and float32 in the frameworks; arrays and tensors keep their dtype.

        Raises:
            InputError: An entry cannot be an array: it holds something that is not a number, or rows of different
                lengths.
        """
        if tensor_type is not None:
            columns = {name: [rows] if prepend_batch_axis else rows for name, rows in self.items()}
            self.update({name: to_tensor(rows, name, tensor_type) for name, rows in columns.items()})
        return self

    def to(self, device: Any, *, non_blocking: bool = False) -> BatchEncoding:
        """Move PyTorch tensors to a device, in place, and return this encoding; other entries stay where they are.

        Args:
            device: A name such as 'cuda:0', a number, or a `torch.device`.
            non_blocking: Copy while the program goes on, from pinned memory.

        Raises:
            InputError: No entry is a PyTorch tensor, or `device` is a dtype: ids must stay integers.
        """
        if not isinstance(device, str | int) and type(device).__name__ != "device":
            raise InputError(f"device must be a name, a number or a torch.device, got {device!r}; ids stay integers.")
        how = {"non_blocking": True} if non_blocking else {}
        moved = {name: value.to(device, **how) for name, value in self.items() if hasattr(value, "to")}
        if self and not moved:
            raise InputError("This encoding has no PyTorch tensors to move; ask for them with return_tensors='pt'.")
        self.update(moved)
        return self

    # -- from tokens to texts and back --------------------------------------------------------------------------

    def tokens(self, batch_index: int = 0) -> list[str]:
        """Return the tokens of one text."""
        return self._encoding(batch_index).tokens

    def words(self, batch_index: int = 0) -> list[int | None]:
        """Return what `word_ids` returns."""
        return self.word_ids(batch_index)

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return, for each token of one text, the index of its word, or None for special tokens."""
        return self._encoding(batch_index).word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Return, for each token of one text, 0 or 1 for the first or second text of the pair, None if special."""
        return self._encoding(batch_index).sequence_ids

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Return 0 or 1, the text of the pair that a token belongs to; None for special tokens and past the end."""
        encoding, token = self._place(batch_or_token_index, token_index)
        return encoding.sequence_ids[token] if token < len(encoding) else None

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Return the index of a token's word; None for special tokens and past the end."""
        encoding, token = self._place(batch_or_token_index, token_index)
        return encoding.word_ids[token] if token < len(encoding) else None

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """Return the characters of a token; None for special tokens and past the end."""
        encoding, token = self._place(batch_or_token_index, token_index)
        inside = token < len(encoding) and encoding.sequence_ids[token] is not None
        return CharSpan(*encoding.offsets[token]) if inside else None

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """Return the tokens of a word; None if the word has none."""
        encoding, word = self._place(batch_or_word_index, word_index)
        tokens = [token for token, of in _tokens_of(encoding, sequence_index, encoding.word_ids) if of == word]
        return TokenSpan(tokens[0], tokens[-1] + 1) if tokens else None

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """Return the characters of a word; None if the word has no token."""
        tokens = self.word_to_tokens(batch_or_word_index, word_index, sequence_index)
        if tokens is None:
            return None
        offsets = self._place(batch_or_word_index, word_index)[0].offsets
        return CharSpan(offsets[tokens.start][0], offsets[tokens.end - 1][1])

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the index of the token that a character is in; None if it is in none."""
        encoding, char = self._place(batch_or_char_index, char_index)
        offsets = _tokens_of(encoding, sequence_index, encoding.offsets)
        return next((token for token, (start, end) in offsets if start <= char < end), None)

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """Return the index of the word that a character is in; None if it is in none."""
        token = self.char_to_token(batch_or_char_index, char_index, sequence_index)
        return None if token is None else self._place(batch_or_char_index, char_index)[0].word_ids[token]

    def _place(self, batch_or_index: int, index: int | None) -> tuple[Any, int]:
        return (self._encoding(0), batch_or_index) if index is None else (self._encoding(batch_or_index), index)

    def _encoding(self, index: int | slice) -> Any:
        if not self._encodings:
            raise InputError(
                "Tokens, words and characters are only known of what a call of a tokenizer returned; this encoding "
                "holds nothing but its entries."
            )
        return self.encodings[index]


def _tokens_of(encoding: Any, sequence: int, values: Sequence[Any]) -> list[tuple[int, Any]]:
    """Return the indices of the tokens of one text of a pair, each with its value."""
    return [(token, values[token]) for token, of in enumerate(encoding.sequence_ids) if of == sequence]
