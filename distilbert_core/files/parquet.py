"""Parquet files, read a portion at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from distilbert_core.errors import InputError
from distilbert_core.files.boundary import reading
from distilbert_core.libraries import require_library

PARQUET = ".parquet"
PORTION = 1024  # rows


def open_parquet(path: Path) -> Any:
    """Return a file of pyarrow, a context manager; its columns are `schema_arrow.names`.

    Raises:
        BackendNotInstalledError: The library pyarrow is not installed.
        InputError: The file is not a Parquet file.
    """
    library = require_library("pyarrow.parquet", "pyarrow", "parquet", str(path))
    with reading(path, "a Parquet file", InputError):
        return library.ParquetFile(path)


def parquet_rows(path: Path, file: Any, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the values of some columns, in Python's own types.

    Args:
        path: The file, for messages.
        file: The open file.
        columns: Names of its columns.

    Raises:
        InputError: The file is damaged.
    """
    with reading(path, "a Parquet file", InputError):
        for batch in file.iter_batches(PORTION, columns=list(dict.fromkeys(columns))):
            yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
