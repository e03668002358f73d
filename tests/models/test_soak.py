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

CALLS, WARM_UP = 5000, 2000
PROGRAMS = {"pt": 0, "tf": 20, "flax": 400}  # at most
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
    command = [sys.executable, str(TESTS / "support" / "soak.py"), *arguments]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def check_flat(held, programs):
    """Compare all samples with the first: memory within 2 %, no more open files, no more programs than allowed."""
    first = held[0]
    for sample in held:
        assert sample["resident"] <= 1.02 * first["resident"], sample
        assert sample["files"] <= first["files"], sample
        assert sample["objects"] <= 1.02 * first["objects"], sample
        assert sample["programs"] <= programs, sample


@pytest.mark.long
def test_many_mixed_calls(framework, tmp_path):
    held = soak(framework, CALLS, tmp_path)
    warm = [sample for sample in held if sample["calls"] >= WARM_UP]
    print(f"{framework.name}: {held[0]}, {warm[0]}, {warm[-1]}")
    assert len(held) == CALLS // 100
    check_flat(warm, PROGRAMS[framework.name])


@pytest.mark.parametrize("name", ["resident", "files", "objects", "programs"])
def test_growth_is_seen(name):
    flat = {"calls": 100, "resident": 10**8, "files": 20, "objects": 10**5, "programs": 3}
    check_flat([flat, flat | {"resident": 101 * 10**6}], 3)
    with pytest.raises(AssertionError):
        check_flat([flat, flat | {name: flat[name] * 21 // 20 + 1}], 3)
