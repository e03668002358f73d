"""The journal of a save: after a kill, a folder holds its old files or its new ones, whole.

A save writes its files into the folder '.saving-X' inside the destination. With the journal, a list of the changes, it
is complete, and '.saving-X' is renamed to '.saving-complete'. This is the moment at which the new files replace the old
ones. Then each file is renamed to its place. A reader or a writer that finds '.saving-complete' finishes the changes.
Any other '.saving-X' whose process has ended is litter, which the next save removes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from distilbert_core.errors import CheckpointError
from distilbert_core.files.json_files import read_json
from distilbert_core.files.locks import Lock

PREFIX = ".saving-"
COMPLETE = f"{PREFIX}complete"
LITTER = re.compile(re.escape(PREFIX) + "[0-9a-f]+")
JOURNAL, NEW, OLD = "journal.json", "new", "old"  # in the folder of a save
PATIENCE = 60.0  # seconds to wait for another save, whose renames take milliseconds
OLD_AGE = 86_400.0  # seconds after which litter is removed where the file system has no locks

_views: dict[tuple[str, int, int], tempfile.TemporaryDirectory[str]] = {}


# -- reading ----------------------------------------------------------------------------------------------------


def settled(folder: Path) -> Path:
    """Return a folder with the files of a folder that belong together.

    This is the folder itself. If a save was killed while it renamed its files, the save is finished first. If the
    folder cannot be written, the result is a temporary folder of links to the files.

    Args:
        folder: The folder, which need not exist.

    Raises:
        CheckpointError: The journal is damaged, or another process has been renaming files for a minute.
    """
    if not _is_pending(folder):
        return folder
    with locked(folder):
        try:
            finish(folder)
        except CheckpointError:
            raise
        except OSError:
            return _view(folder)
    return folder


def settled_source(source: str | Path) -> str | Path:
    """Return a source that may be a file; if so, the files in its folder belong together, as with `settled`."""
    path = Path(source)
    folder = settled(path.parent)
    return source if folder == path.parent else folder / path.name


def is_vacant(folder: Path, ignored: Container[str] = ()) -> bool:
    """Return whether a folder is missing, or is empty but for what killed saves left and for ignored names."""
    try:
        return all(name in ignored or LITTER.fullmatch(name) for name in os.listdir(folder))
    except FileNotFoundError:
        return True
    except NotADirectoryError:
        return False


def _is_pending(folder: Path) -> bool:
    return os.path.exists(f"{folder}{os.sep}{COMPLETE}{os.sep}{JOURNAL}")


def _view(folder: Path) -> Path:
    """Return a temporary folder of links to the files that a folder has when its save is finished."""
    pending = folder / COMPLETE
    state = pending.stat()
    key = (str(folder.absolute()), state.st_ino, state.st_mtime_ns)
    if key not in _views:
        names, obsolete = _read_journal(folder)
        files = dict(_files_below(folder))
        for name in (*names, *obsolete):
            new = pending / NEW / name
            if name in obsolete or os.path.lexists(new):
                files = {
                    other: path for other, path in files.items() if name != other and not other.startswith(f"{name}/")
                }
            if name in names and os.path.lexists(new):
                staged = _files_below(new) if new.is_dir() and not new.is_symlink() else [("", new)]
                files |= {f"{name}/{below}" if below else name: path for below, path in staged}
        made = tempfile.TemporaryDirectory(prefix="distilbert-")
        for name, path in files.items():
            link = Path(made.name, folder.absolute().name, name)
            link.parent.mkdir(parents=True, exist_ok=True)
            try:
                link.symlink_to(path.absolute())
            except OSError:  # Windows without the privilege
                shutil.copyfile(path, link)
        _views[key] = made
    return Path(_views[key].name, folder.absolute().name)


def origin(folder: Path) -> Path:
    """Return the folder whose files a temporary folder of links shows, or the folder itself; see `settled`."""
    for (source, *_), made in _views.items():
        if folder.is_relative_to(made.name):
            return Path(source, folder.relative_to(Path(made.name, Path(source).name)))
    return folder


def _files_below(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the names below a folder, separated by '/', and the paths of its files and of its links."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            if not path.name.startswith(PREFIX):
                yield from ((f"{path.name}/{name}", file) for name, file in _files_below(path))
        else:
            yield path.name, path


# -- writing ----------------------------------------------------------------------------------------------------


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Context manager: hold the lock on the names in a folder.

    Raises:
        CheckpointError: Another process has held it for a minute.
    """
    try:
        lock = Lock(folder.resolve(), PATIENCE)
    except BlockingIOError:
        raise CheckpointError(
            f"Another process has been writing to {folder} for {PATIENCE:.0f} s; wait until it is done, or end it."
        ) from None
    with lock:
        yield


class Staging:
    """The folder of one save. Its lock says that the save is alive.

    Args:
        place: The folder to make it in.

    Attributes:
        path: The folder.
    """

    def __init__(self, place: Path):
        while True:
            self.path = place / f"{PREFIX}{uuid.uuid4().hex}"
            self.path.mkdir()
            with suppress(FileNotFoundError):  # another save took it for litter before it was locked
                self._lock = Lock(self.path, PATIENCE)
                if self._lock.is_of(self.path):
                    break
                self._lock.release()
        try:
            self.new.mkdir()
        except OSError:
            self.close()
            raise

    @property
    def new(self) -> Path:
        """The folder in it for the files."""
        return self.path / NEW

    def move(self, place: Path) -> None:
        """Move the folder into another one."""
        self.path = self.path.rename(place / self.path.name)

    def commit(self, folder: Path, names: Iterable[str], obsolete: Iterable[str]) -> None:
        """Let the new files replace the old ones. The caller holds the lock of the destination.

        Args:
            folder: The destination, in which this folder is.
            names: Names of the new files and folders.
            obsolete: Names of files and folders to remove.

        Raises:
            CheckpointError: A name leads out of the destination, or '.saving-complete' was not made by a save.
            OSError: The folder may not be written to, or its disk is full.
        """
        changes = {"files": list(names), "obsolete": sorted(obsolete)}
        (self.path / OLD).mkdir()
        journal = self.path / JOURNAL
        journal.write_text(json.dumps(changes), encoding="utf-8")
        for name in changes["files"]:
            _check_name(folder, name, journal)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            _check_name(folder, name, journal)
        flush(journal)
        flush(self.path)
        while True:
            try:
                self.path.rename(folder / COMPLETE)
                break
            except OSError as error:
                if not _is_pending(folder):  # else the file system has no locks, and another save was faster
                    raise CheckpointError(
                        f"{folder / COMPLETE} is not of a save that can be finished ({error}): move it elsewhere."
                    ) from error
                finish(folder)
        flush(folder)
        finish(folder)

    def close(self) -> None:
        """Remove the folder, unless its files were committed."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()


def finish(folder: Path) -> None:
    """Finish a committed save, if there is one. The caller holds the lock of the folder.

    Each change can be repeated, so a kill at any point does no harm.

    Raises:
        CheckpointError: The journal is damaged.
        OSError: The folder may not be written to.
    """
    if not _is_pending(folder):
        return
    pending = folder / COMPLETE
    names, obsolete = _read_journal(folder)
    for name in names:
        new, place = pending / NEW / name, folder / name
        if os.path.lexists(new):
            place.parent.mkdir(parents=True, exist_ok=True)
            if _is_folder(new) or _is_folder(place):  # a folder with files can replace nothing
                _put_aside(place, pending)
            os.replace(new, place)
    for name in obsolete:
        _put_aside(folder / name, pending)
    for parent in {(folder / name).parent for name in (*names, *obsolete)}:
        flush(parent)
    litter = pending.rename(folder / f"{PREFIX}{uuid.uuid4().hex}")
    shutil.rmtree(litter, ignore_errors=True)


def remove_litter(folder: Path) -> None:
    """Remove what saves left in a folder, if they have ended without being committed."""
    try:
        names = [name for name in os.listdir(folder) if LITTER.fullmatch(name)]
    except OSError:
        return
    for name in names:
        with suppress(OSError), Lock(folder / name) as lock:  # a live save holds the lock
            if lock.is_held or time.time() - (folder / name).stat().st_mtime > OLD_AGE:
                shutil.rmtree(folder / name, ignore_errors=True)


def flush(path: Path) -> None:
    """Make sure that the content of a file, or the names in a folder, are on the disk."""
    if not path.is_dir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        return
    with suppress(OSError):  # Windows and some file systems cannot flush folders
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _put_aside(path: Path, pending: Path) -> None:
    if os.path.lexists(path):
        (pending / OLD).mkdir(exist_ok=True)
        os.replace(path, pending / OLD / uuid.uuid4().hex)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _read_journal(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of the new files of a committed save, and the names to remove.

    Raises:
        CheckpointError: It is damaged, or leads out of the folder.
    """
    path = folder / COMPLETE / JOURNAL
    try:
        changes = read_json(path, "a journal of a save")
        names, obsolete = changes.get("files"), changes.get("obsolete")
        if not isinstance(names, list) or not isinstance(obsolete, list):
            raise CheckpointError(f"{path} must have the lists files and obsolete.")
    except CheckpointError as error:
        raise CheckpointError(
            f"{error} It is the journal of a save: remove its folder; then files in {folder} may be of another save."
        ) from error
    for name in (*names, *obsolete):
        _check_name(folder, name, path)
    return names, [name for name in obsolete if name not in names]


def _check_name(folder: Path, name: object, journal: Path) -> None:
    """Raise CheckpointError if a name in a journal is not of a file below its folder."""
    parts = PurePosixPath(name).parts if isinstance(name, str) and not set("\\:\0") & set(name) else ()
    inside = bool(parts) and parts[0] != "/" and ".." not in parts and not parts[0].startswith(PREFIX)
    if inside:  # links to folders may lead elsewhere
        inside = Path(os.path.realpath(Path(folder, *parts[:-1]))).is_relative_to(os.path.realpath(folder))
    if not inside:
        raise CheckpointError(f"{journal} must name files below {folder}, got {str(name)[:100]!r}.")
