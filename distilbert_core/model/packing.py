"""Texts of different lengths without padding: ragged, and packed into a few rows of one length.

A packed row holds several texts, each of which is a segment: a token attends to the tokens of its own segment and keeps
its position. So a model computes the same outputs as for a padded batch, and spends no work on padding.

Shapes: B texts, T tokens of the longest, M tokens of all texts, R packed rows, C slots of a packed row, S tokens of a
packed row whose outputs are computed, K selected tokens.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, pairwise

import numpy as np

from distilbert_core.errors import InputError

ROW_LENGTHS = (128, 256)  # lengths of packed rows to choose from, where any length can be computed


@dataclass(frozen=True)
class Ragged:
    """Texts one after another, without padding.

    Attributes:
        ids: [M] integers, the tokens of all texts.
        lengths: [B] integers, the number of tokens of each text.
        positions: [M] integers, the position of each token in its text; None: 0, 1, ... in each text.

    Example:
        >>> from distilbert_core.model.packing import Ragged
        >>> texts = Ragged.from_rows([[5, 6, 7], [8]])
        >>> texts.ids.tolist(), texts.lengths.tolist(), texts.first_tokens.tolist()
        ([5, 6, 7, 8], [3, 1], [0, 3])
        >>> texts.padded(pad_id=0)["input_ids"].tolist()
        [[5, 6, 7], [8, 0, 0]]
    """

    ids: np.ndarray
    lengths: np.ndarray
    positions: np.ndarray | None = None

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[int]]) -> Ragged:
        """Return texts, given the ids of each, such as `Encoding.ids`."""
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        return cls(np.fromiter(chain.from_iterable(rows), np.int64, lengths.sum()), lengths)

    @classmethod
    def from_padded(cls, input_ids: np.ndarray, mask: np.ndarray) -> Ragged:
        """Return the texts of a padded batch; tokens keep the positions that they have in it.

        Args:
            input_ids: B * T integers in any shape.
            mask: [B, T] boolean, False for padding, which may be anywhere.
        """
        tokens = np.flatnonzero(mask)
        return cls(input_ids.ravel()[tokens], mask.sum(axis=1), tokens % mask.shape[1])

    @cached_property
    def starts(self) -> np.ndarray:
        """[B]: index into the tokens at which each text starts."""
        starts: np.ndarray = self.lengths.cumsum() - self.lengths
        return starts

    @property
    def first_tokens(self) -> np.ndarray:
        """[B]: index of the first token of each text.

        Raises:
            InputError: A text has no token.
        """
        if not self.lengths.all():
            raise InputError(_no_token(int(self.lengths.argmin())))
        return self.starts

    @cached_property
    def position_ids(self) -> np.ndarray:
        """[M]: position of each token in its text."""
        if self.positions is not None:
            return self.positions
        return np.arange(len(self.ids)) - np.repeat(self.starts, self.lengths)

    def padded(self, pad_id: int) -> dict[str, np.ndarray]:
        """Return input_ids and attention_mask [B, T], with each token at its position."""
        shape = len(self.lengths), int(self.position_ids.max(initial=0)) + 1
        mask = np.zeros(shape, np.int64)
        mask[self._cells] = 1
        ids = np.full(shape, pad_id, self.ids.dtype)
        ids[self._cells] = self.ids
        return {"input_ids": ids, "attention_mask": mask}

    def unpad(self, values: np.ndarray) -> np.ndarray:
        """[B, T, ...], the outputs for the batch that `padded` returns -> [M, ...]."""
        return values[self._cells]

    @property
    def _cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of each token in the padded batch."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths), self.position_ids

    def split(self, values: np.ndarray, selected: np.ndarray | None = None) -> list[np.ndarray]:
        """Return the values of each text.

        Args:
            values: [M, ...], values of all tokens; or [K, ...], those of the selected tokens.
            selected: [K] indices of the selected tokens, ascending.
        """
        ends = self.lengths.cumsum()
        if selected is not None:
            ends = np.searchsorted(selected, ends)
        bounds = [0, *ends.tolist()]
        return [values[start:end] for start, end in pairwise(bounds)]


@dataclass(frozen=True)
class Packing:
    """The slots of the tokens of ragged texts in packed rows.

    Attributes:
        slots: [M], the index of each token's slot in the flattened rows.
        segment_ids: [R, C] int32: 1, 2, ... for the segments of a row, 0 for empty slots.

    Example:
        >>> from distilbert_core.model.packing import Packing, Ragged
        >>> packing = Packing.from_lengths([2, 3, 1], row_length=3)
        >>> packing.segment_ids.tolist()
        [[1, 1, 1], [1, 1, 2]]
        >>> packing.rows(Ragged.from_rows([[5, 6], [7, 8, 9], [4]]))["input_ids"].tolist()
        [[7, 8, 9], [5, 6, 4]]
    """

    slots: np.ndarray
    segment_ids: np.ndarray

    @classmethod
    def from_lengths(cls, lengths: Sequence[int] | np.ndarray, row_length: int | None = None) -> Packing:
        """Pack texts into few rows, longer ones first.

        Args:
            lengths: [B], the number of tokens of each text. An empty text takes no slot.
            row_length: C, at least the longest text; None: all texts fill one row.

        Raises:
            InputError: No text has a token.
        """
        lengths = np.asarray(lengths, np.int64)
        total = int(lengths.sum())
        if not total:
            raise InputError("attention_mask must have a nonzero entry; it has none.")
        columns = total if row_length is None else row_length
        bins = fill_bins(lengths.tolist(), columns)
        counts = np.array([len(members) for members in bins])
        order = np.concatenate([np.array(members) for members in bins])  # the texts as they are packed
        sizes = lengths[order]
        ends = sizes.cumsum()
        firsts = counts.cumsum() - counts  # [R]: index into `order` of the first text of each row
        # In packed order, the slot of a token is its index, shifted by the empty slots at the ends of the rows before.
        shifts = np.arange(len(bins)) * columns - (ends - sizes)[firsts]  # [R]
        packed = np.arange(total) + np.repeat(np.repeat(shifts, counts), sizes)
        tokens = np.arange(total) + np.repeat((lengths.cumsum() - lengths)[order] - (ends - sizes), sizes)
        slots = np.empty(total, np.int64)
        slots[tokens] = packed
        segment_ids = np.zeros(len(bins) * columns, np.int32)
        segment_ids[packed] = np.repeat(np.arange(len(order)) - np.repeat(firsts, counts) + 1, sizes)
        return cls(slots, segment_ids.reshape(-1, columns))

    @classmethod
    def of_cheapest_length(
        cls, lengths: np.ndarray, dim: int, candidates: Callable[[list[int]], Iterable[int]] | None = None
    ) -> Packing:
        """Pack texts into rows of the cheapest length; see `cheapest_length`.

        Args:
            lengths: [B], the number of tokens of each text.
            dim: Model size D.
            candidates: Returns the lengths to choose from, given the numbers of tokens. If left out: that of the
                longest text and `ROW_LENGTHS`.
        """
        sizes = lengths.tolist()
        known = candidates(sizes) if candidates else (max(sizes), *ROW_LENGTHS)
        return cls.from_lengths(lengths, cheapest_length(sizes, known, dim))

    def pack(self, values: np.ndarray, fill: int = 0) -> np.ndarray:
        """[M] -> [R, C], with `fill` in empty slots."""
        packed = np.full(self.segment_ids.size, fill, values.dtype)
        packed[self.slots] = values
        return packed.reshape(self.segment_ids.shape)

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """[R, C, ...] -> [M, ...]."""
        return packed.reshape(-1, *packed.shape[2:])[self.slots]

    def rows(self, texts: Ragged) -> dict[str, np.ndarray]:
        """Return input_ids, position_ids and segment_ids [R, C] for a model's `packed_outputs`."""
        return {
            "input_ids": self.pack(texts.ids),
            "position_ids": self.pack(texts.position_ids.astype(np.int32)),
            "segment_ids": self.segment_ids,
        }

    def with_rows(self, rows: int) -> Packing:
        """Return the same packing with `rows` packed rows, the last of them empty."""
        more = rows - len(self.segment_ids)
        return replace(self, segment_ids=np.pad(self.segment_ids, [(0, more), (0, 0)]))

    def select(self, selected: np.ndarray, size: Callable[[int], int] = int) -> tuple[np.ndarray, np.ndarray]:
        """Return which outputs of the packed rows to compute for some tokens.

        Args:
            selected: [K] indices of tokens.
            size: Rounds S up.

        Returns:
            output_tokens [R, S]: columns of the packed rows, ascending. A row with fewer than S selected tokens is
            filled up with other columns.
            indices [K] into the flattened outputs, one for each selected token.
        """
        rows, columns = self.segment_ids.shape
        slots = self.slots[selected]
        chosen = np.zeros((rows, columns), bool)
        chosen.ravel()[slots] = True
        most = min(size(int(chosen.sum(axis=1).max(initial=1))), columns)
        output_tokens = np.sort(np.argsort(~chosen, axis=1, kind="stable")[:, :most], axis=1).astype(np.int32)
        np.put_along_axis(chosen, output_tokens, True, axis=1)
        indices = np.arange(rows)[:, None] * most + chosen.cumsum(axis=1) - 1  # [R, C], valid where chosen
        return output_tokens, indices.ravel()[slots]


@dataclass(frozen=True)
class PaddedPacking:
    """A packing of a padded batch; made by `pack`.

    Attributes:
        mask: [B, T] boolean, False for padding.
        packing: The packing of the tokens that are not padding.
    """

    mask: np.ndarray
    packing: Packing

    @property
    def segment_ids(self) -> np.ndarray:
        """[R, C] int32: 1, 2, ... for the segments of a row, 0 for empty slots."""
        return self.packing.segment_ids

    @property
    def position_ids(self) -> np.ndarray:
        """[R, C] int32: the column of each token in the batch."""
        return self.pack(np.broadcast_to(np.arange(self.mask.shape[1], dtype=np.int32), self.mask.shape))

    def pack(self, array: np.ndarray, fill: int = 0) -> np.ndarray:
        """[B, T] -> [R, C], with `fill` in empty slots."""
        return self.packing.pack(array.reshape(self.mask.shape)[self.mask], fill)

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """[R, C, ...] -> [B, T, ...], with zeros at padding."""
        values = np.zeros((*self.mask.shape, *packed.shape[2:]), packed.dtype)
        values[self.mask] = self.packing.unpack(packed)
        return values

    def rows(self, input_ids: np.ndarray) -> dict[str, np.ndarray]:
        """Return input_ids, position_ids and segment_ids [R, C] for a model's `packed_outputs`.

        Args:
            input_ids: B * T integers in any shape.
        """
        return self.packing.rows(Ragged.from_padded(input_ids, self.mask))

    def select(self, selected: np.ndarray, size: Callable[[int], int] = int) -> tuple[np.ndarray, np.ndarray]:
        """Return which outputs to compute for the tokens where `selected` [B, T] is True; padding does not count.

        The results are the same as of `Packing.select`.
        """
        return self.packing.select(np.flatnonzero(selected[self.mask]), size)


def first_tokens(mask: np.ndarray) -> np.ndarray:
    """Return [..., T], True for the first token of each row that is not padding.

    Args:
        mask: [..., T], nonzero for tokens and 0 for padding.

    Raises:
        InputError: A row is all padding.
    """
    mask = np.asarray(mask) != 0
    first = mask & (mask.cumsum(axis=-1) == 1)
    empty = np.argwhere(~mask.any(axis=-1))
    if len(empty):
        raise InputError(_no_token(*empty[0].tolist()))
    return first


def _no_token(*row: int) -> str:
    return f"attention_mask must have a nonzero entry in every row; row {list(row)} has none."


def pack(mask: np.ndarray, row_length: int | None = None) -> PaddedPacking:
    """Pack the tokens of a padded batch.

    Args:
        mask: [B, T], nonzero for tokens and 0 for padding, which may be anywhere. A row of padding takes no slot.
        row_length: C, at least the number of tokens of any row; None: all tokens fill one packed row.

    Returns:
        The packing; longer texts come before shorter ones.

    Raises:
        InputError: All of the batch is padding.

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
    return PaddedPacking(mask, Packing.from_lengths(mask.sum(axis=1), row_length))


def fill_bins(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Put texts into few bins by best fit: the longest first, each into the bin with the least room that holds it.

    Args:
        lengths: Length of each text; empty ones are left out.
        capacity: Tokens that a bin holds.

    Returns:
        The indices of the texts of each bin, the longest first.

    Example:
        >>> from distilbert_core.model.packing import fill_bins
        >>> fill_bins([3, 9, 4, 2, 1], capacity=10)
        [[1, 4], [2, 0, 3]]
    """
    bins: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (tokens that still fit, bin), ascending
    for text in np.argsort(-np.asarray(lengths, np.int64), kind="stable").tolist():
        length = lengths[text]
        if not length:
            break
        tightest = bisect_left(room, (length, -1))
        if tightest < len(room):
            left, index = room.pop(tightest)
        else:
            left, index = capacity, len(bins)
            bins.append([])
        bins[index].append(text)
        insort(room, (left - length, index))
    return bins


def bucket_size(count: int, steps: int, multiple: int = 1) -> int:
    """Round a number of tokens or rows up to a bucket size, for programs that are compiled for each size.

    Args:
        count: At least 1.
        steps: Number of bucket sizes from a power of two to the next.
        multiple: A power of two; all bucket sizes are multiples of it.

    Example:
        >>> from distilbert_core.model.packing import bucket_size
        >>> [bucket_size(count, steps=4) for count in (1, 8, 9, 17, 250)]
        [1, 8, 10, 20, 256]
        >>> [bucket_size(count, steps=32, multiple=8) for count in (1, 9, 1000, 1025)]
        [8, 16, 1008, 1056]
    """
    step = max((1 << (count - 1).bit_length()) // (2 * steps), multiple)
    return -(-count // step) * step


def cheapest_length(lengths: Sequence[int], candidates: Iterable[int], dim: int) -> int:
    """Return the cheapest length of packed rows that holds the longest text.

    Dense layers cost 24 D² operations a token and layer, attention 4 C D, and attention runs at a third of their speed.

    Args:
        lengths: Number of tokens of each text.
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
