"""Plots as SVG. The style sheet of the page sets their colours by the classes `series-0`, `series-1`, ..."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from html import escape

import numpy as np

# Colours of the series, used in turn. All are visible on white and on black.
PALETTE = ("#2f7ed8", "#e08214", "#1a9850", "#c2417c", "#7b62c9", "#8c7a3f")

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 12, 96  # margins for the labels of the axes

BAR_WIDTH, BAR_HEIGHT = 4, 40


def error_chart(
    title: str, names: Sequence[str], series: Sequence[tuple[str, Sequence[float]]], bounds: Collection[float]
) -> str:
    """Return a plot of errors on a logarithmic scale, with a line for each series and a dashed line for each bound.

    Errors of zero are drawn on the bottom line, NaN on the top line.

    Args:
        title: Description for screen readers.
        names: Labels of the points on the horizontal axis.
        series: Label of each line, and its error for each name.
        bounds: The largest errors that pass.
    """
    shown = [value for _, values in series for value in values if value > 0 and math.isfinite(value)]
    shown += bounds
    low, high = math.floor(math.log10(min(shown))) - 1, math.ceil(math.log10(max(shown))) + 1  # decades

    def x(index: int) -> float:
        return LEFT + (index + 0.5) * (WIDTH - LEFT - RIGHT) / len(names)

    def y(value: float) -> float:
        exponent = math.log10(value) if value > 0 and math.isfinite(value) else low if value == 0 else high
        return TOP + (high - exponent) * (HEIGHT - TOP - BOTTOM) / (high - low)

    parts = []
    for decade in range(low, high + 1, max(1, (high - low) // 8)):
        height = y(10.0**decade)
        label = "0" if decade == low else f"1e{decade}"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{label}</text>')
    for index, name in enumerate(names):
        place = f"{x(index):.1f},{HEIGHT - BOTTOM + 14}"
        parts.append(f'<text transform="translate({place}) rotate(-35)" text-anchor="end">{escape(name)}</text>')
    for bound in bounds:
        height = y(bound)
        ends = f'x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}"'
        parts.append(f'<line class="bound" {ends}><title>bound {bound:.0e}</title></line>')
    for number, (label, values) in enumerate(series):
        points = [(x(index), y(value)) for index, value in enumerate(values)]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        dots = "".join(
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3"><title>{escape(f"{label}, {name}: {value:.1e}")}</title></circle>'
            for (a, b), name, value in zip(points, names, values, strict=True)
        )
        parts.append(f'<g class="series-{number % len(PALETTE)}"><polyline points="{path}"/>{dots}</g>')
    return (
        f'<svg class="errors" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )


def histogram(title: str, counts: np.ndarray, number: int) -> str:
    """Return a histogram.

    Args:
        title: Description for screen readers.
        counts: Height of each bar, [bars].
        number: Number of the series, which determines the colour.
    """
    heights = counts * BAR_HEIGHT / max(counts.max(initial=0), 1)
    bars = "".join(
        f'<rect x="{index * BAR_WIDTH}" y="{BAR_HEIGHT - height:.1f}" width="{BAR_WIDTH - 1}" height="{height:.1f}"/>'
        for index, height in enumerate(heights)
        if height
    )
    size = f"{len(counts) * BAR_WIDTH} {BAR_HEIGHT}"
    return (
        f'<svg class="bars series-{number % len(PALETTE)}" viewBox="0 0 {size}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title>{bars}</svg>'
    )
