"""Where the inputs of a command come from: its arguments, standard input, or a file of lines or of columns."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from distilbert_core.errors import InputError
from distilbert_core.files.records import LINES, decoded_lines, file_name, parse_records


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
        path: A .csv or .tsv file with a header, a .jsonl or .ndjson file, or any other but .json with one text per
            line; each maybe with .gz at the end. UTF-8.
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
    return parse_records(path, columns, only_texts=not lists)


def read_whole(path: Path) -> str:
    """Return the text of a file, or of standard input for the path '-'."""
    file = None if str(path) == "-" else path
    text = "".join(decoded_lines(file))
    if not text.strip():
        raise InputError(f"{file_name(file)} is empty.")
    return text
