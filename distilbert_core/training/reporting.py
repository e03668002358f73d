"""Reports of a training run: a progress bar, a file of metrics, and a plot of them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any, Self

from distilbert_core.files.atomic import replace_files
from distilbert_core.files.boundary import reads
from distilbert_core.libraries import require_library
from distilbert_core.training.metrics import Metrics

LOG_EVERY = 10  # steps


class Log:
    """metrics.jsonl: a line for every 10 steps, with their means, and a line for every evaluation.

    Args:
        path: The file.
        step: Number of steps done so far. Lines of later steps, which a killed run wrote, are removed.
    """

    def __init__(self, path: Path, step: int):
        kept = [line for line, record in _lines(path) if record["step"] <= step]
        replace_files(path.parent, {path.name: "".join(kept).encode()})
        self._file = path.open("a")
        self._losses: list[Mapping[str, float]] = []
        self._tokens = 0
        self._start = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def step(self, step: int, losses: Mapping[str, float], learning_rate: float, tokens: int, flush: bool) -> None:
        """Log a step.

        Args:
            step: Number of steps done.
            losses: The losses of the step by name.
            learning_rate: The learning rate of the step.
            tokens: Number of real tokens of the batch.
            flush: Write the line now, because the state is saved after this step.
        """
        self._losses.append(losses)
        self._tokens += tokens
        if flush or step % LOG_EVERY == 0:
            speed = self._tokens / (time.monotonic() - self._start)
            self._write(
                step=step,
                **{name: fmean(losses[name] for losses in self._losses) for name in losses},
                learning_rate=learning_rate,
                tokens_per_second=round(speed, 1),
            )
            self._losses, self._tokens, self._start = [], 0, time.monotonic()

    def evaluation(self, step: int, metrics: Metrics) -> None:
        """Log the metrics of an evaluation."""
        self._write(step=step, **{f"eval_{name}": value for name, value in metrics.items()})
        self._start = time.monotonic()  # the speed of steps does not include evaluations

    def _write(self, **record: Any) -> None:
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()


class NullLog(Log):
    """A log that writes nothing, for processes other than the first."""

    def __init__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass

    def step(self, *args: Any, **kwargs: Any) -> None:
        """Ignore a step."""

    def evaluation(self, *args: Any, **kwargs: Any) -> None:
        """Ignore an evaluation."""


@reads("the log of a run")
def _lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return the whole lines of a file, and what they hold. The last may be incomplete if the process was killed."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    whole = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
    return [(line, {"step": 0, **json.loads(line)}) for line in whole]


@contextmanager
def training_bar(steps: int, done: int, show: bool | None) -> Iterator[Callable[[float, int], None]]:
    """Context manager: a progress bar. It gives a function to call after each step, with its loss and its tokens.

    Args:
        steps: Number of steps of the whole run.
        done: Number of steps done so far.
        show: True or False: always or never show the bar; None: if standard error is a terminal.
    """
    if show is False or (show is None and not sys.stderr.isatty()):
        yield lambda loss, tokens: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("step {task.completed:,.0f}/{task.total:,.0f}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.4f}  {task.fields[speed]:,.0f} tokens/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=steps, completed=done, loss=float("nan"), speed=0.0)
        start, seen, mean = time.monotonic(), 0, None

        def advance(loss: float, tokens: int) -> None:
            nonlocal seen, mean
            seen += tokens
            mean = loss if mean is None else 0.9 * mean + 0.1 * loss
            bar.update(task, advance=1, loss=mean, speed=seen / (time.monotonic() - start))

        yield advance


def require_plots() -> None:
    """Raise BackendNotInstalledError before the run, not at its end, if Matplotlib is not installed."""
    require_library("matplotlib.figure", "Matplotlib", "finetune")


def draw_curve(log: Path, path: Path, metric: str) -> None:
    """Draw the loss and a metric over the steps of a log.

    Args:
        log: metrics.jsonl.
        path: The picture to write.
        metric: Name of the metric.
    """
    Figure = require_library("matplotlib.figure", "Matplotlib", "finetune").Figure  # noqa: N806, the name of a class

    records = [record for _, record in _lines(log)]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    steps = [record for record in records if "loss" in record]
    losses = [name for name in steps[0] if name.startswith("loss")]  # the loss, and perhaps its terms
    if len(losses) > 1:
        axes.set_yscale("log")  # terms differ in magnitude
    for name in losses:
        style = {"color": "tab:blue"} if name == "loss" else {"linestyle": ":"}
        axes.plot([r["step"] for r in steps], [r[name] for r in steps], label=name, **style)
    axes.legend()
    axes.set_xlabel("step")
    axes.set_ylabel("training loss", color="tab:blue")
    evaluations = [(r["step"], r[f"eval_{metric}"]) for r in records if f"eval_{metric}" in r]
    if evaluations:
        right = axes.twinx()
        right.plot(*zip(*evaluations, strict=True), color="tab:orange", marker="o")
        right.set_ylabel(f"evaluation: {metric}", color="tab:orange")
    replace_files(path.parent, {path.name: lambda file: figure.savefig(file, format="png", dpi=120)})
