"""The tokens of a text as plain lists, and their truncation to windows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from distilbert_core.errors import InputError


@dataclass
class Encoding:
    """The tokens of a text or pair: lists with an entry for each token, named as in the `tokenizers` library."""

    ids: list[int] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    offsets: list[tuple[int, int]] = field(default_factory=list)
    word_ids: list[int | None] = field(default_factory=list)
    sequence_ids: list[int | None] = field(default_factory=list)
    special_tokens_mask: list[int] = field(default_factory=list)
    attention_mask: list[int] = field(default_factory=list)
    type_ids: list[int] = field(default_factory=list)
    overflowing: list[Encoding] = field(default_factory=list)
    n_sequences: int = 1

    @classmethod
    def without_text(cls, token: str, index: int, count: int = 1, attention: int = 1, type_id: int = 0) -> Encoding:
        """Return `count` tokens that have no text: [CLS], [SEP] or padding."""
        columns = (index, token, (0, 0), None, None, 1, attention, type_id)
        return cls(*([value] * count for value in columns))  # type: ignore[arg-type]

    def pad(self, length: int, direction: str, pad_id: int, pad_token: str) -> None:
        """Pad this encoding to a length, in place."""
        padding = Encoding.without_text(pad_token, pad_id, max(length - len(self), 0), attention=0)
        padded = self + padding if direction == "right" else padding + self
        self.__dict__.update({name: getattr(padded, name) for name in _PER_TOKEN})

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, tokens: slice) -> Encoding:
        return Encoding(*(getattr(self, name)[tokens] for name in _PER_TOKEN))

    def __add__(self, other: Encoding) -> Encoding:
        return Encoding(*(getattr(self, name) + getattr(other, name) for name in _PER_TOKEN))


_PER_TOKEN = [name for name in Encoding.__dataclass_fields__ if name not in ("overflowing", "n_sequences")]

Windows = list[Encoding]  # of one text; the first one is kept


@dataclass(frozen=True)
class Truncation:
    """Truncation of texts.

    Attributes:
        max_length: Number of tokens that are kept, with special tokens.
        stride: Number of tokens that neighbouring windows share.
        strategy: 'longest_first', 'only_first' or 'only_second'.
        direction: Side on which tokens are removed, 'right' or 'left'.
    """

    max_length: int
    stride: int
    strategy: str
    direction: str

    def __call__(self, first: Encoding, second: Encoding | None, special: int) -> tuple[Windows, Windows]:
        """Return the windows of both texts.

        Args:
            first: The first text.
            second: The second text; None: its list of windows is empty.
            special: Number of special tokens to leave room for.

        Raises:
            InputError: The text to truncate is missing, or none of its tokens would be left.
        """
        room = self.max_length - special
        lengths = (len(first), 0 if second is None else len(second))
        excess = sum(lengths) - room
        kept: tuple[int, int]
        if excess <= 0:
            kept = lengths
        elif room == 0:
            kept = (0, 0)
        elif self.strategy == "longest_first":
            kept = _share(*lengths, room) if second is not None else (room, 0)
        else:
            cut = ("only_first", "only_second").index(self.strategy)
            if lengths[cut] <= excess:
                raise InputError(f"{excess} tokens would have to be removed from a text of {lengths[cut]}")
            kept = (lengths[0] - excess, lengths[1]) if cut == 0 else (lengths[0], lengths[1] - excess)
        return self._windows(first, kept[0]), [] if second is None else self._windows(second, kept[1])

    def _windows(self, encoding: Encoding, length: int) -> Windows:
        total = len(encoding)
        if length >= total:
            return [encoding]
        if length == 0:
            return [Encoding(), encoding]
        if self.stride >= length:
            raise InputError(f"stride must be smaller than the room for the text, {length} tokens, got {self.stride}")
        starts = range(0, total - self.stride, length - self.stride)
        if self.direction == "right":
            return [encoding[start : start + length] for start in starts]
        return [encoding[max(total - start - length, 0) : total - start] for start in starts]


def _share(first: int, second: int, room: int) -> tuple[int, int]:
    """Return how many tokens of each text are kept: the shorter text is kept whole if it fits into half the room."""
    shorter = min(first, second)
    if shorter > room // 2:
        shorter = room // 2
    return (shorter, room - shorter) if first <= second else (room - shorter, shorter)


def combinations(firsts: Windows, seconds: Windows) -> Iterator[tuple[Encoding, Encoding]]:
    """Yield the pairs of windows of two texts, in the order of the `tokenizers` library."""
    yield firsts[0], seconds[0]
    yield from ((first, second) for first in firsts[1:] for second in seconds)
    yield from ((firsts[0], second) for second in seconds[1:])
