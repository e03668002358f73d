"""Writes the results of a command: a table on a terminal, tab-separated lines in a pipe, JSON lines, or a file.

A result is a record: a dict of JSON values and arrays. All writers take an iterator of records and keep only a few of
them in memory.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import click

from distilbert_core.errors import DistilBertError, InputError
from distilbert_core.files.atomic import replace_files
from distilbert_core.files.json_files import to_json

Record = dict[str, Any]

TABLE_FILES = (".jsonl", ".csv")  # suffixes of files that hold the rows of a table
TABLE_ROWS = 200  # rows that are laid out together, as the width of a column depends on its cells


@dataclass(frozen=True)
class Columns:
    """The columns of a table of records.

    Attributes:
        names: The fields that have a column. The column 'number' counts records from 1.
        nested: Field that holds a list of dicts, one row for each. A record without this field is one row.
    """

    names: tuple[str, ...]
    nested: str = ""

    def rows(self, records: Iterable[Record]) -> Iterator[list[Any]]:
        """Yield the rows of all records, with one value per column."""
        for number, record in enumerate(records, 1):
            for row in record.get(self.nested, [record]):
                fields = {"number": number, **record, **row}
                yield [fields[name] for name in self.names]


def write(records: Iterable[Record], columns: Columns, output: Path | None, as_json: bool) -> None:
    """Write records as they arrive.

    Args:
        records: Results, in order.
        columns: Columns of the table, for output that is a table.
        output: File to write. Its suffix selects the format: .jsonl, .csv, or .npy for the field 'embedding'. The file
            appears only when it is complete.
        as_json: Print JSON lines instead of a table.

    Raises:
        InputError: The file, or standard output, cannot be written.
        BrokenPipeError: The reader of standard output has finished.
    """
    if output is None and sys.stdout is None:
        raise InputError("standard output is closed: give --output.")
    try:
        if output is not None:
            write_file = partial(FILE_WRITERS[output.suffix], records, columns)
            replace_files(output.parent, {output.name: write_file})
        elif as_json:
            for record in records:
                click.echo(to_json(record))
        elif sys.stdout.isatty():
            _print_tables(columns, columns.rows(records))
        else:
            for row in columns.rows(records):
                click.echo("\t".join(" ".join(_cell(value).splitlines()).replace("\t", " ") for value in row))
    except (DistilBertError, BrokenPipeError):
        raise
    except OSError as error:
        name = "standard output" if output is None else output
        raise InputError(f"{name} cannot be written: {error.strerror or error}.") from error


def _print_tables(columns: Columns, rows: Iterator[list[Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    while chunk := list(islice(rows, TABLE_ROWS)):
        table = Table(*columns.names, box=box.SIMPLE)
        for row in chunk:
            table.add_row(*(Text(_cell(value)) for value in row))  # rich would read '[MASK]' as markup
        console.print(table)


def _cell(value: Any) -> str:
    """Return a value as a table shows it: numbers with 4 decimals; the first numbers of a vector, and its shape."""
    if isinstance(value, float):
        return f"{value:.4f}"
    if hasattr(value, "shape"):
        start = " ".join(f"{number:+.4f}" for number in value.ravel()[:4])
        return f"{start} … [{' x '.join(map(str, value.shape))}]"
    return str(value)


def _write_jsonl(records: Iterable[Record], columns: Columns, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{to_json(record)}\n" for record in records)


def _write_csv(records: Iterable[Record], columns: Columns, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns.names)
        writer.writerows(columns.rows(records))


def _write_npy(records: Iterable[Record], columns: Columns, path: Path) -> None:
    """Write the vectors [D] of all records, one by one, as one array [records, D] of their dtype."""
    import numpy as np

    def write_header(count: int, vector: np.ndarray) -> int:
        header = {"descr": vector.dtype.str, "fortran_order": False, "shape": (count, vector.size)}
        np.lib.format.write_array_header_1_0(file, header)
        return file.tell()

    count = 0
    with path.open("wb") as file:
        for record in records:
            vector = record["embedding"]
            if count == 0:
                start = write_header(0, vector)
            file.write(vector.tobytes())
            count += 1
        file.seek(0)  # the count is known only now; NumPy leaves room for it in the header
        if write_header(count, vector) != start:
            raise AssertionError("The header of the .npy file has overwritten the first vector.")


FILE_WRITERS: dict[str, Callable[[Iterable[Record], Columns, Path], None]] = {
    ".jsonl": _write_jsonl,
    ".csv": _write_csv,
    ".npy": _write_npy,
}
