"""One label, one number, or any number of labels, for a text or a pair.

Shapes: L labels.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.parameters import Head
from distilbert_core.training import metrics
from distilbert_core.training.labels import all_labels, as_number, label_id, label_name
from distilbert_core.training.metrics import Metrics
from distilbert_core.training.tasks.base import Feature, Row, Task


class _TextTask(Task):
    """Something about a text, or about a pair, which stands in the second column."""

    head = Head.SEQUENCE_CLASSIFICATION
    columns: ClassVar[tuple[str, ...]]
    optional: ClassVar[tuple[str, ...]] = ("text_pair",)

    @classmethod
    def check(cls, row: Row) -> Row:
        """Return the row with what is to be predicted as the task has it."""
        column = cls.columns[1]
        texts = {name: value for name, value in row.items() if name != column}
        return {**super().check(texts), column: cls.check_label(row[column])}

    @classmethod
    def check_label(cls, value: Any) -> Any:
        """Return what is to be predicted as the task has it, or raise InputError."""
        raise NotImplementedError


class SequenceClassification(_TextTask):
    """One label for a text, or for a pair."""

    name = "sequence-classification"
    problem_type = "single_label_classification"
    columns: ClassVar[tuple[str, ...]] = ("text", "label")
    metric = "accuracy"

    @classmethod
    def check_label(cls, value: Any) -> str:
        """Return the name of a label."""
        return label_name("label", value)

    @classmethod
    def label_names(cls, rows: Sequence[Row]) -> list[str]:
        """Return the labels that are there, in order."""
        return all_labels(row["label"] for row in rows)

    def target(self, row: Row) -> int:
        """Return the number of the label."""
        return label_id(self.config, row["label"])

    def measure(self, rows: Sequence[Row], features: Sequence[Feature], logits: Sequence[np.ndarray]) -> Metrics:
        """Return accuracy, macro F1 and Matthews' correlation."""
        return metrics.classification(np.stack(logits), np.array([feature.target for feature in features]))


class Regression(_TextTask):
    """One number for a text, or for a pair."""

    name = "regression"
    problem_type = "regression"
    columns: ClassVar[tuple[str, ...]] = ("text", "label")
    metric = "spearman"

    @classmethod
    def check_label(cls, value: Any) -> float:
        """Return a number."""
        number = as_number(value)
        if number is None or not math.isfinite(number):
            raise InputError(f"label must be a number, got {reprlib.repr(value)}.")
        return number

    @classmethod
    def config_fields(cls, labels: Sequence[str] | None) -> dict[str, Any]:
        """Return what the configuration of a model for the task says."""
        return {**super().config_fields(None), "num_labels": 1}

    def target(self, row: Row) -> float:
        """Return the number."""
        return row["label"]

    def measure(self, rows: Sequence[Row], features: Sequence[Feature], logits: Sequence[np.ndarray]) -> Metrics:
        """Return the correlations of Pearson and Spearman."""
        return metrics.regression(np.stack(logits)[:, 0], np.array([feature.target for feature in features]))


class MultiLabel(_TextTask):
    """Any number of labels for a text, or for a pair."""

    name = "multi-label"
    problem_type = "multi_label_classification"
    columns = ("text", "labels")
    metric = "f1_micro"

    @classmethod
    def check_label(cls, value: Any) -> list[str]:
        """Return a list of the names of labels; a text is split at commas."""
        labels = [name for name in value.split(",") if name.strip()] if isinstance(value, str) else value
        if not isinstance(labels, list):
            raise InputError(f"labels must be a list of labels, or a text with commas; got {reprlib.repr(labels)}.")
        return [label_name("labels", label) for label in labels]

    @classmethod
    def label_names(cls, rows: Sequence[Row]) -> list[str]:
        """Return the labels that are there, in order."""
        return all_labels(label for row in rows for label in row["labels"])

    def target(self, row: Row) -> np.ndarray:
        """Return 1 for each label that the row has, else 0: [L]."""
        present = np.zeros(self.config.num_labels, np.float32)
        present[[label_id(self.config, label) for label in row["labels"]]] = 1
        return present

    def measure(self, rows: Sequence[Row], features: Sequence[Feature], logits: Sequence[np.ndarray]) -> Metrics:
        """Return micro and macro F1, and how often all labels of a row are right."""
        return metrics.multi_label(np.stack(logits), np.stack([feature.target for feature in features]))
