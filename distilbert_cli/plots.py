"""Plots of measurements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from distilbert_cli.turns import Spread
from distilbert_core.files.atomic import replace_files
from distilbert_core.libraries import require_library

CONTROL = "control"  # topic of the pairs of a bias probe that do not differ in a group of people

Panel = tuple[str, Mapping[str, Spread]]  # the unit, and the spread of each name


def require_plots() -> None:
    """Raise BackendNotInstalledError before the measurements, not after them, if Matplotlib is not installed."""
    require_library("matplotlib.figure", "Matplotlib", "finetune", "A plot")


def draw_bars(path: Path, panels: Mapping[str, Panel], emphasised: Callable[[str], bool]) -> None:
    """Plot a panel of bars for each title: the median, and a line from the smallest to the largest.

    Args:
        path: The picture to write. It appears only when it is complete.
        panels: The panels by title.
        emphasised: Whether the bar of a name has the emphasised colour.

    Raises:
        BackendNotInstalledError: Matplotlib is not installed.
    """
    figure_class = require_library("matplotlib.figure", "Matplotlib", "finetune", "A plot").Figure
    heights = [len(bars) + 2 for _, bars in panels.values()]
    figure = figure_class(figsize=(9, 0.3 * sum(heights)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, (title, (unit, bars)) in zip(axes, panels.items(), strict=True):
        spreads = list(bars.values())
        medians = [spread.median for spread in spreads]
        ends = [[s.median - s.smallest for s in spreads], [s.largest - s.median for s in spreads]]
        axis.barh(
            list(bars), medians, xerr=ends, color=["tab:blue" if emphasised(name) else "tab:gray" for name in bars]
        )
        axis.invert_yaxis()
        axis.set_title(title, loc="left")
        axis.set_xlabel(unit)
    replace_files(path.parent, {path.name: lambda file: figure.savefig(file, dpi=120)})


def draw_log_ratios(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Plot the log ratios of a bias probe: a line for each pair, a point for each filler.

    Args:
        path: The picture to write. It appears only when it is complete.
        records: The records of `distilbert_core.pipelines.bias.measure_bias`.

    Raises:
        BackendNotInstalledError: Matplotlib is not installed.
    """
    figure_class = require_library("matplotlib.figure", "Matplotlib", "finetune", "A plot").Figure
    figure = figure_class(figsize=(11, 1.5 + 0.75 * len(records)), layout="constrained")
    axis = figure.subplots()
    for line, record in enumerate(records):
        fillers = record["fillers"]
        ratios = [filler["log_ratio"] for filler in fillers]
        color = "tab:gray" if record["topic"] == CONTROL else "tab:blue"
        axis.plot(ratios, [line] * len(ratios), "o", color=color, alpha=0.6)
        for filler, side, shift in ((fillers[0], "left", 4), (fillers[-1], "right", -4)):
            place = (filler["log_ratio"], line)
            axis.annotate(filler["filler"], place, (shift, 6), textcoords="offset points", ha=side, fontsize=8)
    labels = ["\n".join(of_prompt["prompt"] for of_prompt in record["prompts"]) for record in records]
    axis.set_yticks(range(len(records)), labels, fontsize=8)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.invert_yaxis()
    axis.margins(y=0.08)
    axis.set_xlabel("ln(P in the first prompt / P in the second); gray: control pairs")
    replace_files(path.parent, {path.name: lambda file: figure.savefig(file, format="png", dpi=120)})
