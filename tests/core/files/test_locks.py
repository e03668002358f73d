from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from distilbert_core.errors import InputError
from distilbert_core.files import locks
from distilbert_core.files.locks import Lock, owned

HOLDER = """
import sys, time
from distilbert_core.files.locks import Lock, owned
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


# -- the owner of a folder --------------------------------------------------------------------------------------


def test_a_folder_has_one_owner(tmp_path: Path) -> None:
    folder = tmp_path / "output" / "training"
    with owned(folder, folder.parent):
        assert (folder / ".lock").read_text() == str(os.getpid())
        expected = rf"output is in use by process {os.getpid()}: wait .*, or give another"
        with pytest.raises(InputError, match=expected), owned(folder, folder.parent):
            pass
    assert not folder.exists()
    folder.mkdir()
    (folder / "file").touch()
    with owned(folder):
        pass
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_the_folder_of_a_killed_owner_is_taken_over(tmp_path: Path) -> None:
    code = "import sys, time; from pathlib import Path; from distilbert_core.files.locks import owned\n"
    code += "with owned(Path(sys.argv[1])):\n    print('mine', flush=True)\n    time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "mine\n"
        with pytest.raises(InputError, match=f"is in use by process {process.pid}: "), owned(tmp_path):
            pass
        process.kill()
    assert (tmp_path / ".lock").exists()
    with owned(tmp_path):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())
    assert not (tmp_path / ".lock").exists()


@pytest.mark.parametrize("with_locks", [True, False])
def test_an_owner_waits_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_locks: bool) -> None:
    if not with_locks:
        monkeypatch.setattr(locks, "fcntl", None)
    first = owned(tmp_path)
    first.__enter__()
    with pytest.raises(InputError, match=f"^the cache is in use by process {os.getpid()}: "):
        owned(tmp_path, "the cache", patience=0.02).__enter__()
    threading.Timer(0.05, first.__exit__, (None, None, None)).start()
    with owned(tmp_path, patience=30):
        assert (tmp_path / ".lock").read_text() == str(os.getpid())


@pytest.mark.parametrize("content", ["", "no number", "99999999999999", "4194305"])
def test_without_locks_the_process_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setattr(locks, "fcntl", None)
    (tmp_path / ".lock").write_text(content)  # no process has such an id
    with owned(tmp_path), pytest.raises(InputError, match=f"is in use by process {os.getpid()}: "), owned(tmp_path):
        pass


def test_threads_take_turns(tmp_path: Path) -> None:
    inside: list[int] = []
    turns: list[int] = []

    def take(number: int) -> None:
        while len(turns) < 40:
            with contextlib.suppress(InputError), owned(tmp_path / "folder"):
                inside.append(number)
                turns.append(len(inside))
                inside.remove(number)

    threads = [threading.Thread(target=take, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert set(turns) == {1}
    assert not (tmp_path / "folder").exists()
