"""Sources of rows: a file, or rows in memory. Libraries are recognised by their attributes, and never imported."""

from __future__ import annotations

import hashlib
import json
import math
import os
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from distilbert_core.errors import InputError
from distilbert_core.files.records import PARSERS, column_names, file_kind, parse_records, quoted
from distilbert_core.libraries import TO_PYTHON

MISSING = ("NAType", "NaTType")  # the types of pandas' missing values


class Source:
    """Rows for training or evaluation.

    Attributes:
        name: Name of the source in messages: the path of a file, or the argument that has the rows.
        suffix: The suffix of the file's format; '' for rows in memory.
        has_columns: Whether rows have columns; otherwise they are lines.
    """

    name: str
    suffix = ""
    has_columns = True

    def column_names(self) -> list[str]:
        """Return the names of all columns."""
        raise NotImplementedError

    def records(self, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield the values of some columns, a tuple for each row.

        Raises:
            InputError: A column is missing, or the rows cannot be read.
        """
        raise NotImplementedError

    def class_names(self, column: str) -> list[str] | None:
        """Return the names of the classes whose indices a column has; None if the source does not know them."""
        return None

    def checksum(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """Return the SHA-256 of the content; `rows` are the rows that were made of it."""
        digest = hashlib.sha256()
        for row in rows:
            digest.update(json.dumps(row, sort_keys=True).encode() + b"\n")
        return digest.hexdigest()


class FileSource(Source):
    """The rows of a file that `distilbert_core.files.records` parses."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path).expanduser()
        self.name = str(path)
        self.suffix = file_kind(self.path)
        self.has_columns = self.suffix in PARSERS

    def column_names(self) -> list[str]:
        """Return the names of all columns."""
        return column_names(self.path)

    def records(self, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield the values of some columns."""
        return parse_records(self.path, columns)

    def checksum(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """Return the SHA-256 of the file."""
        return file_checksum(self.path)


class TableSource(Source):
    """Columns in memory: `table[name]` is a column."""

    def __init__(self, name: str, table: Any, columns: Sequence[Any]):
        self.name = name
        self.table = table
        self.columns = {str(column): column for column in columns}
        if len(self.columns) < len(columns):
            raise InputError(f"{name} has columns with the same name; its columns are {quoted(columns)}.")

    def column_names(self) -> list[str]:
        """Return the names of all columns."""
        return list(self.columns)

    def records(self, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield the values of some columns."""
        missing = [column for column in columns if column not in self.columns]
        if missing:
            raise InputError(f"{self.name} has no column {quoted(missing)}; its columns are {quoted(self.columns)}.")
        of_columns = [self.table[self.columns[column]] for column in columns]
        try:
            for values in zip(*of_columns, strict=True):
                yield tuple(map(plain, values))
        except ValueError as error:
            raise InputError(f"{self.name}: the columns {quoted(columns)} must have one length ({error}).") from error

    def class_names(self, column: str) -> list[str] | None:
        """Return the names of the classes of a column, if the table is a Dataset."""
        return _class_names(self.table, self.columns.get(column))


class RowSource(Source):
    """Rows in memory, each a dict of columns."""

    def __init__(self, name: str, rows: Iterable[Any]):
        self.name = name
        self.dataset = rows
        self.rows = list(rows)
        for record, row in enumerate(self.rows, 1):
            if not isinstance(row, Mapping):
                raise InputError(
                    f"{name}: record {record} must be a dict with the columns as keys, got {reprlib.repr(row)}."
                )

    def column_names(self) -> list[str]:
        """Return the names of all columns. Rows may have different columns."""
        return list(dict.fromkeys(column for row in self.rows for column in row))

    def records(self, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield the values of some columns."""
        for record, row in enumerate(self.rows, 1):
            missing = [column for column in columns if column not in row]
            if missing:
                raise InputError(f"{self.name}: record {record} has no column {quoted(missing)}; it has {quoted(row)}.")
            yield tuple(plain(row[column]) for column in columns)

    def class_names(self, column: str) -> list[str] | None:
        """Return the names of the classes of a column, if the rows are an IterableDataset."""
        return _class_names(self.dataset, column)


def open_source(argument: str, given: Any) -> Source:
    """Return the value of an argument as a source.

    Args:
        argument: Name of the argument, for messages.
        given: The path of a file; a list, or another iterable, of dicts; a dict of columns; a DataFrame of pandas or
            polars, an Arrow table, or a Dataset of the library datasets.

    Raises:
        InputError: The value is something else.

    Example:
        >>> from distilbert_core.training.sources import open_source
        >>> list(open_source("train", {"text": ["a", "b"], "label": [0, 1]}).records(["label", "text"]))
        [(0, 'a'), (1, 'b')]
    """
    if isinstance(given, Source):
        return given
    if isinstance(given, str | os.PathLike):
        source = FileSource(given)
        if not source.path.suffix and not source.path.exists():
            raise InputError(
                f"{argument}: {source.name} cannot be read: No such file. Give a data set of the Hub as rows: a split "
                "of what datasets.load_dataset returns."
            )
        return source
    if isinstance(given, Mapping):
        _check_mapping(argument, given)
        return TableSource(argument, given, list(given))
    columns = _columns(given)
    if columns is not None:
        return TableSource(argument, given, columns)
    if not isinstance(given, bytes) and (isinstance(given, Iterable) or hasattr(given, "__getitem__")):
        return RowSource(argument, given)
    raise InputError(
        f"{argument} must be the path of a file, or rows: a list of dicts, a dict of columns, a DataFrame or a "
        f"datasets.Dataset; got {reprlib.repr(given)}."
    )


def open_sources(argument: str, given: Any) -> list[Source]:
    """Return the sources of an argument that is one source, or a list of several.

    Args:
        argument: Name of the argument, for messages.
        given: A source in any form that `open_source` takes, or a list of them.

    Raises:
        InputError: The list is empty, or a value is not a source.
    """
    if not isinstance(given, list | tuple) or (given and isinstance(given[0], Mapping)):
        return [open_source(argument, given)]
    if not given:
        raise InputError(f"{argument} must be one file at least, or rows; got none.")
    return [open_source(f"{argument}[{index}]", source) for index, source in enumerate(given)]


def plain(value: Any) -> Any:
    """Return a value of any library in Python's own types. A missing value, such as NaN, becomes None.

    Example:
        >>> import numpy as np
        >>> from distilbert_core.training.sources import plain
        >>> plain({"text": ("a", np.str_("b")), "answer_start": np.array([0, 4])})
        {'text': ['a', 'b'], 'answer_start': [0, 4]}
    """
    if type(value) in (str, int, bool):
        return value
    for name in TO_PYTHON:
        if hasattr(value, name):
            return plain(getattr(value, name)())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    missing = math.isnan(value) if isinstance(value, float) else type(value).__name__ in MISSING
    return None if missing else value


def file_checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _columns(given: Any) -> list[Any] | None:
    """Return the names of the columns of a table in memory; None if it is not one."""
    names = getattr(given, "column_names", None)  # of a Dataset, or an Arrow table
    if not isinstance(names, list):
        names = getattr(given, "columns", None)  # of a DataFrame
    return None if names is None or not hasattr(given, "__len__") else list(names)


def _check_mapping(argument: str, given: Mapping[Any, Any]) -> None:
    """Raise InputError if a dict does not hold columns."""
    splits = [name for name, part in given.items() if hasattr(part, "column_names") or hasattr(part, "columns")]
    if splits:
        raise InputError(
            f"{argument} has the splits {quoted(splits)}; give one of them: {argument}=data[{splits[0]!r}]."
        )
    for name, values in given.items():
        if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
            raise InputError(
                f"{argument}: column {name!r} must be a list of values, got {reprlib.repr(values)}. A row is given in "
                "a list: [{...}]."
            )


def _class_names(dataset: Any, column: Any) -> list[str] | None:
    """Return the names of a column of ClassLabel, or of lists of it, in a Dataset."""
    features = getattr(dataset, "features", None)
    feature = features.get(column) if isinstance(features, Mapping) else None
    feature = feature[0] if isinstance(feature, list) else getattr(feature, "feature", feature)
    names = getattr(feature, "names", None)
    return list(names) if isinstance(names, list | tuple) else None
