"""Checkpoint files: read lazily from one or several safetensors files, written so that they appear whole."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from distilbert_core.errors import CheckpointError
from distilbert_core.hub import find_file, offline_note, resolve_file

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
SHARD_PATTERN = "model-*-of-*.safetensors"


@dataclass(frozen=True)
class Entry:
    """One stored tensor: its shape, its dtype as safetensors spells it ('F32'), and the file that holds it."""

    shape: tuple[int, ...]
    dtype: str
    path: Path


class Checkpoint:
    """The tensors of a checkpoint by name, memory-mapped: nothing is read before `read` asks for it.

    PyTorch tensors are the file's pages themselves. To write to them changes a copy; to remove the file, or to rename
    another over it as all savers here do, leaves them as they are. Only who overwrites the bytes of the file in place
    changes them too.

    Args:
        source: A folder, an embedded model, or a Hub id.
        framework: What `read` returns: 'np' for NumPy arrays, 'pt' for PyTorch tensors that share the file's memory.
        **where: As in `distilbert_core.hub.find_file`.

    Raises:
        CheckpointError: There are no safetensors files, one is damaged, or a shard is missing.
    """

    def __init__(self, source: str | Path, framework: str = "np", **where: Any):
        self._files: dict[Path, Any] = {}
        self.entries: dict[str, Entry] = {}
        self.metadata: dict[str, str] = {}
        for path, names in _weight_files(source, where).items():
            self._open(path, names, framework)

    def _open(self, path: Path, names: set[str] | None, framework: str) -> None:
        from safetensors import SafetensorError, safe_open

        try:
            file = safe_open(path, framework=framework)
            stored = set(file.keys())
            if names is not None and names - stored:
                lacking = ", ".join(sorted(names - stored))
                raise CheckpointError(f"{path} lacks entries that the index names: {lacking}.")
            for name in stored if names is None else names:
                tensor = file.get_slice(name)
                self.entries[name] = Entry(tuple(tensor.get_shape()), tensor.get_dtype(), path)
        except (SafetensorError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged or not a safetensors file ({error}).") from error
        self.metadata |= file.metadata() or {}
        self._files[path] = file

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor by name."""
        return {name: entry.shape for name, entry in self.entries.items()}

    def read(self, name: str) -> Any:
        """Return the tensor called `name`."""
        return self._files[self.entries[name].path].get_tensor(name)


def _weight_files(source: str | Path, where: Mapping[str, Any]) -> dict[Path, set[str] | None]:
    """Return the weight files of a checkpoint, each with the names to take from it (None: all)."""
    single = find_file(source, WEIGHTS_FILE, **where)
    if single is not None:
        return {single: None}
    index = find_file(source, INDEX_FILE, **where)
    if index is None:
        raise CheckpointError(
            f"{source} has neither {WEIGHTS_FILE} nor {INDEX_FILE}{offline_note(source, where)}. Weights in another "
            "format must be converted first: distilbert convert SOURCE FOLDER."
        )
    try:
        weight_map: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        shards: dict[str, set[str]] = {}
        for name, file in weight_map.items():
            if Path(file).name != file:
                raise ValueError(f"{file!r} is no name of a file beside it")
            shards.setdefault(file, set()).add(name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is no valid index of shards ({error!r}).") from error
    return {resolve_file(source, file, **where): names for file, names in shards.items()}


def replace_files(
    folder: str | Path,
    writers: Mapping[str, bytes | Callable[[Path], None]],
    obsolete: Iterable[str] = (),
    before: Callable[[], None] | None = None,
) -> None:
    """Write files into a folder so that a failure half-way leaves what was there as it was.

    All files are first written in full beside their destination. Then a new folder gets its name in one step; into a
    folder that exists each file is moved by a rename, and `obsolete` ones are removed last.

    Args:
        folder: Destination; made if it is not there.
        writers: For each name its content, or a function that writes a file or a folder at the path it is given. A
            name may have folders in it ('assets/vocabulary.txt').
        obsolete: Names of files and folders to remove from the folder.
        before: Called when all is written and nothing has its name yet; if it raises, nothing is changed.

    Raises:
        CheckpointError: `folder` is a file.
        OSError: The disk is full, or the folder may not be written to.
    """
    folder = Path(folder).expanduser()
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder} must be a folder, it is a file.")
    exists = folder.is_dir()
    (folder if exists else folder.parent).mkdir(parents=True, exist_ok=True)
    staging = (folder if exists else folder.parent) / f".saving-{uuid.uuid4().hex}"
    staging.mkdir()
    try:
        for name, content in writers.items():
            path = staging / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if callable(content):
                content(path)
            else:
                path.write_bytes(content)
            for file in [path] if path.is_file() else [inner for inner in path.rglob("*") if inner.is_file()]:
                file.chmod(staging.stat().st_mode & 0o666)  # as any new file here; safetensors makes its own private
                _flush_to_disk(file)
        if before is not None:
            before()
        if not exists:
            staging.rename(folder)
            return
        for name in writers:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            _move_folder(folder / name, staging)
            os.replace(staging / name, folder / name)
        for name in set(obsolete) - writers.keys():
            _move_folder(folder / name, staging)
            (folder / name).unlink(missing_ok=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _move_folder(path: Path, staging: Path) -> None:
    """Move what is at a path into `staging` if it is a folder: nothing can be renamed over one that holds files."""
    if path.is_dir() and not path.is_symlink():
        os.replace(path, staging / uuid.uuid4().hex)


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def parse_size(size: int | str) -> int:
    """Return a size in bytes from an int or a text such as '5GB', '300MB' or '2GiB'.

    Example:
        >>> from distilbert_core.checkpoint import parse_size
        >>> parse_size("300MB"), parse_size("1KiB")
        (300000000, 1024)
    """
    units = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
    number = str(size).upper().rstrip("BGIKM")
    unit = str(size).upper()[len(number) :]
    try:
        count = int(float(number) * units[unit])
    except (ValueError, KeyError, OverflowError):
        count = 0
    if count < 1:
        raise ValueError(f"A size must be a number of bytes or a text such as '5GB', got {size!r}.")
    return count


def save_checkpoint(
    folder: str | Path,
    arrays: Mapping[str, np.ndarray],
    files: Mapping[str, bytes],
    max_shard_size: int | str = "5GB",
) -> None:
    """Write arrays as safetensors, one file or several, together with other files, in the Hub's layout.

    Args:
        folder: Destination; made if it is not there. Older weight files in it are replaced.
        arrays: NumPy arrays by canonical name.
        files: Content of other files by name, e.g. config.json.
        max_shard_size: Largest size of one weight file, in bytes or as a text ('5GB'). A larger checkpoint is split
            and gets an index.

    Raises:
        OSError: The disk is full, or the folder may not be written to. What was there is then unchanged.
    """
    shards = list(split_by_size(arrays, parse_size(max_shard_size)))
    if len(shards) == 1:
        names = [WEIGHTS_FILE]
    else:
        names = [f"model-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)]
    writers: dict[str, bytes | Callable[[Path], None]] = {
        file: _weights_writer({name: arrays[name] for name in shard}) for file, shard in zip(names, shards, strict=True)
    }
    if len(shards) > 1:
        total_size = sum(array.nbytes for array in arrays.values())
        writers[INDEX_FILE] = render_index(dict(zip(names, shards, strict=True)), total_size)
    replace_files(folder, {**writers, **files}, obsolete=_old_weight_files(Path(folder).expanduser()))


def _weights_writer(arrays: dict[str, np.ndarray]) -> Callable[[Path], None]:
    from safetensors.numpy import save_file

    # safetensors writes an array's memory as it lies: one that is a transposed view must first be laid out anew.
    return lambda path: save_file(
        {name: np.asarray(array, order="C") for name, array in arrays.items()}, path, metadata={"format": "pt"}
    )


class Sized(Protocol):
    """Anything that says how many bytes it has, such as an array."""

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""


def split_by_size(arrays: Mapping[str, Sized], limit: int) -> Iterator[list[str]]:
    """Split names, in order, into runs whose arrays fit into `limit` bytes (a larger array is alone in its run)."""
    shard: list[str] = []
    size = 0
    for name, array in arrays.items():
        if shard and size + array.nbytes > limit:
            yield shard
            shard, size = [], 0
        shard.append(name)
        size += array.nbytes
    yield shard


def render_index(shards: Mapping[str, Iterable[str]], total_size: int) -> bytes:
    """Return the index of shards: the names that each file holds, the other way round."""
    weight_map = {name: file for file, names in shards.items() for name in names}
    index = {"metadata": {"total_size": total_size}, "weight_map": weight_map}
    return (json.dumps(index, indent=2, sort_keys=True) + "\n").encode()


def _old_weight_files(folder: Path) -> list[str]:
    return [WEIGHTS_FILE, INDEX_FILE, *(path.name for path in folder.glob(SHARD_PATTERN))]
