"""The features of a run: the tokens and targets of its rows, in memory or in shards on disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any, Protocol, overload

import numpy as np


@dataclass(frozen=True)
class Feature:
    """The tokens and the target of one row, or of one window of a row.

    Attributes:
        ids: Token ids [T], or [C] lists of them.
        target: The target, in the task's own form.
        row: Index of its row.
        weight: Weight of the row in the loss; None if the file has no weights.
        cut: Whether a part of the row has no effect, for the reason in `Task.cut_rows`.
    """

    ids: Any
    target: Any
    row: int
    weight: float | None = None
    cut: bool = False

    @property
    def size(self) -> int:
        """Number of tokens for the model: T, or C * T."""
        return len(self.ids) if isinstance(self.ids[0], int) else len(self.ids) * max(map(len, self.ids))


class Part(Protocol):
    """Some of the features of a run. Indices count within the part."""

    @property
    def tokens(self) -> int:
        """The sum of all lengths."""

    def __len__(self) -> int:
        """Return the number of features."""

    def lengths_of(self, indices: np.ndarray) -> np.ndarray:
        """Return the lengths of some features, int64."""

    def select(self, indices: Sequence[int] | np.ndarray) -> list[Feature]:
        """Return some features."""

    def token_counts(self, size: int) -> np.ndarray:
        """Return how often each id below `size` occurs, int64 [size]."""


class MemoryPart:
    """Features in memory."""

    def __init__(self, features: Sequence[Feature]):
        self.features = features
        self._lengths = np.array([feature.size for feature in features], np.int64)
        self.tokens = int(self._lengths.sum())

    def __len__(self) -> int:
        return len(self.features)

    def lengths_of(self, indices: np.ndarray) -> np.ndarray:
        """Return the lengths of some features, int64."""
        return self._lengths[indices]

    def select(self, indices: Sequence[int] | np.ndarray) -> list[Feature]:
        """Return some features."""
        return [self.features[index] for index in indices]

    def token_counts(self, size: int) -> np.ndarray:
        """Return how often each id below `size` occurs."""
        ids = np.fromiter(chain.from_iterable(feature.ids for feature in self.features), np.int64)
        return np.bincount(ids, minlength=size)


class Features(Sequence[Feature]):
    """The features of a run, of one or several parts, which may be `Features` themselves.

    Args:
        parts: The parts.

    Attributes:
        tokens: The sum of all lengths.

    Example:
        >>> from distilbert_core.training.features import Feature, Features
        >>> features = Features.of([Feature([101, 7, 102], 0, row=0), Feature([101, 102], 1, row=1)])
        >>> len(features), features.tokens, [feature.target for feature in features.select([1, 0])]
        (2, 5, [1, 0])
    """

    def __init__(self, parts: Sequence[Part]):
        self.parts = [part for part in parts if len(part)]
        self._ends = np.array([*accumulate(map(len, self.parts))], np.int64)
        self.tokens = sum(part.tokens for part in self.parts)

    @classmethod
    def of(cls, features: Sequence[Feature]) -> Features:
        """Return features as `Features`."""
        return features if isinstance(features, cls) else cls([MemoryPart(features)])

    def __len__(self) -> int:
        return int(self._ends[-1]) if self.parts else 0

    @overload
    def __getitem__(self, index: int) -> Feature: ...

    @overload
    def __getitem__(self, index: slice) -> list[Feature]: ...

    def __getitem__(self, index: int | slice) -> Feature | list[Feature]:
        indices = range(len(self))[index]
        return self.select([indices])[0] if isinstance(indices, int) else self.select(indices)

    def __iter__(self) -> Iterator[Feature]:
        return chain.from_iterable(self.blocks())

    def blocks(self, size: int = 4096) -> Iterator[list[Feature]]:
        """Yield all features, a number of them at a time."""
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def select(self, indices: Sequence[int] | np.ndarray) -> list[Feature]:
        """Return the features of some indices, in this order."""
        selected: list[Any] = [None] * len(indices)
        for part, places, within in self._divided(np.asarray(indices, np.int64)):
            for place, feature in zip(places.tolist(), part.select(within), strict=True):
                selected[place] = feature
        return selected

    @property
    def lengths(self) -> FeatureLengths:
        """The length of each feature in tokens, for `training_order`."""
        return FeatureLengths(self)

    def lengths_of(self, indices: np.ndarray) -> np.ndarray:
        """Return the lengths of some features, int64."""
        lengths = np.empty(len(indices), np.int64)
        for part, places, within in self._divided(indices):
            lengths[places] = part.lengths_of(within)
        return lengths

    def token_counts(self, size: int) -> np.ndarray:
        """Return how often each token id below `size` occurs, int64 [size]."""
        return sum((part.token_counts(size) for part in self.parts), np.zeros(size, np.int64))

    def _divided(self, indices: np.ndarray) -> Iterator[tuple[Part, np.ndarray, np.ndarray]]:
        """Yield each part that some indices belong to, their places among the indices, and their indices within it."""
        of_part = np.searchsorted(self._ends, indices, side="right")
        for number in np.unique(of_part).tolist():
            places = np.flatnonzero(of_part == number)
            part = self.parts[number]
            yield part, places, indices[places] - (self._ends[number] - len(part))


class FeatureLengths:
    """The lengths of features, read when they are needed."""

    def __init__(self, features: Features):
        self._features = features

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return self._features.lengths_of(indices)
