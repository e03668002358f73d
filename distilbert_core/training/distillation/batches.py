"""The batches of distillation: packed rows, and the tokens at which student and teacher are compared.

Shapes: B batch, T tokens of its longest row, R packed rows, C tokens of each, M real tokens, K of these whose logits
are compared.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.model.heads import Head
from distilbert_core.model.inputs import IGNORE_INDEX
from distilbert_core.model.packed_batches import Batch, Sizes, check_names
from distilbert_core.model.packing import Packing, Ragged

DISTILLABLE = (Head.MASKED_LM, Head.SEQUENCE_CLASSIFICATION)


def pack_comparison(
    batch: Batch,
    head: Head,
    pack: Callable[[np.ndarray], Packing],
    sizes: Sizes,
    only_masked: bool,
    relation_heads: int = 0,
) -> Batch:
    """Return a padded batch as packed rows, with the indices of the tokens at which the models are compared.

    Args:
        batch: input_ids, perhaps attention_mask, [B, T]; labels [B, T] of masked tokens, or [B] of texts; -100
            for no label.
        head: One of `DISTILLABLE`.
        pack: Returns the packing of texts with these lengths [B].
        sizes: How sizes are rounded up.
        only_masked: Compare only the logits of tokens that have a label.
        relation_heads: Number of heads N in which relations between tokens are compared; 0 if they are not.

    Returns:
        input_ids, position_ids and segment_ids [R, C]; `tokens` [M], the indices of the real tokens into the flattened
        rows, in the order of the batch, and `real` [M], False for padding entries; `predicted` [K], the indices into
        `tokens` of those whose logits are compared, `compared` [K], False for padding entries, and their labels [K].

    Raises:
        InputError: The head cannot be distilled; a text has no token, but the head needs one in each text; or an array
            is unknown.
    """
    if head not in DISTILLABLE:
        expected = " or ".join(row.architecture for row in DISTILLABLE)
        raise InputError(f"A student must be a {expected}, got a {head.architecture}.")
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
    padding, logits_padding = ((0, sizes.compared(max(len(x), 1)) - len(x)) for x in (tokens, predicted))
    return {
        **packing.rows(texts),
        "tokens": np.pad(tokens, padding),
        "real": np.pad(np.ones(len(tokens), bool), padding),
        "predicted": np.pad(predicted, logits_padding),
        "compared": np.pad(np.ones(len(predicted), bool), logits_padding),
        **(_tokens_of_texts(texts, relation_heads, sizes) if relation_heads else {}),
        "labels": np.pad(labels, logits_padding, constant_values=IGNORE_INDEX),
    }


def _tokens_of_texts(texts: Ragged, heads: int, sizes: Sizes) -> Batch:
    """Return `text_tokens` [B, T], the index of each token of a text, and `related` [B, N, T], False for padding."""
    positions = np.arange(sizes.tokens(int(texts.lengths.max())))
    real = positions < texts.lengths[:, None]  # [B, T]
    tokens = np.where(real, texts.starts[:, None] + positions, 0)
    return {"text_tokens": tokens, "related": np.repeat(real[:, None], heads, axis=1)}
