"""From rows to the batches of each step, for all backends: their order, their packing, and masked tokens.

Shapes: B batch, C choices, T tokens of the longest row, L labels; R packed rows, S outputs of a row, M labelled tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, islice

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.model.heads import Head
from distilbert_core.model.inputs import IGNORE_INDEX, check_interval
from distilbert_core.model.losses import weight_axes
from distilbert_core.model.packing import Packing, Ragged

Batch = dict[str, np.ndarray]  # a model's arguments by name
WEIGHT = "sample_weight"  # the argument with the weight of each label in the loss
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


@dataclass(frozen=True)
class Sizes:
    """How the sizes of packed batches are rounded up, for frameworks that compile each shape. Losses do not change.

    Attributes:
        rows: Rounds R, the packed rows.
        outputs: Rounds S, the outputs of a row.
        labels: Rounds M, the labels of tokens.
        tokens: Rounds T, the tokens of a text in question answering.
        compared: Rounds the numbers of tokens whose hidden states and logits are compared in distillation.
    """

    rows: Callable[[int], int] = int
    outputs: Callable[[int], int] = int
    labels: Callable[[int], int] = int
    tokens: Callable[[int], int] = int
    compared: Callable[[int], int] = int


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


def pack_batch(batch: Batch, head: Head, pack: Callable[[np.ndarray], Packing], sizes: Sizes) -> Batch:
    """Return a padded batch as packed rows, with the indices of the outputs that the loss needs.

    Args:
        batch: input_ids, perhaps attention_mask, [B, T], or [B, C, T] for multiple choice; labels; and perhaps
            sample_weight, [B] or in the shape of the labels. The first token of a text is its first token that is not
            padding. Labels of padding, and answers in padding, do not count.
        head: The head of the model.
        pack: Returns the packing of texts with these lengths [B].
        sizes: How sizes are rounded up.

    Returns:
        input_ids, position_ids and segment_ids [R, columns]; output_tokens [R, S]; `indices` of the outputs that the
        loss needs, in the flattened outputs [R * S]; the labels in the same order, and their weights if there are any.
        `indices` is [B] for texts and [B, C] for multiple choice. For tokens it is [M]: the tokens that have a label.
        For question answering `indices` and attention_mask are [B, T], and there are no output_tokens.

    Raises:
        InputError: A text has no token, but the head needs one in each text; an array is unknown; or weights do not fit
            the labels, are negative or not finite.
    """
    names = head.labels
    check_names(batch, (*names, WEIGHT))
    weights = _spread_weights(batch, batch[names[0]].shape) if WEIGHT in batch else {}
    ids = batch["input_ids"]
    mask = batch.get("attention_mask", np.ones_like(ids)).reshape(-1, ids.shape[-1]) != 0
    texts = Ragged.from_padded(ids, mask)
    packing = pack(texts.lengths)
    packing = packing.with_rows(sizes.rows(len(packing.segment_ids)))
    rows = packing.rows(texts)
    # Heads that read the first token, or choose a token, need one in each text.
    first = texts.first_tokens if not head.reads_tokens or len(names) > 1 else None
    if len(names) > 1:
        tokens = sizes.tokens(mask.shape[1])
        padding = [(0, 0), (0, tokens - mask.shape[1])]
        positions = {name: _counted(batch[name], mask, tokens) for name in names}
        mask = np.pad(mask, padding)
        slots = np.zeros(mask.shape, np.int64)
        slots[mask] = packing.slots
        return {**rows, "indices": slots, "attention_mask": mask, **positions, **weights}
    labels = batch["labels"]
    if first is not None:
        output_tokens, indices = packing.select(first, sizes.outputs)
        indices = indices.reshape(ids.shape[:-1])
    else:
        selected = np.flatnonzero(labels[mask] != IGNORE_INDEX)
        output_tokens, indices = packing.select(selected, sizes.outputs)
        padding = [(0, sizes.labels(max(len(indices), 1)) - len(indices))]
        indices = np.pad(indices, padding)
        labels = np.pad(labels[mask][selected], padding, constant_values=IGNORE_INDEX)
        weights = {name: np.pad(array[mask][selected], padding) for name, array in weights.items()}
    return {**rows, "output_tokens": output_tokens, "indices": indices, "labels": labels, **weights}


def check_names(batch: Batch, names: Sequence[str]) -> None:
    """Raise InputError if a batch has unknown arrays.

    Args:
        batch: The arrays by name.
        names: The names that it may have beside input_ids and attention_mask.
    """
    unknown = sorted(batch.keys() - {"input_ids", "attention_mask", *names})
    if unknown:
        raise InputError(
            f"A batch has input_ids, attention_mask and {', '.join(names)}; got {', '.join(unknown)} too: leave it out."
        )


def _spread_weights(batch: Batch, shape: tuple[int, ...]) -> Batch:
    """Check the weights of a batch, and return one for each label."""
    weights = batch[WEIGHT]
    axes = weight_axes(WEIGHT, weights.shape, shape)
    check_interval(WEIGHT, weights.min(initial=0), weights.max(initial=0))
    return {WEIGHT: weights.reshape(*shape[:axes], *[1] * (len(shape) - axes)) * np.ones(shape)}


def _counted(positions: np.ndarray, mask: np.ndarray, beyond: int) -> np.ndarray:
    """Return positions in which `beyond`, a position that the loss ignores, replaces positions of padding."""
    inside = np.clip(positions.reshape(-1, 1), 0, mask.shape[1] - 1)
    real = (positions.ravel() < mask.shape[1]) & np.take_along_axis(mask, inside, axis=1)[:, 0]
    return np.where(real.reshape(positions.shape), positions, beyond)


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
