"""`examples/launch/ray_train.py` on a local Ray: two workers make the run of one process."""

from __future__ import annotations

import sys

import pytest
import ray

from distilbert_core.training import Recipe, finetune
from support.comparison import assert_close
from support.frameworks import FRAMEWORKS
from support.paths import EXAMPLES
from support.runs import HEAD, HEAD_TASK, TEXTS, records

sys.path.insert(0, str(EXAMPLES / "launch"))
import ray_train

for module in (ray_train, sys.modules[__name__]):
    ray.cloudpickle.register_pickle_by_value(module)

NUMBERS = {"max_steps": 3, "batch_size": 4, "eval_every": 1, "warmup": 0.0, "learning_rate": 1e-4, "dtype": "float64"}
NUMBERS |= {"dropout": 0.0, "epsilon": 1e-3}


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(num_cpus=3, include_dashboard=False, logging_level="warning")
    yield
    ray.shutdown()


@pytest.fixture
def data(tmp_path):
    file = tmp_path / "data.tsv"
    file.write_text("text\tlabel\n" + "".join(f"{text}\t{i % 2}\n" for i, text in enumerate(TEXTS)))
    return str(file)


def launch(tmp_path, data, name, **options):
    given = {"train": data, "eval": data, "model": "sst2-tiny", "new_head": True, "task": HEAD_TASK}
    output, storage = str(tmp_path / name), str(tmp_path / "ray")
    return ray_train.launch("finetune", workers=2, output=output, storage=storage, recipe=NUMBERS, **given, **options)


def test_two_workers_make_the_run_of_one_process(tmp_path, data):
    """As in one process, within 1e-12. Launched again, the workers go on with their run, which is complete."""
    progress = launch(tmp_path, data, "two")
    recipe = Recipe(**NUMBERS, accumulate=2)
    options = {"eval": data, "model": "sst2-tiny", "new_head": True, "backend": "pt"}
    done = finetune(HEAD_TASK, data, output=tmp_path / "one", recipe=recipe, **options)
    assert progress == {"step": 3, "best_step": done.best_step, **done.metrics}
    pt = FRAMEWORKS["pt"]
    one, two = (pt.parameters(pt.load(HEAD, tmp_path / name, dtype="auto")) for name in ("one", "two"))
    assert_close(two, one, 1e-12)
    assert len(records(tmp_path / "two")) == len(records(tmp_path / "one"))  # one worker wrote them
    assert launch(tmp_path, data, "two") == progress


def test_an_error_of_a_worker_is_said(tmp_path, data):
    options = {"train": data, "model": "sst2-tiny", "output": str(tmp_path / "new"), "storage": str(tmp_path / "ray")}
    with pytest.raises(ray.train.TrainingFailedError, match="task must be one of"):
        ray_train.launch("finetune", workers=2, task="classify", **options)
    assert not (tmp_path / "new").exists()
