"""`examples/ray_tuning.py` on a local Ray: each trial is the run of `finetune` that its recipe describes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import ray
import ray_tuning

from distilbert_core.pipelines import pipeline
from distilbert_core.training import Recipe, finetune
from support.runs import HEAD_TASK, TEXTS

for module in (ray_tuning, sys.modules[__name__]):
    ray.cloudpickle.register_pickle_by_value(module)

FIXED = {"max_steps": 3, "batch_size": 4, "eval_every": 1, "warmup": 0.0}


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, logging_level="warning")
    yield
    ray.shutdown()


def test_four_trials(tmp_path):
    data = tmp_path / "data.tsv"
    data.write_text("text\tlabel\n" + "".join(f"{text}\t{i % 2}\n" for i, text in enumerate(TEXTS)))
    space = {**FIXED, "learning_rate": ray.tune.grid_search([1e-6, 1e-3]), "seed": ray.tune.grid_search([0, 1])}
    options = {"model": "sst2-tiny", "eval": str(data), "new_head": True, "backend": "pt"}
    grid = ray_tuning.search(HEAD_TASK, str(data), output=str(tmp_path / "out"), space=space, trials=1, **options)
    assert not grid.errors
    results = list(grid)
    assert len({result.metrics["folder"] for result in results}) == len(results) == 4
    best = grid.get_best_result()
    assert best.metrics["best"] == max(result.metrics["best"] for result in results)
    alone = finetune(HEAD_TASK, data, output=tmp_path / "alone", recipe=Recipe(**best.config), **options)
    assert best.metrics["best"] == alone.best
    folders = [Path(best.metrics["folder"]), tmp_path / "alone"]
    classifiers = [pipeline("text-classification", str(folder)) for folder in folders]
    assert classifiers[0]("a film")["label"] == classifiers[1]("a film")["label"]
