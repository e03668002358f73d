"""Batches of rows of different lengths.

Shapes: B batch, T tokens of its longest row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distilbert_core.model.batching import token_batches
from distilbert_core.tokenization.columns import pad_to_array

__all__ = ["pad_rows", "token_batches"]


def pad_rows(rows: Sequence[Sequence[int]], pad_id: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of token ids as an array, padded on the right, and its attention mask.

    Args:
        rows: The ids of each row.
        pad_id: Id of padding; rows of one length do not need it.

    Returns:
        (input_ids [B, T], attention_mask [B, T] with 1 for real tokens), int64.

    Raises:
        InputError: The rows have different lengths, and `pad_id` is None.

    Example:
        >>> from distilbert_core.tokenization.batching import pad_rows
        >>> ids, mask = pad_rows([[5, 6, 7], [8]], pad_id=0)
        >>> ids.tolist(), mask.tolist()
        ([[5, 6, 7], [8, 0, 0]], [[1, 1, 1], [1, 0, 0]])
    """
    longest = max(map(len, rows))
    ones = [[1] * len(row) for row in rows]
    return pad_to_array(rows, longest, pad_id, left=False), pad_to_array(ones, longest, 0, left=False)
