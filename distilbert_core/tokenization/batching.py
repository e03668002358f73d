"""How rows of different lengths become batches.

Shapes: B batch, T tokens of its longest row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distilbert_core.model.batching import token_batches
from distilbert_core.tokenization.columns import pad_to_array

__all__ = ["pad_rows", "token_batches"]


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
        >>> from distilbert_core.tokenization.batching import pad_rows
        >>> ids, mask = pad_rows([[5, 6, 7], [8]], pad_id=0)
        >>> ids.tolist(), mask.tolist()
        ([[5, 6, 7], [8, 0, 0]], [[1, 1, 1], [1, 0, 0]])
    """
    longest = max(map(len, rows))
    ones = [[1] * len(row) for row in rows]
    return pad_to_array(rows, longest, pad_id, left=False), pad_to_array(ones, longest, 0, left=False)
