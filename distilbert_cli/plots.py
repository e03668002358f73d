"""Plots of measurements."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from distilbert_cli.turns import Spread
from distilbert_core.files.atomic import replace_files
from distilbert_core.libraries import require_library

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
