"""Sources of rows: files, a data set of the Hub, or rows in memory.

Libraries whose tables are given are recognised by their attributes, and not imported.
"""

from __future__ import annotations

import glob
import hashlib
import json
import math
import os
import re
import reprlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from distilbert_core.errors import InputError, shortened
from distilbert_core.files.records import TABLES, column_names, file_kind, parse_records, quoted
from distilbert_core.libraries import TO_PYTHON, require_library

# A data set of the Hub: owner, name, configuration and split; only the name and the split are required.
DATASET = re.compile(r"((?:[\w.-]+/)?[\w.-]+)(?:/([\w.-]+))?:([\w.+\[\]:%-]+)")
MISSING = ("NAType", "NaTType")  # the types of pandas' missing values


class Source:
    """Rows for training or evaluation.

    Attributes:
        name: Name of the source in messages: the path of a file, or the argument that has the rows.
        suffix: The suffix of the file's format; '' for rows in memory.
        has_columns: Whether rows have columns; otherwise they are lines.
        size: Bytes that are not in memory yet: those of files, or an infinite number for a stream of unknown length.
    """

    name: str
    size: float = 0
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

    def place(self, record: int) -> str:
        """Return the name of a record in messages, given its number from 1."""
        return f"{self.name}: record {record}"

    def checksum(self, rows: Iterable[Mapping[str, Any]]) -> str:
        """Return the SHA-256 of the content; `rows` are the rows that were made of it."""
        digest = hashlib.sha256()
        for row in rows:
            digest.update(json.dumps(row, sort_keys=True).encode() + b"\n")
        return digest.hexdigest()


class FileSource(Source):
    """The rows of one or several files that `distilbert_core.files.records` parses, one file after another.

    Args:
        name: The files as the user names them.
        paths: The files, all of one format.

    Raises:
        InputError: They have several formats.
    """

    def __init__(self, name: str, paths: Sequence[Path]):
        self.name = name
        self.paths = paths
        kinds = dict.fromkeys(map(file_kind, paths))
        if len(kinds) > 1:
            raise InputError(f"{name} must be files of one format, got {', '.join(kind or 'none' for kind in kinds)}.")
        self.suffix = next(iter(kinds))
        self.has_columns = self.suffix in TABLES
        self._starts = [0]  # number of records before each file that was begun

    def column_names(self) -> list[str]:
        """Return the names of all columns of all files; a file that lacks a wanted one is an error."""
        return list(dict.fromkeys(name for path in self.paths for name in column_names(path)))

    def records(self, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield the values of some columns."""
        return self.read(lambda path: parse_records(path, columns))

    def read(self, reader: Callable[[Path], Iterable[Any]]) -> Iterator[Any]:
        """Yield the records of all files.

        Args:
            reader: Reads a file.
        """
        count = 0
        self._starts = []
        for path in self.paths:
            self._starts.append(count)
            for record in reader(path):
                count += 1
                yield record

    def place(self, record: int) -> str:
        """Return the name of a record: its file, and its number there."""
        part = bisect_right(self._starts, record - 1) - 1
        name = self.name if len(self.paths) == 1 else str(self.paths[part])
        return f"{name}: record {record - self._starts[part]}"

    @property
    def size(self) -> float:  # type: ignore[override]
        """Bytes of the files; four for each byte of a compressed one."""
        sizes = [(path.stat().st_size, path.suffix.lower() == ".gz") for path in self.paths if path.exists()]
        return sum(4 * size if packed else size for size, packed in sizes)

    def checksum(self, rows: Iterable[Mapping[str, Any]]) -> str:
        """Return the SHA-256 of the file, or of those of several files."""
        sums = [file_checksum(path) for path in self.paths]
        return sums[0] if len(sums) == 1 else hashlib.sha256("\n".join(sums).encode()).hexdigest()


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
    """Rows, each a dict of columns: in memory, or of an IterableDataset, which yields them again for each pass."""

    def __init__(self, name: str, rows: Iterable[Any]):
        self.name = name
        self.dataset = rows
        is_stream = hasattr(rows, "column_names")
        self.rows = rows if is_stream else list(rows)
        self.size = math.inf if is_stream else 0
        if not is_stream:
            list(self._checked())

    def _checked(self) -> Iterator[Mapping[str, Any]]:
        """Yield the rows, or raise InputError for one that is not a dict."""
        for record, row in enumerate(self.rows, 1):
            if not isinstance(row, Mapping):
                raise InputError(
                    f"{self.name}: record {record} must be a dict with the columns as keys, got {reprlib.repr(row)}."
                )
            yield row

    def column_names(self) -> list[str]:
        """Return the names of all columns. Rows in memory may have different columns."""
        rows = self._checked()
        if self.size:
            return getattr(self.rows, "column_names", None) or list(next(rows, {}))
        return list(dict.fromkeys(column for row in rows for column in row))

    def records(self, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield the values of some columns."""
        for record, row in enumerate(self._checked(), 1):
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
        given: The path of a file or of a folder of token shards, a pattern for several ('data/train-*.jsonl'), or a
            list of them; a data set of the Hub and its split ('stanfordnlp/sst2:train',
            'nyu-mll/glue/sst2:validation[:100]'), which the library datasets loads; a list, or another iterable, of
            dicts; a dict of columns; a DataFrame of pandas or polars, an Arrow table, or a Dataset of the library
            datasets.

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
        return _named_source(argument, os.fspath(given))
    if isinstance(given, list | tuple) and given and all(isinstance(item, str | os.PathLike) for item in given):
        paths = [path for item in given for path in _files(argument, os.fspath(item))]
        return FileSource(f"{argument} ({len(paths)} files)", paths)
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


def _named_source(argument: str, name: str) -> Source:
    """Return files, or a data set of the Hub."""
    found = DATASET.fullmatch(name)
    if found is None or Path(name).exists():
        return FileSource(name, _files(argument, name))
    place, configuration, split = found.groups()
    library = require_library("datasets", "the library datasets", "datasets", f"{argument}: {name}")
    try:
        data = library.load_dataset(place, configuration, split=split)
    except Exception as error:  # of the library, the Hub and its files
        raise InputError(
            f"{argument}: the data set {name} cannot be loaded; its form is OWNER/NAME:SPLIT or "
            f"OWNER/NAME/CONFIGURATION:SPLIT. {type(error).__name__}: {shortened(str(error), most=300)}"
        ) from error
    return TableSource(name, data, data.column_names)


def _files(argument: str, name: str) -> list[Path]:
    """Return the file of this name, or the files that match it as a pattern, in the order of their names."""
    path = Path(name).expanduser()
    if glob.escape(name) != name and not path.exists():
        found = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
        if not found:
            raise InputError(f"{argument}: no file matches {name}.")
        return found
    if not path.suffix and not path.exists():
        raise InputError(
            f"{argument}: {name} cannot be read: No such file. For a data set of the Hub, name its split too: "
            f"{name}:train."
        )
    return [path]


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
