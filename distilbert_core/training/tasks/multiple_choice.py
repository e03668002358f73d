"""Multiple choice: the right continuation of a text.

Shapes: B batch, C choices, T tokens.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.model.heads import Head
from distilbert_core.model.packed_batches import Batch
from distilbert_core.model.packing import Ragged
from distilbert_core.training import metrics
from distilbert_core.training.features import Feature
from distilbert_core.training.metrics import Metrics
from distilbert_core.training.sources import open_source
from distilbert_core.training.tasks.base import Row, Task, text_of


class MultipleChoice(Task):
    """The right one of several continuations of a text."""

    name = "multiple-choice"
    head = Head.MULTIPLE_CHOICE
    columns = ("prompt", "choices", "label")
    metric = "accuracy"

    @classmethod
    def read(cls, source: Any, columns: Mapping[str, str] | None = None) -> list[Row]:
        """Return the rows of a source, checked. All must have the same number of choices."""
        source = open_source("rows", source)
        rows = super().read(source, columns)
        for record, row in enumerate(rows, 1):
            if len(row["choices"]) != len(rows[0]["choices"]):
                raise InputError(
                    f"{source.place(record)}: choices must be {len(rows[0]['choices'])} as in the first, got "
                    f"{len(row['choices'])}."
                )
        return rows

    @classmethod
    def check(cls, row: Row) -> Row:
        """Return the row if its label is the index of a choice."""
        text_of("prompt", row["prompt"])
        choices, label = row["choices"], row["label"]
        if not isinstance(choices, list) or len(choices) < 2:
            raise InputError(f"choices must be a list of at least two texts, got {reprlib.repr(choices)}.")
        for choice in choices:
            text_of("choices", choice)
        if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < len(choices):
            raise InputError(f"label must be the index of a choice, 0 to {len(choices) - 1}; got {label!r}.")
        return row

    def encode(self, rows: Sequence[Row]) -> list[Feature]:
        """Return the tokens of the text with each choice: C lists."""
        count = len(rows[0]["choices"])
        windows = self.tokenizer(
            [row["prompt"] for row in rows for _ in row["choices"]],
            [choice for row in rows for choice in row["choices"]],
            truncation=True,
            max_length=self.max_length,
        ).encodings
        features = []
        for index, row in enumerate(rows):
            of_row = windows[index * count : (index + 1) * count]
            cut = any(window.overflowing for window in of_row)
            features.append(Feature([window.ids for window in of_row], row["label"], index, cut=cut))
        return features

    def inputs(self, features: Sequence[Feature]) -> Batch:
        """Return the model's arguments [B, C, T]."""
        flat = [Feature(ids, None, feature.row) for feature in features for ids in feature.ids]
        return {name: array.reshape(len(features), -1, array.shape[-1]) for name, array in super().inputs(flat).items()}

    def texts(self, features: Sequence[Feature]) -> Ragged:
        """Return all choices of some features, without padding."""
        return Ragged.from_rows([ids for feature in features for ids in feature.ids])

    def measure(self, rows: Sequence[Row], features: Sequence[Feature], logits: Sequence[np.ndarray]) -> Metrics:
        """Return the accuracy."""
        labels = np.array([feature.target for feature in features])
        return {"accuracy": metrics.classification(np.stack(logits), labels)["accuracy"]}
