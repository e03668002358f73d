"""Measures time and memory of conversions of the base-size model, compared with copying and reading its file.

    python benchmarks/conversion.py [--rounds 5] [--transformers-4 PYTHON] [--json FILE]

Every measurement is a new process. In each round the conversion and the copy run one after the other, and with
--transformers-4 also the conversion of Transformers (PYTHON is in an environment with Transformers 4.53, TensorFlow and
Flax). Times are without imports, and for the whole process in brackets. A conversion waits until its files are on the
disk (fsync), unlike `cp`, so it is also compared with a copy that waits. The memory is the peak of the process, minus
the memory after the imports. The output shows medians, and the ratio to copying as median (smallest to largest).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

CLASS = "DistilBertForMaskedLM"
MEASURED = """
import time
{imports}
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024
before, start = peak(), time.perf_counter()
{work}
print("measured", time.perf_counter() - start, peak() - before)
"""
COPY = """
shutil.copyfile({file!r}, {destination!r})
if {synced}:
    with open({destination!r}, "rb+") as file:
        os.fsync(file.fileno())
with open({file!r}, "rb", buffering=0) as file:
    while file.read(1 << 20):
        pass
"""


@dataclass(frozen=True)
class Format:
    """A format: its file, the module it needs, and the code with which Transformers 4.53 loads and saves it."""

    file: str
    imports: str
    load: str
    save: str


def _direct(function: str, file: str) -> str:
    """Return code that loads a file into a PyTorch model; from_pretrained of 4.53 fails here (meta device)."""
    return f"""
model = transformers.{CLASS}(transformers.DistilBertConfig.from_pretrained(source))
model = {function}(model, source + "/{file}")"""


PYTORCH = f"model = transformers.{CLASS}.from_pretrained(source)"
FORMATS = {
    "pt": Format("model.safetensors", "safetensors", PYTORCH, "model.save_pretrained(destination)"),
    "bin": Format(
        "pytorch_model.bin", "torch", PYTORCH, "model.save_pretrained(destination, safe_serialization=False)"
    ),
    "h5": Format(
        "tf_model.h5",
        "h5py",
        _direct("transformers.modeling_tf_pytorch_utils.load_tf2_checkpoint_in_pytorch_model", "tf_model.h5"),
        f"transformers.TF{CLASS}.from_pretrained(source).save_pretrained(destination, safe_serialization=False)",
    ),
    "msgpack": Format(
        "flax_model.msgpack",
        "msgpack",
        _direct("transformers.modeling_flax_pytorch_utils.load_flax_checkpoint_in_pytorch_model", "flax_model.msgpack"),
        f"transformers.Flax{CLASS}.from_pretrained(source, from_pt=True).save_pretrained(destination)",
    ),
}
TRANSFORMERS = f"""
import transformers, transformers.modeling_tf_pytorch_utils, transformers.modeling_flax_pytorch_utils
transformers.{CLASS}, transformers.TF{CLASS}, transformers.Flax{CLASS}"""
STEPS = [("pt", "h5"), ("h5", "pt"), ("pt", "msgpack"), ("msgpack", "pt"), ("pt", "bin"), ("bin", "pt")]


@dataclass(frozen=True)
class Cost:
    """Seconds of the work and of the whole process, and the memory of the work in bytes."""

    seconds: float
    process: float
    memory: float


def run(python: str, imports: str, work: str) -> Cost:
    """Run code in a new process."""
    start = time.perf_counter()
    code = MEASURED.format(imports=imports, work=work)
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    process = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{python} failed:\n{done.stderr[-2000:]}")
    seconds, memory = done.stdout.split("measured")[-1].split()
    return Cost(float(seconds), process, float(memory))


def round_of(start: str, to: str, sources: Path, transformers: str | None) -> dict[str, Cost]:
    """Run a conversion once in each way."""
    source = sources / start
    with tempfile.TemporaryDirectory(dir=sources) as folder:
        destination = f"{folder}/new"
        imports = f"import {FORMATS[start].imports}, {FORMATS[to].imports}\nfrom weight_conversion import convert"
        work = f"convert({str(source)!r}, {destination!r}, {to!r})"
        costs = {"ours": run(sys.executable, imports, work)}
        for way, synced in (("copy", False), ("synced", True)):
            copy = COPY.format(file=str(source / FORMATS[start].file), destination=f"{folder}/{way}", synced=synced)
            costs[way] = run(sys.executable, "import os, shutil", copy)
        if transformers is not None:
            paths = f"source, destination = {str(source)!r}, {folder + '/theirs'!r}"
            through_pytorch = start in ("h5", "msgpack") or to in ("pt", "bin")
            steps = [FORMATS[start].load] if through_pytorch else []
            costs["transformers"] = run(transformers, TRANSFORMERS, "\n".join([paths, *steps, FORMATS[to].save]))
    return costs


def measure(start: str, to: str, sources: Path, rounds: int, transformers: str | None) -> dict[str, Any]:
    """Return the medians for each way, and the ratio of ours to copying: median, smallest and largest."""
    name = f"{start} to {to}"
    runs = [round_of(start, to, sources, transformers) for _ in track(range(rounds), name, transient=True)]
    ratios = {way: [costs["ours"].seconds / costs[way].seconds for costs in runs] for way in ("copy", "synced")}
    medians = {
        way: {field: statistics.median(getattr(costs[way], field) for costs in runs) for field in asdict(cost)}
        for way, cost in runs[0].items()
    }
    size = (sources / start / FORMATS[start].file).stat().st_size
    spread = {way: (statistics.median(values), min(values), max(values)) for way, values in ratios.items()}
    return {"step": name, "size": size, "ratios": spread, **medians}


def main() -> None:
    """Measure all steps and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--transformers-4", metavar="PYTHON", help="Python of an environment with Transformers 4.53")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args()
    table = Table(
        "step",
        "convert [s]",
        "cp, read [s]",
        "ratio",
        "cp, fsync, read [s]",
        "ratio",
        "memory [MB]",
        "less size",
        "Transformers 4.53",
    )
    results = []
    with tempfile.TemporaryDirectory() as name:
        from distilbert_pt import DistilBertConfig, DistilBertForMaskedLM
        from weight_conversion import convert

        sources = Path(name)
        DistilBertForMaskedLM(DistilBertConfig()).save_pretrained(sources / "pt")
        for format in ("bin", "h5", "msgpack"):
            convert(sources / "pt", sources / format, format)
        for start, to in STEPS:
            result = measure(start, to, sources, args.rounds, args.transformers_4)
            results.append(result)
            ours = result["ours"]
            theirs = result.get("transformers")
            table.add_row(
                result["step"],
                f"{ours['seconds']:.2f} ({ours['process']:.2f})",
                *(
                    text
                    for way, (median, smallest, largest) in result["ratios"].items()
                    for text in (f"{result[way]['seconds']:.2f}", f"{median:.2f} ({smallest:.2f} to {largest:.2f})")
                ),
                f"{ours['memory'] / 1e6:.0f}",
                f"{(ours['memory'] - result['size']) / 1e6:+.0f}",
                f"{theirs['seconds']:.2f} s, {theirs['memory'] / 1e6:.0f} MB" if theirs else "",
            )
    Console().print(table)
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
