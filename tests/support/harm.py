"""A reader that does what no reader may do, to test the watch."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import socket
import subprocess
from pathlib import Path

from distilbert_core.errors import CheckpointError


def harm(path: Path, folder: Path) -> None:
    """Do the forbidden thing that a folder is named after."""
    outside = path.parent / "outside"
    match path.name:
        case "reads":
            Path("/etc/passwd").read_bytes()
        case "opens by a library":
            libc = ctypes.CDLL(None)
            libc.close(libc.open(os.fsencode(outside / "decoy.h5"), os.O_RDONLY))
        case "writes":
            (path / "new").write_text("x")
        case "removes":
            (path / "file").unlink()
        case "runs a program":
            subprocess.run(["true"], check=True)
        case "runs a pickle":
            pickle.loads(b"cposix\nsystem\n(S'true'\ntR.")
        case "connects":
            with contextlib.suppress(OSError), socket.socket() as connection:
                connection.connect(("127.0.0.1", 9))
        case "takes long":
            while True:
                pass
        case "takes memory":
            bytearray(300_000_000)
        case "raises":
            raise KeyError("x")
        case "crashes":
            os.abort()
        case "talks":
            raise CheckpointError(f"{path} " + "x" * 5000)
