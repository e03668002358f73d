"""What of a batch is compared between student and teacher.

Shapes: B batch, T tokens of its longest row, R packed rows, C tokens of each, M real tokens, K of these whose logits
are compared.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.model.heads import Head
from distilbert_core.model.inputs import IGNORE_INDEX
from distilbert_core.model.packing import Packing, Ragged
from distilbert_core.training.batches import Batch, Sizes, check_names

HEADS = (Head.MASKED_LM, Head.SEQUENCE_CLASSIFICATION)  # what can be distilled


def pack_comparison(
    batch: Batch, head: Head, pack: Callable[[np.ndarray], Packing], sizes: Sizes, only_masked: bool
) -> Batch:
    """Return a padded batch as packed rows, with the places of all that student and teacher are compared at.

    Args:
        batch: input_ids, perhaps attention_mask, [B, T]; labels [B, T] of masked tokens, or [B] of texts, -100 where
            there is none.
        head: One of `HEADS`.
        pack: Returns the packing of texts with these lengths [B].
        sizes: How sizes are rounded up.
        only_masked: Compare the logits of tokens that have a label only, not of all.

    Returns:
        input_ids, position_ids and segment_ids [R, C]; `tokens` [M], the places of real tokens in the flattened rows,
        in the batch's order, and `real` [M], False where one is there to round M up; `predicted` [K], indices into M of
        the tokens whose logits are compared, `compared` [K], False where one rounds K up, and their labels [K].

    Raises:
        InputError: The head cannot be distilled, a text has no token and the head reads one of each, or an array is not
            one of these.
    """
    if head not in HEADS:
        known = " or ".join(known.architecture for known in HEADS)
        raise InputError(f"A student must be a {known}, got a {head.architecture}.")
    check_names(batch, ["labels"])
    ids, labels = batch["input_ids"], batch["labels"]
    mask = batch.get("attention_mask", np.ones_like(ids)) != 0
    texts = Ragged.from_padded(ids, mask)
    packing = pack(texts.lengths)
    packing = packing.with_rows(sizes.rows(len(packing.segment_ids)))
    if head is not Head.MASKED_LM:
        predicted = texts.first_tokens
    else:
        labels = labels[mask]
        predicted = np.flatnonzero(labels != IGNORE_INDEX) if only_masked else np.arange(len(labels))
        labels = labels[predicted]
    tokens = packing.slots
    more, more_logits = ((0, sizes.compared(max(len(x), 1)) - len(x)) for x in (tokens, predicted))
    return {
        **packing.rows(texts),
        "tokens": np.pad(tokens, more),
        "real": np.pad(np.ones(len(tokens), bool), more),
        "predicted": np.pad(predicted, more_logits),
        "compared": np.pad(np.ones(len(predicted), bool), more_logits),
        "labels": np.pad(labels, more_logits, constant_values=IGNORE_INDEX),
    }
