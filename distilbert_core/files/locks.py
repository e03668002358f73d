"""Locks that end with their process."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from distilbert_core.errors import CheckpointError, InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

INTERVAL = 0.005  # seconds between two attempts
OWNER_FILE = ".lock"  # has the id of the process that uses a folder


class Lock:
    """An exclusive lock on a folder or a file, which leaves nothing behind.

    The operating system releases it when the process ends, in whatever way. Threads of one process exclude each other
    too. Some file systems, and Windows, have no such locks; then nothing is locked, and `is_held` is False.

    Args:
        path: The folder or file.
        patience: Number of seconds to wait for another holder.

    Raises:
        BlockingIOError: Another process or thread holds the lock.
        FileNotFoundError: There is nothing at the path.
    """

    def __init__(self, path: str | Path, patience: float = 0.0):
        self._descriptor = -1
        if fcntl is None:
            return
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            raise
        except OSError:  # it may not be read, or is a link
            return
        deadline = time.monotonic() + patience
        while self._descriptor < 0:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._descriptor = descriptor
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    raise
                time.sleep(INTERVAL)
            except OSError:  # a file system without locks
                os.close(descriptor)
                return

    @property
    def is_held(self) -> bool:
        """Whether the lock is held."""
        return self._descriptor >= 0

    def is_of(self, path: str | Path) -> bool:
        """Return whether the locked folder or file is still the one at a path."""
        try:
            at_path = os.stat(path, follow_symlinks=False)
        except OSError:
            return False
        return not self.is_held or os.path.samestat(at_path, os.fstat(self._descriptor))

    def release(self) -> None:
        """Release the lock."""
        if self.is_held:
            with contextlib.suppress(OSError):
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # a forked child may have the descriptor too
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.release()


@contextlib.contextmanager
def owned(folder: Path, name: str | Path | None = None, patience: float = 0.0) -> Iterator[None]:
    """Context manager: use a folder alone. The file '.lock' in it has the id of the process.

    The folder is made if needed, and removed afterwards if it is empty. The file that a killed process left is taken
    over. Where the file system has no locks, it counts until its process has ended.

    Args:
        folder: The folder.
        name: What is in use then, for the message; the folder if left out.
        patience: Number of seconds to wait for another owner.

    Raises:
        InputError: Another process, or another thread, uses the folder.
        CheckpointError: `folder` is a file.
    """
    path, deadline = folder / OWNER_FILE, time.monotonic() + patience
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            if folder.is_file():
                raise CheckpointError(f"{folder} must be a folder, it is a file.") from None
            continue
        with contextlib.suppress(FileNotFoundError):  # the former owner removes file and folder at the end
            path.touch()
            try:
                lock = Lock(path, deadline - time.monotonic())
            except BlockingIOError:
                raise _in_use(path, name) from None
            if not lock.is_of(path):
                lock.release()
            elif lock.is_held:
                break
            elif not _is_alive(_owner(path)):
                path.write_text(str(os.getpid()))
                break
            elif time.monotonic() >= deadline:
                raise _in_use(path, name)
            else:
                time.sleep(INTERVAL)
    with lock:
        if lock.is_held:
            path.write_text(str(os.getpid()))
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # it has files
                folder.rmdir()


def _in_use(path: Path, name: str | Path | None) -> InputError:
    process = _owner(path)
    owner = "another process" if process is None else f"process {process}"
    return InputError(
        f"{name or path.parent} is in use by {owner}: wait until it has ended, or give another folder. If it has ended "
        f"already, remove {path}."
    )


def _owner(path: Path) -> int | None:
    """Return the process that a file names; None without a file or a number in it."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _is_alive(process: int | None) -> bool:
    """Return whether a process may be alive."""
    if process is None:
        return False
    if os.name == "nt":  # where there is no harmless signal
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
