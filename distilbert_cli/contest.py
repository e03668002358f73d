"""The contestants of `distilbert bench`: backends, runtimes and dtypes that take turns on the same texts."""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import distilbert_core
from distilbert_cli.turns import Spread, Worker
from distilbert_core.model.backends import BACKENDS, EXPORTED
from distilbert_core.model.runtimes import ONNX_FILE, RUNTIMES, Runtime
from distilbert_core.pipelines.measuring import Job

ONNX = "onnx"  # the format of an exported model
SAME = 2e-4  # largest difference of outputs that is rounding of float32, relative to the largest output
PATIENCE, LEAST_PATIENCE = 20, 120.0  # a start may take as many times as long as the first one's; seconds
SLOW = 4  # a contestant that is this many times as slow as the best in both measures has one turn only
PACKAGES = Path(distilbert_core.__file__).parents[1]
WORKER = (sys.executable, "-P", str(PACKAGES / "distilbert_core" / "pipelines" / "measuring.py"))

Advance = Callable[[float], None]


@dataclass(frozen=True)
class Contestant:
    """A way to run a model.

    Attributes:
        backend: Backend or runtime.
        dtype: Dtype of the computation.
        model: Folder, embedded model or Hub id; None: the model, exported to ONNX for this comparison.
        label: Part of the name that tells exported models apart.
    """

    backend: str
    dtype: str
    model: str | None
    label: str = ""

    @property
    def name(self) -> str:
        """Name in the table: 'pt float32'."""
        return " ".join(filter(None, (self.backend, self.dtype, self.label)))


@dataclass
class Result:
    """The measurements of a contestant. The lists have one entry per turn.

    Attributes:
        contestant: The contestant.
        first: Seconds until all texts were computed once, with loading and compilation.
        speeds: Texts per second in batches.
        latencies: Seconds of each text that was computed by itself.
        peak: Maximum memory in bytes; None if the system does not tell.
        difference: Largest difference of an output to the reference.
        relative: The same, divided by the largest output of the reference.
        changed: Number of texts for which the best label differs from the reference's; None for vectors.
        problem: The reason why it could not be measured, or None.
    """

    contestant: Contestant
    first: float = 0.0
    speeds: list[float] = field(default_factory=list)
    latencies: list[list[float]] = field(default_factory=list)
    peak: int | None = None
    difference: float = 0.0
    relative: float = 0.0
    changed: int | None = None
    problem: str | None = None

    @property
    def name(self) -> str:
        """Name of the contestant."""
        return self.contestant.name

    @property
    def rounds_off(self) -> bool:
        """Whether the outputs differ from the reference by more than the rounding of float32."""
        return self.relative > SAME

    @property
    def medians(self) -> list[float]:
        """Median latency of each turn, in seconds."""
        return [statistics.median(turn) for turn in self.latencies]

    def percentile(self, percent: float) -> float:
        """Return a percentile of the latencies of all turns, in seconds."""
        return float(np.percentile(np.concatenate(self.latencies), percent))

    def rates(self, goal: str) -> list[float]:
        """Return how fast it was in each turn: texts per second, in 'batches' or of a 'single' text at a time."""
        return self.speeds if goal == "batches" else [1 / seconds for seconds in self.medians]

    def times_as_fast(self, other: Result, goal: str) -> Spread:
        """Return how many times as fast as another result this one is, in the turns that both had."""
        pairs = zip(self.rates(goal), other.rates(goal), strict=False)
        return Spread.of([own / theirs for own, theirs in pairs])

    def note(self, answer: Mapping[str, Any]) -> None:
        """Note the measurements of a turn."""
        self.problem = answer.get("problem")
        if self.problem is None:
            self.speeds.append(answer["texts_per_second"])
            self.latencies.append(answer["latencies"])
            self.peak = answer["peak_bytes"]

    def compare(self, outputs: Sequence[Any], reference: Sequence[Any], labels: bool) -> None:
        """Note the differences of the outputs of all texts to those of the reference.

        Args:
            outputs: An array for each text, perhaps as nested lists.
            reference: The same of the reference.
            labels: Whether the last axis of the outputs has labels.
        """
        pairs = [(np.asarray(own), np.asarray(true)) for own, true in zip(outputs, reference, strict=True)]
        if any(own.shape != true.shape for own, true in pairs):
            self.problem = "its outputs have other shapes than the reference's: is it the same model and tokenizer?"
            return
        self.difference = max(float(abs(own - true).max()) for own, true in pairs)
        self.relative = self.difference / max(float(abs(true).max()) for _, true in pairs)
        if labels:
            self.changed = sum(bool((own.argmax(-1) != true.argmax(-1)).any()) for own, true in pairs)


# -- which contestants there are --------------------------------------------------------------------------------------


def list_contestants(
    backends: Sequence[str], dtypes: Sequence[str], model: str, has_export: bool, exported: Sequence[str]
) -> list[Contestant]:
    """Return the contestants.

    Args:
        backends: Backends and runtimes.
        dtypes: Dtypes. The runtimes do not have all of them.
        model: Folder, embedded model or Hub id.
        has_export: Whether the model is an exported one.
        exported: Further folders of exported models.

    Example:
        >>> from distilbert_cli.contest import list_contestants
        >>> [one.name for one in list_contestants(["pt", "onnx"], ["float32", "bfloat16"], "m", False, ["./int8"])]
        ['pt float32', 'pt bfloat16', 'onnx float32', 'onnx float32 ./int8']
    """
    found = [Contestant(backend, dtype, model) for backend in backends if backend in BACKENDS for dtype in dtypes]
    folders = [(model if has_export else None, ""), *((folder, folder) for folder in exported)]
    return found + [
        Contestant(backend, dtype, folder, label)
        for folder, label in folders
        for backend in backends
        if backend in EXPORTED and _has_files(RUNTIMES[backend], folder)
        for dtype in dtypes
        if dtype in RUNTIMES[backend].dtypes
    ]


def _has_files(runtime: Runtime, folder: str | None) -> bool:
    """Return False if a local folder has no file for a runtime; None is the folder that is exported to ONNX."""
    if folder is None:
        return (ONNX_FILE,) in runtime.files
    return not Path(folder).is_dir() or any(Path(folder, group[0]).is_file() for group in runtime.files)


def missing_library(backend: str) -> str | None:
    """Return what is not installed for a backend or runtime, with the command that installs it; None if nothing."""
    if backend in BACKENDS:
        row = BACKENDS[backend]
        return f"not installed: {row.install_command}" if row.missing else None
    runtime = RUNTIMES[backend]
    package = runtime.module.partition(".")[0]
    return None if importlib.util.find_spec(package) else f'not installed: pip install "distilbert[{runtime.extra}]"'


# -- the contest ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contest:
    """A comparison of contestants.

    Attributes:
        job: The job of all contestants; each has its own model, framework and dtype.
        rounds: Number of turns.
        seconds: Minimum duration of each half of a turn.
        export: Words of the command line that exports the model, without the folder; None: it need not be exported.
    """

    job: Job
    rounds: int
    seconds: float
    export: tuple[str, ...] | None

    def steps(self, contestants: Sequence[Contestant]) -> int:
        """Return the number of steps that `run` reports."""
        return len(contestants) * (1 + self.rounds) + 2

    def run(
        self, contestants: Sequence[Contestant], advance: Advance, warn: Callable[[str], None]
    ) -> tuple[list[Result], str | None]:
        """Let the contestants take turns.

        Args:
            contestants: The contestants.
            advance: Is called with the number of steps done.
            warn: Is called with each warning of a contestant, once.

        Returns:
            A result for each contestant, and the name of the reference, to whose outputs all are compared: the first
            backend in float64, or the first contestant in float32; None if nothing could be measured.
        """
        results = [Result(one, problem=missing_library(one.backend)) for one in contestants]
        with ExitStack() as stack:
            folder = stack.enter_context(self._exported(results))
            advance(1)
            reference = self._reference(results)
            advance(1)
            workers: list[tuple[Result, Worker]] = []
            warnings: set[str] = set()
            for result in results:
                if result.problem is None:
                    patience = max(LEAST_PATIENCE, PATIENCE * workers[0][0].first) if workers else None
                    worker = stack.enter_context(self._start(result.contestant, folder, patience))
                    reference = self._note_start(result, worker.started, reference)
                    new = set(worker.started.get("warnings", ())) - warnings
                    warnings |= new
                    for message in sorted(new):
                        warn(message)
                    if result.problem is None:
                        workers.append((result, worker))
                    else:
                        worker.__exit__()
                advance(1)
            for _ in range(self.rounds):
                slow = [result.name for result, _ in workers if _is_slow(result, [other for other, _ in workers])]
                for result, worker in workers:
                    if result.problem is None and result.name not in slow:
                        result.note(worker.turn(self.seconds))
                    advance(1)
        return results, None if reference is None else reference[0]

    def _start(self, contestant: Contestant, folder: Path | None, patience: float | None = None) -> Worker:
        job = replace(
            self.job,
            model=str(folder) if contestant.model is None else contestant.model,
            framework=contestant.backend,
            dtype=contestant.dtype,
            revision=self.job.revision if contestant.model == self.job.model else None,
        )
        return Worker(WORKER, worker_environment(), vars(job), patience)

    @contextmanager
    def _exported(self, results: Sequence[Result]) -> Iterator[Path | None]:
        """Context manager: export the model if a contestant needs it, and yield its folder."""
        waiting = [result for result in results if result.contestant.model is None and result.problem is None]
        if not waiting or self.export is None:
            yield None
            return
        with TemporaryDirectory() as place:
            folder = Path(place, ONNX)
            words = [sys.executable, "-P", "-m", "distilbert_cli", *self.export, str(folder)]
            done = subprocess.run(words, env=worker_environment(), capture_output=True, text=True, check=False)
            if done.returncode:
                reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
                for result in waiting:
                    result.problem = f"the model cannot be exported: {reason.removeprefix('distilbert: error: ')}"
            yield folder

    def _reference(self, results: Sequence[Result]) -> tuple[str, list[Any]] | None:
        """Return the first backend in float64, and its outputs; None if no backend gives them."""
        first = next(
            (one.contestant for one in results if not one.problem and one.contestant.backend in BACKENDS), None
        )
        if first is None:
            return None
        exact = replace(first, dtype="float64")
        with self._start(exact, None) as worker:
            return None if "problem" in worker.started else (exact.name, worker.started["outputs"])

    def _note_start(
        self, result: Result, started: Mapping[str, Any], reference: tuple[str, list[Any]] | None
    ) -> tuple[str, list[Any]] | None:
        """Note the first answer of a contestant, and return the reference, which it becomes if there is none yet."""
        result.problem = started.get("problem")
        if result.problem is not None:
            return reference
        result.first = started["first"]
        if reference is None:
            if result.contestant.dtype != "float32":
                result.problem = "there is no contestant in float32 before it, to compare it with"
                return None
            reference = result.name, started["outputs"]
        result.compare(started["outputs"], reference[1], labels=self.job.task != "feature-extraction")
        return reference


def worker_environment() -> dict[str, str]:
    """Return the environment variables of a process that imports these packages, and no others from where it runs."""
    paths = [str(PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _is_slow(result: Result, others: Sequence[Result]) -> bool:
    """Return whether a contestant need not have further turns: after its first, it is far behind in both measures."""
    fastest = {goal: max((one.rates(goal)[0] for one in others if one.speeds), default=0.0) for goal in GOALS}
    return bool(result.speeds) and all(SLOW * result.rates(goal)[0] < fastest[goal] for goal in GOALS)


# -- the best choice --------------------------------------------------------------------------------------------------

GOALS = ("batches", "single")


@dataclass(frozen=True)
class Choice:
    """The best contestant for a goal.

    Attributes:
        goal: One of `GOALS`.
        result: The contestant.
        equal: Contestants that were as fast in at least one turn.
        gain: How many times as fast it is as the best one that computes in float32, for a choice with rounded numbers;
            else None.
    """

    goal: str
    result: Result
    equal: tuple[Result, ...] = ()
    gain: Spread | None = None


def choose(results: Sequence[Result]) -> list[Choice]:
    """Return the best contestant for each goal; and one with rounded numbers, if it was faster in every turn.

    Args:
        results: Results without a problem.
    """
    choices = []
    for goal in GOALS:

        def speed(result: Result, goal: str = goal) -> float:
            return statistics.median(result.rates(goal))

        exact = [result for result in results if not result.rounds_off] or list(results)
        best = max(exact, key=speed)
        equal = [one for one in exact if one is not best and best.times_as_fast(one, goal).smallest <= 1]
        choices.append(Choice(goal, best, tuple(equal)))
        rounded = max((result for result in results if result not in exact), key=speed, default=None)
        if rounded is not None:
            gain = rounded.times_as_fast(best, goal)
            if gain.smallest > 1:
                choices.append(Choice(goal, rounded, gain=gain))
    return choices
