"""Runs that an earlier version began and that were stopped half-way continue to the same numbers.

The runs in fixtures/runs were begun at commit ddc88e9. Each was killed after step 5 of 8; another one ran to its end.
"""

from __future__ import annotations

import json
import shutil

import pytest

from distilbert_core.training import Recipe, finetune
from distilbert_core.training.distillation import DistillationRecipe, distill
from support.paths import FIXTURES

RUNS = FIXTURES / "runs"
NUMBERS = {
    "max_steps": 8,
    "eval_every": 2,
    "batch_size": 4,
    "accumulate": 2,
    "learning_rate": 2e-2,
    "seed": 5,
    "max_length": 12,
}


def losses(file):
    """Return the losses and learning rates of each step."""
    records = [json.loads(line) for line in file.read_text().splitlines()]
    return [
        {name: value for name, value in record.items() if name != "tokens_per_second"}
        for record in records
        if "loss" in record
    ]


@pytest.mark.parametrize("kind", ["finetune", "distill"])
def test_a_run_of_an_earlier_version_continues(framework, tmp_path, monkeypatch, kind):
    """Dropout, moments, masks and the projection go on. Measured on the same machine: 0, and the same weights."""
    for name in ("student", "teacher"):
        shutil.copytree(RUNS / name, tmp_path / name)
    shutil.copy(RUNS / "texts.tsv", tmp_path)
    shutil.copytree(RUNS / f"{framework.name}-{kind}", tmp_path / "run")
    monkeypatch.chdir(tmp_path)  # settings have the path of the model
    options = {"output": "run", "eval": "texts.tsv", "backend": framework.name, "resume": True}
    if kind == "finetune":
        progress = finetune(
            "sequence-classification", "texts.tsv", model="student", recipe=Recipe(**NUMBERS), **options
        )
    else:
        recipe = DistillationRecipe(**NUMBERS, squared_error_weight=0.5)
        progress = distill(
            "sequence-classification", ["texts.tsv"], student="student", teacher="teacher", recipe=recipe, **options
        )
    assert progress.step == 8
    expected = losses(tmp_path / "run/expected.jsonl")
    assert len(expected) == 4
    assert losses(tmp_path / "run/training/metrics.jsonl") == [pytest.approx(record, rel=1e-4) for record in expected]
