"""The same seed gives the same bits in two fresh processes; `test_resuming.py` compares two runs of one process.

Limits: the same machine, versions and number of threads.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest

from support.runs import weights

RUN = """
import sys
from distilbert_core.pipelines import pipeline
from distilbert_core.training import Recipe, finetune
framework, data, output, dtype = sys.argv[1:]
steps = {"max_steps": 40, "batch_size": 8, "accumulate": 2, "eval_every": 10}
recipe = Recipe(**steps, learning_rate=1e-3, dropout=0.2, dtype=dtype)
trained = f"{output}/trained"
files = {"model": "sst2-tiny", "output": trained, "eval": data}
finetune("sequence-classification", data, **files, recipe=recipe, backend=framework, new_head=True)
texts = open(data).read().split("\\n")
classify = pipeline("text-classification", trained, framework=framework)
for answers in (classify(texts, top_k=None), [classify(text) for text in texts]):
    print(repr(answers))
"""


def fresh_run(framework, data, output, dtype, **environment):
    """Run in a new process; return digests of the weights and of the answers."""
    command = [sys.executable, "-c", RUN, framework.name, str(data), str(output), dtype]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [hashlib.sha256(content).hexdigest() for content in (weights(output / "trained"), done.stdout.encode())]


@pytest.mark.long
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_two_processes_compute_the_same_bits(framework, data, tmp_path, dtype):
    """Weights after 40 steps, and answers of batches and of single texts, with other hash seeds."""
    first, second = (fresh_run(framework, data, tmp_path / seed, dtype, PYTHONHASHSEED=seed) for seed in ("1", "2"))
    assert first == second
    one_thread = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
    third = fresh_run(framework, data, tmp_path / "3", dtype, **one_thread)
    same = [a == b for a, b in zip(first, third, strict=True)]
    print(f"{framework.name} {dtype}: with one thread, weights and answers have the same bits: {same}")
