"""Reads the inputs of a command: its arguments, a file of lines or of columns, or standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from distilbert_cli.options import refuse
from distilbert_core.errors import InputError
from distilbert_core.files.records import LINES, decoded_lines, file_name, parse_records


def command_texts(texts: Sequence[str], file: Path | None, column: str) -> Iterator[str]:
    """Return the texts of a command that has the options `TEXTS`.

    Raises:
        InputError: As `read_records`.
        UsageError: --column is given without --file.
    """
    if texts and not file:
        refuse("needs --file", "column")
    return read_texts(texts, file, column)


def read_texts(texts: Sequence[str], path: Path | None, column: str = LINES) -> Iterator[str]:
    """Return an iterator over the texts of the arguments, of a file, or of the lines of standard input.

    Args:
        texts: Arguments of the command.
        path: File to read if there are no arguments.
        column: Column of the file that holds the texts.

    Raises:
        InputError: As `read_records`.
    """
    return (text for (text,) in read_records([(text,) for text in texts], path, [column]))


def read_records(
    arguments: Sequence[tuple[str, ...]], path: Path | None, columns: Sequence[str], lists: bool = False
) -> Iterator[tuple[Any, ...]]:
    """Return an iterator over the inputs of the arguments, of a file, or of standard input.

    Args:
        arguments: Inputs on the command line.
        path: A .csv or .tsv file with a header, a .jsonl or .ndjson file, or any other file but .json with one text
            per line. The file may be gzipped (.gz) and is UTF-8.
        columns: Names of the columns to read. A file of lines, such as standard input, has the one column 'text'.
        lists: Whether a .jsonl file may hold lists of texts.

    Returns:
        An iterator over tuples with one entry per column. The first record is read at once, the others on demand.

    Raises:
        InputError: Both or neither of arguments and file are given; or the file cannot be read, is empty, is not UTF-8,
            or lacks a column.
    """
    if arguments and path:
        raise InputError("Give texts or --file, not both.")
    if arguments:
        return iter(arguments)
    if path is None and sys.stdin is not None and sys.stdin.isatty():
        raise InputError('Nothing to read: give a text ("I love it!"), --file, or lines on standard input.')
    return parse_records(path, columns, only_texts=not lists)


def read_whole(path: Path) -> str:
    """Return the text of a file, or of standard input if the path is '-'.

    Raises:
        InputError: The file cannot be read, is empty, or is not UTF-8.
    """
    file = None if str(path) == "-" else path
    text = "".join(decoded_lines(file))
    if not text.strip():
        raise InputError(f"{file_name(file)} is empty.")
    return text
