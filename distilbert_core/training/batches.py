"""From rows to the batches of each step, for all backends: their order, their division, and masked tokens.

Shapes: B batch, T tokens of the longest row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, count, islice

import numpy as np

from distilbert_core.model.inputs import IGNORE_INDEX
from distilbert_core.model.packed_batches import Batch

WINDOW = 50  # batches whose rows are sorted by length together: little padding, and still a random order
RANDOM, KEPT = 0.1, 0.1  # fractions of the masked tokens that do not become [MASK] (Devlin et al. 2018, section 3.1)


def training_order(lengths: Sequence[int], batch_size: int, seed: int) -> Iterator[list[int]]:
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
    stream = chain.from_iterable(rng.permutation(len(lengths)).tolist() for _ in count())
    batches = max(1, min(WINDOW, len(lengths) // batch_size))  # of a window: an epoch's at most
    while True:
        window = sorted(islice(stream, batches * batch_size), key=lambda row: lengths[row])
        for start in rng.permutation(batches) * batch_size:
            yield window[start : start + batch_size]


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
