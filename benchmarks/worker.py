"""One contestant of a benchmark in a process of its own: told through a pipe to run, it answers how long that took.

    PYTHON benchmarks/worker.py FILE NAME JOB

FILE has a table CONTESTANTS, NAME is one of them, JOB is JSON that its `start` is called with. Then each line of
standard input is a number of repetitions, and is answered with a line of JSON. Runs in any environment with NumPy.
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

Run = Callable[[], Any]  # does the work once and returns numbers that can be checked


@dataclass(frozen=True)
class Contestant:
    """Something to measure.

    Attributes:
        start: Makes what is run from a job; frameworks are imported in it.
        needs: Modules it imports, each with the major version if that matters: ('transformers 4', 'jax').
        environment: Which Python runs it, by the name that the command line gives it.
    """

    start: Callable[[dict[str, Any]], Run]
    needs: tuple[str, ...]
    environment: str = "ours"


def missing(needs: tuple[str, ...]) -> list[str]:
    """Return what of a contestant's needs is not installed here."""

    def installed(module: str, major: str = "") -> bool:
        found = importlib.util.find_spec(module) is not None
        return found and (not major or importlib.metadata.version(module).split(".")[0] == major)

    return [need for need in needs if not installed(*need.split())]


def memory(field: str) -> int:
    """Return bytes of memory of this process: 'VmRSS' now, 'VmHWM' at most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024


def timed(run: Run) -> tuple[float, Any]:
    """Return the seconds of a run, and what it returned."""
    start = time.perf_counter()
    value = run()
    return time.perf_counter() - start, value


def serve(contestant: Contestant, job: dict[str, Any]) -> None:
    """Answer how starting went, then each line of standard input until there is none."""
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(**fields: Any) -> None:
        print(json.dumps(fields), file=answers, flush=True)

    lacking = missing(contestant.needs)
    if lacking:
        answer(problem=f"{', '.join(lacking)} not installed")
        return
    first, run = timed(lambda: contestant.start(job))
    first += timed(run)[0]
    seconds, value = timed(run)  # as long as all later ones: what is made or compiled once is there
    modules = [need.split()[0] for need in contestant.needs]
    versions = {module: str(getattr(sys.modules.get(module), "__version__", "")) for module in modules}
    answer(first=first, seconds=seconds, value=as_list(value), versions=versions)
    for line in sys.stdin:
        times, values = zip(*(timed(run) for _ in range(int(line))), strict=True)
        answer(seconds=times, value=as_list(values[-1]), memory=memory("VmRSS"), peak=memory("VmHWM"))


def as_list(value: Any) -> Any:
    """Return numbers of any kind as JSON has them."""
    return np.asarray(value).astype(np.float64).tolist()


if __name__ == "__main__":
    sys.modules["worker"] = sys.modules["__main__"]  # the file's Contestant is this one
    file, name, job = sys.argv[1:]
    # Only so many cores are seen by the libraries that do not ask for a number of threads.
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(os.environ["OMP_NUM_THREADS"])])
    serve(runpy.run_path(file)["CONTESTANTS"][name], json.loads(job))
