"""Where the results of a command go: a table on a terminal, tab-separated lines in a pipe, JSON lines, or a file.

A result is a record: a dict that JSON can say, once arrays are lists. All writers take an iterator of records, and hold
few of them at a time.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import click

from distilbert_core.files.atomic import replace_files

Record = dict[str, Any]

TABLE_ROWS = 200  # rows that are laid out together: a table's columns are as wide as what is in them


@dataclass(frozen=True)
class Layout:
    """How records become rows of a table.

    Attributes:
        columns: The fields that have a column. The column 'number' counts records from 1.
        nested: Field whose dicts each have a row of their own; a record that lacks it is one row.
    """

    columns: tuple[str, ...]
    nested: str = ""

    def rows(self, records: Iterable[Record]) -> Iterator[list[Any]]:
        """Yield the rows of all records, each with a value per column."""
        for number, record in enumerate(records, 1):
            for part in record.get(self.nested, [record]):
                fields = {"number": number, **record, **part}
                yield [fields[column] for column in self.columns]


def write(records: Iterable[Record], layout: Layout, output: Path | None, as_json: bool) -> None:
    """Write records as they come.

    Args:
        records: Results, in the order in which they are written.
        layout: How they become rows where a table is written.
        output: File to write; its suffix says the format: .jsonl, .csv, or .npy for the field 'embedding'. It appears
            whole or not at all.
        as_json: Print JSON lines rather than a table.

    Raises:
        OSError: The file cannot be written.
    """
    if output is not None:
        write_file = partial(FILE_WRITERS[output.suffix], records, layout)
        replace_files(output.parent, {output.name: write_file})
    elif as_json:
        for record in records:
            click.echo(to_json(record))
    elif sys.stdout.isatty():
        _print_tables(layout, layout.rows(records))
    else:
        for row in layout.rows(records):
            click.echo("\t".join(" ".join(_cell(value).splitlines()).replace("\t", " ") for value in row))


def to_json(record: Record) -> str:
    """Return a record as one line of JSON."""
    return json.dumps(record, ensure_ascii=False, default=lambda array: array.tolist())


def _print_tables(layout: Layout, rows: Iterator[list[Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    while chunk := list(islice(rows, TABLE_ROWS)):
        table = Table(*layout.columns, box=box.SIMPLE)
        for row in chunk:
            table.add_row(*(Text(_cell(value)) for value in row))  # as Text: '[MASK]' would be markup
        console.print(table)


def _cell(value: Any) -> str:
    """Return a value as a table shows it: numbers to 4 decimals, of a vector how it begins and its length."""
    if isinstance(value, float):
        return f"{value:.4f}"
    if hasattr(value, "shape"):
        start = " ".join(f"{number:+.4f}" for number in value.ravel()[:4])
        return f"{start} … [{' x '.join(map(str, value.shape))}]"
    return str(value)


def _write_jsonl(records: Iterable[Record], layout: Layout, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{to_json(record)}\n" for record in records)


def _write_csv(records: Iterable[Record], layout: Layout, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(layout.columns)
        writer.writerows(layout.rows(records))


def _write_npy(records: Iterable[Record], layout: Layout, path: Path) -> None:
    """Write the vectors [D] of all records as one array [records, D] of their dtype, one after the other."""
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
        file.seek(0)  # only now is their number known; NumPy leaves room for it
        if write_header(count, vector) != start:
            raise AssertionError("The header of the .npy file has grown over the first vector.")


FILE_WRITERS: dict[str, Callable[[Iterable[Record], Layout, Path], None]] = {
    ".jsonl": _write_jsonl,
    ".csv": _write_csv,
    ".npy": _write_npy,
}
