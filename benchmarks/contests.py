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
import statistics
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from worker import Contestant

try:
    from distilbert_cli.plots import draw_bars
    from distilbert_cli.turns import Spread, Worker, machine
except ImportError:  # a contestant in the environment of another library, which needs only the table of contestants
    Spread = Worker = machine = draw_bars = Any  # type: ignore[misc, assignment]

SIZES: dict[str, dict[str, Any]] = {  # fields of the configuration
    "base": {},
    "tiny": {"n_layers": 2, "n_heads": 2, "dim": 32, "hidden_dim": 64, "initializer_range": 0.1},
}
MOST_REPETITIONS = 200
TABLE_WIDTH = 150


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
        note: How it does the work, if it has a choice.
        problem: The reason why it could not be measured, or None.
    """

    name: str
    first: float = 0.0
    seconds: list[float] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    peak: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    note: str = ""
    problem: str | None = None


def speeds(measured: Measured, units: float) -> Spread:
    """Return units of work per second, where a repetition does `units` of them."""
    return Spread.of([units / seconds for seconds in measured.seconds])


def ratio_of_speeds(ours: Measured, peer: Measured) -> Spread:
    """Return how many times as fast as the peer our contestant is, round by round."""
    return Spread.of([theirs / own for own, theirs in zip(ours.seconds, peer.seconds, strict=True)])


Panels = Mapping[str, Mapping[str, Spread]]  # title -> contestant -> speed


def start_worker(python: str, file: str, name: str, job: Mapping[str, Any], threads: int) -> Worker:
    """Start the process of a contestant."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "CUDA_VISIBLE_DEVICES": "",  # all contestants run on the CPU
        "JAX_PLATFORMS": "cpu",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "HF_HUB_OFFLINE": "1",
    }
    words = [python, str(Path(__file__).with_name("worker.py")), file, name, json.dumps(job)]
    return Worker(words, environment)


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
        return start_worker(python, self.file, name, job, self.threads)

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
            measured.first, measured.versions, measured.note = answer["first"], answer["versions"], answer["note"]
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
    memory: bool = True,
) -> None:
    """Print speeds, ratios of each of our contestants to all others, further columns, and contestants with a problem.

    Args:
        title: Title of the table.
        unit: Unit of the work.
        units: Number of units in a repetition.
        measured: Measurements of the contestants.
        more: Further columns: title -> name of a contestant -> text.
        memory: Print the peak memory of the contestants' processes.
    """
    from rich.console import Console
    from rich.table import Table

    more = more or {}
    present = [one for one in measured if one.problem is None]
    ours = [one for one in present if is_ours(one.name)]
    table = Table(
        "", f"{unit}/s", *(f"{own.name} / it" for own in ours), *more, *(["peak memory"] if memory else []), title=title
    )
    for one in present:
        ratios = ["" if one is own else str(ratio_of_speeds(own, one)) for own in ours]
        others = [column[one.name] for column in more.values()]
        others += [f"{one.peak / 1e6:,.0f} MB"] if memory else []
        name = f"{one.name} ({one.note})" if one.note else one.name
        table.add_row(name, f"{speeds(one, units).median:.4g}", *ratios, *others)
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
        "note": one.note,
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


def add_output_arguments(parser: argparse.ArgumentParser, plot: bool = True) -> None:
    """Add the options of all benchmarks of speed; with `plot` also the one of a plot."""
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(), help="threads of each (default: number of cores)"
    )
    parser.add_argument("--json", type=Path, help="also write all measurements to this file")
    if plot:
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


def write(arguments: argparse.Namespace, results: Sequence[Mapping[str, Any]]) -> None:
    """Write the file of `--json`: settings, machine and results."""
    if arguments.json:
        settings = {name: value for name, value in vars(arguments).items() if name not in ("json", "png", "python")}
        settings["clock"] = os.environ.get("BENCHMARK_CLOCK", "time")
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
    draw_bars(path, {title: (f"{unit}/s", bars) for title, bars in panels.items() if bars}, is_ours)
