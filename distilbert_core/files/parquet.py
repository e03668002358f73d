"""Parquet files, read a portion at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from distilbert_core.errors import InputError
from distilbert_core.files.boundary import reading
from distilbert_core.libraries import require_library

SUFFIX = ".parquet"
PORTION = 1024  # rows


def parquet_names(path: Path) -> list[str]:
    """Return the names of the columns of a file.

    Raises:
        BackendNotInstalledError: The library pyarrow is not installed.
        InputError: The file is not a Parquet file.
    """
    with _open(path) as file:
        return list(file.schema_arrow.names)


def parquet_records(path: Path, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Yield the values of some columns, in Python's own types.

    Args:
        path: The file.
        columns: Names of its columns.

    Raises:
        BackendNotInstalledError: The library pyarrow is not installed.
        InputError: The file is not a Parquet file, or is damaged.
    """
    with reading(path, "a Parquet file", InputError), _open(path) as file:
        for batch in file.iter_batches(PORTION, columns=list(dict.fromkeys(columns))):
            yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)


def _open(path: Path) -> Any:
    library = require_library("pyarrow.parquet", "pyarrow", "parquet", str(path))
    with reading(path, "a Parquet file", InputError):
        return library.ParquetFile(path)
