"""One label, one number, or any number of labels, for a text or a pair of texts.

Shapes: L labels.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.model.heads import Head
from distilbert_core.training import metrics
from distilbert_core.training.features import Feature
from distilbert_core.training.labels import all_labels, as_number, label_id, label_name, label_names
from distilbert_core.training.metrics import Metrics
from distilbert_core.training.sources import open_source
from distilbert_core.training.tasks.base import WEIGHT_COLUMN, Row, Task


class _TextTask(Task):
    """A property of a text, or of a pair of texts. The second column has it."""

    head = Head.SEQUENCE_CLASSIFICATION
    columns: ClassVar[tuple[str, ...]]
    optional: ClassVar[tuple[str, ...]] = ("text_pair", WEIGHT_COLUMN)

    @classmethod
    def check(cls, row: Row) -> Row:
        """Return the row with its label in the task's form."""
        column = cls.columns[1]
        texts = {name: value for name, value in row.items() if name != column}
        return {**super().check(texts), column: cls.check_label(row[column])}

    @classmethod
    def check_label(cls, value: Any) -> Any:
        """Return a label in the task's form, or raise InputError."""
        raise NotImplementedError


class SequenceClassification(_TextTask):
    """One label for a text, or for a pair of texts."""

    name = "sequence-classification"
    problem_type = "single_label_classification"
    columns: ClassVar[tuple[str, ...]] = ("text", "label")
    named = "label"
    metric = "accuracy"
    stored_target = "i8"

    @classmethod
    def check_label(cls, value: Any) -> str:
        """Return the name of a label."""
        return label_name("label", value)

    @classmethod
    def label_names(cls, rows: Iterable[Row]) -> list[str]:
        """Return the labels that occur, in order."""
        return all_labels(row["label"] for row in rows)

    def target(self, row: Row) -> int:
        """Return the index of the label."""
        return label_id(self.config, row["label"])

    def label_counts(self, features: Sequence[Feature]) -> np.ndarray:
        """Return the number of rows with each label, [L]."""
        return np.bincount([feature.target for feature in features], minlength=self.config.num_labels)

    def measure(self, rows: Sequence[Row], features: Sequence[Feature], logits: Sequence[np.ndarray]) -> Metrics:
        """Return accuracy, macro F1 and Matthews' correlation."""
        return metrics.classification(np.stack(logits), np.array([feature.target for feature in features]))


class Regression(_TextTask):
    """One number for a text, or for a pair of texts."""

    name = "regression"
    problem_type = "regression"
    columns: ClassVar[tuple[str, ...]] = ("text", "label")
    metric = "spearman"
    stored_target = "f8"

    @classmethod
    def check_label(cls, value: Any) -> float:
        """Return a number."""
        number = as_number(value)
        if number is None or not math.isfinite(number):
            raise InputError(f"label must be a number, got {reprlib.repr(value)}.")
        return number

    @classmethod
    def config_fields(cls, labels: Sequence[str] | None) -> dict[str, Any]:
        """Return the fields of the configuration of a model for the task."""
        return {**super().config_fields(None), "num_labels": 1}

    def target(self, row: Row) -> float:
        """Return the number."""
        return row["label"]

    def measure(self, rows: Sequence[Row], features: Sequence[Feature], logits: Sequence[np.ndarray]) -> Metrics:
        """Return the correlations of Pearson and of Spearman."""
        return metrics.regression(np.stack(logits)[:, 0], np.array([feature.target for feature in features]))


class MultiLabel(_TextTask):
    """Any number of labels for a text, or for a pair of texts."""

    name = "multi-label"
    problem_type = "multi_label_classification"
    columns = ("text", "labels")
    named = "labels"
    metric = "f1_micro"

    @classmethod
    def read(cls, source: Any, columns: Mapping[str, str] | None = None) -> list[Row]:
        """Return the rows of a source, checked. Labels are lists of names, or vectors of booleans."""
        source = open_source("rows", source)
        rows = super().read(source, columns)
        lists = [row["labels"] for row in rows]
        vector = next(filter(_is_vector, lists), None)
        if vector is not None:
            for record, labels in enumerate(lists, 1):
                if not _is_vector(labels) or len(labels) != len(vector):
                    raise InputError(
                        f"{source.place(record)}: labels must be {len(vector)} booleans in every record as in "
                        f"the first that has them, got {reprlib.repr(labels)}."
                    )
            return rows
        repeating = next((record for record, labels in enumerate(lists, 1) if len(set(labels)) < len(labels)), None)
        sizes = {len(labels) for labels in lists}
        if len(sizes) == 1 and min(sizes) > 1 and set().union(*lists) <= {"0", "1"}:
            if repeating is None:
                raise InputError(
                    f"{source.name}: labels are 0 and 1 in every record: are these indices of labels, or vectors of "
                    "two booleans? Write the labels' names, or vectors of booleans: [true, "
                    "false]."
                )
            return [{**row, "labels": [label == "1" for label in row["labels"]]} for row in rows]
        if repeating is not None:
            labels = reprlib.repr(lists[repeating - 1])
            raise InputError(
                f"{source.place(repeating)}: labels must not repeat, got {labels}. Vectors have 0 or 1 for "
                "each label, in every record."
            )
        return rows

    @classmethod
    def check_label(cls, value: Any) -> list[str] | list[bool]:
        """Return a list of names of labels, or a vector of booleans. A text is split at commas."""
        labels = (value.split(",") if value.strip() else []) if isinstance(value, str) else value
        if not isinstance(labels, list):
            raise InputError(f"labels must be a list of labels, or a text with commas; got {reprlib.repr(labels)}.")
        if labels and all(isinstance(label, bool) for label in labels):
            return labels
        if labels and all(isinstance(label, float) and label in (0.0, 1.0) for label in labels):
            return [label == 1.0 for label in labels]
        return [label_name("labels", label) for label in labels]

    @classmethod
    def label_names(cls, rows: Iterable[Row]) -> list[str]:
        """Return the labels that occur, in order; for vectors, the indices of their entries."""
        rows = list(rows)
        if _is_vector(rows[0]["labels"]):
            return [str(index) for index in range(len(rows[0]["labels"]))]
        return all_labels(label for row in rows for label in row["labels"])

    def target(self, row: Row) -> np.ndarray:
        """Return a vector [L]: 1 for each label of the row, else 0."""
        labels, count = row["labels"], self.config.num_labels
        if _is_vector(labels):
            if len(labels) != count:
                known = reprlib.repr(", ".join(label_names(self.config)))
                raise InputError(
                    f"labels are vectors of {len(labels)} numbers, but the model has {count} labels: {known}."
                )
            return np.array(labels, np.float32)
        present = np.zeros(count, np.float32)
        for label in labels:
            index = label_id(self.config, label)
            if present[index]:
                raise InputError(f"labels must not repeat, got {reprlib.repr(labels)}: {label!r} is given twice.")
            present[index] = 1
        return present

    def label_counts(self, features: Sequence[Feature]) -> np.ndarray:
        """Return the number of rows with each label, [L]."""
        return np.count_nonzero([feature.target for feature in features], axis=0)

    def weights_of(self, labels: np.ndarray, of_classes: np.ndarray) -> np.ndarray:
        """Return the weight of each label's term in the loss, [B, L], given the weights of the classes [L]."""
        return np.ones(labels.shape) * of_classes

    def measure(self, rows: Sequence[Row], features: Sequence[Feature], logits: Sequence[np.ndarray]) -> Metrics:
        """Return micro and macro F1, and the fraction of rows whose labels are all right."""
        return metrics.multi_label(np.stack(logits), np.stack([feature.target for feature in features]))


def _is_vector(labels: list[Any]) -> bool:
    """Return whether the labels of a row are a vector of booleans, not names."""
    return bool(labels) and isinstance(labels[0], bool)
