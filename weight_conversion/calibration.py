"""Texts for static quantization, as packed rows.

Shapes: R packed rows, C slots of a packed row, S outputs of a packed row.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.model.heads import Head
from distilbert_core.model.packing import Packing, Ragged
from weight_conversion.formats.base import Arrays

MOST_TEXTS = 300  # texts that are used for calibration
ROW_TOKENS = 256  # tokens of a packed row of calibration texts, unless a text is longer


def calibration_rows(texts: Sequence[Sequence[int]], head: Head) -> tuple[list[Arrays], str]:
    """Return inputs of a graph for packed rows.

    Args:
        texts: The token ids of each text. At most `MOST_TEXTS` texts are used, drawn at random, always the same.
        head: The head of the model.

    Returns:
        input_ids, position_ids and segment_ids int64 [1, C] and output_tokens int64 [1, S], for each row; and a
        sentence that says how many texts they hold.

    Raises:
        InputError: There is no text, or a text has no token.
    """
    if not texts or not all(map(len, texts)):
        raise InputError("calibrate must hold at least one text, each with a token.")
    chosen = random.Random(0).sample(list(texts), min(len(texts), MOST_TEXTS))
    ragged = Ragged.from_rows(chosen)
    packing = Packing.from_lengths(ragged.lengths, max(ROW_TOKENS, *map(len, chosen)))
    rows = packing.rows(ragged)
    if head.reads_tokens:
        outputs = np.broadcast_to(np.arange(packing.segment_ids.shape[1]), packing.segment_ids.shape)
    else:
        outputs, _ = packing.select(ragged.first_tokens)
    arrays = {name: array.astype(np.int64) for name, array in {**rows, "output_tokens": outputs}.items()}
    batches = [{name: array[row : row + 1] for name, array in arrays.items()} for row in range(len(outputs))]
    return batches, f"Calibrated on {len(chosen)} of {len(texts)} texts."
