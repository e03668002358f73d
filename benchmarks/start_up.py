"""Measures the time to start: imports, the first answer of the command line, and loading a model of the base size.

    python benchmarks/start_up.py [--only WORD] [--rounds 7] [--json FILE]

Every measurement is a new process. In each round our code and its peer run one after the other, after a first run of
each that is not counted (it writes byte code, and brings the files into the cache of the system). The output shows the
medians, and the ratio of each pair of runs as median (smallest to largest). Peers that are not installed are listed.

In rows that begin with 'predict' the time is measured from outside, from the start of the process to its end. In other
rows it is measured inside, without the set-up, together with the growth of memory up to its peak (Linux). safetensors
and the PyTorch backend map a file into memory, and read it only when values are used. 'load and read' adds one pass
over all values.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from contests import Spread, write
from rich.console import Console
from rich.progress import track
from rich.table import Table

from distilbert_core.files.hub import EMBEDDED_MODELS

CLASS = "DistilBertForMaskedLM"
EMBEDDED = str(EMBEDDED_MODELS / "sst2-tiny")
TEXT = "A lovely film."

PROGRAM = """
import gc, json, time

def memory(field):
    try:
        lines = open("/proc/self/status").read().splitlines()
    except OSError:
        return None
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith(field))

{set_up}
gc.collect()  # so that garbage of the imports is not collected during the measurement
before, start = memory("VmRSS:"), time.perf_counter()
{timed}
seconds = time.perf_counter() - start
print("result", json.dumps([seconds, before and memory("VmHWM:") - before]))
"""


@dataclass(frozen=True)
class Code:
    """Python code for a process of its own: `timed` is measured, `set_up` runs before it."""

    timed: str
    set_up: str = ""


@dataclass(frozen=True)
class Pair:
    """Two pieces of code to compare; with `whole`, the whole process is measured."""

    name: str
    needs: tuple[str, ...]
    ours: Code
    peer: Code
    whole: bool = False


FRAMEWORKS = {  # backend: title, needed modules, and code that only imports them
    "pt": ("PyTorch", ("torch",), "import torch"),
    "tf": ("Keras", ("tensorflow", "keras"), "import tensorflow, keras"),
    "flax": ("Flax", ("jax", "flax"), "from flax import nnx"),
}


def import_pairs() -> Iterable[Pair]:
    """Return pairs for the import of each backend and of its framework."""
    for name, (title, needs, bare) in FRAMEWORKS.items():
        yield Pair(f"import: {title} backend / framework", needs, Code(f"import distilbert_{name}"), Code(bare))


def command_pairs() -> Iterable[Pair]:
    """Return pairs for `distilbert predict` with the embedded model, and Transformers' pipeline or a bare import."""
    answer = f"print(pipeline('text-classification', model={EMBEDDED!r})({TEXT!r}))"
    transformers = Code(f"from transformers import pipeline; {answer}")
    for name, (title, needs, bare) in FRAMEWORKS.items():
        ours = Code(f"from distilbert_cli import main; main(['predict', {TEXT!r}, '--backend', {name!r}])")
        needed = ("torch", "transformers", *needs)
        yield Pair(f"predict: {title} backend / Transformers' pipeline", needed, ours, transformers, whole=True)
        yield Pair(f"predict: {title} backend / import of the framework", needs, ours, Code(bare), whole=True)


def loading_pairs(folder: Path) -> Iterable[Pair]:
    """Return pairs for loading a checkpoint with our code, and with safetensors or Transformers."""
    load = f"{CLASS}.from_pretrained({str(folder)!r})"
    load_file = f"load_file({str(folder / 'model.safetensors')!r})"
    ours = f"from distilbert_pt import {CLASS}"
    theirs = "import torch; from safetensors.torch import load_file"
    read = "for tensor in tensors: tensor.detach().sum()"
    yield Pair("load: PyTorch backend / safetensors", ("torch",), Code(load, ours), Code(load_file, theirs))
    yield Pair(
        "load and read: PyTorch backend / safetensors",
        ("torch",),
        Code(f"tensors = {load}.parameters()\n{read}", ours),
        Code(f"tensors = {load_file}.values()\n{read}", theirs),
    )
    # Transformers imports the module of a model at first use, so this import is part of the load.
    transformers = f"from transformers import {CLASS}"
    needs = ("torch", "transformers")
    yield Pair("load: PyTorch backend / Transformers", needs, Code(load, ours), Code(load, transformers))
    both = (Code(f"{imports}; {load}") for imports in (ours, transformers))
    yield Pair("import and load: PyTorch backend / Transformers", needs, *both)
    for name, prefix, module in (("tf", "TF", "tensorflow"), ("flax", "Flax", "flax")):
        title, needs, bare = FRAMEWORKS[name]
        yield Pair(
            f"load: {title} backend / safetensors",
            needs,
            Code(f"{prefix}{load}", f"from distilbert_{name} import {prefix}{CLASS}"),
            Code(load_file, f"{bare}; from safetensors.{module} import load_file"),
        )


def run(code: Code, whole: bool) -> tuple[float, float | None]:
    """Run code in a new process; return its seconds, and the growth of memory in megabytes (None if unknown)."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # installed packages have byte code
    program = code.timed if whole else PROGRAM.format(set_up=code.set_up, timed=code.timed)
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{program}\nfailed:\n{done.stderr}")
    if whole:
        return seconds, None
    seconds, megabytes = json.loads(done.stdout.split("result")[-1])
    return seconds, megabytes


def measure(pair: Pair, rounds: int) -> dict[str, Any]:
    """Return medians of seconds and megabytes, and the spread of the ratio of the seconds."""
    runs = [
        [run(code, pair.whole) for code in (pair.ours, pair.peer)]
        for _ in track(range(rounds + 1), pair.name, transient=True)
    ][1:]
    medians = [
        [None if None in column else statistics.median(column) for column in zip(*side, strict=True)]
        for side in zip(*runs, strict=True)
    ]
    (ours, ours_mb), (peer, peer_mb) = medians
    ratio = Spread.of([ours / peer for (ours, _), (peer, _) in runs])
    return {"ours": ours, "peer": peer, "ratio": ratio, "ours_mb": ours_mb, "peer_mb": peer_mb}


def main() -> None:
    """Measure all pairs and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="WORD", help="only rows that begin so, such as 'load'")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args()
    table = Table("ours / peer", "ours [s]", "peer [s]", "ratio", "ours [MB]", "peer [MB]")
    results = []
    with tempfile.TemporaryDirectory() as folder:
        from distilbert_pt import DistilBertConfig, DistilBertForMaskedLM

        DistilBertForMaskedLM(DistilBertConfig()).save_pretrained(folder)
        for pair in (*import_pairs(), *command_pairs(), *loading_pairs(Path(folder))):
            if not pair.name.startswith(args.only):
                continue
            missing = [module for module in pair.needs if importlib.util.find_spec(module) is None]
            if missing:
                table.add_row(pair.name, "", "", f"{', '.join(missing)} not installed")
                continue
            result = measure(pair, args.rounds)
            results.append({**asdict(pair), **result})
            memory = ("" if result[side] is None else f"{result[side]:.0f}" for side in ("ours_mb", "peer_mb"))
            table.add_row(pair.name, f"{result['ours']:.3f}", f"{result['peer']:.3f}", str(result["ratio"]), *memory)
    Console().print(table)
    write(args, results)


if __name__ == "__main__":
    main()
