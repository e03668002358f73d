"""What starting costs: imports, and loading a checkpoint of the base size, beside the frameworks and Transformers.

    python benchmarks/start_up.py [--rounds 7] [--json FILE]

Every measurement is a fresh process; in each round ours and its peer run one after the other. Printed are the medians,
and the ratio of each pair of runs as median (smallest to largest). Peers that are not installed are named.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

CLASS = "DistilBertForMaskedLM"


@dataclass(frozen=True)
class Pair:
    """Two pieces of code to time: each is (set-up that is not timed, code that is)."""

    name: str
    needs: tuple[str, ...]
    ours: tuple[str, str]
    peer: tuple[str, str]


def pairs(checkpoint: Path) -> list[Pair]:
    """Return what is measured, with `checkpoint` as the folder to load."""
    file = str(checkpoint / "model.safetensors")
    load = f"{CLASS}.from_pretrained({str(checkpoint)!r})"
    ours = (f"from distilbert_pt import {CLASS}", load)
    # Transformers imports a model's module on first use; that is part of loading with it.
    return [
        Pair("import: PyTorch backend / torch", ("torch",), ("", "import distilbert_pt"), ("", "import torch")),
        Pair(
            "import: Keras backend / tensorflow and keras",
            ("tensorflow", "keras"),
            ("", "import distilbert_tf"),
            ("", "import tensorflow, keras"),
        ),
        Pair("import: Flax backend / flax", ("flax",), ("", "import distilbert_flax"), ("", "from flax import nnx")),
        Pair(
            "load 268 MB: PyTorch backend / safetensors",
            ("torch",),
            ours,
            (
                "from safetensors.torch import load_file; import torch",
                f"load_file({file!r})",
            ),
        ),
        Pair(
            "load 268 MB: PyTorch backend / Transformers",
            ("torch", "transformers"),
            ours,
            (
                f"from transformers import {CLASS}",
                load,
            ),
        ),
        Pair(
            "import and load: PyTorch backend / Transformers",
            ("torch", "transformers"),
            ("", "; ".join(ours)),
            ("", f"from transformers import {CLASS}; {load}"),
        ),
    ]


def seconds(code: tuple[str, str]) -> float:
    """Run code in a fresh Python and return how long its second part took."""
    set_up, timed = code
    program = f"import time\n{set_up}\nt = time.perf_counter()\n{timed}\nprint('seconds', time.perf_counter() - t)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(done.stdout.split("seconds")[-1])


def measure(pair: Pair, rounds: int) -> dict[str, float]:
    """Return the medians in seconds, and the ratio's median, smallest and largest."""
    runs = [(seconds(pair.ours), seconds(pair.peer)) for _ in track(range(rounds), pair.name, transient=True)]
    ratios = [ours / peer for ours, peer in runs]
    ours, peer = (statistics.median(column) for column in zip(*runs, strict=True))
    return {
        "ours": ours,
        "peer": peer,
        "ratio": statistics.median(ratios),
        "smallest": min(ratios),
        "largest": max(ratios),
    }


def main() -> None:
    """Measure all pairs and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args()
    table = Table("ours / peer", "ours [s]", "peer [s]", "ratio")
    results = []
    with tempfile.TemporaryDirectory() as folder:
        from distilbert_pt import DistilBertConfig, DistilBertForMaskedLM

        DistilBertForMaskedLM(DistilBertConfig()).save_pretrained(folder)
        for pair in pairs(Path(folder)):
            missing = [module for module in pair.needs if importlib.util.find_spec(module) is None]
            if missing:
                table.add_row(pair.name, "", "", f"{', '.join(missing)} not installed")
                continue
            result = measure(pair, args.rounds)
            results.append({**asdict(pair), **result})
            spread = f"{result['ratio']:.2f} ({result['smallest']:.2f} to {result['largest']:.2f})"
            table.add_row(pair.name, f"{result['ours']:.3f}", f"{result['peer']:.3f}", spread)
    Console().print(table)
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
