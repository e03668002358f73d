"""How rows of different lengths become batches: like with like, so that little of a batch is padding.

Shapes: B batch, T tokens of its longest row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from distilbert_core.checks import positive_integer


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
