"""Where the inputs of a command come from: its arguments, standard input, or a file of lines or of columns."""

from __future__ import annotations

import csv
import gzip
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from typing import Any

from distilbert_core.errors import InputError

LINES = "text"  # the one column of a file that has only lines


def read_texts(texts: Sequence[str], path: Path | None, column: str = LINES) -> Iterator[str]:
    """Yield the texts that were given as arguments, else those of a file, else the lines of standard input.

    Raises:
        InputError: As `read_records`.
    """
    return (text for (text,) in read_records([(text,) for text in texts], path, [column]))


def read_records(
    given: Sequence[tuple[str, ...]], path: Path | None, columns: Sequence[str], lists: bool = False
) -> Iterator[tuple[Any, ...]]:
    """Yield inputs one by one: those that were given as arguments, else those of a file, else of standard input.

    Args:
        given: Inputs from the command line.
        path: A .csv or .tsv file with a header, a .jsonl file, or any other with one text per line; each maybe with
            .gz at the end. UTF-8.
        columns: Names of the columns to take; a file of lines, such as standard input, has the one column 'text'.
        lists: Whether a .jsonl file may hold lists of texts.

    Returns:
        An iterator over tuples with one entry per column. The first is read at once, the others as they are asked for.

    Raises:
        InputError: Both or neither are given, or the file cannot be read, is empty, is not UTF-8, or lacks a column.
    """
    if given and path:
        raise InputError("Give texts or --file, not both.")
    if given:
        return iter(given)
    if path is None and sys.stdin.isatty():
        raise InputError('Nothing to read: give a text ("I love it!"), --file, or lines on standard input.')
    name = "standard input" if path is None else str(path)
    suffixes = [] if path is None else [suffix for suffix in path.suffixes if suffix != ".gz"]
    parse = PARSERS.get(suffixes[-1] if suffixes else "", _parse_lines)
    records = parse(name, _decode(name, path), columns)
    if not lists:
        records = _only_texts(name, records, columns)
    first = next(records, None)
    if first is None:
        raise InputError(f"{name} is empty: it holds no input.")
    return chain([first], records)


def read_whole(path: Path) -> str:
    """Return the text of a file, or of standard input for the path '-'."""
    name, file = ("standard input", None) if str(path) == "-" else (str(path), path)
    text = "".join(_decode(name, file))
    if not text.strip():
        raise InputError(f"{name} is empty.")
    return text


def _decode(name: str, path: Path | None) -> Iterator[str]:
    """Yield the lines of a file, with their ends."""
    try:
        with _open(path) as file:
            for number, line in enumerate(file, 1):
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")  # some programs begin a file with a mark
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise InputError(
            f"{name} must be UTF-8, but line {number} has the byte 0x{byte:02x} at position {error.start + 1}; convert "
            "the file to UTF-8."
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{name} cannot be read: {error}") from error


def _open(path: Path | None) -> AbstractContextManager[Iterable[bytes]]:
    if path is None:
        return sys.stdin.buffer
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")


def _parse_lines(name: str, lines: Iterable[str], columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    unknown = [column for column in columns if column != LINES]
    if unknown:
        raise InputError(
            f"{name} has lines and no columns, so no {_quoted(unknown)}; give a .csv, .tsv or .jsonl --file."
        )
    return ((line.rstrip("\r\n"),) for line in lines)


def _parse_csv(name: str, lines: Iterable[str], columns: Sequence[str], **dialect: Any) -> Iterator[tuple[str, ...]]:
    csv.field_size_limit(2**31 - 1)  # a text may be longer than the 131,072 characters that are the default
    rows = csv.reader(lines, **dialect)
    header = next(rows, None)
    if header is None:
        return
    missing = [column for column in columns if column not in header]
    if missing:
        raise InputError(f"{name} has no column {_quoted(missing)}; its columns are {_quoted(header)}.")
    indices = [header.index(column) for column in columns]
    for row in rows:
        if not row:  # an empty line
            continue
        if len(row) != len(header):
            raise InputError(f"{name} line {rows.line_num} must have {len(header)} columns, got {len(row)}.")
        yield tuple(row[index] for index in indices)


def _parse_jsonl(name: str, lines: Iterable[str], columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise InputError(f"{name} line {number} is not valid JSON ({error}).") from error
        if not isinstance(record, dict):
            raise InputError(f"{name} line {number} must be a JSON object, got {type(record).__name__}.")
        missing = [column for column in columns if column not in record]
        if missing:
            raise InputError(f"{name} line {number} has no column {_quoted(missing)}; it has {_quoted(record)}.")
        yield tuple(record[column] for column in columns)


def _only_texts(name: str, records: Iterable[tuple], columns: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for number, record in enumerate(records, 1):
        for column, value in zip(columns, record, strict=True):
            if not isinstance(value, str):
                kind = type(value).__name__
                raise InputError(f"{name}: column {column!r} of record {number} must be a text, got {kind}.")
        yield record


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


PARSERS: dict[str, Callable[..., Iterator[tuple[Any, ...]]]] = {  # suffix -> parser; any other file has lines
    ".csv": _parse_csv,
    # Tab-separated files have no quoting: a quotation mark in them is one.
    ".tsv": lambda name, lines, columns: _parse_csv(name, lines, columns, delimiter="\t", quoting=csv.QUOTE_NONE),
    ".jsonl": _parse_jsonl,
}
