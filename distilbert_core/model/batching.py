"""Batches of texts of similar length, which have little padding.

Shapes: B texts, T tokens of the longest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from distilbert_core.checks import positive_integer


def token_batches(lengths: Sequence[int], max_tokens: int, max_rows: int | None = None) -> Iterator[list[int]]:
    """Split texts into batches whose padded size B x T is within a budget.

    Texts of similar length come together, the longest first: if they do not fit into memory, the first batch fails.

    Args:
        lengths: Number of tokens of each text.
        max_tokens: Maximum tokens of a batch, including padding. A longer text is a batch of its own.
        max_rows: Maximum texts of a batch; None: limited by the budget only.

    Yields:
        The indices of the texts of a batch, the longest first; texts of equal length in their order.

    Raises:
        InputError: A limit is not a positive integer.

    Example:
        >>> from distilbert_core.model.batching import token_batches
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
