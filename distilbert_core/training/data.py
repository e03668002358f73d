"""The data of a run: rows in memory, a corpus that is prepared on disk first, or token shards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from distilbert_core.errors import InputError
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.training.features import Features
from distilbert_core.training.labels import all_labels, check_known, label_names
from distilbert_core.training.shard_writing import write_shards
from distilbert_core.training.shards import TokenShards
from distilbert_core.training.sources import FileSource, Source
from distilbert_core.training.tasks import Row, Task

ADVICE = "Correct the rows, or give new_head=True (--new-head) to replace the head."
IN_MEMORY = 64 << 20  # bytes of files; rows of larger files take gigabytes of memory


class Data(ABC):
    """The rows of a source.

    Attributes:
        name: Name of the source in messages.
        rows: The rows, if they are in memory.
        checksum: Checksum of the source's content.
        class_names: The names of the labels, if the source knows them.
        labels: The labels of the rows in order; None if those of the task have no names.
    """

    name: str
    rows: Sequence[Row] = ()
    checksum: str
    class_names: list[str] | None = None
    labels: list[str] | None

    @abstractmethod
    def features(self, task: Task, stacklevel: int) -> Features:
        """Return the features of the rows.

        Args:
            task: Makes the features.
            stacklevel: Of the warning, counted from here.

        Raises:
            InputError: A row cannot be encoded, or no row has a token.

        Warns:
            InputWarning: A part of some rows has no effect.
        """

    @staticmethod
    def read(
        kind: type[Task],
        source: Source,
        columns: Mapping[str, str] | None,
        evaluation: bool = False,
        shards: Path | None = None,
    ) -> Data:
        """Read a source for a task, to learn from it or to evaluate on it.

        Args:
            kind: The task.
            source: The source.
            columns: Names of its columns, where they differ from the task's.
            evaluation: Whether the rows are evaluated on.
            shards: Folder for the token shards of a source that is too large for memory; None: all rows are read.
        """
        if isinstance(source, FileSource) and any(map(TokenShards.is_at, source.paths)):
            return StoredData(source)
        if shards is not None and kind.stored_target is not None and source.size > IN_MEMORY:
            return LargeData(kind, source, columns, shards)
        return RowData(kind, source, columns, evaluation)


class RowData(Data):
    """Rows in memory."""

    def __init__(self, kind: type[Task], source: Source, columns: Mapping[str, str] | None, evaluation: bool):
        self.name = source.name
        self.rows = (kind.read_for_evaluation if evaluation else kind.read)(source, columns)
        self.checksum = source.checksum(self.rows)
        self.class_names = kind.class_names(source, columns)
        self.labels = kind.label_names(self.rows)

    def features(self, task: Task, stacklevel: int) -> Features:
        """Return the features of the rows."""
        try:
            features = task.features(self.rows)
        except InputError as error:
            raise InputError(f"{self.name}: {error}") from error
        if not features:
            raise InputError(f"{self.name} holds no token to learn from.")
        cut = len({feature.row for feature in features if feature.cut})
        task.warn_of_cut(self.name, cut, len(self.rows), stacklevel)
        return Features.of(features)


class LargeData(Data):
    """Rows that are tokenized into a folder of token shards, once."""

    def __init__(self, kind: type[Task], source: Source, columns: Mapping[str, str] | None, folder: Path):
        self.name = source.name
        self.checksum = source.checksum(kind.stream(source, columns))
        self.class_names = kind.class_names(source, columns)
        self.labels = kind.label_names(kind.stream(source, columns))
        self._source, self._columns, self._folder = source, columns, folder

    def features(self, task: Task, stacklevel: int) -> Features:
        """Return the features of the rows, on disk."""
        sources, checksums = [self._source], [self.checksum]
        return write_shards(task, sources, self._folder, checksums=checksums, columns=self._columns).features()


class StoredData(Data):
    """Token shards."""

    def __init__(self, source: FileSource):
        self.name = source.name
        self._folders = [TokenShards.open(folder) for folder in source.paths]
        self.checksum = ",".join(shards.checksum() for shards in self._folders)
        self.labels = self._folders[0].settings["labels"]

    def features(self, task: Task, stacklevel: int) -> Features:
        """Return the features of the shards."""
        for shards in self._folders:
            shards.check(task)
        return Features([shards.features() for shards in self._folders])


def joint_labels(data: Sequence[Data]) -> list[str] | None:
    """Return the labels of all rows in order; None if those of the task have no names."""
    labels = [of_source.labels for of_source in data if of_source.labels is not None]
    if len(labels) < 2:
        return labels[0] if labels else None
    return all_labels(chain.from_iterable(labels))


def task_labels(
    kind: type[Task],
    config: DistilBertConfig,
    data: Sequence[Data],
    labels: Sequence[str] | None,
    model: str | Path,
    new_head: bool,
) -> list[str] | None:
    """Return the names of the labels of the model to train; None if the task's have none.

    Args:
        kind: The task.
        config: The configuration of the model.
        data: The data to learn from.
        labels: The names that are given, if any.
        model: The model, for messages.
        new_head: Whether the model gets a new head in any case.

    Raises:
        InputError: The labels of the rows, the given ones and those of the model's head do not fit together.
    """
    name, class_names, in_rows = data[0].name, data[0].class_names, joint_labels(data)
    has_head = kind.head.architecture in (config.architectures or ()) and not new_head
    if has_head:
        check_regression(kind, config, model, ADVICE)
    if in_rows is None:
        if labels is not None:
            raise InputError(f"labels must be left out: {kind.name} has no names of labels.")
        return None
    if not has_head:
        names = list(labels if labels is not None else class_names or in_rows)
        if not names:
            raise InputError(f"{name} has no label in any row; give labels (--labels).")
        check_known(in_rows, names, f"{name} has labels that are not among the given", "Correct the rows or labels.")
        return names
    of_head = head_labels(config, class_names)
    if labels is not None and list(labels) != of_head:
        raise InputError(f"labels are {', '.join(labels)}, but {model} predicts {', '.join(of_head)}. {ADVICE}")
    check_known(in_rows, of_head, f"{name} has labels that {model} does not predict", ADVICE)
    return of_head


def head_labels(config: DistilBertConfig, class_names: Sequence[str] | None) -> list[str]:
    """Return the names of a head's labels; those of a source if the head has only numbers: LABEL_0 and so on."""
    names = label_names(config)
    numbered = names == [f"LABEL_{index}" for index in range(len(names))]
    return list(class_names) if class_names is not None and numbered and len(class_names) == len(names) else names


def check_regression(kind: type[Task], config: DistilBertConfig, model: str | Path, advice: str) -> None:
    """Raise InputError if the task is regression and the model predicts labels."""
    if kind.problem_type == "regression" and config.num_labels != 1:
        raise InputError(f"{model} predicts {', '.join(label_names(config))}, not one number. {advice}")
