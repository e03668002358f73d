"""Runs one contestant of a benchmark in a process of its own, and reports how long it takes.

    PYTHON benchmarks/worker.py FILE NAME JOB

FILE contains a table CONTESTANTS, NAME is one of them, and JOB is the argument of its `start`, as JSON. Each line of
standard input is a number of repetitions, and the answer is one line of JSON. This file needs only NumPy.

On a machine that other programs use too, BENCHMARK_CLOCK=processor measures the processor time of all threads, instead
of the time that passes. With one thread, the two are nearly the same on a quiet machine.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import runpy
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CLOCK = time.process_time if os.environ.get("BENCHMARK_CLOCK") == "processor" else time.perf_counter
Repetition = Callable[[], Any]  # does the work once, and returns numbers to check; `note`, if any, says how


@dataclass(frozen=True)
class Contestant:
    """One of the programs that a benchmark compares.

    Attributes:
        start: Function from a job to a repetition of the work; it imports the framework.
        needs: Modules that it imports, with the major version if it matters: ('transformers 4', 'jax').
        environment: Name of the Python environment that runs it; see `--python`.
    """

    start: Callable[[dict[str, Any]], Repetition]
    needs: tuple[str, ...]
    environment: str = "ours"


def missing(needs: tuple[str, ...]) -> list[str]:
    """Return the needs of a contestant that are not installed in this environment."""

    def installed(module: str, major: str = "") -> bool:
        found = importlib.util.find_spec(module) is not None
        return found and (not major or importlib.metadata.version(module).split(".")[0] == major)

    return [need for need in needs if not installed(*need.split())]


def memory(field: str) -> int:
    """Return the memory of this process in bytes: 'VmRSS' is the current value, 'VmHWM' the maximum."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024


def timed(repetition: Callable[[], Any]) -> tuple[float, Any]:
    """Return the duration of a call in seconds, and its result."""
    start = CLOCK()
    value = repetition()
    return CLOCK() - start, value


def serve(contestant: Contestant, job: dict[str, Any]) -> None:
    """Report the start, and then answer each line of standard input."""
    # Messages of libraries go to standard error, so that they do not mix with the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(**fields: Any) -> None:
        print(json.dumps(fields), file=answers, flush=True)

    lacking = missing(contestant.needs)
    if lacking:
        answer(problem=f"{', '.join(lacking)} not installed")
        return
    first, repetition = timed(lambda: contestant.start(job))
    first += timed(repetition)[0]
    seconds, value = timed(repetition)  # without compilation, so as long as all later repetitions
    modules = [need.split()[0] for need in contestant.needs]
    versions = {module: str(getattr(sys.modules.get(module), "__version__", "")) for module in modules}
    note = getattr(repetition, "note", "")
    answer(first=first, seconds=seconds, value=as_list(value), versions=versions, note=note)
    for line in sys.stdin:
        times, values = zip(*(timed(repetition) for _ in range(int(line))), strict=True)
        answer(seconds=times, value=as_list(values[-1]), memory=memory("VmRSS"), peak=memory("VmHWM"))


def as_list(value: Any) -> Any:
    """Return numbers as lists that JSON can write."""
    return np.asarray(value).astype(np.float64).tolist()


if __name__ == "__main__":
    sys.modules["worker"] = sys.modules["__main__"]  # so that the file imports this very Contestant
    file, name, job = sys.argv[1:]
    # Some libraries use all visible cores and have no setting for the number of threads.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(os.environ["OMP_NUM_THREADS"])])
    serve(runpy.run_path(file)["CONTESTANTS"][name], json.loads(job))
