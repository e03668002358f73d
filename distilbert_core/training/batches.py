"""From rows to the batches of each step, for all backends: their order, their division, and masked tokens.

Shapes: B batch, T tokens of the longest row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, count, islice
from typing import Protocol

import numpy as np

from distilbert_core.model.inputs import IGNORE_INDEX
from distilbert_core.model.packed_batches import Batch
from distilbert_core.training.features import Features
from distilbert_core.training.recipe import Recipe

WINDOW = 50  # batches whose rows are sorted by length together: little padding, and still a random order
STORED_ORDER = 1 << 20  # rows whose order is a permutation in memory
BLOCK, FEISTEL_ROUNDS = 1 << 16, 4  # of the order of more rows
RANDOM, KEPT = 0.1, 0.1  # fractions of the masked tokens that do not become [MASK] (Devlin et al. 2018, section 3.1)


class Lengths(Protocol):
    """The length of each row in tokens."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Return the lengths of some rows, given by index."""


def training_order(lengths: Sequence[int] | Lengths, batch_size: int, seed: int) -> Iterator[list[int]]:
    """Yield the indices of the rows of each step, endlessly: every row once per epoch, rows of similar length together.

    Epochs follow each other without a gap, so all batches have the same size. The batch in which an epoch ends also has
    rows of the next epoch.

    Args:
        lengths: Length of each row in tokens.
        batch_size: Rows of a batch.
        seed: Seed of the order.

    Example:
        >>> from itertools import islice
        >>> from distilbert_core.training.batches import training_order
        >>> sorted(row for batch in islice(training_order([3, 9, 4, 2], 2, seed=0), 2) for row in batch)
        [0, 1, 2, 3]
    """
    rng = np.random.default_rng(seed)
    batches = max(1, min(WINDOW, len(lengths) // batch_size))  # of a window: an epoch's at most
    for window, _ in sorted_windows(lengths, batches * batch_size, rng):
        yield from window.reshape(batches, batch_size)[rng.permutation(batches)].tolist()


def token_order(lengths: Sequence[int] | Lengths, max_tokens: int, seed: int, mean: float) -> Iterator[list[int]]:
    """Yield the indices of the rows of each step, endlessly, as `training_order`, but as many as have `max_tokens`.

    A batch is full when its next row does not fit. The last batch of a window is filled from the next window.

    Args:
        lengths: Length of each row in tokens.
        max_tokens: Most tokens of a batch. A longer row is a batch of its own.
        seed: Seed of the order.
        mean: Mean length of the rows.

    Example:
        >>> from itertools import islice
        >>> from distilbert_core.training.batches import token_order
        >>> sorted(map(len, islice(token_order([2, 2, 2, 2, 6, 6], 8, seed=0, mean=3.3), 3)))
        [1, 2, 4]
    """
    rng = np.random.default_rng(seed)
    rows = max(1, min(int(WINDOW * max_tokens / mean), len(lengths)))
    batch: list[int] = []
    room = max_tokens
    for window, sizes in sorted_windows(lengths, rows, rng):
        full = []
        for row, size in zip(window.tolist(), sizes.tolist(), strict=True):
            if size > room and batch:
                full.append(batch)
                batch, room = [], max_tokens
            batch.append(row)
            room -= size
        yield from (full[index] for index in rng.permutation(len(full)))


def batch_order(features: Features, recipe: Recipe) -> Iterator[list[int]]:
    """Yield the indices of the features of each step of a run, endlessly."""
    if recipe.max_tokens is None:
        return training_order(features.lengths, recipe.batch_size, recipe.seed)
    return token_order(features.lengths, recipe.max_tokens, recipe.seed, features.tokens / len(features))


def sorted_windows(
    lengths: Sequence[int] | Lengths, rows: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield windows of a number of rows, endlessly, in a random order of the rows.

    Yields:
        The indices of the rows of a window, sorted by length, and their lengths.
    """
    if isinstance(lengths, Sequence):
        lengths = np.asarray(lengths)
    stream = chain.from_iterable(chain.from_iterable(shuffled(len(lengths), rng)) for _ in count())
    while True:
        window = np.fromiter(islice(stream, rows), np.int64)
        sizes = lengths[window]
        by_length = np.argsort(sizes, kind="stable")
        yield window[by_length], sizes[by_length]


def shuffled(rows: int, rng: np.random.Generator) -> Iterator[list[int]]:
    """Yield the integers below `rows` in a random order, in blocks.

    Above a million rows the order is not stored. A Feistel network, which permutes the integers of an even number of
    bits, is evaluated block by block; results that are not below `rows` are left out (Luby & Rackoff 1988; Black &
    Rogaway 2002, "Ciphers with Arbitrary Finite Domains").

    Args:
        rows: Number of rows.
        rng: Generator of the order. Both ways draw from it before the first block only.

    Example:
        >>> import numpy as np
        >>> from distilbert_core.training.batches import shuffled
        >>> sorted(row for block in shuffled(5, np.random.default_rng(0)) for row in block)
        [0, 1, 2, 3, 4]
    """
    if rows <= STORED_ORDER:
        yield rng.permutation(rows).tolist()
        return
    half = np.uint64((rows.bit_length() + 1) // 2)
    mask = np.uint64((1 << int(half)) - 1)
    keys = rng.integers(1 << 62, size=FEISTEL_ROUNDS, dtype=np.uint64)
    for start in range(0, 1 << 2 * int(half), BLOCK):
        index = np.arange(start, start + BLOCK, dtype=np.uint64)
        left, right = index >> half, index & mask
        for key in keys:
            left, right = right, left ^ (mixed(right + key) & mask)
        index = (left << half) | right
        yield index[index < rows].tolist()


def mixed(values: np.ndarray) -> np.ndarray:
    """Return a hash of each 64-bit integer: the last step of SplitMix64 (Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def split_batch(batch: Batch, count: int) -> list[Batch]:
    """Return the micro-batches of a batch: neighbouring rows, of similar number.

    Args:
        batch: Arrays with the same number of rows.
        count: Number of micro-batches; at most one for each row is returned.

    Example:
        >>> import numpy as np
        >>> from distilbert_core.training.batches import split_batch
        >>> [micro_batch["labels"].tolist() for micro_batch in split_batch({"labels": np.arange(5)}, 2)]
        [[0, 1, 2], [3, 4]]
    """
    rows = min(map(len, batch.values()))
    split = [np.array_split(array, min(count, rows)) for array in batch.values()]
    return [dict(zip(batch, arrays, strict=True)) for arrays in zip(*split, strict=True)]


def mask_tokens(
    rng: np.random.Generator,
    input_ids: np.ndarray,
    special: np.ndarray,
    mask_id: int,
    words: np.ndarray,
    fraction: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Mask tokens for a masked language model to predict.

    80 % of them become [MASK], 10 % a random token different from the original, and 10 % stay unchanged. Each row gets
    at least one, if it has a token that is not special. From Devlin et al. 2018, section 3.1.

    Args:
        rng: Generator of random numbers.
        input_ids: [B, T].
        special: [B, T], True for tokens that are never masked: padding and special tokens.
        mask_id: Id of [MASK].
        words: [W], at least 2 ids from which a random token is drawn, ascending.
        fraction: Fraction of the tokens to predict.

    Returns:
        (input_ids, labels) [B, T]. Labels are the original ids of masked tokens, and -100 elsewhere.

    Example:
        >>> import numpy as np
        >>> from distilbert_core.training.batches import mask_tokens
        >>> ids = np.array([[2, 7, 8, 9, 3]])
        >>> _, labels = mask_tokens(np.random.default_rng(0), ids, ids < 5, 4, np.arange(5, 20), fraction=0.03)
        >>> labels.tolist()
        [[-100, -100, -100, 9, -100]]
    """
    chance = np.where(special, np.inf, rng.random(input_ids.shape))
    hidden = chance < fraction
    rows = np.flatnonzero(~hidden.any(axis=1) & ~special.all(axis=1))
    hidden[rows, chance[rows].argmin(axis=1)] = True

    return replace_hidden(rng, input_ids, hidden, mask_id, words)


def replace_hidden(
    rng: np.random.Generator, input_ids: np.ndarray, hidden: np.ndarray, mask_id: int, words: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Replace the tokens to predict: 80 % by [MASK], 10 % by a random other token, and 10 % by themselves.

    Args:
        rng: Generator of random numbers.
        input_ids: [B, T].
        hidden: [B, T], True for the tokens to predict.
        mask_id: Id of [MASK].
        words: [W], at least 2 ids from which a random token is drawn, ascending.

    Returns:
        (input_ids, labels) [B, T]. Labels are the original ids of masked tokens, and -100 elsewhere.
    """
    kind = rng.random(input_ids.shape)
    # The last word is never drawn. It replaces a draw that gives the original token.
    index = rng.integers(len(words) - 1, size=input_ids.shape)
    other = np.where(words[index] == input_ids, words[-1], words[index])
    changed = np.where(kind < RANDOM, other, np.where(kind < RANDOM + KEPT, input_ids, mask_id))
    return np.where(hidden, changed, input_ids), np.where(hidden, input_ids, IGNORE_INDEX)
