"""A verification as one self-contained HTML page: verdicts, errors per layer, histograms of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from string import Template

import numpy as np

from distilbert_core.files.atomic import replace_files
from distilbert_core.model.backends import BACKENDS
from weight_conversion.verification.charts import PALETTE, error_chart, histogram
from weight_conversion.verification.comparing import full_names
from weight_conversion.verification.verifying import COMPUTE_DTYPES, ModelRun, Verification
from weight_conversion.weights import LazyTensor, Weights

BARS = 40  # of a histogram

STYLE = """
:root { color-scheme: light dark; --line: #d5d5d5; --weak: #666; --good: #17803d; --bad: #c62828; }
@media (prefers-color-scheme: dark) { :root { --line: #444; --weak: #aaa; --good: #4cc274; --bad: #ff7066; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap; }
td.number { text-align: right; }
small, .weak { color: var(--weak); }
.good { color: var(--good); } .bad { color: var(--bad); }
svg { max-width: 100%; } svg.errors { width: 45rem; } svg.bars { width: 10rem; height: 2.5rem; }
svg text { font-size: 11px; fill: currentColor; }
.grid { stroke: var(--line); } .bound { stroke: var(--bad); stroke-dasharray: 6 4; }
polyline { fill: none; stroke: currentColor; stroke-width: 1.5; } circle, rect { fill: currentColor; }
""" + "\n".join(f".series-{number} {{ color: {colour}; }}" for number, colour in enumerate(PALETTE))


PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style>
</head>
<body>
$body
</body>
</html>
""")


def write_report(path: Path, verification: Verification, checkpoints: Sequence[Weights]) -> None:
    """Write a verification as an HTML page. The file appears only when it is complete.

    Args:
        path: File to write.
        verification: Result of `verify`.
        checkpoints: The compared checkpoints, whose weights are drawn as histograms.

    Raises:
        CheckpointError: A tensor cannot be read.
        OSError: The file cannot be written.
    """
    page = render(verification, checkpoints).encode()
    replace_files(path.parent, {path.name: page})


def render(verification: Verification, checkpoints: Sequence[Weights]) -> str:
    """Return a verification as an HTML page."""
    title = "Verification of " + " and ".join(verification.sources)
    verdict, mark = ("Equal but for rounding.", "good") if verification.passed else ("Different.", "bad")
    notes = "".join(f"<li>{escape(note)}</li>" for note in verification.notes)
    runs = ("checkpoint", "backend", "dtype", "largest relative", "bound", "at", "verdict")
    weights = ("tensor", "shape", *map(escape, verification.sources))
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="{mark}"><strong>{verdict}</strong></p>',
        f"<p>{verification.head.architecture}, {escape(verification.inputs)}, on the CPU. The reference is "
        f"{escape(verification.reference)}. A relative difference is the largest absolute difference divided by the "
        "largest magnitude in the reference. A difference within its bound is due to rounding.</p>",
        f"<ul>{notes}</ul>",
        "<h2>Runs</h2>",
        _table(runs, map(_run_row, verification.runs)),
        *(
            part
            for dtype in COMPUTE_DTYPES
            for part in _errors([run for run in verification.runs if run.dtype == dtype])
        ),
        "<h2>Weights</h2>",
        "<p>The values of each tensor, from the smallest to the largest in any of the checkpoints.</p>",
        _table(weights, _weight_rows(verification.sources, checkpoints)),
    ]
    return PAGE.substitute(title=escape(title), style=STYLE, body="\n".join(parts))


def _table(header: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; the cells are HTML."""
    head = "".join(f"<th>{cell}</th>" for cell in header)
    lines = "\n".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table>\n<tr>{head}</tr>\n{lines}\n</table></div>'


def _run_row(run: ModelRun) -> list[str]:
    mark, verdict = ("good", "ok") if run.passed else ("bad", "different")
    numbers = [f"{run.worst.relative:.1e}", f"{run.bound:.0e}"]
    return [*map(escape, _names(run)), run.dtype, *numbers, run.worst.name, f'<span class="{mark}">{verdict}</span>']


def _names(run: ModelRun) -> tuple[str, str]:
    return run.source, BACKENDS[run.backend].title


def _errors(runs: Sequence[ModelRun]) -> Iterator[str]:
    """Yield the plot and the table of the runs in one dtype. Each column heading has the colour of its line."""
    names = [difference.name for difference in runs[0].differences]
    series = [(", ".join(_names(run)), [difference.relative for difference in run.differences]) for run in runs]
    yield f"<h2>Error per layer in {runs[0].dtype}</h2>"
    yield error_chart(
        f"relative difference per layer in {runs[0].dtype}", names, series, sorted({run.bound for run in runs})
    )
    heads = [
        f'<span class="series-{number % len(PALETTE)}">&#9632;</span> {escape(label)}'
        for number, (label, _) in enumerate(series)
    ]
    columns = zip(*(run.differences for run in runs), strict=True)
    rows = (
        [name, *(f"{difference.absolute:.1e} <small>({difference.relative:.1e})</small>" for difference in differences)]
        for name, differences in zip(names, columns, strict=True)
    )
    yield _table(("absolute (relative)", *heads), rows)


def _weight_rows(sources: Sequence[str], checkpoints: Sequence[Weights]) -> Iterator[list[str]]:
    """Yield a table row for each tensor, with a histogram for each checkpoint that has the tensor."""
    columns = [full_names(weights) for weights in checkpoints]
    for name in dict.fromkeys(name for column in columns for name in column):
        tensors = {number: column[name] for number, column in enumerate(columns) if name in column}
        arrays = {number: _finite(tensor) for number, tensor in tensors.items()}
        ends = [float(end) for array in arrays.values() if array.size for end in (array.min(), array.max())]
        span = (min(ends), max(ends)) if ends else (0.0, 0.0)
        cells = [
            _histogram(f"{name} of {source}", tensors[number], arrays[number], span, number)
            if number in tensors
            else "-"
            for number, source in enumerate(sources)
        ]
        yield [escape(name), " x ".join(map(str, next(iter(tensors.values())).shape)), *cells]


def _finite(tensor: LazyTensor) -> np.ndarray:
    array = tensor.read().ravel()
    array = array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)  # for NumPy's histogram
    finite = np.isfinite(array)
    return array if finite.all() else array[finite]


def _histogram(title: str, tensor: LazyTensor, array: np.ndarray, span: tuple[float, float], number: int) -> str:
    counts, _ = np.histogram(array, BARS, span)
    lost = math.prod(tensor.shape) - array.size
    warning = f', <span class="bad">{lost:,} not finite</span>' if lost else ""
    text = f"{tensor.dtype}, {span[0]:.2g} to {span[1]:.2g}{warning}"
    return f"{histogram(title, counts, number)}<br><small>{text}</small>"
