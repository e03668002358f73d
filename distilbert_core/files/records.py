"""Files of records: columns (.csv, .tsv, .parquet), JSON objects (.jsonl) or lines. Texts are in UTF-8, or gzipped.

Suffixes in upper case count, too: otherwise a table with the suffix .CSV would be read as lines.
"""

from __future__ import annotations

import csv
import gzip
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import chain
from pathlib import Path
from stat import S_ISDIR
from typing import Any, BinaryIO

from distilbert_core.errors import InputError, shortened
from distilbert_core.files.boundary import reading
from distilbert_core.files.json_files import parse_json
from distilbert_core.files.limits import LIMITS, check_limit
from distilbert_core.files.parquet import PARQUET, open_parquet, parquet_rows

LINES = "text"  # the only column of a file of lines
MOST_NAMES = 20  # names of columns in a message


def parse_records(
    path: Path | None,
    columns: Sequence[str],
    only_texts: bool = False,
    *,
    header: Sequence[str] | None = None,
    skipped: list[int] | None = None,
) -> Iterator[tuple[Any, ...]]:
    """Return an iterator over the records of a file, as tuples with one entry per column.

    Args:
        path: A .csv or .tsv file with a header, a .jsonl or .ndjson file, a .parquet file, or a file of any other
            suffix than .json with one text per line; each but .parquet may end in .gz. In a table with one column, an
            empty line above the last row is an empty text, as in a file of lines. None: lines of standard input.
        columns: Names of the columns to read; a file of lines has the column 'text'.
        only_texts: Raise an error for values that are not texts, which a .jsonl file may hold.
        header: Names of the columns of a .csv or .tsv file whose first line is a row.
        skipped: In a .csv or .tsv file, leave out rows with another number of columns than the header, and add the
            numbers of their lines to this list; None: such a row is an error.

    Raises:
        InputError: The file cannot be read, is empty, is not UTF-8, lacks a column or has it twice, or holds a value
            that is not a text. The first record is read at once, the others lazily.
    """
    _check_readable(path)
    name = file_name(path)
    kind = file_kind(path)
    if path is not None and kind == PARQUET:
        records = _parse_parquet(path, columns)
    else:
        more = {"first": header, "skipped": skipped} if kind in DIALECTS else {}
        records = PARSERS.get(kind, _parse_lines)(name, decoded_lines(path), columns, **more)
    if only_texts:
        records = _only_texts(name, records, columns)
    first = next(records, None)
    if first is None:
        raise InputError(f"{name} is empty: it holds no input.")
    return chain([first], records)


def column_names(path: Path) -> list[str]:
    """Return the names of a file's columns: the header of a table, or the keys of all JSON objects.

    Raises:
        InputError: The file cannot be read, or is not UTF-8.
    """
    _check_readable(path)
    kind = file_kind(path)
    if kind == PARQUET:
        with open_parquet(path) as file:
            return list(file.schema_arrow.names)
    if kind in DIALECTS:
        with reading(path, "a table", InputError):
            try:
                return next(csv.reader(decoded_lines(path), **DIALECTS[kind]), [])
            except csv.Error:
                return []  # `parse_records` raises the error
    if PARSERS.get(kind) is _parse_jsonl:
        names: dict[str, None] = {}
        for line in decoded_lines(path):
            try:
                names |= dict.fromkeys(parse_json("", line, InputError, "line") if line.strip() else ())
            except (InputError, TypeError):  # `parse_records` raises the error
                break
        return list(names)
    return [LINES]


def _check_readable(path: Path | None) -> None:
    """Raise InputError if a path is a folder, or a file of another format."""
    if path is None:
        return
    with reading(path, "a file of records", InputError):
        try:
            mode = path.stat().st_mode
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error}") from error
    if S_ISDIR(mode):
        raise InputError(
            f"{path} cannot be read: it is a folder; give a file. For a folder of datasets.save_to_disk, call "
            "datasets.load_from_disk in Python and give the rows."
        )
    kind = file_kind(path)
    if kind in PACKED:
        raise InputError(f"{path} cannot be read: unpack it, or pack it with gzip (.gz).")
    if kind in OTHER_FORMATS:
        raise InputError(
            f"{path} cannot be read: write it as .csv, .tsv, .jsonl or .parquet; in Python, give "
            f"the rows that {OTHER_FORMATS[kind]} returns."
        )


def file_name(path: Path | None) -> str:
    """Return the name of a file for messages; None is standard input."""
    return "standard input" if path is None else str(path)


def file_kind(path: Path | None) -> str:
    """Return the suffix of a file's format, without .gz."""
    suffixes = [] if path is None else [suffix.lower() for suffix in path.suffixes]
    return next((suffix for suffix in reversed(suffixes) if suffix != ".gz"), "")


def decoded_lines(path: Path | None) -> Iterator[str]:
    """Yield the lines of a file, or of standard input for None, with their ends.

    Raises:
        InputError: The file cannot be read, or is not UTF-8.
    """
    name = file_name(path)
    most = LIMITS["line_bytes"].most
    with reading(path, "text in UTF-8", InputError):
        try:
            with _open(path) as file:
                for number, line in enumerate(iter(partial(file.readline, most + 1), b""), 1):
                    check_limit("line_bytes", len(line), f"{name} line {number}", InputError)
                    yield line.decode("utf-8-sig" if number == 1 else "utf-8")  # some programs write a byte order mark
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise InputError(
                f"{name} must be UTF-8, but line {number} has the byte 0x{byte:02x} at position {error.start + 1}; "
                "convert the file to UTF-8."
            ) from error
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{name} cannot be read: {error}") from error


def _open(path: Path | None) -> AbstractContextManager[BinaryIO | gzip.GzipFile]:
    if path is None:
        if sys.stdin is None or sys.stdin.closed:
            raise InputError("standard input is closed: give a text, or a file.")
        return sys.stdin.buffer
    return gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")


def _parse_lines(name: str, lines: Iterable[str], columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    unknown = [column for column in columns if column != LINES]
    if unknown:
        raise InputError(f"{name} has lines and no columns, so no {quoted(unknown)}; give a .csv, .tsv or .jsonl file.")
    return ((line.rstrip("\r\n"),) for line in lines)


def _parse_csv(
    name: str,
    lines: Iterable[str],
    columns: Sequence[str],
    *,
    first: Sequence[str] | None,
    skipped: list[int] | None,
    **dialect: Any,
) -> Iterator[tuple[str, ...]]:
    csv.field_size_limit(2**31 - 1)  # the default is 131,072 characters
    rows = _csv_rows(name, csv.reader(lines, **dialect))
    header = next(rows, (0, None))[1] if first is None else list(first)
    if header is None:
        return
    _check_columns(name, columns, header)
    indices = [header.index(column) for column in columns]
    empty = 0  # number of empty lines since the last row
    for number, row in rows:
        if not row:
            empty += 1
            continue
        if len(header) == 1:
            yield from [("",) * len(columns)] * empty
        empty = 0
        if len(row) != len(header) and skipped is not None:
            skipped.append(number)
            continue
        if len(row) != len(header):
            hint = "" if "delimiter" in dialect else " A text with a comma in it must be quoted."
            raise InputError(f"{name} line {number} must have {len(header)} columns, got {len(row)}.{hint}")
        yield tuple(row[index] for index in indices)


def _parse_parquet(path: Path, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    with open_parquet(path) as file:
        _check_columns(str(path), columns, file.schema_arrow.names)
        yield from parquet_rows(path, file, columns)


def _check_columns(name: str, columns: Sequence[str], header: Sequence[str]) -> None:
    """Raise InputError if a table lacks a column, or has it twice."""
    missing = [column for column in columns if column not in header]
    if missing:
        raise InputError(f"{name} has no column {quoted(missing)}; its columns are {quoted(header)}.")
    repeated = [column for column in dict.fromkeys(columns) if header.count(column) > 1]
    if repeated:
        raise InputError(f"{name} has several columns {quoted(repeated)}; its columns are {quoted(header)}.")


def _csv_rows(name: str, rows: Any) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a csv.reader, each with the number of its last line."""
    try:
        for row in rows:
            yield rows.line_num, row
    except csv.Error as error:  # such as a carriage return within a line
        raise InputError(f"{name} line {rows.line_num} cannot be read ({error}).") from error


def _parse_jsonl(name: str, lines: Iterable[str], columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        record = parse_json(f"{name} line {number}", line, InputError, "line")
        if not isinstance(record, dict):
            raise InputError(f"{name} line {number} must be a JSON object, got {type(record).__name__}.")
        missing = [column for column in columns if column not in record]
        if missing:
            raise InputError(f"{name} line {number} has no column {quoted(missing)}; it has {quoted(record)}.")
        yield tuple(record[column] for column in columns)


def _refuse_json(name: str, lines: Iterable[str], columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    raise InputError(f"{name} cannot be read as records: give a .jsonl file, with one JSON object in each line.")


def _only_texts(name: str, records: Iterable[tuple[Any, ...]], columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for number, record in enumerate(records, 1):
        for column, value in zip(columns, record, strict=True):
            if not isinstance(value, str):
                kind = type(value).__name__
                raise InputError(f"{name}: column {column!r} of record {number} must be a text, got {kind}.")
        yield record


def quoted(names: Iterable[Any]) -> str:
    """Return names in quotation marks, separated by commas. A long list is cut."""
    names = list(names)
    most = [shortened(name, most=32) for name in names[:MOST_NAMES]]
    return ", ".join(most) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")


# Tab-separated files have no quoting: quotation marks are literal. Without `strict`, an unclosed quotation mark would
# turn the rest of a .csv file into one text.
DIALECTS: dict[str, dict[str, Any]] = {
    ".csv": {"strict": True},
    ".tsv": {"delimiter": "\t", "quoting": csv.QUOTE_NONE},
}
PARSERS: dict[str, Callable[..., Iterator[tuple[Any, ...]]]] = {  # suffix -> parser; any other file has lines
    ".csv": partial(_parse_csv, **DIALECTS[".csv"]),
    ".tsv": partial(_parse_csv, **DIALECTS[".tsv"]),
    ".jsonl": _parse_jsonl,
    ".ndjson": _parse_jsonl,
    ".json": _refuse_json,
}
TABLES = frozenset({*PARSERS, PARQUET})  # suffixes of files whose rows have columns
# Formats that only other libraries read -> the function that reads them.
OTHER_FORMATS = {
    ".feather": "pandas.read_feather",
    ".arrow": "datasets.Dataset.from_file",
    ".orc": "pandas.read_orc",
    ".xlsx": "pandas.read_excel",
    ".xls": "pandas.read_excel",
    ".ods": "pandas.read_excel",
    ".xml": "pandas.read_xml",
}
PACKED = frozenset({".zip", ".bz2", ".xz", ".zst", ".tar", ".tgz", ".7z"})
