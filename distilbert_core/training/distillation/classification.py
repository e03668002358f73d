"""Partly labelled texts: the teacher's outputs count for all of them, and labels where they are present."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from distilbert_core.model.inputs import IGNORE_INDEX
from distilbert_core.training.labels import all_labels
from distilbert_core.training.tasks.base import Row, text_of
from distilbert_core.training.tasks.sequence_classification import SequenceClassification


class PartlyLabelled(SequenceClassification):
    """One label for a text, or for a pair of texts. Where it is missing or empty, only the teacher's outputs count."""

    columns = ("text",)
    optional = ("text_pair", "label")

    @classmethod
    def read_for_evaluation(cls, source: Any, columns: Mapping[str, str] | None = None) -> list[Row]:
        """Return the rows of a source for evaluation, checked. All must have a label."""
        return SequenceClassification.read(source, columns)

    @classmethod
    def check(cls, row: Row) -> Row:
        """Return the row with the name of its label, or None if it has no label."""
        texts = {column: text_of(column, value) for column, value in row.items() if column != "label"}
        label = row.get("label")
        return {**texts, "label": None if label is None or label == "" else cls.check_label(label)}

    @classmethod
    def label_names(cls, rows: Iterable[Row]) -> list[str]:
        """Return the labels that occur, in order."""
        return all_labels(row["label"] for row in rows if row["label"] is not None)

    def target(self, row: Row) -> int:
        """Return the index of the label, or -100 if the row has no label."""
        return IGNORE_INDEX if row["label"] is None else super().target(row)
