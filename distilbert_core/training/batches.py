"""From rows to the batches of each step, the same for every framework: order, padding, masks to predict.

Shapes: B batch, T tokens of its longest row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, count, islice

import numpy as np

from distilbert_core.inputs import IGNORE_INDEX

Batch = dict[str, np.ndarray]  # a model's arguments by name
WINDOW = 50  # batches whose rows are sorted by length together: little padding, and still much chance
RANDOM, KEPT = 0.1, 0.1  # parts of the tokens to predict that are not [MASK] (Devlin et al. 2018, section 3.1)


def training_order(lengths: Sequence[int], batch_size: int, seed: int) -> Iterator[list[int]]:
    """Yield the rows of each step, without end: every row once per epoch, rows of like length together.

    Epochs follow each other without a break, so that all batches have one size; the one in which an epoch ends has
    rows of the next as well.

    Args:
        lengths: Length of each row in tokens.
        batch_size: Rows of a batch.
        seed: Of the order.

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


def fill_up(array: np.ndarray, length: int, value: int) -> np.ndarray:
    """Return an array [..., T] as [..., length], filled up with a value on the right."""
    return np.pad(array, [*[(0, 0)] * (array.ndim - 1), (0, length - array.shape[-1])], constant_values=value)


def mask_tokens(
    rng: np.random.Generator, input_ids: np.ndarray, special: np.ndarray, mask_id: int, words: np.ndarray, part: float
) -> tuple[np.ndarray, np.ndarray]:
    """Hide tokens that a masked language model is to predict.

    Of these, 80 % become the mask, 10 % a random token different from the original, and 10 % stay as they are. Each
    row gets at least one, if it has a token at all. From Devlin et al. 2018, section 3.1.

    Args:
        rng: Where chance comes from.
        input_ids: [B, T].
        special: [B, T], True for what is never hidden: padding and special tokens.
        mask_id: Id of the mask.
        words: [W], at least 2: the ids that a random token is drawn from, ascending.
        part: Part of the tokens to predict.

    Returns:
        (input_ids, labels) [B, T]; labels are the original ids, and -100 where nothing is to be predicted.

    Example:
        >>> import numpy as np
        >>> from distilbert_core.training.batches import mask_tokens
        >>> ids = np.array([[2, 7, 8, 9, 3]])
        >>> _, labels = mask_tokens(np.random.default_rng(0), ids, ids < 5, 4, np.arange(5, 20), part=0.03)
        >>> labels.tolist()
        [[-100, -100, -100, 9, -100]]
    """
    chance = np.where(special, np.inf, rng.random(input_ids.shape))
    hidden = chance < part
    rows = np.flatnonzero(~hidden.any(axis=1) & ~special.all(axis=1))
    hidden[rows, chance[rows].argmin(axis=1)] = True

    kind = rng.random(input_ids.shape)
    # Drawn from all words but one: where the original stands in the list, the last word takes its place.
    place = rng.integers(len(words) - 1, size=input_ids.shape)
    other = np.where(words[place] == input_ids, words[-1], words[place])
    changed = np.where(kind < RANDOM, other, np.where(kind < RANDOM + KEPT, input_ids, mask_id))
    return np.where(hidden, changed, input_ids), np.where(hidden, input_ids, IGNORE_INDEX)
