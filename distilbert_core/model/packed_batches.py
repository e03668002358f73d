"""Batches of rows with labels as packed rows, for all backends: in `finetune`, and in a user's own training loop.

Shapes: B batch, C choices, T tokens of the longest row, L labels; R packed rows, S outputs of a row, M labelled tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.model.heads import Head
from distilbert_core.model.inputs import IGNORE_INDEX, check_interval
from distilbert_core.model.losses import weight_axes
from distilbert_core.model.packing import Packing, Ragged

Batch = dict[str, np.ndarray]  # a model's arguments by name
WEIGHT = "sample_weight"  # the argument with the weight of each label in the loss


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

    def with_rows_of(self, multiple: int) -> Sizes:
        """Return the sizes with R rounded up further, to a multiple of this."""
        if multiple == 1:
            return self
        return replace(self, rows=lambda count: -(-self.rows(count) // multiple) * multiple)


def pack_batch(batch: Batch, head: Head, pack: Callable[[np.ndarray], Packing], sizes: Sizes) -> Batch:
    """Return a padded batch as packed rows, with the indices of the outputs that the loss needs.

    Args:
        batch: input_ids, perhaps attention_mask, [B, T], or [B, C, T] for multiple choice; labels; and perhaps
            sample_weight, [B] or in the shape of the labels. The first token of a text is its first token that is not
            padding. Labels of padding, and answers in padding, do not count. Labels may be left out.
        head: The head of the model.
        pack: Returns the packing of texts with these lengths [B].
        sizes: How sizes are rounded up.

    Returns:
        input_ids, position_ids and segment_ids [R, columns]; output_tokens [R, S]; `indices` of the outputs that the
        loss needs, in the flattened outputs [R * S]; the labels in the same order, and their weights if there are any.
        `indices` is [B] for texts and [B, C] for multiple choice. For tokens it is [M]: the tokens that have a label;
        without labels there are only the rows. For question answering `indices` and attention_mask are [B, T], and
        there are no output_tokens.

    Raises:
        InputError: A text has no token, but the head needs one in each text; an array is unknown; or weights do not fit
            the labels, are negative or not finite.
    """
    names = head.labels
    check_names(batch, (*names, WEIGHT))
    given = [name for name in names if name in batch]
    weights = _checked_weights(batch, names[0], of_tokens=head.labels_tokens) if given else {}
    ids = batch["input_ids"]
    mask = batch.get("attention_mask", np.ones_like(ids)).reshape(-1, ids.shape[-1]) != 0
    texts = Ragged.from_padded(ids, mask)
    packing = pack(texts.lengths)
    packing = packing.with_rows(sizes.rows(len(packing.segment_ids)))
    rows = packing.rows(texts)
    # Heads that read the first token, or choose a token, need one in each text.
    first = None if head.labels_tokens else texts.first_tokens
    if len(names) > 1:
        tokens = sizes.tokens(mask.shape[1])
        padding = [(0, 0), (0, tokens - mask.shape[1])]
        positions = {name: _counted(batch[name], mask, tokens) for name in given}
        mask = np.pad(mask, padding)
        slots = np.zeros(mask.shape, np.int64)
        slots[mask] = packing.slots
        return {**rows, "indices": slots, "attention_mask": mask, **positions, **weights}
    if first is not None:
        output_tokens, indices = packing.select(first, sizes.outputs)
        of_texts = {name: batch[name] for name in given} | weights
        return {**rows, "output_tokens": output_tokens, "indices": indices.reshape(ids.shape[:-1]), **of_texts}
    if not given:
        return rows
    labels = batch["labels"]
    selected = np.flatnonzero(labels[mask] != IGNORE_INDEX)
    output_tokens, indices = packing.select(selected, sizes.outputs)
    padding = [(0, sizes.labels(max(len(indices), 1)) - len(indices))]
    indices = np.pad(indices, padding)
    labels = np.pad(labels[mask][selected], padding, constant_values=IGNORE_INDEX)
    weights = {name: np.pad(array[mask][selected], padding) for name, array in weights.items()}
    return {**rows, "output_tokens": output_tokens, "indices": indices, "labels": labels, **weights}


def check_names(batch: Iterable[str], names: Sequence[str]) -> None:
    """Raise InputError if a batch has unknown arrays.

    Args:
        batch: The names of its arrays, or the arrays by name.
        names: The names that it may have beside input_ids and attention_mask.
    """
    unknown = sorted({*batch} - {"input_ids", "attention_mask", *names})
    if unknown:
        raise InputError(
            f"A batch has input_ids, attention_mask and {', '.join(names)}; got {', '.join(unknown)} too: leave it out."
        )


def _checked_weights(batch: Batch, labels: str, of_tokens: bool) -> Batch:
    """Return the weights of a batch, if it has any; of tokens: one for each label, as labels [B, T] become [M]."""
    if WEIGHT not in batch:
        return {}
    weights, shape = batch[WEIGHT], batch[labels].shape
    axes = weight_axes(WEIGHT, weights.shape, shape)
    check_interval(WEIGHT, weights.min(initial=0), weights.max(initial=0))
    if of_tokens:
        weights = weights.reshape(*shape[:axes], *[1] * (len(shape) - axes)) * np.ones(shape)
    return {WEIGHT: weights}


def _counted(positions: np.ndarray, mask: np.ndarray, beyond: int) -> np.ndarray:
    """Return positions in which `beyond`, a position that the loss ignores, replaces positions of padding."""
    inside = np.clip(positions.reshape(-1, 1), 0, mask.shape[1] - 1)
    real = (positions.ravel() < mask.shape[1]) & np.take_along_axis(mask, inside, axis=1)[:, 0]
    return np.where(real.reshape(positions.shape), positions, beyond)


def call_arguments(packed: Batch, head: Head) -> Batch:
    """Return the arrays of `pack_batch` as arguments of a model's call.

    Args:
        packed: The result of `pack_batch`.
        head: The head of the model.

    Returns:
        input_ids, position_ids and segment_ids [R, columns]; and perhaps output_tokens [R, S]. Labels of tokens, and
        their weights, have the shape of output_tokens: a label is -100, and a weight 0, where the output does not
        count. For other heads `output_indices` has the indices of the outputs in the flattened output_tokens, or rows:
        [B], [B, C] for multiple choice, and [B, T] for question answering, with -1 for padding.
    """
    arguments = dict(packed)
    indices = arguments.pop("indices", None)
    if indices is None:
        return arguments
    if not head.reads_tokens:
        return {**arguments, "output_indices": indices}
    if len(head.labels) > 1:
        mask = arguments.pop("attention_mask")
        return {**arguments, "output_indices": np.where(mask, indices, -1)}
    counted = arguments["labels"] != IGNORE_INDEX
    for name, fill in (("labels", IGNORE_INDEX), (WEIGHT, 0)):
        if name in arguments:
            values = np.full(arguments["output_tokens"].shape, fill, arguments[name].dtype)
            values.ravel()[indices[counted]] = arguments[name][counted]
            arguments[name] = values
    return arguments
