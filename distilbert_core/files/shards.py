"""Shards: large weights are split into several files, which an index lists."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from distilbert_core.errors import CheckpointError, shortened
from distilbert_core.files.boundary import found, reading
from distilbert_core.files.json_files import parse_object, read_content
from distilbert_core.files.limits import check_limit

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


class Sized(Protocol):
    """An object with a size in bytes, such as an array."""

    @property
    def nbytes(self) -> int:
        """Size in bytes."""


def parse_size(size: int | str) -> int:
    """Return a size in bytes from an int or a text such as '5GB', '300MB' or '2GiB'.

    Raises:
        ValueError: The size is not above 0, or has an unknown unit.

    Example:
        >>> from distilbert_core.files.shards import parse_size
        >>> parse_size("300MB"), parse_size("1KiB")
        (300000000, 1024)
    """
    number = str(size).upper().rstrip("BGIKM")
    unit = str(size).upper()[len(number) :]
    try:
        count = int(float(number) * UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        count = 0
    if count < 1:
        raise ValueError(f"A size must be a number of bytes or a text such as '5GB', got {size!r}.")
    return count


def split_by_size(arrays: Mapping[str, Sized], limit: int) -> Iterator[list[str]]:
    """Split names, in order, into shards of at most `limit` bytes. A larger array has a shard of its own."""
    shard: list[str] = []
    size = 0
    for name, array in arrays.items():
        if shard and size + array.nbytes > limit:
            yield shard
            shard, size = [], 0
        shard.append(name)
        size += array.nbytes
    yield shard


def shard_name(file: str, number: int, count: int) -> str:
    """Return the name of a shard.

    Args:
        file: Name of the file that is split.
        number: Number of the shard, from 1.
        count: Number of shards.

    Example:
        >>> from distilbert_core.files.shards import shard_name
        >>> shard_name("model.safetensors", 1, 2)
        'model-00001-of-00002.safetensors'
    """
    stem, _, suffix = file.rpartition(".")
    return f"{stem}-{number:05d}-of-{count:05d}.{suffix}"


def render_index(shards: Mapping[str, Iterable[str]], total_size: int) -> bytes:
    """Return the index of shards.

    Args:
        shards: The names of the arrays in each file.
        total_size: Size of all arrays in bytes.
    """
    weight_map = {name: file for file, names in shards.items() for name in names}
    index = {"metadata": {"total_size": total_size}, "weight_map": weight_map}
    return (json.dumps(index, indent=2, sort_keys=True) + "\n").encode()


def read_index(path: Path) -> dict[str, set[str]]:
    """Return the names of the arrays in each file that an index of shards lists.

    Raises:
        CheckpointError: The index is damaged, or names a file outside its folder.
    """
    shards: dict[str, set[str]] = {}
    kind = "is not a valid index of shards"
    with reading(path, "an index of shards"):
        try:
            entries = parse_object(path, read_content(path))["weight_map"]
            check_limit("index_entries", len(entries), "weight_map")
            for name, file in entries.items():
                if not isinstance(file, str) or Path(file).name != file or "\0" in file:
                    raise ValueError(f"{shortened(file)} is not the name of a file beside it")
                shards.setdefault(file, set()).add(name)
            if not shards:
                raise ValueError("it lists no shards")
        except CheckpointError as error:
            raise CheckpointError(f"{path} {kind} ({error}).") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{path} {kind} ({found(error)}).") from error
    return shards
