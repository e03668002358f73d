"""How rows of different lengths become batches: like with like, so that little of a batch is padding.

Shapes: B batch, T tokens of its longest row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.tokenization.columns import pad_to_array


def token_batches(lengths: Sequence[int], max_tokens: int, max_rows: int | None = None) -> Iterator[list[int]]:
    """Split rows into batches whose padded size B x T keeps to a budget.

    Rows of similar length come together, the longest first: what does not fit into memory fails at once.

    Args:
        lengths: Length of each row in tokens.
        max_tokens: Most tokens of a batch, padding included. A row that is longer is a batch of its own.
        max_rows: Most rows of a batch; None: as many as the budget allows.

    Yields:
        The indices of the rows of a batch, the longest first; rows of one length in their order.

    Raises:
        InputError: A limit is no positive integer.

    Example:
        >>> from distilbert_core.batching import token_batches
        >>> list(token_batches([3, 9, 4, 2], max_tokens=10))
        [[1], [2, 0], [3]]
    """
    positive_integer("batch_tokens", max_tokens)
    if max_rows is not None:
        positive_integer("batch_size", max_rows)
    batch: list[int] = []
    for index in np.argsort(-np.asarray(lengths, np.int64), kind="stable").tolist():
        if batch and ((len(batch) + 1) * lengths[batch[0]] > max_tokens or len(batch) == max_rows):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def pad_rows(rows: Sequence[Sequence[int]], pad_id: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of token ids as one array, padded on the right, and its attention mask.

    Args:
        rows: The ids of each row.
        pad_id: Id that fills the rest of a row; None will do for rows of one length.

    Returns:
        (input_ids [B, T], attention_mask [B, T] with 1 for real tokens), int64.

    Raises:
        InputError: A row must be filled up and there is no `pad_id`.

    Example:
        >>> from distilbert_core.batching import pad_rows
        >>> ids, mask = pad_rows([[5, 6, 7], [8]], pad_id=0)
        >>> ids.tolist(), mask.tolist()
        ([[5, 6, 7], [8, 0, 0]], [[1, 1, 1], [1, 0, 0]])
    """
    longest = max(map(len, rows))
    ones = [[1] * len(row) for row in rows]
    return pad_to_array(rows, longest, pad_id, left=False), pad_to_array(ones, longest, 0, left=False)


def positive_integer(name: str, value: object) -> int:
    """Return `value`, or raise InputError, naming the argument, if it is no integer above 0."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise InputError(f"{name} must be a positive integer, got {value!r}.")
    return int(value)
