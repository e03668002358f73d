from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from distilbert_core.files import locks
from distilbert_core.files.locks import Lock

HOLDER = """
import sys, time
from distilbert_core.files.locks import Lock
lock = Lock(sys.argv[1])
print(lock.is_held, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_one_holder_at_a_time(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    path.mkdir() if kind == "folder" else path.touch()
    with Lock(path) as lock:
        assert lock.is_held
        with pytest.raises(BlockingIOError):
            Lock(path, patience=0.02)
    assert not lock.is_held
    Lock(path).release()
    assert list(tmp_path.iterdir()) == [path]


def test_waiting_for_another_thread(tmp_path: Path) -> None:
    lock = Lock(tmp_path)
    threading.Timer(0.05, lock.release).start()
    assert Lock(tmp_path, patience=30).is_held


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "True\n"
        with pytest.raises(BlockingIOError):
            Lock(tmp_path)
        process.send_signal(signal.SIGKILL)
    assert Lock(tmp_path, patience=5).is_held


def test_a_folder_that_was_replaced(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    lock = Lock(path)
    assert lock.is_of(path)
    path.rename(tmp_path / "moved")
    assert not lock.is_of(path)
    path.mkdir()
    assert not lock.is_of(path)
    with pytest.raises(FileNotFoundError):
        Lock(tmp_path / "missing")


def test_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "fcntl", None)
    with Lock(tmp_path) as lock, Lock(tmp_path) as second:
        assert not lock.is_held
        assert not second.is_held
        assert lock.is_of(tmp_path)
