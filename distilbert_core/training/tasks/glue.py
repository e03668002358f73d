"""The nine tasks of GLUE (Wang et al. 2019): one table of their files, columns, labels and metrics.

Shapes: L labels.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from distilbert_core.errors import InputError, InputWarning
from distilbert_core.files.records import parse_records, quoted
from distilbert_core.training import metrics
from distilbert_core.training.labels import label_id
from distilbert_core.training.metrics import Metrics
from distilbert_core.training.sources import FileSource, Source, open_source
from distilbert_core.training.tasks.base import WEIGHT_COLUMN, Row, Task
from distilbert_core.training.tasks.sequence_classification import Regression, SequenceClassification

ORIGIN = "https://gluebenchmark.com/tasks"  # where GLUE's files are
# The ends of the names of files, after 'train' or 'dev': GLUE's, and those of the Hub's copies.
ENDS = (".tsv", ".tsv.gz", ".jsonl", ".jsonl.gz", ".parquet", "-*.parquet")
PART = "part"  # the column that tells the evaluation files of a task apart

PAIR = {"text": ("sentence1",), "text_pair": ("sentence2",)}
SENTENCE = {"text": ("sentence",)}


@dataclass(frozen=True)
class Glue:
    """A task of GLUE.

    Attributes:
        name: Its name on the Hub, in nyu-mll/glue.
        folder: The folder of its files in GLUE's distribution.
        columns: Our column -> its names in GLUE's files and in the Hub's copy.
        labels: The labels in the order of their indices; empty: the task is regression.
        metrics: GLUE's metrics of the task. The first one decides which of two models is better.
        parts: The evaluation files: what follows 'dev' in their names -> what follows the metric's name.
        header: Names of the columns of .tsv files that have no header.
        ragged: Whether rows with another number of columns than the header are known to occur, and are left out.
    """

    name: str
    folder: str
    columns: Mapping[str, Sequence[str]]
    labels: Sequence[str]
    metrics: Sequence[str]
    parts: Mapping[str, str] = field(default_factory=lambda: {"": ""})
    header: Sequence[str] | None = None
    ragged: bool = False

    def find(self, folder: Path, training: bool) -> list[Path]:
        """Return the files of a folder to learn from, or to evaluate on.

        Raises:
            InputError: The folder lacks a file, or has it in several formats.
        """
        return [
            path
            for part in ([""] if training else self.parts)
            for path in self._find(folder, ("train",) if training else (f"dev{part}", f"validation{part}"))
        ]

    def _find(self, folder: Path, stems: Sequence[str]) -> list[Path]:
        """Return the file with one of these names, or its shards."""
        found = [paths for stem in stems for end in ENDS if (paths := sorted(folder.glob(stem + end)))]
        if len(found) > 1:
            names = ", ".join(paths[0].name for paths in found)
            raise InputError(f"{folder} has {names}, and only one is the data of glue/{self.name}: give the file.")
        if not found:
            own = next((path for path in (folder / self.folder, folder / self.name) if path.is_dir()), None)
            hint = "" if own is None else f" Did you mean {own}?"
            raise InputError(
                f"{folder} has no {stems[0]}.tsv, and no such file of another format.{hint} The files of "
                f"{self.folder} are at {ORIGIN}, and at nyu-mll/glue on the Hub ({stems[-1]}-*.parquet in its folder "
                f"{self.name})."
            )
        return found[0]


_SIMILAR = ("f1", "accuracy")
_INFERENCE = ("entailment", "not_entailment")
GLUE: dict[str, Glue] = {
    row.name: row
    for row in (
        Glue(
            "cola",
            "CoLA",
            SENTENCE,
            ("unacceptable", "acceptable"),
            ("matthews_correlation",),
            header=("source", "label", "mark", "sentence"),
        ),
        Glue("sst2", "SST-2", SENTENCE, ("negative", "positive"), ("accuracy",)),
        Glue(
            "mrpc",
            "MRPC",
            {"text": ("#1 String", "sentence1"), "text_pair": ("#2 String", "sentence2"), "label": ("Quality",)},
            ("not_equivalent", "equivalent"),
            _SIMILAR,
        ),
        Glue("stsb", "STS-B", {**PAIR, "label": ("score",)}, (), ("pearson", "spearman")),
        Glue(
            "qqp",
            "QQP",
            {"text": ("question1",), "text_pair": ("question2",), "label": ("is_duplicate",)},
            ("not_duplicate", "duplicate"),
            _SIMILAR,
            ragged=True,
        ),
        Glue(
            "mnli",
            "MNLI",
            {
                "text": ("sentence1", "premise"),
                "text_pair": ("sentence2", "hypothesis"),
                "label": ("gold_label",),
            },
            ("entailment", "neutral", "contradiction"),
            ("accuracy",),
            parts={"_matched": "", "_mismatched": "_mm"},
        ),
        Glue("qnli", "QNLI", {"text": ("question",), "text_pair": ("sentence",)}, _INFERENCE, ("accuracy",)),
        Glue("rte", "RTE", PAIR, _INFERENCE, ("accuracy",)),
        Glue("wnli", "WNLI", PAIR, _INFERENCE[::-1], ("accuracy",)),
    )
}


class GlueSource(Source):
    """The rows of a source under our names of the columns.

    Args:
        glue: The task.
        source: The source, under GLUE's names of the columns, the Hub's, or ours.

    Example:
        >>> from distilbert_core.training.sources import open_source
        >>> from distilbert_core.training.tasks.glue import GLUE, GlueSource
        >>> rows = open_source("train", {"premise": ["It rains."], "hypothesis": ["It is wet."], "label": [0]})
        >>> list(GlueSource(GLUE["mnli"], rows).records(["text", "text_pair", "label"]))
        [('It rains.', 'It is wet.', 0)]
    """

    def __init__(self, glue: Glue, source: Source):
        self.glue, self.source = glue, source
        self.name, self.suffix, self.has_columns = source.name, source.suffix, source.has_columns
        self.size = source.size
        present = source.column_names()
        own = glue.columns.items()
        names = {column: next((name for name in names if name in present), column) for column, names in own}
        self.header = None
        if glue.header and self.suffix == ".tsv" and len(present) == len(glue.header) and "label" not in present:
            self.header = present = list(glue.header)
            names = {column: candidates[0] for column, candidates in own}
        self.names = names
        parts = self._parts()
        self.parts = parts if len(set(parts.values())) > 1 else {}
        self.present = [name for name in present if name != PART]
        self._warned: set[Path] = set()  # a large file is read several times

    def _parts(self) -> dict[Path, str]:
        """Return what follows the name of a metric for each evaluation file of a task that has several."""
        paths = self.source.paths if isinstance(self.source, FileSource) else ()
        ends = self.glue.parts.items()
        return {path: next((suffix for end, suffix in ends if end in path.name), "") for path in paths}

    def column_names(self) -> list[str]:
        """Return the names of all columns, ours for those of the task."""
        ours = [column for column, name in self.names.items() if name in self.present]
        return [*dict.fromkeys([*ours, *self.present]), *([PART] if self.parts else [])]

    def records(self, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield the values of some columns, given by our names."""
        source = self.source
        columns = [self.names.get(column, column) for column in columns]
        stored = [column for column in columns if column != PART]
        if not isinstance(source, FileSource):
            yield from source.records(stored)
            return
        skipped: dict[Path, list[int]] = {}

        def read(path: Path) -> Iterator[tuple[Any, ...]]:
            left_out = skipped.setdefault(path, []) if self.glue.ragged else None
            for record in parse_records(path, stored, header=self.header, skipped=left_out):
                values = iter(record)
                yield tuple(self.parts[path] if column == PART else next(values) for column in columns)

        yield from source.read(read)
        for path, lines in skipped.items():
            if lines and path not in self._warned:
                self._warned.add(path)
                warnings.warn(
                    f"{path}: {len(lines)} lines have another number of columns than the header and are left out, the "
                    f"first of them is line {lines[0]}.",
                    InputWarning,
                    stacklevel=2,
                )

    def class_names(self, column: str) -> list[str] | None:
        """Return the labels in the order of their indices: the source's, or GLUE's if it does not know them.

        Raises:
            InputError: The source has other labels than GLUE.
        """
        own, theirs = list(self.glue.labels), self.source.class_names(self.names.get(column, column))
        if not own or theirs is None or all(name.isdecimal() for name in theirs):
            return own or None
        if sorted(theirs) != sorted(own):
            raise InputError(
                f"{self.name} has the labels {quoted(theirs)}, and those of glue/{self.glue.name} are {quoted(own)}."
            )
        return theirs

    def place(self, record: int) -> str:
        """Return the name of a record in messages."""
        return self.source.place(record)

    def checksum(self, rows: Iterable[Mapping[str, Any]]) -> str:
        """Return the checksum of the source."""
        return self.source.checksum(rows)


class _GlueTask(Task):
    """What all tasks of GLUE share; `glue` is the row of the table."""

    glue: ClassVar[Glue]
    optional: ClassVar[tuple[str, ...]] = ("text_pair", WEIGHT_COLUMN, PART)

    @classmethod
    def source_of(cls, argument: str, given: Any, *, training: bool = False) -> Source:
        """Return the value of an argument as a source; a folder stands for the task's files in it."""
        if isinstance(given, GlueSource):
            return given
        folder = _folder(given)
        if folder is not None:
            return GlueSource(cls.glue, FileSource(str(given), cls.glue.find(folder, training)))
        return GlueSource(cls.glue, open_source(argument, given))

    @classmethod
    def evaluation_of(cls, train: Any) -> Any:
        """Return the training data if they are a folder, which has evaluation data too."""
        return None if _folder(train) is None else train

    @classmethod
    def _check_present(cls, source: Source, taken: Mapping[str, str], present: Sequence[str]) -> None:
        """Raise InputError that names GLUE's columns if a source lacks one."""
        lacking = [name for name, column in taken.items() if column not in present]
        if lacking:
            expected = [cls.glue.columns.get(name, (name,)) for name in lacking]
            names = ", ".join(" or ".join(map(repr, names)) for names in expected)
            raise InputError(
                f"{source.name} has no column {names}; its columns are {quoted(present)}. Are these the rows of "
                f"glue/{cls.glue.name}? Otherwise give the names in columns (--column {lacking[0]}=NAME)."
            )


class _GlueClasses(_GlueTask, SequenceClassification):
    """A task of GLUE that has labels."""

    optional = _GlueTask.optional

    @classmethod
    def check_label(cls, value: Any) -> str:
        """Return the name of a label given by name or by index."""
        labels = cls.glue.labels
        text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
        if text in labels:
            return text
        if text.isdecimal() and int(text) < len(labels):
            return labels[int(text)]
        hint = " GLUE's test files have no labels." if value is None else ""
        raise InputError(f"label must be one of {quoted(labels)}, or its index from 0; got {value!r}.{hint}")

    @classmethod
    def label_names(cls, rows: Iterable[Row]) -> list[str]:
        """Return GLUE's labels, also those that do not occur."""
        return list(cls.glue.labels)

    def measure(self, rows: Sequence[Row], features: Sequence[Any], logits: Sequence[np.ndarray]) -> Metrics:
        """Return GLUE's metrics. Those of a second evaluation file have other names, such as accuracy_mm."""
        positive = label_id(self.config, self.glue.labels[1])
        scores, labels = np.stack(logits), np.array([feature.target for feature in features])
        parts = np.array([rows[feature.row].get(PART, "") for feature in features])
        measured: Metrics = {}
        for part in dict.fromkeys(parts.tolist()):
            own = parts == part
            values = metrics.classification(scores[own], labels[own], positive)
            measured |= {f"{name}{part}": values[name] for name in self.glue.metrics}
        return measured


class _GlueNumbers(_GlueTask, Regression):
    """A task of GLUE that has numbers."""

    optional = _GlueTask.optional


def _folder(given: Any) -> Path | None:
    """Return a folder that is given by its path; None for anything else."""
    path = Path(given).expanduser() if isinstance(given, str | os.PathLike) else None
    return path if path is not None and path.is_dir() else None


def _make(glue: Glue) -> type[Task]:
    """Return the class of a task."""
    base = _GlueClasses if glue.labels else _GlueNumbers
    columns = ("text", "label", "text_pair") if "text_pair" in glue.columns else ("text", "label")
    named = {"glue": glue, "name": f"glue/{glue.name}", "metric": glue.metrics[0], "columns": columns}
    return type(f"Glue{glue.folder.replace('-', '')}", (base,), {"__doc__": f"GLUE's {glue.folder}.", **named})


GLUE_TASKS: dict[str, type[Task]] = {f"glue/{row.name}": _make(row) for row in GLUE.values()}
