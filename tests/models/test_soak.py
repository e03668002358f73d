"""Many calls in one process: memory, open files and compiled programs do not grow."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from distilbert_core import DEFAULT_MODEL
from support.paths import TESTS
from support.pipelines import write_checkpoint

CALLS = 5000
PROGRAMS = {"pt": 0, "tf": 20, "flax": 200}  # at most; measured: 0, 10, 135
PROGRAM_BYTES, PROGRAM_OBJECTS = 10 << 20, 2000  # of a compiled program; measured in Flax: 7.5 MB, 1,600 objects
CHECKPOINTS = {
    "ner": "entities",
    "question-answering": "answers",
    "fill-mask": "masked_lm",
    "feature-extraction": "vectors",
}


def soak(framework, calls, root):
    """Return what the process held, each 100 calls."""
    folders = {"text-classification": DEFAULT_MODEL}
    folders |= {task: str(write_checkpoint(name, root)) for task, name in CHECKPOINTS.items()}
    arguments = [framework.name, str(calls), *(f"{task}={folder}" for task, folder in folders.items())]
    # oneDNN keeps the last 1,024 products of PyTorch, and takes thousands of calls to reach that number.
    settings = {"OMP_NUM_THREADS": "1", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64"}
    command = [sys.executable, str(TESTS / "support" / "soak.py"), *arguments]
    done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def check_flat(held, programs):
    """Compare all samples with the first: memory within 2 %, beside that of new programs; no more open files."""
    first = held[0]
    for sample in held:
        new = sample["programs"] - first["programs"]
        assert sample["resident"] <= 1.02 * first["resident"] + PROGRAM_BYTES * new, sample
        assert sample["files"] <= first["files"], sample
        assert sample["objects"] <= 1.02 * first["objects"] + PROGRAM_OBJECTS * new, sample
        assert sample["programs"] <= programs, sample


@pytest.mark.long
def test_many_mixed_calls(framework, tmp_path):
    held = soak(framework, CALLS, tmp_path)
    print(f"{framework.name}: {held[0]}, {held[-1]}")
    assert len(held) == CALLS // 100
    check_flat(held, PROGRAMS[framework.name])


@pytest.mark.parametrize("name", ["resident", "files", "objects", "programs"])
def test_growth_is_seen(name):
    flat = {"calls": 100, "resident": 10**8, "files": 20, "objects": 10**5, "programs": 3}
    check_flat([flat, flat | {"resident": 101 * 10**6}], 3)
    with pytest.raises(AssertionError):
        check_flat([flat, flat | {name: flat[name] * 21 // 20 + 1}], 3)
