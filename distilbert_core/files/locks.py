"""Locks that end with their process."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any, Self

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

INTERVAL = 0.005  # seconds between two attempts


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
