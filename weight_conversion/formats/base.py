"""What a format is, and what the formats of the Hub share: one file, or shards with an index."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.errors import CheckpointError
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.parameters import Parameter
from weight_conversion.names import split_name
from weight_conversion.weights import DTYPES, Tensor, Weights

BLOCK = 32  # columns that are transposed at a time
Tensors = Mapping[str, Tensor]  # by stored name
Files = dict[str, bytes | Callable[[Path], None]]  # by name: the content, or what writes the file at a path


@dataclass(frozen=True)
class Format:
    """A format of weight files.

    Attributes:
        name: What `--to` calls it.
        title: What people call it.
        file: Name of its file; the index of shards is that with '.index.json'.
        stored_name: From a parameter and the model's head to its name there.
        open: From a path to the tensors in that file, by stored name.
        write: Writes tensors, by stored name, to a path; reads each when its turn comes.
        write_shard: The same for one of several files, where that differs.
        split: Whether large weights are split into several files.
        beside: Names of files that belong to it and are there or not.
        also: Further names of files by which a folder is known to have this format.
        suffixes: Further ends of names that a file of this format may have where its path is given.
        find: Where its file is below a folder, if that has no fixed name.
        recognise: Whether a file is of this format, where its name alone does not say.
        read_config: The configuration that belongs to a file, or None where it is that of config.json beside it.
        companions: The files that travel along, by name, where they have other names there.
        unread: What a file, or those beside it, hold that has no place here, a sentence each.
        unwritten: What of a checkpoint has no place there, a sentence each: (files that travel along, the checkpoint).
        modules: Whether sentence-transformers reads such a folder, so that its modules travel along.
        whole_folder: Whether all that is in the folder of its file belongs to it.
        arrange: All files of a checkpoint, where there are others than those of `write` and what travels along: (the
            latter, what is converted, its tensors by stored name) -> files.
    """

    name: str
    title: str
    file: str
    stored_name: Callable[[Parameter, Head], str]
    open: Callable[[Path], dict[str, Tensor]]
    write: Callable[[Path, Tensors, Head], None]
    write_shard: Callable[[Path, Tensors, Head], None] | None = None
    split: bool = True
    beside: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()
    find: Callable[[Path], Path | None] | None = None
    recognise: Callable[[Path], bool] = lambda path: True
    read_config: Callable[[Path], DistilBertConfig | None] = lambda path: None
    companions: Callable[[Path], dict[str, bytes]] | None = None
    unread: Callable[[Path], list[str]] | None = None
    unwritten: Callable[[Mapping[str, bytes], Weights], list[str]] | None = None
    modules: bool = False
    whole_folder: bool = False
    arrange: Callable[[Files, Weights, Tensors], Files] | None = None

    def place(self, parameter: Parameter, head: Head) -> tuple[str, bool]:
        """Return a parameter's name in this format, and whether its axes are swapped there."""
        name = self.stored_name(parameter, head)
        return name, split_name(name)[2]

    @property
    def suffix(self) -> str:
        """End of its file's name."""
        return Path(self.file).suffix

    @property
    def index(self) -> str:
        """Name of the index of shards."""
        return f"{self.file}.index.json"

    def shard(self, number: int, count: int) -> str:
        """Return the name of a shard, counted from 1."""
        stem, _, suffix = self.file.rpartition(".")
        return f"{stem}-{number:05d}-of-{count:05d}.{suffix}"


def shard_files(index: Path) -> list[str]:
    """Return the names of the shards that an index lists.

    Raises:
        CheckpointError: The index is damaged, or names a file outside its folder.
    """
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        if not names:
            raise ValueError("it lists no shards")
        for name in names:
            if Path(name).name != name:
                raise ValueError(f"{name!r} is no name of a file beside it")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{index} is no valid index of shards ({error!r}).") from error
    return names


def read_array(path: Path, dtype: str, shape: tuple[int, ...], offset: int) -> np.ndarray:
    """Return the array that lies at an offset of a file.

    It is read, not mapped into memory: where a mapped file is cut short meanwhile, the process is killed.

    Raises:
        CheckpointError: The file is not there any more, or is too short.
    """
    count = math.prod(shape)
    try:
        array = np.fromfile(path, DTYPES[dtype], count, offset=offset)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error}).") from error
    if array.size != count:
        raise CheckpointError(f"{path} ends before byte {offset + count * DTYPES[dtype].itemsize}.")
    return array.reshape(shape)


def require(library: str, extra: str, format: str) -> Any:
    """Import a library that a format needs.

    Raises:
        CheckpointError: It is not installed.
    """
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise CheckpointError(
            f'{format} needs {library}, which is not installed: pip install "distilbert[{extra}]"'
        ) from error


def contiguous(array: np.ndarray) -> np.ndarray:
    """Return an array laid out in memory in the order of its shape, copied only if it is not.

    A transposed one is copied by blocks, which takes a third of the time that NumPy takes for it as a whole.
    """
    if array.flags.c_contiguous or array.ndim != 2:
        return np.ascontiguousarray(array)
    copy = np.empty(array.shape, array.dtype)
    for start in range(0, array.shape[1], BLOCK):
        copy[:, start : start + BLOCK] = array[:, start : start + BLOCK]
    return copy


def damaged(path: Path, kind: str, error: BaseException) -> CheckpointError:
    """Return the error of a file that cannot be read."""
    return CheckpointError(f"{path} is damaged or no {kind} file ({type(error).__name__}: {error}).")
