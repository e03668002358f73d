"""Measures every export of a model: the size of its files, its difference in its runtime, and the time to write it.

    python benchmarks/exports.py [--model sst2-tiny | --size base] [--to litert,pt2] [--calibrate FILE] [--json FILE]

The difference is that of the check which every export passes before it appears: of an output, from the checkpoint in
float64, relative to the largest value of that output. The time includes the check. Each format is a new process, so
that none finds the imports of another. --size base takes random weights of the base size under the head of --head.
A format whose library is not installed, or that needs --calibrate, is named with the reason.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from distilbert_core import DistilBertConfig, Head
from distilbert_core.files.checkpoint import save_checkpoint
from distilbert_core.model.heads import parameter_table
from distilbert_core.model.parameters import Kind
from weight_conversion.formats import FORMATS

ROW = ("format", "file", "MB", "runtime", "difference", "bound", "seconds")
EXPORTS = [row.name for row in FORMATS.values() if row.graphs]
CHECKED = re.compile(r"Checked (\S+) in (.+?) on .*largest difference (\S+) of .* at most (\S+) is allowed")
DEVIATIONS = {Kind.KERNEL: 0.05, Kind.EMBEDDING: 0.05}  # of random weights; of other kinds 0.02


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--model", default="sst2-tiny")
    source.add_argument("--size", choices=["base"])
    parser.add_argument("--head", choices=[head.value for head in Head], default="ForSequenceClassification")
    parser.add_argument("--to", default=",".join(EXPORTS), help=f"some of {', '.join(EXPORTS)}")
    parser.add_argument("--calibrate", help="texts for static int8, one per line")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = args.model
        if args.size is not None:
            model = str(Path(folder) / "source")
            save_random(Path(model), Head(args.head))
        rows = [row for to in args.to.split(",") for row in measure(model, Path(folder) / to, to, args.calibrate)]
    table = Table(*ROW)
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)
    if args.json is not None:
        args.json.write_text(json.dumps(rows, indent=2) + "\n")


def measure(model: str, folder: Path, to: str, calibrate: str | None) -> list[dict[str, Any]]:
    """Return a row for each graph of a format."""
    command = [sys.executable, "-m", "distilbert_cli", "convert", model, str(folder), "--to", to, "--dtype", "float32"]
    if FORMATS[to].is_calibrated and calibrate is not None:
        command += ["--calibrate", calibrate]
    start = time.perf_counter()
    run = subprocess.run(command, capture_output=True, text=True)
    seconds = round(time.perf_counter() - start, 1)
    if run.returncode != 0:
        reason = run.stderr.strip().splitlines()[-1]
        return [dict(zip(ROW, (to, reason, "", "", "", "", ""), strict=True))]
    found = CHECKED.findall(run.stderr)
    sizes = [graph_bytes(folder, file) / 1e6 for file, *_ in found]
    return [
        dict(zip(ROW, (to, file, round(size, 1), runtime, difference, bound, seconds), strict=True))
        for (file, runtime, difference, bound), size in zip(found, sizes, strict=True)
    ]


def graph_bytes(folder: Path, file: str) -> int:
    """Return the size of a graph, with the files that hold its weights."""
    path = folder / file
    beside = [*(folder / "variables").glob("*"), *path.parent.glob(f"{path.stem}.bin")]
    return sum(one.stat().st_size for one in {path, *beside})


def save_random(folder: Path, head: Head) -> None:
    """Write a checkpoint of the base size with random weights."""
    rng, config = np.random.default_rng(0), DistilBertConfig(architectures=[head.architecture])
    arrays = {
        one.name: rng.normal(one.kind is Kind.NORM_SCALE, DEVIATIONS.get(one.kind, 0.02), one.shape).astype(np.float32)
        for one in parameter_table(config, head)
        if one.tied_to is None
    }
    save_checkpoint(folder, arrays, {"config.json": config.to_json_string().encode()})


if __name__ == "__main__":
    main()
