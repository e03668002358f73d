"""Very many short lines through each command: bounded memory, the order of the input, and no lost row.

LINES=1000000 sends a million lines through every command, in hours; else only `tokenize` gets a million.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.pipelines import write_checkpoint

LINES, MODEL_LINES = (int(os.environ.get("LINES", default)) for default in ("1_000_000", "50_000"))
GROWTH = 200 << 20  # bytes: largest difference between the memory for all lines and for a tenth of them

# Command -> the checkpoint of its task (None: the embedded one), its options, and the suffix of its output.
COMMANDS: dict[str, tuple[str | None, list[str], str]] = {
    "tokenize": (None, [], ".jsonl"),
    "predict": ("inference", [], ".csv"),
    "embed": ("inference", [], ".npy"),
    "zero-shot": ("inference", ["--labels", "far,dull"], ".jsonl"),
    "fill-mask": ("masked_lm", ["--top-k", "1"], ".jsonl"),
    "tag": ("entities", [], ".jsonl"),
}
PEAK = "import resource, sys; from distilbert_cli import main; code = main(sys.argv[1:]); "
PEAK += "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, file=sys.stderr); sys.exit(code)"


def write_lines(path: Path, count: int, text: str) -> None:
    with path.open("w") as file:
        file.writelines(f"{number} {text}\n" for number in range(count))


def run(words: list[str], folder: Path, count: int, text: str, suffix: str) -> tuple[int, Path]:
    """Run a command on lines that begin with their numbers; return the bytes of its peak memory, and its output."""
    write_lines(folder / "a.txt", count, text)
    output = folder / f"out{suffix}"
    command = [sys.executable, "-c", PEAK, *words, "--file", str(folder / "a.txt"), "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stderr.split()[-1]), output


def numbers(output: Path) -> list[int]:
    """The numbers at the beginning of the texts in an output; for vectors, their indices."""
    if output.suffix == ".npy":
        vectors = np.load(output, mmap_mode="r")
        assert not (vectors == 0).all(axis=1).any()
        return list(range(len(vectors)))
    with output.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file) if output.suffix == ".csv" else map(json.loads, file)
        return [int(row["text"].split()[0]) for row in rows]


def check(name: str, folder: Path, backend: list[str], count: int) -> int:
    """Run a command on few lines and on many; return how much more memory the many take."""
    checkpoint, options, suffix = COMMANDS[name]
    model = [] if checkpoint is None else ["--model", str(write_checkpoint(checkpoint, folder))]
    text = "[MASK] film" if name == "fill-mask" else "good film"
    words = [name, *options, *model, *backend]
    few, _ = run(words, folder, count // 10, text, suffix)
    many, output = run(words, folder, count, text, suffix)
    assert numbers(output) == list(range(count))
    return many - few


@pytest.mark.long
def test_a_million_lines_are_tokenized(tmp_path: Path) -> None:
    assert check("tokenize", tmp_path, [], LINES) < GROWTH


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "tokenize"])
def test_many_lines(name: str, framework, tmp_path: Path) -> None:
    assert check(name, tmp_path, ["--backend", framework.name], MODEL_LINES) < GROWTH
