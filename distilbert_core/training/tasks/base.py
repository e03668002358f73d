"""The base of all tasks: from a source to rows, from rows to batches, from outputs to metrics.

Shapes: B batch, T tokens, C choices, L labels.
"""

from __future__ import annotations

import math
import reprlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from distilbert_core.errors import InputError, InputWarning, did_you_mean
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.inference import Inference
from distilbert_core.model.packed_batches import WEIGHT, Batch
from distilbert_core.model.packing import Ragged
from distilbert_core.tokenization.base import BaseTokenizer
from distilbert_core.tokenization.batching import pad_rows, token_batches
from distilbert_core.training.features import Feature, Features
from distilbert_core.training.labels import as_number, class_name, class_weights
from distilbert_core.training.metrics import Metrics
from distilbert_core.training.recipe import Recipe
from distilbert_core.training.sources import FileSource, Source, open_source

Row = dict[str, Any]  # a record by the names of the task's columns
# Hints for files that only another task reads, by suffix.
OTHER_FILES = {
    ".json": "is read as SQuAD's, for question-answering; write rows to .jsonl, with one JSON object in each line",
    ".conll": "has words with their labels, for token-classification",
}
WEIGHT_COLUMN = "weight"  # the column of any task with the weight of each row in the loss


class Task:
    """A task with the tokenizer and the labels of one model.

    Args:
        tokenizer: The model's tokenizer.
        config: The model's configuration.
        recipe: Its `max_length` limits the length of rows.
    """

    name: ClassVar[str]
    head: ClassVar[Head]
    problem_type: ClassVar[str | None] = None
    columns: ClassVar[tuple[str, ...]]
    optional: ClassVar[tuple[str, ...]] = (WEIGHT_COLUMN,)
    readers: ClassVar[Mapping[str, Callable[[Path], Iterator[Row]]]] = {}  # suffix -> reader of another file format
    default_length: ClassVar[int] = 128  # maximum number of tokens of a row
    named: ClassVar[str] = ""  # column of labels, if they have names
    # Dtype of a target in token shards; '' if features have no target, None if the task's features cannot be stored.
    stored_target: ClassVar[str | None] = None
    metric: ClassVar[str]  # the metric that decides which of two models is better
    evaluation_tokens: ClassVar[int] = 4096  # tokens of a batch
    cut_rows: ClassVar[str] = "are longer than max_length={} and are cut"  # follows a number of rows

    def __init__(self, tokenizer: BaseTokenizer, config: DistilBertConfig, recipe: Recipe):
        self.tokenizer = tokenizer
        self.config = config
        self.recipe = recipe
        longest = min(tokenizer.model_max_length, config.max_position_embeddings)
        if (recipe.max_length or 0) > longest:
            raise InputError(f"max_length must be at most {longest}, the limit of the model, got {recipe.max_length}.")
        self.max_length = min(recipe.max_length or self.default_length, longest)
        self.per_token = self.head.reads_tokens
        self.class_weights: np.ndarray | None = None  # [L], once `fit` has seen the training rows

    # -- from a source to rows ------------------------------------------------------------------------------------

    @classmethod
    def source_of(cls, argument: str, given: Any, *, training: bool = False) -> Source:
        """Return the value of an argument as a source, in any form that `open_source` takes.

        Args:
            argument: Name of the argument, for messages.
            given: The value.
            training: Whether the rows are learned from, if a task finds them by their purpose.
        """
        return open_source(argument, given)

    @classmethod
    def evaluation_of(cls, train: Any) -> Any:
        """Return the evaluation data that belongs to training data; None: the task knows none."""
        return None

    @classmethod
    def read(cls, source: Any, columns: Mapping[str, str] | None = None) -> list[Row]:
        """Return the rows of a source, checked.

        Args:
            source: A .csv, .tsv or .jsonl file, or another format of the task, perhaps with .gz at the end; or rows in
                memory, in any form that `open_source` takes.
            columns: Names of the source's columns, if they differ from the task's: {'text': 'sentence'}.

        Raises:
            InputError: The source cannot be read, is empty, lacks a column, or holds an impossible value.
        """
        return list(cls.stream(cls.source_of("rows", source), columns))

    @classmethod
    def stream(cls, source: Source, columns: Mapping[str, str] | None = None) -> Iterator[Row]:
        """Yield the rows of a source, checked, without holding them.

        Raises:
            InputError: As `read`.
        """
        record = 0
        for record, row in enumerate(cls._records(source, cls._check_columns(columns)), 1):
            try:
                weight = {name: row_weight(row.pop(name)) for name in (WEIGHT_COLUMN,) if name in row}
                yield {**cls.check(row), **weight}
            except InputError as error:
                raise InputError(f"{source.place(record)}: {error}") from None
        if not record:
            raise InputError(f"{source.name} is empty: it holds no rows.")

    @classmethod
    def read_for_evaluation(cls, source: Any, columns: Mapping[str, str] | None = None) -> list[Row]:
        """Return the rows of a source for evaluation, checked, without weights. The arguments are those of `read`."""
        return cls.read(source, {name: column for name, column in (columns or {}).items() if name != WEIGHT_COLUMN})

    @classmethod
    def _check_columns(cls, columns: Mapping[str, str] | None) -> Mapping[str, str]:
        """Return the names of columns, or raise InputError if the task does not know one of them."""
        if columns is None:
            return {}
        own = (*cls.columns, *cls.optional)
        if not isinstance(columns, Mapping):
            raise InputError(f"columns must be a dict, such as {{{own[0]!r}: 'body'}}; got {reprlib.repr(columns)}.")
        unknown = sorted(map(str, columns.keys() - set(own)))
        if unknown:
            turned = {name: column for column, name in columns.items() if name in own}
            hint = f" The task's name comes first: {turned}." if turned else did_you_mean(unknown[0], own)
            raise InputError(f"columns must name some of {', '.join(own)}; unknown: {', '.join(unknown)}.{hint}")
        return columns

    @classmethod
    def _records(cls, source: Source, names: Mapping[str, str]) -> Iterable[Row]:
        """Yield the rows of a source by the names of the task's columns, unchecked."""
        reader = cls.readers.get(source.suffix)
        if reader is not None and isinstance(source, FileSource):
            return source.read(reader)
        if source.suffix in OTHER_FILES:
            raise InputError(f"{source.name} {OTHER_FILES[source.suffix]}. The task is {cls.name}.")
        present = source.column_names()
        optional = [column for column in cls.optional if column in names or column in present]
        taken = {column: names.get(column, column) for column in (*cls.columns, *optional)}
        if source.has_columns and present:
            cls._check_present(source, taken, present)
        records = source.records(list(taken.values()))
        rows = (dict(zip(taken, record, strict=True)) for record in records)
        classes = cls.class_names(source, names)
        return rows if classes is None else ({**row, cls.named: class_name(row[cls.named], classes)} for row in rows)

    @classmethod
    def _check_present(cls, source: Source, taken: Mapping[str, str], present: Sequence[str]) -> None:
        """Raise InputError if a source lacks a column in all of its rows."""
        missing = [(name, column) for name, column in taken.items() if column not in present]
        if not missing:
            return
        name, column = missing[0]
        likely = next(iter(get_close_matches(column, present, n=1)), "NAME")
        hint = f"Say which it is: columns={{{name!r}: {likely!r}}} (--column {name}={likely})."
        if len(present) == 1 and set(present[0]) & set(",;\t|"):
            hint = "Columns are separated by commas in a .csv file, and by tabs in a .tsv file."
        here = len(set(cls.columns) & set(present))
        other = next((t for t in TASKS.values() if set(t.columns) <= set(present) and len(t.columns) > here), None)
        if other is not None:
            hint += f" Or is the task {other.name}? Its columns are {', '.join(other.columns)}."
        columns, lacking = (", ".join(map(repr, names)) for names in (present, [column for _, column in missing]))
        raise InputError(f"{source.name} has no column {lacking}; its columns are {columns}. {hint}")

    @classmethod
    def class_names(cls, source: Source, columns: Mapping[str, str] | None) -> list[str] | None:
        """Return the names of the labels if a source has indices and knows their names, as a Dataset does."""
        return source.class_names((columns or {}).get(cls.named, cls.named)) if cls.named else None

    @classmethod
    def check(cls, row: Row) -> Row:
        """Return a row with values in the task's form, or raise InputError that names the column."""
        return {column: text_of(column, value) for column, value in row.items()}

    @classmethod
    def label_names(cls, rows: Iterable[Row]) -> list[str] | None:
        """Return the names of the labels of a new head for these rows; None if the labels of the task have no names."""
        return None

    @classmethod
    def config_fields(cls, labels: Sequence[str] | None) -> dict[str, Any]:
        """Return the fields of the configuration of a model for the task."""
        fields: dict[str, Any] = {} if cls.problem_type is None else {"problem_type": cls.problem_type}
        if labels is None:
            return fields
        return fields | {
            "num_labels": len(labels),
            "id2label": dict(enumerate(labels)),
            "label2id": {name: labels.index(name) for name in labels},
        }

    # -- from rows to batches -----------------------------------------------------------------------------------

    def encode(self, rows: Sequence[Row]) -> list[Feature]:
        """Return the features of rows."""
        texts = [row["text"] for row in rows]
        pairs = [row["text_pair"] for row in rows] if "text_pair" in rows[0] else None
        windows = self.tokenizer(texts, pairs, truncation=True, max_length=self.max_length).encodings
        return [
            Feature(window.ids, self.target(row), index, cut=bool(window.overflowing))
            for index, (window, row) in enumerate(zip(windows, rows, strict=True))
        ]

    def features(self, rows: Sequence[Row]) -> list[Feature]:
        """Return the features of rows, with the weights of the rows if they have any."""
        features = self.encode(rows)
        if WEIGHT_COLUMN not in rows[0]:
            return features
        return [replace(feature, weight=rows[feature.row][WEIGHT_COLUMN]) for feature in features]

    def warn_of_cut(self, name: str | Path, cut: int, rows: int, stacklevel: int) -> None:
        """Warn if a part of some rows has no effect.

        Args:
            name: Name of the rows in the message.
            cut: Number of rows of which a part has no effect.
            rows: Number of all rows.
            stacklevel: As in `warnings.warn`, counted from the caller.
        """
        if cut:
            problem = self.cut_rows.format(self.max_length)
            message = f"{name}: {cut} of {rows} rows {problem}. Give a larger max_length."
            warnings.warn(message, InputWarning, stacklevel=stacklevel + 1)

    def fit(self, features: Sequence[Feature]) -> None:
        """Collect the statistics of the training features that batches need: the weights of the classes.

        Raises:
            InputError: All weights of rows are zero, the recipe's `class_weights` do not fit the labels, or the task
                has no classes.
        """
        if all(feature.weight == 0 for feature in features):
            raise InputError(f"{WEIGHT_COLUMN} must be above 0 in at least one row, got only zeros.")
        if self.recipe.class_weights is not None:
            counts = np.sum([self.label_counts(block) for block in Features.of(features).blocks()], axis=0)
            self.class_weights = class_weights(self.recipe.class_weights, self.config, counts)

    def label_counts(self, features: Sequence[Feature]) -> np.ndarray:
        """Return the number of occurrences of each label in the targets of features, [L].

        Raises:
            InputError: The labels of the task are not classes.
        """
        raise InputError(f"class_weights must be left out: {self.name} has no names of labels.")

    def target(self, row: Row) -> Any:
        """Return the target of a row."""
        raise NotImplementedError

    def inputs(self, features: Sequence[Feature]) -> Batch:
        """Return the model's arguments for features, without labels."""
        ids, mask = pad_rows([feature.ids for feature in features], self.tokenizer.pad_token_id)
        return {"input_ids": ids, "attention_mask": mask}

    def texts(self, features: Sequence[Feature]) -> Ragged:
        """Return the texts of features, without padding."""
        return Ragged.from_rows([feature.ids for feature in features])

    def batch(self, features: Sequence[Feature], seed: Sequence[int]) -> Batch:
        """Return the model's arguments for a step, with labels. Random numbers are drawn from `seed`."""
        return {**self.inputs(features), "labels": np.array([feature.target for feature in features])}

    def training_batch(self, features: Sequence[Feature], seed: Sequence[int]) -> Batch:
        """Return `batch`, with sample_weight if rows or classes have weights: [B], or in the shape of the labels."""
        batch = self.batch(features, seed)
        weights = None if self.class_weights is None else self.weights_of(batch["labels"], self.class_weights)
        if features[0].weight is not None:
            rows = np.array([feature.weight for feature in features])
            weights = rows if weights is None else weights * rows.reshape(-1, *[1] * (weights.ndim - 1))
        return batch if weights is None else {**batch, WEIGHT: weights}

    def weights_of(self, labels: np.ndarray, of_classes: np.ndarray) -> np.ndarray:
        """Return the weight of each label, given the weights of the classes [L]; any number for ignored labels."""
        return of_classes[np.maximum(labels, 0)]

    # -- from outputs to metrics --------------------------------------------------------------------------------

    def evaluate(self, inference: Inference, rows: Sequence[Row], features: Sequence[Feature]) -> Metrics:
        """Return the metrics of a model on rows."""
        outputs: list[Any] = [None] * len(features)
        for batch in token_batches([feature.size for feature in features], self.evaluation_tokens):
            texts = self.texts([features[i] for i in batch])
            logits = inference.run_ragged(texts)["logits"]
            rows_of = texts.split(logits) if self.per_token else logits.reshape(len(batch), -1)  # [T, L], or [L]
            for i, values in zip(batch, rows_of, strict=True):
                outputs[i] = values.copy()
        return self.measure(rows, features, outputs)

    def measure(self, rows: Sequence[Row], features: Sequence[Feature], logits: Sequence[np.ndarray]) -> Metrics:
        """Return the metrics of the logits of each feature."""
        raise NotImplementedError


def row_weight(value: Any) -> float:
    """Return the weight of a row, or raise InputError if it is not a finite number >= 0."""
    number = as_number(value)
    if number is None or not 0 <= number < math.inf:
        raise InputError(f"{WEIGHT_COLUMN} must be a finite number >= 0, got {reprlib.repr(value)}.")
    return number


def text_of(column: str, value: Any) -> str:
    """Return a value that must be a text, or raise InputError that names its column."""
    if not isinstance(value, str):
        raise InputError(f"{column} must be a text, got {reprlib.repr(value)}.")
    return value


TASKS: dict[str, type[Task]] = {}  # by name; the package registers its tasks
