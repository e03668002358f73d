"""Batches out of rows, for data loaders: the data collators of Transformers that fit DistilBERT, in every framework.

A row is a dict of what a model takes, such as a tokenizer's output for one text. `label` and `label_ids` become
`labels`.
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
    """Return rows without labels, and the labels of each; None if there are none."""
    renamed = [_renamed(row) for row in rows]
    labels = [row.pop("labels") for row in renamed] if "labels" in renamed[0] else None
    return renamed, labels


def _tensors(batch: Mapping[str, Any], kind: str) -> Batch:
    return {name: to_tensor(values, name, kind) for name, values in batch.items()}


@dataclass
class DefaultDataCollator:
    """Puts rows of equal shapes together; columns of texts, and those that are None, are left out.

    Attributes:
        return_tensors: 'pt', 'tf', 'np' or 'jax'.

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
    """Return a batch of rows of equal shapes; see `DefaultDataCollator`."""
    return DefaultDataCollator()(features, return_tensors)


@dataclass
class DataCollatorWithPadding:
    """Fills rows up to one length; labels are one number or vector for each row.

    Attributes:
        tokenizer: Its `pad` fills up.
        padding: True, 'longest', 'max_length' or False, as for the tokenizer.
        max_length: Length for 'max_length'.
        pad_to_multiple_of: Round the length up to a multiple of this.
        return_tensors: 'pt', 'tf', 'np' or 'jax'.
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
        how = {"padding": self.padding, "max_length": self.max_length, "pad_to_multiple_of": self.pad_to_multiple_of}
        return self.tokenizer.pad(list(rows), **how, return_tensors=kind)


@dataclass
class DataCollatorForTokenClassification(DataCollatorWithPadding):
    """Fills rows and their labels, one for each token, up to one length.

    Attributes:
        label_pad_token_id: Fills labels up; the default is ignored by losses.

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
    """Fills the choices of all rows up to one length: columns are [B, C, T], and labels [B].

    A row has a list for each choice in every column but the label.
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
    """Fills rows up to one length and hides tokens, which are the labels; or, without `mlm`, all tokens are.

    Rows may have a `special_tokens_mask`; without one the tokenizer says which tokens are never hidden.

    Attributes:
        tokenizer: Its `pad` fills up, and it has a mask.
        mlm: Hide tokens. False: labels are the ids, -100 at padding.
        mlm_probability: Part of the tokens to predict.
        mask_replace_prob: Part of these that becomes the mask.
        random_replace_prob: Part of these that becomes a random token; the rest stays.
        pad_to_multiple_of: Round the length up to a multiple of this.
        tf_experimental_compile: Ignored; accepted for compatibility with Transformers.
        return_tensors: 'pt', 'tf', 'np' or 'jax'.
        seed: Of the chance; drawn from NumPy's global generator if left out.

    Raises:
        InputError: A probability is outside [0, 1], or the tokenizer has no mask.
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
        shares = (self.mlm_probability, self.mask_replace_prob, self.random_replace_prob)
        if self.mlm and not (all(0 <= share <= 1 for share in shares) and sum(shares[1:]) <= 1):
            raise InputError(
                "mlm_probability, mask_replace_prob, random_replace_prob, and the sum of the last two, must lie in "
                f"[0, 1], got {', '.join(map(str, shares))}."
            )
        if self.mlm and self.tokenizer.mask_token is None:
            raise InputError("The tokenizer has no mask_token, which hides tokens: give it one, or mlm=False.")
        seed = np.random.randint(2**31) if self.seed is None else self.seed
        self._rng = np.random.default_rng(seed)

    def __call__(self, features: Sequence[Any], return_tensors: str | None = None) -> Batch:
        """Return a batch of rows, which may be lists of ids too."""
        rows = [row if isinstance(row, Mapping) else {"input_ids": row} for row in features]
        multiple = self.pad_to_multiple_of
        batch = self.tokenizer.pad(rows, pad_to_multiple_of=multiple, return_tensors="np").data
        special = batch.pop("special_tokens_mask", None)
        ids = batch["input_ids"]
        if self.mlm:
            if special is None:
                special = np.isin(ids, self.tokenizer.all_special_ids)
            batch["input_ids"], batch["labels"] = self._hide(ids, special.astype(bool))
        else:
            batch["labels"] = np.where(batch["attention_mask"] == 0, IGNORE_INDEX, ids)
        return _tensors(batch, return_tensors or self.return_tensors)

    def _hide(self, ids: np.ndarray, special: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        hidden = (self._rng.random(ids.shape) < self.mlm_probability) & ~special
        chance = np.where(hidden, self._rng.random(ids.shape), np.inf)
        words = self._rng.integers(len(self.tokenizer), size=ids.shape)
        shown = np.where(chance < self.mask_replace_prob + self.random_replace_prob, words, ids)
        shown = np.where(chance < self.mask_replace_prob, self.tokenizer.mask_token_id, shown)
        return shown, np.where(hidden, ids, IGNORE_INDEX)
