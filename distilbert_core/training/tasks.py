"""The tasks: what each reads from a file, what a model is given for it, and how its answers are measured.

Shapes: B batch, T tokens, C choices, L labels, V vocabulary.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from distilbert_core.batching import pad_rows, token_batches
from distilbert_core.config import DistilBertConfig
from distilbert_core.errors import InputError
from distilbert_core.inference import TOKEN_HEADS, Inference
from distilbert_core.inputs import IGNORE_INDEX
from distilbert_core.parameters import Head
from distilbert_core.pipelines.question_answering import QuestionAnsweringPipeline
from distilbert_core.records import column_names, decoded_lines, file_kind, parse_records
from distilbert_core.tokenization.base import BaseTokenizer
from distilbert_core.tokenization.encodings import Encoding
from distilbert_core.training import metrics
from distilbert_core.training.batches import Batch, fill_up, mask_tokens
from distilbert_core.training.metrics import Metrics
from distilbert_core.training.recipe import Recipe

Row = dict[str, Any]  # a record by the names of the task's columns
MOST_LABELS = 100_000  # a number above is none of a label, but that of a row, or a year and a day
OUTSIDE = "O"  # the label of words that are in no entity


@dataclass(frozen=True)
class Feature:
    """What a model is given for one row, or one window of it.

    Attributes:
        ids: Token ids [T], or [C] lists of them.
        target: What is to be predicted, as the task has it.
        row: Number of the row it was made from.
    """

    ids: Any
    target: Any
    row: int

    @property
    def size(self) -> int:
        """How many tokens it is for the model: T, or C * T."""
        return len(self.ids) if isinstance(self.ids[0], int) else len(self.ids) * max(map(len, self.ids))


class Task:
    """A task with the tokenizer and the labels of one model.

    Args:
        tokenizer: The model's tokenizer.
        config: The model's configuration.
        recipe: Says how long rows may be.
    """

    name: ClassVar[str]
    head: ClassVar[Head]
    problem_type: ClassVar[str | None] = None
    columns: ClassVar[tuple[str, ...]]
    optional: ClassVar[tuple[str, ...]] = ()
    readers: ClassVar[Mapping[str, Callable[[Path], Iterator[Row]]]] = {}  # suffix -> reader of another kind of file
    default_length: ClassVar[int] = 128  # most tokens of a row
    metric: ClassVar[str]  # which tells the better of two models
    evaluation_tokens: ClassVar[int] = 4096  # of a batch

    def __init__(self, tokenizer: BaseTokenizer, config: DistilBertConfig, recipe: Recipe):
        self.tokenizer = tokenizer
        self.config = config
        self.recipe = recipe
        longest = min(tokenizer.model_max_length, config.max_position_embeddings)
        self.max_length = min(recipe.max_length or self.default_length, longest)
        self.per_token = self.head in TOKEN_HEADS

    # -- from a file to rows ------------------------------------------------------------------------------------

    @classmethod
    def read(cls, path: str | Path, columns: Mapping[str, str] | None = None) -> list[Row]:
        """Return the rows of a file, checked.

        Args:
            path: A .csv, .tsv or .jsonl file, or another that the task knows; maybe with .gz at the end.
            columns: Names of the file's columns, where they are not the task's own: {'text': 'sentence'}.

        Raises:
            InputError: The file cannot be read, is empty, lacks a column, or holds an impossible value.
        """
        path = Path(path)
        wanted = (*cls.columns, *cls.optional)
        unknown = sorted((columns or {}).keys() - set(wanted))
        if unknown:
            raise InputError(f"columns must name some of {', '.join(wanted)}; {', '.join(unknown)} is none of these.")
        rows = []
        for number, row in enumerate(cls._records(path, columns or {}), 1):
            try:
                rows.append(cls.check(row))
            except InputError as error:
                raise InputError(f"{path}: record {number}: {error}") from None
        if not rows:
            raise InputError(f"{path} is empty: it holds no rows.")
        return rows

    @classmethod
    def _records(cls, path: Path, names: Mapping[str, str]) -> Iterable[Row]:
        reader = cls.readers.get(file_kind(path))
        if reader is not None:
            return reader(path)
        present = column_names(path)
        optional = [column for column in cls.optional if column in names or column in present]
        taken = {column: names.get(column, column) for column in (*cls.columns, *optional)}
        records = parse_records(path, list(taken.values()))
        return (dict(zip(taken, record, strict=True)) for record in records)

    @classmethod
    def check(cls, row: Row) -> Row:
        """Return a row with values as the task has them, or raise InputError, naming the column."""
        return {column: _text(column, value) for column, value in row.items()}

    @classmethod
    def label_names(cls, rows: Sequence[Row]) -> list[str] | None:
        """Return the names of the labels that a new head for these rows has; None if the task has no such names."""
        return None

    @classmethod
    def config_fields(cls, labels: Sequence[str] | None) -> dict[str, Any]:
        """Return what the configuration of a model for the task says."""
        fields: dict[str, Any] = {} if cls.problem_type is None else {"problem_type": cls.problem_type}
        if labels is None:
            return fields
        names = dict(enumerate(labels))
        return fields | {
            "num_labels": len(names),
            "id2label": names,
            "label2id": {name: i for i, name in names.items()},
        }

    # -- from rows to batches -----------------------------------------------------------------------------------

    def encode(self, rows: Sequence[Row]) -> list[Feature]:
        """Return what the model is given for rows."""
        texts = [row["text"] for row in rows]
        pairs = [row["text_pair"] for row in rows] if "text_pair" in rows[0] else None
        encoding = self.tokenizer(texts, pairs, truncation=True, max_length=self.max_length)
        return [
            Feature(ids, self.target(row), number)
            for number, (ids, row) in enumerate(zip(encoding["input_ids"], rows, strict=True))
        ]

    def target(self, row: Row) -> Any:
        """Return what is to be predicted for a row."""
        raise NotImplementedError

    def inputs(self, features: Sequence[Feature], padded_length: Callable[[int], int] = int) -> Batch:
        """Return the model's arguments for some features, without labels.

        Args:
            features: B features.
            padded_length: Says to how many tokens rows are filled up, given the longest.
        """
        ids, mask = pad_rows([feature.ids for feature in features], self.tokenizer.pad_token_id)
        length = padded_length(ids.shape[-1])
        return {
            "input_ids": fill_up(ids, length, self.tokenizer.pad_token_id),
            "attention_mask": fill_up(mask, length, 0),
        }

    def batch(self, features: Sequence[Feature], padded_length: Callable[[int], int], seed: Sequence[int]) -> Batch:
        """Return the model's arguments for a step, labels included; `seed` decides what is drawn."""
        return {**self.inputs(features, padded_length), "labels": np.array([feature.target for feature in features])}

    # -- from outputs to metrics --------------------------------------------------------------------------------

    def evaluate(self, inference: Inference, rows: Sequence[Row], features: Sequence[Feature]) -> Metrics:
        """Return the metrics of a model's answers for rows."""
        kept: list[Any] = [None] * len(features)
        for batch in token_batches([feature.size for feature in features], self.evaluation_tokens):
            outputs = inference(**self.inputs([features[i] for i in batch]))
            for place, i in enumerate(batch):
                kept[i] = outputs["logits"][place, : len(features[i].ids) if self.per_token else None].copy()
        return self.measure(rows, features, kept)

    def measure(self, rows: Sequence[Row], features: Sequence[Feature], logits: Sequence[np.ndarray]) -> Metrics:
        """Return the metrics of the logits of each feature."""
        raise NotImplementedError


def _text(column: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"{column} must be a text, got {reprlib.repr(value)}.")
    return value


def _label(column: str, value: Any) -> str:
    """Return the name of a label given as a text or as an integer."""
    name = str(value).strip()
    number = _as_number(name)
    impossible = number is not None and not (name.isdecimal() and number < MOST_LABELS)
    if not isinstance(value, str | int) or isinstance(value, bool) or not name or impossible:
        raise InputError(
            f"{column} must be the name of a label, or an integer from 0 to {MOST_LABELS - 1}; got "
            f"{reprlib.repr(value)}. Other numbers are for the task 'regression'."
        )
    return name


def _as_number(value: Any) -> float | None:
    """Return a text or a number as a float, or None if it is no number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _all_labels(names: Iterable[str]) -> list[str]:
    """Return the labels that these names are: '0', '1', ... up to the highest, or the names in order."""
    found = set(names)
    if found and all(name.isdecimal() for name in found):
        return [str(number) for number in range(max(map(int, found)) + 1)]
    return sorted(found)


def _label_id(config: DistilBertConfig, name: str) -> int:
    """Return the number of a label, given by name or by number."""
    number = config.label2id.get(name, int(name) if name.isdecimal() else -1)
    if not 0 <= number < config.num_labels:
        labels = ", ".join(config.id2label.values())
        raise InputError(
            f"Label {name!r} is none of the model's {config.num_labels} labels: {reprlib.repr(labels)}. Correct the "
            "file, or train a new head for its labels."
        )
    return number


class SequenceClassification(Task):
    """One label for a text, or for a pair."""

    name = "sequence-classification"
    head = Head.SEQUENCE_CLASSIFICATION
    problem_type = "single_label_classification"
    columns = ("text", "label")
    optional = ("text_pair",)
    metric = "accuracy"

    @classmethod
    def check(cls, row: Row) -> Row:
        """Return the row with the name of its label."""
        return {**super().check({**row, "label": ""}), "label": _label("label", row["label"])}

    @classmethod
    def label_names(cls, rows: Sequence[Row]) -> list[str]:
        """Return the labels that are there, in order."""
        return _all_labels(row["label"] for row in rows)

    def target(self, row: Row) -> int:
        """Return the number of the label."""
        return _label_id(self.config, row["label"])

    def measure(self, rows: Sequence[Row], features: Sequence[Feature], logits: Sequence[np.ndarray]) -> Metrics:
        """Return accuracy, macro F1 and Matthews' correlation."""
        return metrics.classification(np.stack(logits), np.array([feature.target for feature in features]))


class Regression(Task):
    """One number for a text, or for a pair."""

    name = "regression"
    head = Head.SEQUENCE_CLASSIFICATION
    problem_type = "regression"
    columns = ("text", "label")
    optional = ("text_pair",)
    metric = "spearman"

    @classmethod
    def check(cls, row: Row) -> Row:
        """Return the row with its number."""
        value = row["label"]
        number = _as_number(value)
        if number is None or not math.isfinite(number):
            raise InputError(f"label must be a number, got {reprlib.repr(value)}.")
        return {**super().check({**row, "label": ""}), "label": number}

    @classmethod
    def label_names(cls, rows: Sequence[Row]) -> list[str]:
        """Return the one name that Transformers gives to the number."""
        return ["LABEL_0"]

    def target(self, row: Row) -> float:
        """Return the number."""
        return row["label"]

    def measure(self, rows: Sequence[Row], features: Sequence[Feature], logits: Sequence[np.ndarray]) -> Metrics:
        """Return the correlations of Pearson and Spearman."""
        return metrics.regression(np.stack(logits)[:, 0], np.array([feature.target for feature in features]))


class MultiLabel(Task):
    """Any number of labels for a text, or for a pair."""

    name = "multi-label"
    head = Head.SEQUENCE_CLASSIFICATION
    problem_type = "multi_label_classification"
    columns = ("text", "labels")
    optional = ("text_pair",)
    metric = "f1_micro"

    @classmethod
    def check(cls, row: Row) -> Row:
        """Return the row with a list of the names of its labels; a text is split at commas."""
        labels = row["labels"]
        if isinstance(labels, str):
            labels = [name for name in labels.split(",") if name.strip()]
        if not isinstance(labels, list):
            raise InputError(f"labels must be a list of labels, or a text with commas; got {reprlib.repr(labels)}.")
        return {**super().check({**row, "labels": ""}), "labels": [_label("labels", label) for label in labels]}

    @classmethod
    def label_names(cls, rows: Sequence[Row]) -> list[str]:
        """Return the labels that are there, in order."""
        return _all_labels(label for row in rows for label in row["labels"])

    def target(self, row: Row) -> np.ndarray:
        """Return 1 for each label that the row has, else 0: [L]."""
        present = np.zeros(self.config.num_labels, np.float32)
        present[[_label_id(self.config, label) for label in row["labels"]]] = 1
        return present

    def measure(self, rows: Sequence[Row], features: Sequence[Feature], logits: Sequence[np.ndarray]) -> Metrics:
        """Return micro and macro F1, and how often all labels of a row are right."""
        return metrics.multi_label(np.stack(logits), np.stack([feature.target for feature in features]))


def read_conll(path: Path) -> Iterator[Row]:
    """Yield sentences of a .conll file: a word and, after a tab or spaces, its label a line; blank lines between.

    Of more than two columns the first and the last are taken.
    """
    tokens: list[str] = []
    labels: list[str] = []
    for number, line in enumerate(decoded_lines(path), 1):
        parts = line.split()
        if parts and len(parts) < 2:
            raise InputError(f"{path} line {number} must have a word and its label, got {line.strip()!r}.")
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
    `max_length` tokens are outside of any entity.
    """

    name = "token-classification"
    head = Head.TOKEN_CLASSIFICATION
    columns = ("tokens", "labels")
    readers = {".conll": read_conll}  # noqa: RUF012
    metric = "f1"

    @classmethod
    def check(cls, row: Row) -> Row:
        """Return the row with as many names of labels as words."""
        for column in cls.columns:
            if not isinstance(row[column], list) or not row[column]:
                raise InputError(f"{column} must be a list that is not empty, got {reprlib.repr(row[column])}.")
        tokens = [_text("tokens", token) for token in row["tokens"]]
        labels = [_label("labels", label) for label in row["labels"]]
        if len(tokens) != len(labels):
            raise InputError(f"labels must be as many as the {len(tokens)} tokens, got {len(labels)}.")
        return {"tokens": tokens, "labels": labels}

    @classmethod
    def label_names(cls, rows: Sequence[Row]) -> list[str]:
        """Return the labels that are there, O first."""
        names = _all_labels(label for row in rows for label in row["labels"])
        return sorted(names, key=lambda name: name != OUTSIDE) if OUTSIDE in names else names

    def encode(self, rows: Sequence[Row]) -> list[Feature]:
        """Return tokens, with -100 for those that are not the first of a word."""
        return [
            Feature(window.ids, _first_tokens(window, self._label_ids(row)), number)
            for number, (row, window) in enumerate(zip(rows, self._windows(rows), strict=True))
        ]

    def _windows(self, rows: Sequence[Row]) -> list[Encoding]:
        texts = [row["tokens"] for row in rows]
        return self.tokenizer(texts, is_split_into_words=True, truncation=True, max_length=self.max_length).encodings

    def _label_ids(self, row: Row) -> list[int]:
        return [_label_id(self.config, label) for label in row["labels"]]

    def batch(self, features: Sequence[Feature], padded_length: Callable[[int], int], seed: Sequence[int]) -> Batch:
        """Return the model's arguments; labels are [B, T]."""
        inputs = self.inputs(features, padded_length)
        labels, _ = pad_rows([feature.target for feature in features], IGNORE_INDEX)
        return {**inputs, "labels": fill_up(labels, inputs["input_ids"].shape[1], IGNORE_INDEX)}

    def measure(self, rows: Sequence[Row], features: Sequence[Feature], logits: Sequence[np.ndarray]) -> Metrics:
        """Return precision, recall and F1 of whole entities; of single words where labels do not mark entities."""
        names = self.config.id2label
        if not all(name == OUTSIDE or name.startswith(("B-", "I-")) for name in names.values()):
            first = [np.array(feature.target) != IGNORE_INDEX for feature in features]
            targets = [np.array(feature.target)[words] for feature, words in zip(features, first, strict=True)]
            scores = np.concatenate([scores[words] for scores, words in zip(logits, first, strict=True)])
            found = metrics.classification(scores, np.concatenate(targets))
            return {"f1": found["f1_macro"], "accuracy": found["accuracy"]}
        predicted = []
        for row, window, feature, scores in zip(rows, self._windows(rows), features, logits, strict=True):
            tags = [OUTSIDE] * len(row["tokens"])
            for word, target, label in zip(window.word_ids, feature.target, scores.argmax(-1).tolist(), strict=True):
                if word is not None and target != IGNORE_INDEX:
                    tags[word] = names[label]
            predicted.append(tags)
        return metrics.entities(predicted, [[names[i] for i in self._label_ids(row)] for row in rows])


def _first_tokens(window: Encoding, labels: Sequence[int]) -> list[int]:
    """Return the label of each token that is the first of a word, -100 for the others."""
    words = window.word_ids
    return [
        IGNORE_INDEX if word is None or word == before else labels[word]
        for before, word in zip([None, *words], words, strict=False)
    ]


def read_squad(path: Path) -> Iterator[Row]:
    """Yield the questions of a .json file in SQuAD's form."""
    try:
        data = json.loads("".join(decoded_lines(path)))["data"]
        for article in data:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    answers = question["answers"]
                    yield {
                        "question": question["question"],
                        "context": paragraph["context"],
                        "answers": {key: [answer[key] for answer in answers] for key in ("text", "answer_start")},
                    }
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not in SQuAD's form: {error!r}.") from error


class QuestionAnswering(Task):
    """The answer to a question as a span of a context, which is read in windows."""

    name = "question-answering"
    head = Head.QUESTION_ANSWERING
    columns = ("question", "context", "answers")
    readers = {".json": read_squad}  # noqa: RUF012
    default_length = 384
    metric = "f1"

    @classmethod
    def check(cls, row: Row) -> Row:
        """Return the row if each answer stands where it says."""
        for column in ("question", "context"):
            if not _text(column, row[column]).strip():
                raise InputError(f"{column} must not be empty.")
        match row["answers"]:
            case {"text": [_, *_] as texts, "answer_start": [_, *_] as starts} if len(texts) == len(starts):
                for text, start in zip(texts, starts, strict=True):
                    fits = isinstance(text, str) and text and isinstance(start, int) and start >= 0
                    if not fits or row["context"][start : start + len(text)] != text:
                        raise InputError(f"answers: {reprlib.repr(text)} does not stand at {start!r} of the context.")
                return row
        raise InputError(
            'answers must be {"text": [...], "answer_start": [...]} with as many of both, at least one; got '
            f"{reprlib.repr(row['answers'])}."
        )

    def encode(self, rows: Sequence[Row]) -> list[Feature]:
        """Return windows with the tokens at which the first answer begins and ends, [CLS] where it is not inside."""
        self._check_room(rows)
        encoding = self.tokenizer(
            [row["question"] for row in rows],
            [row["context"] for row in rows],
            truncation="only_second",
            max_length=self.max_length,
            stride=self._stride,
            return_overflowing_tokens=True,
        )
        sources = encoding["overflow_to_sample_mapping"]
        return [
            Feature(window.ids, _answer_tokens(window, rows[source]["answers"]), source)
            for source, window in zip(sources, encoding.encodings, strict=True)
        ]

    @property
    def _stride(self) -> int:
        return min(self.recipe.doc_stride, self.max_length // 2)

    def _check_room(self, rows: Sequence[Row]) -> None:
        """Raise InputError if a question leaves no room for the windows of its context."""
        questions = self.tokenizer([row["question"] for row in rows])["input_ids"]
        for number, (row, question) in enumerate(zip(rows, questions, strict=True), 1):
            room = self.max_length - len(question) - 1  # one more [SEP]
            if room > self._stride:
                continue
            if len(self.tokenizer([row["context"]], add_special_tokens=False)["input_ids"][0]) > room:
                raise InputError(
                    f"record {number}: question leaves room for {max(room, 0)} tokens of its context in windows of "
                    f"max_length={self.max_length}, which must be more than doc_stride={self._stride}; shorten it, or "
                    "give a larger max_length or a smaller doc_stride."
                )

    def batch(self, features: Sequence[Feature], padded_length: Callable[[int], int], seed: Sequence[int]) -> Batch:
        """Return the model's arguments, with two positions for each row."""
        start, end = np.array([feature.target for feature in features]).T
        return {**self.inputs(features, padded_length), "start_positions": start, "end_positions": end}

    def evaluate(self, inference: Inference, rows: Sequence[Row], features: Sequence[Feature]) -> Metrics:
        """Return exact match and F1 of the best span of all windows."""
        answer = QuestionAnsweringPipeline(
            inference,
            self.tokenizer,
            progress=False,
            batch_tokens=self.evaluation_tokens,
            max_seq_len=self.max_length,
            doc_stride=self._stride,
        )
        predicted = answer([{"question": row["question"], "context": row["context"]} for row in rows])
        return metrics.answers([found["answer"] for found in predicted], [row["answers"]["text"] for row in rows])


def _answer_tokens(window: Encoding, answers: Mapping[str, list]) -> tuple[int, int]:
    start = answers["answer_start"][0]
    end = start + len(answers["text"][0])
    inside = [
        token
        for token, (sequence, (first, last)) in enumerate(zip(window.sequence_ids, window.offsets, strict=True))
        if sequence == 1 and first < end and last > start
    ]
    context = [token for token, sequence in enumerate(window.sequence_ids) if sequence == 1]
    whole = inside and window.offsets[context[0]][0] <= start and window.offsets[context[-1]][1] >= end
    return (inside[0], inside[-1]) if whole else (0, 0)


class MultipleChoice(Task):
    """The right one of a few continuations of a text."""

    name = "multiple-choice"
    head = Head.MULTIPLE_CHOICE
    columns = ("prompt", "choices", "label")
    metric = "accuracy"

    @classmethod
    def read(cls, path: str | Path, columns: Mapping[str, str] | None = None) -> list[Row]:
        """Return the rows of a file, which must all have as many choices; see `Task.read`."""
        rows = super().read(path, columns)
        for number, row in enumerate(rows, 1):
            if len(row["choices"]) != len(rows[0]["choices"]):
                raise InputError(
                    f"{path}: record {number}: choices must be {len(rows[0]['choices'])} as in the first, got "
                    f"{len(row['choices'])}."
                )
        return rows

    @classmethod
    def check(cls, row: Row) -> Row:
        """Return the row if its label is the number of a choice."""
        _text("prompt", row["prompt"])
        choices, label = row["choices"], row["label"]
        if not isinstance(choices, list) or len(choices) < 2:
            raise InputError(f"choices must be a list of at least two texts, got {reprlib.repr(choices)}.")
        for choice in choices:
            _text("choices", choice)
        if not isinstance(label, int) or isinstance(label, bool) or not 0 <= label < len(choices):
            raise InputError(f"label must be the number of a choice, 0 to {len(choices) - 1}; got {label!r}.")
        return row

    def encode(self, rows: Sequence[Row]) -> list[Feature]:
        """Return the tokens of the text with each choice, filled up to one length: [C, T]."""
        count = len(rows[0]["choices"])
        encoding = self.tokenizer(
            [row["prompt"] for row in rows for _ in row["choices"]],
            [choice for row in rows for choice in row["choices"]],
            truncation=True,
            max_length=self.max_length,
        )["input_ids"]
        return [
            Feature(encoding[number * count : (number + 1) * count], row["label"], number)
            for number, row in enumerate(rows)
        ]

    def inputs(self, features: Sequence[Feature], padded_length: Callable[[int], int] = int) -> Batch:
        """Return the model's arguments [B, C, T]."""
        flat = [Feature(ids, None, feature.row) for feature in features for ids in feature.ids]
        return {
            name: array.reshape(len(features), -1, array.shape[-1])
            for name, array in super().inputs(flat, padded_length).items()
        }

    def measure(self, rows: Sequence[Row], features: Sequence[Feature], logits: Sequence[np.ndarray]) -> Metrics:
        """Return the accuracy."""
        labels = np.array([feature.target for feature in features])
        return {"accuracy": metrics.classification(np.stack(logits), labels)["accuracy"]}


class MaskedLM(Task):
    """The tokens that were hidden in a text."""

    name = "masked-lm"
    head = Head.MASKED_LM
    columns = ("text",)
    metric = "loss"
    evaluation_tokens = 1024  # each has as many logits as there are words

    def __init__(self, tokenizer: BaseTokenizer, config: DistilBertConfig, recipe: Recipe):
        super().__init__(tokenizer, config, recipe)
        special = set(tokenizer.all_special_ids)
        self.special = np.array(sorted(special))
        self.words = np.array([i for i in range(min(len(tokenizer), config.vocab_size)) if i not in special])

    def encode(self, rows: Sequence[Row]) -> list[Feature]:
        """Return the tokens of each text that has one to hide."""
        encoding = self.tokenizer([row["text"] for row in rows], truncation=True, max_length=self.max_length)
        return [
            Feature(ids, None, row)
            for row, ids in enumerate(encoding["input_ids"])
            if not np.isin(ids, self.special).all()
        ]

    def batch(self, features: Sequence[Feature], padded_length: Callable[[int], int], seed: Sequence[int]) -> Batch:
        """Return the model's arguments with some tokens hidden; labels [B, T] are -100 for all others."""
        inputs = self.inputs(features, padded_length)
        ids, labels = mask_tokens(
            np.random.default_rng(seed),
            inputs["input_ids"],
            np.isin(inputs["input_ids"], self.special) | (inputs["attention_mask"] == 0),
            self.tokenizer.mask_token_id,
            self.words,
            self.recipe.mask_probability,
        )
        return {**inputs, "input_ids": ids, "labels": labels}

    def evaluate(self, inference: Inference, rows: Sequence[Row], features: Sequence[Feature]) -> Metrics:
        """Return the mean cross-entropy, the perplexity and the accuracy on hidden tokens, the same at each call."""
        total, correct, count = 0.0, 0, 0
        sizes = [feature.size for feature in features]
        for number, batch in enumerate(token_batches(sizes, self.evaluation_tokens)):
            arrays = self.batch([features[i] for i in batch], int, [0, number])
            labels = arrays.pop("labels")
            hidden = labels != IGNORE_INDEX
            logits = inference(**arrays)["logits"][hidden].astype(np.float64)  # [hidden, V]
            right = np.take_along_axis(logits, labels[hidden][:, None], axis=1)[:, 0]
            highest = logits.max(axis=1)
            total += float((np.log(np.exp(logits - highest[:, None]).sum(axis=1)) + highest - right).sum())
            correct += int((logits.argmax(axis=1) == labels[hidden]).sum())
            count += int(hidden.sum())
        return metrics.masked_lm(total, correct, count)


LOWER_IS_BETTER = frozenset({"loss"})
TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (
        SequenceClassification,
        Regression,
        MultiLabel,
        TokenClassification,
        QuestionAnswering,
        MultipleChoice,
        MaskedLM,
    )
}
