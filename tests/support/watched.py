"""Opens checkpoints in a child process that is watched: what it opens, writes and runs, its time and its memory."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.paths import TESTS

SECONDS = 5  # of processor time for one checkpoint
SPARE = 200_000_000  # bytes that it may take beside four times its size
LONGEST = 1000  # characters of a message
PATIENCE = 300  # seconds without an answer, after which the child hangs; it may be paused for a while

READ, WRITE = ("open", "os.listdir", "os.scandir"), ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link")
CHANGES = (*WRITE, "os.symlink", "os.truncate", "os.chmod", "os.chown", "os.utime", "shutil.rmtree", "shutil.move")
RUNS = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.startfile", "socket.")
LOADS = ("pickle.find_class", "ctypes.dlopen", "webbrowser.", "urllib.", "http.", "ftplib.")


@dataclass(frozen=True)
class Outcome:
    """What became of a checkpoint.

    Attributes:
        name: Name of the mutation.
        kind: 'loads', 'error', 'raw error', 'killed' (time), 'crash' or 'hang'.
        message: Message of the error.
        seconds: Processor time.
        memory: Bytes of the process at its peak, beyond those before.
        size: Bytes of the checkpoint.
        events: Forbidden things that it did.
    """

    name: str
    kind: str
    message: str = ""
    seconds: float = 0.0
    memory: int = 0
    size: int = 0
    events: tuple[str, ...] = ()

    @property
    def faults(self) -> list[str]:
        """What is wrong with the outcome, in words."""
        faults = [] if self.kind in ("loads", "error") else [self.kind]
        if len(self.message) > LONGEST:
            faults.append(f"a message of {len(self.message)} characters")
        if self.seconds > SECONDS:
            faults.append(f"{self.seconds:.1f} s")
        if self.memory > 4 * self.size + SPARE:
            faults.append(f"{self.memory:,} bytes for a file of {self.size:,}")
        if "MemoryError" in self.message or "nable to allocate" in self.message:
            faults.append("the memory was full")
        return [*faults, *self.events]


def size_of(path: Path) -> int:
    """Return the bytes of a checkpoint. Links do not count."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.lstat().st_size for file in files)


def outcomes(cases: Iterable[tuple[str, Path]], readers: str, seconds: int = 2 * SECONDS) -> Iterator[Outcome]:
    """Yield the outcome of each checkpoint.

    Args:
        cases: Names and checkpoints; the next one is asked for when the previous one has been read.
        readers: A function (path, empty folder) that opens and reads a checkpoint, as 'module:function'.
        seconds: Processor time after which the child is killed.
    """
    child = None
    try:
        for name, path in cases:
            if child is None or child.poll() is not None:
                _stop(child)
                child = _start(readers, seconds)
            assert child.stdin is not None
            child.stdin.write(json.dumps({"path": str(path), "size": size_of(path)}) + "\n")
            child.stdin.flush()
            yield _answer(child, name)
    finally:
        _stop(child)


def _stop(child: subprocess.Popen[str] | None) -> None:
    if child is not None:
        child.kill()
        child.communicate()


def _start(readers: str, seconds: int) -> subprocess.Popen[str]:
    settings = {"HF_HUB_OFFLINE": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(
        [sys.executable, str(TESTS / "support/watched.py"), readers, str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **settings},
        text=True,
    )


def _answer(child: subprocess.Popen[str], name: str) -> Outcome:
    assert child.stdout is not None
    while True:
        if not select.select([child.stdout], [], [], PATIENCE)[0]:
            child.kill()
            return Outcome(name, "hang")
        line = child.stdout.readline()
        if line.startswith("{"):
            record = json.loads(line)
            return Outcome(name, **{**record, "events": tuple(record["events"])})
        if not line:
            code = child.wait()
            return Outcome(name, "killed" if code == -signal.SIGPROF else f"crash: {code}")


# -- in the child -----------------------------------------------------------------------------------------------


class Watch:
    """Records forbidden events of the interpreter, and every access to a folder by any library of the process."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.readable: tuple[str, ...] = ()
        self.writable: tuple[str, ...] = ()
        self.active = False
        libc = ctypes.CDLL(None, use_errno=True)
        self._notify, self._add, self._remove = libc.inotify_init1, libc.inotify_add_watch, libc.inotify_rm_watch
        self._descriptor = self._notify(os.O_NONBLOCK)
        code = [sys.prefix, sys.base_prefix, str(TESTS.parent), os.path.dirname(os.__file__)]
        self._code = tuple(os.path.realpath(folder) + os.sep for folder in code)
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active:
            return
        self.active = False  # what this function does is not recorded
        try:
            self._check(event, arguments)
        except Exception as error:
            self.events.append(f"{event} {arguments!r:.200} ({error!r})")
        finally:
            self.active = True

    def _check(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith((*RUNS, *LOADS)):
            self.events.append(f"{event} {arguments!r:.200}")
        elif event == "exec":
            file = getattr(arguments[0], "co_filename", "?")
            if not file.startswith("<frozen") and not os.path.realpath(file).startswith(self._code):
                self.events.append(f"exec {file}")
        elif event in READ or event in CHANGES:
            path = arguments[0]
            if isinstance(path, int) or path is None:
                return
            writes = event in CHANGES or (event == "open" and self._is_writing(*arguments[1:]))
            folder = arguments[-1] if event in ("os.remove", "os.rmdir", "os.mkdir") else -1
            base = os.readlink(f"/proc/self/fd/{folder}") if isinstance(folder, int) and folder >= 0 else ""
            real = os.path.realpath(os.path.join(base, os.fsdecode(path)))
            allowed = self.writable if writes else (*self.readable, *self.writable, *self._code, "/proc/", "/sys/")
            if not (real + os.sep).startswith(allowed) and real not in ("/dev/null", "/dev/urandom"):
                self.events.append(f"{'changes' if writes else 'reads'} {real} ({event})")

    @staticmethod
    def _is_writing(mode: Any, flags: Any) -> bool:
        if isinstance(mode, str):
            return any(letter in mode for letter in "wax+")
        return bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))

    def run(self, path: Path, scratch: Path, function: Callable[[], None]) -> list[str]:
        """Call a function that may read below `path`, and write below `scratch`; return what else it did."""
        folder = path if path.is_dir() else path.parent
        outside = folder.parent / "outside"
        self.events = []
        self.readable = (os.path.realpath(folder) + os.sep,)
        self.writable = (os.path.realpath(scratch) + os.sep,)
        tempfile.tempdir = str(scratch)
        watched = self._add(self._descriptor, os.fsencode(outside), 0xFFF & ~0x18 | 0x20) if outside.is_dir() else -1
        self.active = True
        try:
            function()
        finally:
            self.active = False
            if watched >= 0:
                self.events += self._accesses()
                self._remove(self._descriptor, watched)
                self._accesses()
        return self.events

    def _accesses(self) -> list[str]:
        """Return the accesses to the watched folder, by the kernel's own record."""
        try:
            content = os.read(self._descriptor, 65536)
        except BlockingIOError:
            return []
        names = []
        while content:
            _, mask, _, length = struct.unpack_from("iIII", content)
            if not mask & 0x8000:  # the watch has ended
                names.append(content[16 : 16 + length].rstrip(b"\0").decode())
            content = content[16 + length :]
        return [f"opens {name or 'the folder'} outside of the checkpoint" for name in sorted(set(names))]


def _status(field: str) -> int:
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{field}:")[1].split()[0]) * 1024


def _one(watch: Watch, reader: Callable[[Path, Path], None], path: Path, size: int, seconds: int) -> dict[str, Any]:
    """Read a checkpoint and return the record of an `Outcome`."""
    from distilbert_core.errors import DistilBertError

    record: dict[str, Any] = {"kind": "loads", "message": "", "size": size}

    def read() -> None:
        try:
            reader(path, scratch)
        except DistilBertError as error:
            record.update(kind="error", message=str(error))
            named = {str(path), path.name, *(file.name for file in path.rglob("*"))} if path.is_dir() else {path.name}
            if not any(name in str(error) for name in named):
                record["kind"] = "an error that does not name the file"
        except BaseException as error:
            record.update(kind=f"raw error: {type(error).__name__}", message=f"{error}"[:LONGEST])

    scratch = Path(tempfile.mkdtemp(prefix="scratch-"))
    try:
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
        before, space = _status("VmRSS"), _status("VmSize")
        resource.setrlimit(resource.RLIMIT_AS, (space + 4 * size + 10 * SPARE, resource.RLIM_INFINITY))
        used = sum(os.times()[:2])
        signal.setitimer(signal.ITIMER_PROF, seconds)  # kills the process
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            events = watch.run(path, scratch, read)
        signal.setitimer(signal.ITIMER_PROF, 0)
        record |= {"seconds": sum(os.times()[:2]) - used, "memory": _status("VmHWM") - before, "events": events}
    finally:
        tempfile.tempdir = None
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        shutil.rmtree(scratch)
    return record


def main() -> None:
    """Read names of checkpoints from standard input, and answer each with a line of JSON."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not be taken for an answer
    module, _, function = sys.argv[1].partition(":")
    reader = getattr(__import__(module, fromlist=[function]), function)
    watch = Watch()
    for line in sys.stdin:
        case = json.loads(line)
        record = _one(watch, reader, Path(case["path"]), case["size"], int(sys.argv[2]))
        answers.write(json.dumps(record) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
