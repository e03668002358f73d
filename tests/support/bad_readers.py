"""Readers that do what a reader must not do, for the tests of `support.watched`."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from distilbert_core.errors import CheckpointError


def open_elsewhere(path: Path, folder: Path) -> None:
    """Open a file outside of the checkpoint."""
    Path("/etc/passwd").read_bytes()


def write_elsewhere(path: Path, folder: Path) -> None:
    """Write a file outside of the folder."""
    (path.parent / "written").write_bytes(b"")


def run(path: Path, folder: Path) -> None:
    """Run a program."""
    subprocess.run(["true"], check=True)


def connect(path: Path, folder: Path) -> None:
    """Connect to another machine."""
    with socket.socket() as connection:
        connection.connect_ex(("127.0.0.1", 9))


def raise_raw(path: Path, folder: Path) -> None:
    """Raise an error of Python."""
    raise KeyError("dim")


def raise_long(path: Path, folder: Path) -> None:
    """Raise an error with a long message."""
    raise CheckpointError(f"{path}".ljust(5000, "."))


def raise_unnamed(path: Path, folder: Path) -> None:
    """Raise an error that does not name the file."""
    raise CheckpointError("dim must be positive.")
