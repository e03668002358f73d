"""Programs that are measured side by side: each in a process of its own, in turns, with ratios round by round."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import statistics
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

PROBLEM_LENGTH = 300
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16")
CAN_STOP = hasattr(os, "killpg") and hasattr(signal, "SIGSTOP")  # not on Windows


@dataclass(frozen=True)
class Spread:
    """Median, smallest and largest of a ratio or a speed over all rounds."""

    median: float
    smallest: float
    largest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Return the spread of some numbers."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.smallest:.2f} to {self.largest:.2f})"


class Worker:
    """A process that answers each line of JSON with a line of JSON. Between its turns it is stopped.

    A signal stops it, because the threads of some libraries wait by spinning.

    Args:
        words: The command.
        environment: Environment variables, in place of those of this process.
        job: First line to send; None: the process answers without one.
        patience: Seconds to wait for the first answer; then the process is killed. None: no limit.

    Attributes:
        started: The first answer; {'problem': ...} if the process ended instead.
    """

    def __init__(
        self,
        words: Sequence[str],
        environment: Mapping[str, str] | None = None,
        job: Any = None,
        patience: float | None = None,
    ):
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115  closed on exit
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            encoding="utf-8",
            env=None if environment is None else dict(environment),
            start_new_session=True,  # so that signals also reach the processes that it starts
        )
        self.is_late = False
        timer = None if patience is None else threading.Timer(patience, self._end)
        if timer is not None:
            timer.start()
        self.started = self._answer() if job is None else self.turn(job)
        if timer is not None:
            if self.is_late:
                self.started = {"problem": f"it took longer than {patience:.0f} s to start"}
            timer.cancel()

    def turn(self, message: Any) -> dict[str, Any]:
        """Send a line, and return the answer; {'problem': ...} if the process ends instead."""
        assert self.process.stdin is not None
        self._signal("SIGCONT")
        with suppress(BrokenPipeError):  # the process has ended; its errors say why
            print(json.dumps(message), file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            return {"problem": f"failed: {self._reason()}"}
        self._signal("SIGSTOP")
        return json.loads(line)

    def _signal(self, name: str) -> None:
        if CAN_STOP and self.process.poll() is None:
            os.killpg(self.process.pid, getattr(signal, name))

    def _end(self) -> None:
        self.is_late = True
        self._kill()

    def _kill(self) -> None:
        if CAN_STOP:
            self._signal("SIGKILL")
        elif self.process.poll() is None:
            self.process.kill()

    def _reason(self) -> str:
        """Return the error that ended the process, in one line."""
        status = self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().strip().splitlines() or [f"exit status {status}"]
        errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception): ", line)]  # advice may follow
        return f"signal {-status}" if status < 0 else (errors or lines)[-1][:PROBLEM_LENGTH]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._kill()
        for file in (self.process.stdin, self.process.stdout, self.errors):
            with suppress(BrokenPipeError):  # of a line that the process did not read
                file.close()  # type: ignore[union-attr]
        self.process.wait()


def machine() -> dict[str, Any]:
    """Return a description of the machine: processor, cores, instruction sets, system and Python."""
    lines = _cpu_lines()
    flags = " ".join(line for line in lines if line.startswith(("flags", "Features"))).split()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    return {
        "cpu": model or platform.processor(),
        "cores": os.cpu_count(),
        "instructions": [flag for flag in INSTRUCTIONS if flag in flags],
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
