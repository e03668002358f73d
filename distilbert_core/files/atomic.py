"""Atomic writes: the files of a save appear together, complete, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from distilbert_core.errors import CheckpointError
from distilbert_core.files.checksums import CHECKSUMS, renewed
from distilbert_core.files.journal import Staging, finish, flush, locked, remove_litter

Writer = bytes | Callable[[Path], None]


def replace_files(
    folder: str | Path,
    writers: Mapping[str, Writer],
    obsolete: Iterable[str] | Callable[[], Iterable[str]] = (),
    before: Callable[[], None] | None = None,
    checksum: bool = False,
) -> list[str]:
    """Write files into a folder: all of them, or none.

    All files are first written to a temporary folder. A new folder then gets its name in one step. In an existing
    folder, a journal makes the changes one step (`distilbert_core.files.journal`): if the process is killed, readers
    find all old files or all new ones, and the next save removes what was left. Files with other names stay. Of two
    processes that save to one folder, the last one replaces the files of the first.

    Args:
        folder: Destination; it is created if needed.
        writers: By name, the content, or a function that writes a file or a folder at a path. A name may contain
            folders ('assets/vocabulary.txt').
        obsolete: Names of files and folders to remove from the folder, or a function that returns them. It is called
            when no other process can change the folder.
        before: Called after all files are written and before the first one is renamed; if it raises, nothing changes.
        checksum: List the SHA-256 of the files in checksums.sha256. A list that names one of the replaced or removed
            files is renewed in any case.

    Returns:
        The obsolete names that the folder had.

    Raises:
        CheckpointError: `folder` is a file, a name leads out of it, or another process keeps it locked.
        OSError: The disk is full, or the folder is not writable.
    """
    folder = Path(folder).expanduser()
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder} must be a folder, it is a file.")
    exists = folder.is_dir()
    place = folder if exists else folder.parent
    place.mkdir(parents=True, exist_ok=True)
    for cleaned in {folder, folder.parent}:
        remove_litter(cleaned)
    staging = Staging(place)
    try:
        _write(staging.new, writers)
        if before is not None:
            before()
        if not exists:
            _write_list(folder, staging.new, writers, (), checksum)
            if _becomes(staging.new, folder):
                return []
        if not exists:  # another process has made the folder
            staging.move(folder)
        with locked(folder):
            finish(folder)  # another save, which was killed
            names = obsolete() if callable(obsolete) else obsolete
            removed = sorted(name for name in set(names) - writers.keys() if os.path.lexists(folder / name))
            has_list = _write_list(folder, staging.new, writers, removed, checksum)
            if len(writers) == 1 and not removed and not has_list and _replaces(staging.new, folder, *writers):
                return []
            staging.commit(folder, [*writers, *([CHECKSUMS] if has_list else [])], removed)
        return removed
    finally:
        staging.close()


def _write_list(folder: Path, new: Path, names: Collection[str], removed: Iterable[str], checksum: bool) -> bool:
    """Write checksums.sha256 beside the new files, if it is needed; return whether it was."""
    content = renewed(folder, new, names, removed, checksum)
    if content is not None:
        _write(new, {CHECKSUMS: content})
    return content is not None


def _write(folder: Path, writers: Mapping[str, Writer]) -> None:
    """Write files into a folder, and make sure that they are on the disk."""
    mode = folder.stat().st_mode & 0o666  # as a new file; safetensors' are private
    for name, content in writers.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(path)
        else:
            path.write_bytes(content)
        for file in [path] if path.is_file() else [inner for inner in path.rglob("*") if inner.is_file()]:
            file.chmod(mode)
            flush(file)
    for inner in [folder, *(path for path in folder.rglob("*") if path.is_dir())]:
        flush(inner)


def _becomes(new: Path, folder: Path) -> bool:
    """Give a folder its name; return whether the name was free."""
    try:
        new.rename(folder)
    except OSError:
        if folder.is_dir():
            return False
        raise
    return True


def _replaces(new: Path, folder: Path, name: str) -> bool:
    """Replace one file, which needs no journal; return False if a folder is in the way."""
    if "/" in name or (new / name).is_dir() or (folder / name).is_dir():
        return False
    os.replace(new / name, folder / name)
    return True
