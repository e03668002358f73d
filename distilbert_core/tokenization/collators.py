"""Collators make batches of rows for data loaders: those of Transformers that fit DistilBERT, in every framework.

A row is a dict of a model's inputs, such as a tokenizer's output for one text. `label` and `label_ids` become `labels`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.model.backends import get_backend
from distilbert_core.model.inference import backend_of, unwrapped
from distilbert_core.model.inputs import IGNORE_INDEX
from distilbert_core.model.packed_batches import WEIGHT, Sizes, call_arguments, check_names, pack_batch
from distilbert_core.model.packing import Packing
from distilbert_core.tokenization.columns import (
    PADDED,
    array_rows,
    as_array,
    columns_of,
    pad_lists,
    pad_to_array,
    to_tensor,
)

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

    def __post_init__(self) -> None:
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


@dataclass
class _Joined:
    """Pads rows as a tokenizer does, with zeros: the padding is not computed.

    Attributes:
        kind: Type of tensors; it decides the dtype of Python's fractions.
    """

    kind: str
    padding_side: str = "right"

    def pad(self, rows: Sequence[Row], **_: Any) -> Batch:
        """Return the columns of rows as arrays, and attention_mask."""
        columns, _single = columns_of(rows)
        lengths = [len(row) for row in columns["input_ids"]]
        columns.setdefault("attention_mask", [np.ones(length, np.int64) for length in lengths])
        return {
            name: pad_to_array(array_rows(values, name), max(lengths), 0, False)
            if name in PADDED
            else as_array(values, name, self.kind)
            for name, values in columns.items()
        }


class DataCollatorWithPacking:
    """Makes batches of packed rows: the texts of a batch stand one after another, and no padding is computed.

    The model takes a batch like any other, `model(**batch)`, and returns the loss of the padded batch. The logits are
    [B, L] for texts and [B, C] for choices, in the order of the rows. For tokens, labels are [R, S] and logits
    [R, S, L]: those of the tokens that have a label. For question answering they are [B, T], with -inf at padding, so
    the loss leaves padding out.

    Args:
        model: The model that is trained. Its head, configuration and backend decide how rows are packed.
        collator: Makes a padded batch of rows, such as `DataCollatorForLanguageModeling(tokenizer)`. If left out, rows
            have `input_ids`, perhaps `attention_mask`, the labels of the model, and perhaps `sample_weight`; `label`
            and `label_ids` are `labels`.
        return_tensors: Type of the batch: 'pt', 'tf', 'np' or 'jax'. If left out: the model's framework.
        row_multiple: The number of packed rows is a multiple of this, such as the number of devices that share them.

    Example:
        >>> from distilbert_core import DistilBertConfig
        >>> from distilbert_core.tokenization.collators import DataCollatorWithPacking
        >>> from distilbert_pt import DistilBertForSequenceClassification
        >>> config = DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48, num_labels=2)
        >>> model = DistilBertForSequenceClassification(config)
        >>> rows = [{"input_ids": [2, 7, 3], "label": 1}, {"input_ids": [2, 3], "label": 0}]
        >>> batch = DataCollatorWithPacking(model)(rows)
        >>> batch["input_ids"].tolist(), batch["segment_ids"].tolist(), batch["labels"].tolist()
        ([[2, 7, 3, 2, 3]], [[1, 1, 1, 2, 2]], [1, 0])
        >>> model(**batch).logits.shape
        torch.Size([2, 2])
    """

    def __init__(
        self,
        model: Any,
        collator: Callable[[Sequence[Any]], Mapping[str, Any]] | None = None,
        return_tensors: str | None = None,
        row_multiple: int = 1,
    ):
        model = unwrapped(model)
        if not model.head or not model.head.labels:
            raise InputError(f"model must have a task head, got {type(model).__name__}, which takes no labels.")
        backend = backend_of(model)
        assert backend is not None
        self.head, self.config, self.backend = model.head, model.config, backend
        self.collator = collator
        self.return_tensors = return_tensors or backend
        self.row_multiple = row_multiple

    def __call__(self, features: Sequence[Any], return_tensors: str | None = None) -> Batch:
        """Return a batch of packed rows.

        Args:
            features: The rows, or whatever `collator` takes.
            return_tensors: Type of the batch, in place of `self.return_tensors`.

        Raises:
            InputError: Rows have different columns, or a column that the model does not take; a text has no token.
        """
        kind = return_tensors or self.return_tensors
        batch = _renamed((self.collator or self._joined)(features))
        check_names(batch, (*self.head.labels, WEIGHT))
        return _tensors(self.pack({name: as_array(values, name, kind) for name, values in batch.items()}), kind)

    def _joined(self, rows: Sequence[Row]) -> Batch:
        """Return a padded batch of rows; none of its padding gets into packed rows."""
        for row in rows:
            check_names(_renamed(row), (*self.head.labels, WEIGHT))
        choices = DataCollatorForMultipleChoice if self.head.has_choices else DataCollatorWithPadding
        collator = DataCollatorForTokenClassification if self.head.labels_tokens else choices
        return collator(_Joined(self.return_tensors), return_tensors="np")(rows)

    def pack(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return a padded batch of NumPy arrays as packed rows, the arguments of the model's call."""
        return call_arguments(pack_batch(batch, self.head, self.packing, self.sizes), self.head)

    def packing(self, lengths: np.ndarray) -> Packing:
        """Return the packing of texts with these lengths [B]."""
        return get_backend(self.backend).runner.packing(lengths, self.config)

    @property
    def sizes(self) -> Sizes:
        """How the sizes of packed batches are rounded up."""
        return get_backend(self.backend).engine.sizes.with_rows_of(self.row_multiple)
