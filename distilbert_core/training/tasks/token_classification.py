"""A label for each word.

Shapes: B batch, T tokens.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.files.records import decoded_lines
from distilbert_core.model.heads import Head
from distilbert_core.model.inputs import IGNORE_INDEX
from distilbert_core.model.packed_batches import Batch
from distilbert_core.tokenization.batching import pad_rows
from distilbert_core.tokenization.engine import Encoding
from distilbert_core.training import metrics
from distilbert_core.training.features import Feature
from distilbert_core.training.labels import OUTSIDE, all_labels, label_id, label_name, label_names
from distilbert_core.training.metrics import Metrics
from distilbert_core.training.tasks.base import Row, Task, text_of


def read_conll(path: Path) -> Iterator[Row]:
    """Yield the sentences of a .conll file: a word and its label in each line, and blank lines between sentences.

    Words and labels are separated by a tab or spaces. Only the first and the last column are read.
    """
    tokens: list[str] = []
    labels: list[str] = []
    for line_number, line in enumerate(decoded_lines(path), 1):
        parts = line.split()
        if parts and len(parts) < 2:
            raise InputError(f"{path} line {line_number} must have a word and its label, got {line.strip()!r}.")
        if parts and parts[0] != "-DOCSTART-":
            tokens.append(parts[0])
            labels.append(parts[-1])
        elif tokens:
            yield {"tokens": tokens, "labels": labels}
            tokens, labels = [], []
    if tokens:
        yield {"tokens": tokens, "labels": labels}


class TokenClassification(Task):
    """A label for each word; entities are marked by B-TYPE, I-TYPE and O.

    The first token of a word has its label. Words without a token, such as invisible characters, and words beyond
    `max_length` tokens count as outside of entities.
    """

    name = "token-classification"
    head = Head.TOKEN_CLASSIFICATION
    columns = ("tokens", "labels")
    named = "labels"
    readers = {".conll": read_conll}  # noqa: RUF012
    metric = "f1"

    @classmethod
    def check(cls, row: Row) -> Row:
        """Return the row if it has a label for each word."""
        for column in cls.columns:
            if not isinstance(row[column], list) or not row[column]:
                hint = " Among file formats, .conll and .jsonl have lists." if isinstance(row[column], str) else ""
                raise InputError(f"{column} must be a non-empty list, got {reprlib.repr(row[column])}.{hint}")
        tokens = [text_of("tokens", token) for token in row["tokens"]]
        labels = [label_name("labels", label) for label in row["labels"]]
        if len(tokens) != len(labels):
            raise InputError(f"labels must be as many as the {len(tokens)} tokens, got {len(labels)}.")
        return {"tokens": tokens, "labels": labels}

    @classmethod
    def label_names(cls, rows: Iterable[Row]) -> list[str]:
        """Return the labels that occur, O first."""
        names = all_labels(label for row in rows for label in row["labels"])
        return sorted(names, key=lambda name: name != OUTSIDE) if OUTSIDE in names else names

    def encode(self, rows: Sequence[Row]) -> list[Feature]:
        """Return the tokens of rows; the target is -100 for tokens that are not the first of a word."""
        return [
            Feature(window.ids, _first_tokens(window, self._label_ids(row)), index, cut=bool(window.overflowing))
            for index, (row, window) in enumerate(zip(rows, self._windows(rows), strict=True))
        ]

    def _windows(self, rows: Sequence[Row]) -> list[Encoding]:
        texts = [row["tokens"] for row in rows]
        return self.tokenizer(texts, is_split_into_words=True, truncation=True, max_length=self.max_length).encodings

    def _label_ids(self, row: Row) -> list[int]:
        return [label_id(self.config, label) for label in row["labels"]]

    def label_counts(self, features: Sequence[Feature]) -> np.ndarray:
        """Return the number of words with each label, [L], without words that are cut off."""
        labels = np.concatenate([feature.target for feature in features])
        return np.bincount(labels[labels != IGNORE_INDEX], minlength=self.config.num_labels)

    def batch(self, features: Sequence[Feature], seed: Sequence[int]) -> Batch:
        """Return the model's arguments; labels are [B, T]."""
        labels, _ = pad_rows([feature.target for feature in features], IGNORE_INDEX)
        return {**self.inputs(features), "labels": labels}

    def measure(self, rows: Sequence[Row], features: Sequence[Feature], logits: Sequence[np.ndarray]) -> Metrics:
        """Return precision, recall and F1 of whole entities; of single words if labels do not mark entities."""
        names = label_names(self.config)
        if not all(name == OUTSIDE or name.startswith(("B-", "I-")) for name in names):
            first = [np.array(feature.target) != IGNORE_INDEX for feature in features]
            targets = [np.array(feature.target)[words] for feature, words in zip(features, first, strict=True)]
            scores = np.concatenate([scores[words] for scores, words in zip(logits, first, strict=True)])
            scores_of_words = metrics.classification(scores, np.concatenate(targets))
            return {"f1": scores_of_words["f1_macro"], "accuracy": scores_of_words["accuracy"]}
        predicted = []
        for row, window, feature, scores in zip(rows, self._windows(rows), features, logits, strict=True):
            tags = [OUTSIDE] * len(row["tokens"])
            for word, target, label in zip(window.word_ids, feature.target, scores.argmax(-1).tolist(), strict=True):
                if word is not None and target != IGNORE_INDEX:
                    tags[word] = names[label]
            predicted.append(tags)
        return metrics.entities(predicted, [[names[i] for i in self._label_ids(row)] for row in rows])


def _first_tokens(window: Encoding, labels: Sequence[int]) -> list[int]:
    """Return the label of each token that is the first of a word, and -100 for the others."""
    words = window.word_ids
    return [
        IGNORE_INDEX if word is None or word == before else labels[word]
        for before, word in zip([None, *words], words, strict=False)
    ]
