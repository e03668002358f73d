"""Padding is not work: the real tokens of a padded batch, packed one row after another.

A packed row holds several rows of the batch, each a segment: a token attends to its own segment only, and keeps the
position that it had. So a model gives each real token what it gives it in the padded batch.

Shapes: B rows of the batch, T tokens of its longest, R packed rows, C tokens of each, S tokens of a packed row whose
outputs are wanted.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from distilbert_core.errors import InputError

NOTHING = -1  # source of a place that holds no token


@dataclass(frozen=True)
class Packing:
    """Where the real tokens of a padded batch lie when they are packed; made by `pack`.

    Attributes:
        mask: [B, T] boolean, True for real tokens.
        source: [R, C] index into the flattened batch of the token at each place, -1 where there is none.
        segment_ids: [R, C] int32: 1, 2, ... for the segments of a packed row, 0 where there is no token.
    """

    mask: np.ndarray
    source: np.ndarray
    segment_ids: np.ndarray

    @property
    def position_ids(self) -> np.ndarray:
        """[R, C] int32: the column of each token in the batch, which is its position."""
        return np.where(self.source == NOTHING, 0, self.source % self.mask.shape[1]).astype(np.int32)

    @cached_property
    def places(self) -> np.ndarray:
        """[B, T]: index into the flattened packed rows of each token; 0 for padding."""
        places = np.zeros(self.mask.size, np.int64)
        held = np.flatnonzero(self.source != NOTHING)
        places[self.source.ravel()[held]] = held
        return places.reshape(self.mask.shape)

    def pack(self, array: np.ndarray, fill: int = 0) -> np.ndarray:
        """[B, T] -> [R, C], with `fill` where there is no token."""
        return np.where(self.source == NOTHING, fill, array.ravel()[self.source])

    def rows(self, input_ids: np.ndarray) -> dict[str, np.ndarray]:
        """Return the arguments of a model's packed rows [R, C], given ids of B * T tokens in any shape."""
        segments = {"position_ids": self.position_ids, "segment_ids": self.segment_ids}
        return {"input_ids": self.pack(input_ids), **segments}

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """[R, C, ...] -> [B, T, ...], with zeros at padding."""
        rows = packed.reshape(-1, *packed.shape[2:])[self.places]
        rows[~self.mask] = 0
        return rows

    def with_rows(self, rows: int) -> Packing:
        """Return the same with so many packed rows, empty ones at the end."""
        extra = [(0, rows - len(self.source)), (0, 0)]
        source = np.pad(self.source, extra, constant_values=NOTHING)
        return Packing(self.mask, source, np.pad(self.segment_ids, extra))

    def select(self, wanted: np.ndarray, size: Callable[[int], int] = int) -> tuple[np.ndarray, np.ndarray]:
        """Return where some tokens lie.

        Args:
            wanted: [B, T] boolean; padding does not count.
            size: Rounds S up.

        Returns:
            The places [R, S] in their packed rows, ascending, some of other tokens where a row has fewer than S; and
            for each wanted token, in the batch's order, its index [M] into the flattened places.
        """
        chosen = self.pack(wanted & self.mask).astype(bool)  # [R, C]
        most = min(size(int(chosen.sum(axis=1).max(initial=1))), chosen.shape[1])
        # The wanted, and others until there are as many as in the fullest row.
        places = np.sort(np.argsort(~chosen, axis=1, kind="stable")[:, :most], axis=1).astype(np.int32)
        np.put_along_axis(chosen, places, True, axis=1)
        numbers = np.arange(len(chosen))[:, None] * most + chosen.cumsum(axis=1) - 1  # [R, C], right where chosen
        return places, numbers.ravel()[self.places[wanted & self.mask]]


def first_tokens(mask: np.ndarray) -> np.ndarray:
    """Return [..., T], True for the first real token of each row, given what is not 0 for real tokens.

    Raises:
        InputError: A row has none.
    """
    mask = np.asarray(mask) != 0
    first = mask & (mask.cumsum(axis=-1) == 1)
    if not first.any(axis=-1).all():
        row = np.argwhere(~first.any(axis=-1))[0].tolist()
        raise InputError(f"attention_mask must have a token in each row that is not 0; row {row} has none.")
    return first


def pack(mask: np.ndarray, row_length: int | None = None) -> Packing:
    """Pack the real tokens of a padded batch.

    Args:
        mask: [B, T], not 0 for real tokens; padding may be anywhere. A row without a real token takes no place.
        row_length: C, at least the number of real tokens of any row; None: one packed row for them all.

    Returns:
        The packing; longer rows come before shorter ones.

    Raises:
        InputError: There is no real token at all.

    Example:
        >>> import numpy as np
        >>> from distilbert_core.model.packing import pack
        >>> packing = pack(np.array([[1, 1, 0], [1, 1, 1], [1, 0, 0]]), row_length=3)
        >>> packing.pack(np.array([[5, 6, 0], [7, 8, 9], [4, 0, 0]])).tolist()
        [[7, 8, 9], [5, 6, 4]]
        >>> packing.segment_ids.tolist()
        [[1, 1, 1], [1, 1, 2]]
        >>> packing.unpack(np.array([[[7], [8], [9]], [[5], [6], [4]]]))[:, :, 0].tolist()
        [[5, 6, 0], [7, 8, 9], [4, 0, 0]]
    """
    mask = np.asarray(mask) != 0
    lengths = mask.sum(axis=1)
    if not lengths.any():
        raise InputError("attention_mask must have tokens that are not 0; it has none.")
    columns = int(lengths.sum()) if row_length is None else row_length
    bins = fill_bins(lengths.tolist(), columns)
    source = np.full((len(bins), columns), NOTHING)
    segment_ids = np.zeros((len(bins), columns), np.int32)
    tokens = np.split(np.flatnonzero(mask), lengths.cumsum()[:-1])  # of each row
    for packed_row, members in enumerate(bins):
        filled = np.concatenate([tokens[row] for row in members])
        source[packed_row, : filled.size] = filled
        segment_ids[packed_row, : filled.size] = np.repeat(np.arange(1, len(members) + 1), lengths[members])
    return Packing(mask, source, segment_ids)


def fill_bins(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Put rows into few bins: the longest first, each where it fits most tightly.

    Args:
        lengths: Length of each row; those of length 0 are left out.
        capacity: Most that a bin holds.

    Returns:
        The rows of each bin, the longest first.

    Example:
        >>> from distilbert_core.model.packing import fill_bins
        >>> fill_bins([3, 9, 4, 2, 1], capacity=10)
        [[1, 4], [2, 0, 3]]
    """
    bins: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (what is left, bin), ascending
    for row in np.argsort(-np.asarray(lengths, np.int64), kind="stable").tolist():
        length = lengths[row]
        if not length:
            break
        tightest = bisect_left(room, (length, -1))
        if tightest < len(room):
            left, number = room.pop(tightest)
        else:
            left, number = capacity, len(bins)
            bins.append([])
        bins[number].append(row)
        insort(room, (left - length, number))
    return bins


def few_sizes(count: int, steps: int, least: int = 1) -> int:
    """Round a number of tokens or rows up, for programs that are compiled for each.

    Args:
        count: At least 1.
        steps: How many sizes there are from a power of two to the next.
        least: All sizes are multiples of this power of two.

    Example:
        >>> from distilbert_core.model.packing import few_sizes
        >>> [few_sizes(count, steps=4) for count in (1, 8, 9, 17, 250)]
        [1, 8, 10, 20, 256]
        >>> [few_sizes(count, steps=32, least=8) for count in (1, 9, 1000, 1025)]
        [8, 16, 1008, 1056]
    """
    step = max((1 << (count - 1).bit_length()) // (2 * steps), least)
    return -(-count // step) * step


def cheapest_length(lengths: Sequence[int], candidates: Iterable[int], dim: int) -> int:
    """Return that length of packed rows, of those that the longest row fits into, which costs least.

    Dense layers cost 24 D² operations a token and layer, attention 4 C D, and attention runs at a third of their speed.

    Args:
        lengths: Real tokens of each row.
        candidates: Lengths to choose from.
        dim: Model size D.

    Example:
        >>> from distilbert_core.model.packing import cheapest_length
        >>> cheapest_length([70, 40, 40, 40, 40], [70, 128, 256], dim=768)
        128
    """

    def cost(columns: int) -> float:
        return len(fill_bins(lengths, columns)) * columns * (1 + columns / (2 * dim))

    return min((columns for columns in candidates if columns >= max(lengths)), key=cost)
