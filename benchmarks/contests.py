"""Shared by the benchmarks of speed: contestants that take turns, ratios with their spread, tables, JSON and plots.

Each contestant runs in a process of its own (worker.py), perhaps in another Python environment. All processes are
started, and then take turns, round by round, so that a change in the speed of the machine affects all of them. A signal
stops the processes that are waiting, because the threads of some libraries wait by spinning. A ratio compares two turns
of the same round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from worker import Contestant

SIZES: dict[str, dict[str, Any]] = {  # fields of the configuration
    "base": {},
    "tiny": {"n_layers": 2, "n_heads": 2, "dim": 32, "hidden_dim": 64, "initializer_range": 0.1},
}
MOST_REPETITIONS = 200
TABLE_WIDTH = 150
PROBLEM_LENGTH = 160


@dataclass
class Measured:
    """The measurements of a contestant. Each list has one entry per round.

    Attributes:
        name: Name of the contestant.
        first: Seconds until the first result, with loading and compilation.
        seconds: Median over the repetitions of a turn.
        values: Result of the last repetition.
        memory: Memory after the turn, in bytes.
        peak: Maximum memory, in bytes.
        versions: Versions of its libraries.
        problem: The reason why it could not be measured, or None.
    """

    name: str
    first: float = 0.0
    seconds: list[float] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    peak: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    problem: str | None = None


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


def speeds(measured: Measured, units: float) -> Spread:
    """Return units of work per second, where a repetition does `units` of them."""
    return Spread.of([units / seconds for seconds in measured.seconds])


def ratio_of_speeds(ours: Measured, peer: Measured) -> Spread:
    """Return how many times as fast as the peer our contestant is, round by round."""
    return Spread.of([theirs / own for own, theirs in zip(ours.seconds, peer.seconds, strict=True)])


Panels = Mapping[str, Mapping[str, Spread]]  # title -> contestant -> speed


class Worker:
    """The process of a contestant. It is stopped, except while it starts and during its turns."""

    def __init__(self, python: str, file: str, name: str, job: Mapping[str, Any], threads: int):
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "CUDA_VISIBLE_DEVICES": "",  # all contestants run on the CPU
            "JAX_PLATFORMS": "cpu",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "HF_HUB_OFFLINE": "1",
        }
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed on exit
        self.process = subprocess.Popen(
            [python, str(Path(__file__).with_name("worker.py")), file, name, json.dumps(job)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            env=environment,
            start_new_session=True,  # so that signals also reach the processes that it starts
        )
        self.started = self._answer()

    def turn(self, repetitions: int) -> dict[str, Any]:
        """Run a number of repetitions, and return the answer."""
        assert self.process.stdin is not None
        os.killpg(self.process.pid, signal.SIGCONT)
        print(repetitions, file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.errors.seek(0)
            lines = self.errors.read().strip().splitlines() or [f"exit status {self.process.returncode}"]
            errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception): ", line)]  # advice may follow
            return {"problem": f"failed: {(errors or lines)[-1][:PROBLEM_LENGTH]}"}
        os.killpg(self.process.pid, signal.SIGSTOP)
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        for file in (self.process.stdin, self.process.stdout, self.errors):
            file.close()
        self.process.wait()


@dataclass(frozen=True)
class Contest:
    """A comparison of contestants.

    Attributes:
        file: File with the table CONTESTANTS.
        contestants: This table.
        pythons: Path of the Python of each environment; the running Python is used for other environments.
        threads: Number of threads of each contestant.
        rounds: Number of turns of each contestant.
        seconds: Minimum duration of a turn; short work is repeated.
    """

    file: str
    contestants: Mapping[str, Contestant]
    pythons: Mapping[str, str]
    threads: int
    rounds: int
    seconds: float

    def start(self, name: str, job: Mapping[str, Any]) -> Worker:
        """Start a contestant."""
        python = self.pythons.get(self.contestants[name].environment, sys.executable)
        return Worker(python, self.file, name, job, self.threads)

    def once(self, names: Sequence[str], job: Mapping[str, Any]) -> list[Measured]:
        """Start the contestants one after another, and return their second results, without times."""
        results = []
        for name in names:
            with self.start(name, job) as worker:
                measured = Measured(name)
                self._note(measured, worker.started)
                measured.values = [worker.started[key] for key in worker.started if key == "value"]
                results.append(measured)
        return results

    def run(self, names: Sequence[str], job: Mapping[str, Any]) -> list[Measured]:
        """Let contestants take turns, and return their measurements in the order of the names."""
        from rich.progress import track

        measured = {name: Measured(name) for name in names}
        with ExitStack() as stack:
            workers: dict[str, Worker] = {}
            for name in track(names, "starting", transient=True):
                worker = stack.enter_context(self.start(name, job))
                self._note(measured[name], worker.started)
                if measured[name].problem is None:
                    workers[name] = worker
            for _ in track(range(self.rounds), "rounds", transient=True):
                for name, worker in workers.items():
                    if measured[name].problem is None:
                        repetitions = min(max(round(self.seconds / worker.started["seconds"]), 1), MOST_REPETITIONS)
                        self._note(measured[name], worker.turn(repetitions))
        return list(measured.values())

    @staticmethod
    def _note(measured: Measured, answer: dict[str, Any]) -> None:
        if "problem" in answer:
            measured.problem = answer["problem"]
        elif "first" in answer:
            measured.first, measured.versions = answer["first"], answer["versions"]
        else:
            measured.seconds.append(statistics.median(answer["seconds"]))
            measured.values.append(answer["value"])
            measured.memory.append(answer["memory"])
            measured.peak = answer["peak"]


def report(
    title: str,
    unit: str,
    units: float,
    measured: Sequence[Measured],
    more: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Print speeds, ratios of each of our contestants to all others, further columns, and contestants with a problem.

    Args:
        title: Title of the table.
        unit: Unit of the work.
        units: Number of units in a repetition.
        measured: Measurements of the contestants.
        more: Further columns: title -> name of a contestant -> text.
    """
    from rich.console import Console
    from rich.table import Table

    more = more or {}
    present = [one for one in measured if one.problem is None]
    ours = [one for one in present if is_ours(one.name)]
    table = Table("", f"{unit}/s", *(f"{own.name} / it" for own in ours), *more, "peak memory", title=title)
    for one in present:
        ratios = ["" if one is own else str(ratio_of_speeds(own, one)) for own in ours]
        others = [column[one.name] for column in more.values()]
        table.add_row(one.name, f"{speeds(one, units).median:.4g}", *ratios, *others, f"{one.peak / 1e6:,.0f} MB")
    console = Console()
    console.width = max(console.width, TABLE_WIDTH)
    console.print(table)
    for one in measured:
        if one.problem is not None:
            console.print(f"  {one.name}: {one.problem}", markup=False)


def as_result(one: Measured, measured: Sequence[Measured], units: float) -> dict[str, Any]:
    """Return the measurements of a contestant for JSON; our contestants get their ratios to all others."""
    if one.problem is not None:
        return {"name": one.name, "problem": one.problem}
    others = [other for other in measured if other is not one and other.problem is None and is_ours(one.name)]
    return {
        "name": one.name,
        "per_second": speeds(one, units),
        "ratios": {other.name: ratio_of_speeds(one, other) for other in others},
        "seconds": one.seconds,
        "first_result_seconds": one.first,
        "peak_bytes": one.peak,
        "versions": one.versions,
    }


def is_ours(name: str) -> bool:
    """Return whether the name is of one of our contestants."""
    return name.startswith("ours")


def english_lengths(rng: np.random.Generator, rows: int, longest: int) -> np.ndarray:
    """Return lengths in tokens, distributed like English sentences (log-normal), int64 [rows]."""
    return np.clip(np.exp(rng.normal(3.2, 0.6, rows)).astype(np.int64), 4, longest)


def made_up_texts(rng: np.random.Generator, lengths: Sequence[int]) -> list[str]:
    """Return texts of random words with given numbers of tokens, which include [CLS] and [SEP]."""
    from distilbert_core import DEFAULT_MODEL
    from distilbert_core.files.hub import EMBEDDED_MODELS

    vocabulary = (EMBEDDED_MODELS / DEFAULT_MODEL / "vocab.txt").read_text(encoding="utf-8").split()
    words = np.array([token for token in vocabulary if token.isascii() and token.isalpha()])
    return [" ".join(rng.choice(words, length - 2)) for length in lengths]


def write_model(folder: Path, size: str, **fields: Any) -> None:
    """Write a classifier with random weights and the tokenizer of the embedded model, for all contestants."""
    import torch

    from distilbert_core import DEFAULT_MODEL, DistilBertTokenizerFast
    from distilbert_pt import DistilBertConfig, DistilBertForSequenceClassification

    torch.manual_seed(0)
    # The weights are larger than usual at initialisation, so that differences between models show in the outputs.
    config = DistilBertConfig(**{"initializer_range": 0.05, **SIZES[size], **fields})
    DistilBertForSequenceClassification(config).save_pretrained(folder)
    DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL).save_pretrained(folder)


def add_output_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of all benchmarks of speed."""
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), help="threads of each (default: number of cores)"
    )
    parser.add_argument("--json", type=Path, help="also write all measurements to this file")
    parser.add_argument("--png", type=Path, help="also plot them")


def add_arguments(parser: argparse.ArgumentParser, environments: Collection[str], rounds: int) -> None:
    """Add the options of a comparison with other libraries."""
    parser.add_argument("--size", choices=SIZES, default="base", help="size of the model (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=rounds, help="turns of each contestant (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="minimum duration of a turn (default: %(default)s)")
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="NAME=PYTHON",
        help=f"path of the Python of an environment: {', '.join(environments)} (default: this Python)",
    )
    add_output_arguments(parser)


def contest_of(
    arguments: argparse.Namespace, file: str, contestants: Mapping[str, Contestant], environments: Collection[str]
) -> Contest:
    """Return the contest for the options of the command line, or exit with an error message."""
    pythons = dict(entry.partition("=")[::2] for entry in arguments.python)
    for name, python in pythons.items():
        if name not in environments or not Path(python).is_file():
            raise SystemExit(
                f"--python must be NAME=PYTHON, NAME one of {', '.join(environments)}, got {name}={python}"
            )
    return Contest(file, contestants, pythons, arguments.threads, arguments.rounds, arguments.seconds)


def machine() -> dict[str, Any]:
    """Return a description of the machine."""
    flags = " ".join(line for line in _cpu_lines() if line.startswith("flags")).split()
    model = next((line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")), "")
    known = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
    return {
        "cpu": model or platform.processor(),
        "cores": os.cpu_count(),
        "instructions": [flag for flag in known if flag in flags],
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def write(arguments: argparse.Namespace, results: Sequence[Mapping[str, Any]]) -> None:
    """Write the file of `--json`: settings, machine and results."""
    if arguments.json:
        settings = {name: value for name, value in vars(arguments).items() if name not in ("json", "png", "python")}
        content = {"settings": settings, "machine": machine(), "results": results}
        arguments.json.write_text(json.dumps(content, indent=2, default=plain) + "\n", encoding="utf-8")


def plain(value: Any) -> Any:
    """Return a value that JSON can write."""
    return asdict(value) if isinstance(value, Spread) else str(value)


def bars_of(measured: Sequence[Measured], units: float) -> dict[str, Spread]:
    """Return the speeds of all measured contestants, for the plot."""
    return {one.name: speeds(one, units) for one in measured if one.problem is None}


def draw(path: Path | None, panels: Panels, unit: str) -> None:
    """Plot a panel of bars for each table, if a path is given: the median, and a line from smallest to largest."""
    if path is None:
        return
    from matplotlib.figure import Figure

    panels = {title: bars for title, bars in panels.items() if bars}
    heights = [len(bars) + 2 for bars in panels.values()]
    figure = Figure(figsize=(9, 0.3 * sum(heights)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (title, bars) in zip(axes, panels.items(), strict=True):
        spreads = list(bars.values())
        medians = [spread.median for spread in spreads]
        ends = [[s.median - s.smallest for s in spreads], [s.largest - s.median for s in spreads]]
        colours = ["tab:blue" if is_ours(name) else "tab:gray" for name in bars]
        axis.barh(list(bars), medians, xerr=ends, color=colours)
        axis.invert_yaxis()
        axis.set_title(title, loc="left")
        axis.set_xlabel(f"{unit}/s")
    figure.savefig(path, dpi=120)
