"""Collators make batches of rows for data loaders: those of Transformers that fit DistilBERT, in every framework.

A row is a dict of a model's inputs, such as a tokenizer's output for one text. `label` and `label_ids` become `labels`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.model.inputs import IGNORE_INDEX
from distilbert_core.tokenization.columns import pad_lists, to_tensor

Row = Mapping[str, Any]
Batch = dict[str, Any]


def _renamed(batch: Mapping[str, Any]) -> Batch:
    return {"labels" if name in ("label", "label_ids") else name: values for name, values in batch.items()}


def _without_labels(rows: Sequence[Row]) -> tuple[list[Batch], list[Any] | None]:
    """Return rows without labels, and the labels of each row, or None."""
    renamed = [_renamed(row) for row in rows]
    labels = [row.pop("labels") for row in renamed] if "labels" in renamed[0] else None
    return renamed, labels


def _tensors(batch: Mapping[str, Any], kind: str) -> Batch:
    return {name: to_tensor(values, name, kind) for name, values in batch.items()}


@dataclass
class DefaultDataCollator:
    """Stacks rows of equal shapes. Columns of texts, and columns that are None, are left out.

    Attributes:
        return_tensors: Type of the batch: 'pt', 'tf', 'np' or 'jax'.

    Example:
        >>> from distilbert_core.tokenization.collators import DefaultDataCollator
        >>> batch = DefaultDataCollator("np")([{"input_ids": [5, 6], "label": 1}, {"input_ids": [7, 8], "label": 0}])
        >>> batch["input_ids"].tolist(), batch["labels"].tolist()
        ([[5, 6], [7, 8]], [1, 0])
    """

    return_tensors: str = "pt"

    def __call__(self, features: Sequence[Row], return_tensors: str | None = None) -> Batch:
        """Return a batch of rows.

        Raises:
            InputError: Rows have different shapes.
        """
        names = [name for name, value in features[0].items() if not isinstance(value, str | None)]
        columns = {name: [row[name] for row in features] for name in names}
        return _tensors(_renamed(columns), return_tensors or self.return_tensors)


def default_data_collator(features: Sequence[Row], return_tensors: str = "pt") -> Batch:
    """Return a batch of rows of equal shapes, without columns of texts.

    Args:
        features: The rows.
        return_tensors: Type of the batch: 'pt', 'tf', 'np' or 'jax'.
    """
    return DefaultDataCollator()(features, return_tensors)


@dataclass
class DataCollatorWithPadding:
    """Pads rows to one length; each row has a number or a vector as its label.

    Attributes:
        tokenizer: Pads the rows.
        padding: True or 'longest' (the longest of the batch), 'max_length', or False.
        max_length: Length for 'max_length'; None: the tokenizer's `model_max_length`.
        pad_to_multiple_of: Round the length up to a multiple of this.
        return_tensors: Type of the batch: 'pt', 'tf', 'np' or 'jax'.
    """

    tokenizer: Any
    padding: bool | str = True
    max_length: int | None = None
    pad_to_multiple_of: int | None = None
    return_tensors: str = "pt"

    def __call__(self, features: Sequence[Row], return_tensors: str | None = None) -> Batch:
        """Return a batch of rows."""
        return _renamed(self._padded(features, return_tensors or self.return_tensors))

    def _padded(self, rows: Sequence[Row], kind: str) -> Batch:
        options = {
            "padding": self.padding,
            "max_length": self.max_length,
            "pad_to_multiple_of": self.pad_to_multiple_of,
        }
        return self.tokenizer.pad(list(rows), **options, return_tensors=kind)


@dataclass
class DataCollatorForTokenClassification(DataCollatorWithPadding):
    """Pads rows to one length, together with their labels, one for each token.

    Attributes:
        label_pad_token_id: Label of padding; losses ignore the default.

    Example:
        >>> from distilbert_core import DistilBertTokenizerFast
        >>> from distilbert_core.tokenization.collators import DataCollatorForTokenClassification
        >>> collate = DataCollatorForTokenClassification(
        ...     DistilBertTokenizerFast.from_pretrained("sst2-tiny"), return_tensors="np"
        ... )
        >>> collate([{"input_ids": [5, 6], "labels": [1, 2]}, {"input_ids": [7], "labels": [0]}])["labels"].tolist()
        [[1, 2], [0, -100]]
    """

    label_pad_token_id: int = IGNORE_INDEX

    def __call__(self, features: Sequence[Row], return_tensors: str | None = None) -> Batch:
        """Return a batch of rows."""
        kind = return_tensors or self.return_tensors
        rows, labels = _without_labels(features)
        batch = self._padded(rows, kind)
        if labels is not None:
            length, left = batch["input_ids"].shape[1], self.tokenizer.padding_side == "left"
            labels = [np.asarray(row).tolist() for row in labels]
            batch["labels"] = to_tensor(pad_lists(labels, length, self.label_pad_token_id, left), "labels", kind)
        return batch


@dataclass
class DataCollatorForMultipleChoice(DataCollatorWithPadding):
    """Pads the choices of all rows to one length: columns are [B, C, T], and labels [B].

    In every column except the label, a row has one list for each choice.
    """

    def __call__(self, features: Sequence[Row], return_tensors: str | None = None) -> Batch:
        """Return a batch of rows.

        Raises:
            InputError: Rows have different numbers of choices.
        """
        rows, labels = _without_labels(features)
        counts = sorted({len(row["input_ids"]) for row in rows})
        if len(counts) > 1:
            raise InputError(f"All rows must have the same number of choices, got {counts}.")
        texts = [{name: values[i] for name, values in row.items()} for row in rows for i in range(counts[0])]
        batch = {
            name: values.reshape(len(rows), counts[0], *values.shape[1:])
            for name, values in self._padded(texts, "np").items()
        }
        if labels is not None:
            batch["labels"] = labels
        return _tensors(batch, return_tensors or self.return_tensors)


@dataclass
class DataCollatorForLanguageModeling:
    """Pads rows to one length and masks tokens, which become the labels. Without `mlm`, all tokens are labels.

    Special tokens are never masked: those of a row's `special_tokens_mask`, or otherwise the tokenizer's.

    Attributes:
        tokenizer: Pads the rows, and has the mask token.
        mlm: Mask tokens. False: labels are the ids, and -100 for padding.
        mlm_probability: Fraction of the tokens to predict.
        mask_replace_prob: Fraction of these tokens that becomes the mask token.
        random_replace_prob: Fraction of these tokens that becomes a random token; the rest is unchanged.
        pad_to_multiple_of: Round the length up to a multiple of this.
        tf_experimental_compile: Ignored; accepted for compatibility with Transformers.
        return_tensors: Type of the batch: 'pt', 'tf', 'np' or 'jax'.
        seed: Seed of the random numbers; None: drawn from NumPy's global generator.

    Raises:
        InputError: A probability is outside [0, 1], or the tokenizer has no mask token.
    """

    tokenizer: Any
    mlm: bool = True
    mlm_probability: float = 0.15
    mask_replace_prob: float = 0.8
    random_replace_prob: float = 0.1
    pad_to_multiple_of: int | None = None
    tf_experimental_compile: bool = False
    return_tensors: str = "pt"
    seed: int | None = None

    def __post_init__(self):
        fractions = (self.mlm_probability, self.mask_replace_prob, self.random_replace_prob)
        if self.mlm and not (all(0 <= fraction <= 1 for fraction in fractions) and sum(fractions[1:]) <= 1):
            raise InputError(
                "mlm_probability, mask_replace_prob, random_replace_prob, and the sum of the last two, must lie in "
                f"[0, 1], got {', '.join(map(str, fractions))}."
            )
        if self.mlm and self.tokenizer.mask_token is None:
            raise InputError("The tokenizer has no mask_token to mask tokens with: give it one, or mlm=False.")
        seed = np.random.randint(2**31) if self.seed is None else self.seed
        self._rng = np.random.default_rng(seed)

    def __call__(self, features: Sequence[Any], return_tensors: str | None = None) -> Batch:
        """Return a batch of rows, which may also be lists of ids."""
        rows = [row if isinstance(row, Mapping) else {"input_ids": row} for row in features]
        multiple = self.pad_to_multiple_of
        batch = self.tokenizer.pad(rows, pad_to_multiple_of=multiple, return_tensors="np").data
        special = batch.pop("special_tokens_mask", None)
        ids = batch["input_ids"]
        if self.mlm:
            if special is None:
                special = np.isin(ids, self.tokenizer.all_special_ids)
            batch["input_ids"], batch["labels"] = self._mask(ids, special.astype(bool))
        else:
            batch["labels"] = np.where(batch["attention_mask"] == 0, IGNORE_INDEX, ids)
        return _tensors(batch, return_tensors or self.return_tensors)

    def _mask(self, ids: np.ndarray, special: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        masked = (self._rng.random(ids.shape) < self.mlm_probability) & ~special
        chance = np.where(masked, self._rng.random(ids.shape), np.inf)
        words = self._rng.integers(len(self.tokenizer), size=ids.shape)
        shown = np.where(chance < self.mask_replace_prob + self.random_replace_prob, words, ids)
        shown = np.where(chance < self.mask_replace_prob, self.tokenizer.mask_token_id, shown)
        return shown, np.where(masked, ids, IGNORE_INDEX)
