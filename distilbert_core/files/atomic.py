"""Atomic writes: files appear complete or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from distilbert_core.errors import CheckpointError


def replace_files(
    folder: str | Path,
    writers: Mapping[str, bytes | Callable[[Path], None]],
    obsolete: Iterable[str] = (),
    before: Callable[[], None] | None = None,
) -> None:
    """Write files into a folder so that a failure leaves the previous files unchanged.

    All files are first written to a temporary folder. A new folder then gets its name in one step; in an existing
    folder, each file is renamed to its place, and the `obsolete` ones are removed last.

    Args:
        folder: Destination; it is created if needed.
        writers: By name, the content, or a function that writes a file or a folder at a path. A name may contain
            folders ('assets/vocabulary.txt').
        obsolete: Names of files and folders to remove from the folder.
        before: Called after all files are written and before the first one is renamed; if it raises, nothing changes.

    Raises:
        CheckpointError: `folder` is a file.
        OSError: The disk is full, or the folder is not writable.
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
                file.chmod(staging.stat().st_mode & 0o666)  # as a new file; safetensors' are private
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
    """Move a folder at a path into `staging`: a file cannot be renamed over a folder that holds files."""
    if path.is_dir() and not path.is_symlink():
        os.replace(path, staging / uuid.uuid4().hex)


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
