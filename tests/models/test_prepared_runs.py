"""Runs on token shards, on corpora that do not fit into memory, and from any step: the same bits as the plain run."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from distilbert_core import CheckpointError, DistilBertConfig, Head, InputError
from distilbert_core.training import data as training_data
from distilbert_core.training import evaluate, finetune, prepare
from distilbert_core.training.distillation import DistillationRecipe, distill
from support.checkpoints import save_random
from support.runs import HEAD_TASK, RECIPE, TEXTS, records, run, weights


@pytest.fixture(scope="module")
def shards(data, base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards") / "tokens"
    prepare(HEAD_TASK, data, model=base, output=folder, max_length=32, rows_per_shard=2)
    return folder


def test_a_run_on_shards_is_the_run_on_the_file(framework, data, base, whole, shards, tmp_path):
    run(framework, shards, base, tmp_path / "new", eval=data)
    assert weights(tmp_path / "new") == weights(whole(framework))
    assert records(tmp_path / "new") == records(whole(framework))
    metrics = [evaluate(HEAD_TASK, rows, model=tmp_path / "new", backend=framework.name) for rows in (data, shards)]
    assert metrics[0] == metrics[1]


def test_a_large_corpus_is_prepared_first(framework, base, tmp_path, monkeypatch):
    """Distillation on lines: the same student as from rows in memory, and a folder beside the output."""
    (tmp_path / "lines.txt").write_text("\n".join(TEXTS * 4))
    for name in ("teacher", "student"):
        shutil.copytree(base, tmp_path / name)
        save_random(tmp_path / name, DistilBertConfig.from_pretrained(base), Head.MASKED_LM)
    recipe = DistillationRecipe(max_steps=2, batch_size=2, max_length=16)
    options = {"teacher": tmp_path / "teacher", "student": tmp_path / "student", "backend": framework.name}
    distill("masked-lm", tmp_path / "lines.txt", output=tmp_path / "memory", recipe=recipe, **options)
    monkeypatch.setattr(training_data, "IN_MEMORY", 0)
    distill("masked-lm", tmp_path / "lines.txt", output=tmp_path / "disk", recipe=recipe, **options)
    assert weights(tmp_path / "memory") == weights(tmp_path / "disk")
    assert (tmp_path / "disk-tokens-0/index.json").exists()
    assert not (tmp_path / "memory-tokens-0").exists()


def test_batches_of_tokens(framework, data, base, tmp_path):
    """As many rows as have 16 tokens; the steps of an epoch are counted in tokens."""
    recipe = replace(RECIPE, max_steps=None, max_tokens=20, max_length=16, epochs=2)
    done = run(framework, data, base, tmp_path / "new", recipe)
    tokens = 36  # of the six texts
    assert done.step == -(-2 * tokens // 20)
    with pytest.raises(InputError, match="max_tokens must be at least max_length=16, got 10"):
        run(framework, data, base, tmp_path / "other", replace(recipe, max_tokens=10))


def killed_at(framework, monkeypatch, number):
    """Context manager: the step of a number is interrupted. Return the numbers of the steps that are taken."""
    engine = framework.module("training").BackendEngine
    step, taken = engine.step, []

    def interrupted(self, batch, index):
        if index == number:
            raise KeyboardInterrupt
        taken.append(index)
        return step(self, batch, index)

    monkeypatch.setattr(engine, "step", interrupted)
    return taken


def test_a_run_goes_on_from_any_step(framework, data, base, whole, tmp_path, monkeypatch):
    """Killed at step 3, between the evaluations after steps 2 and 4: no step is taken twice. Two states are kept."""
    training = tmp_path / "new/training"
    states = {"save_every": 1, "keep_states": 2}
    with monkeypatch.context() as patch:
        killed_at(framework, patch, 3)
        with pytest.raises(KeyboardInterrupt):
            run(framework, data, base, tmp_path / "new", **states)
    assert sorted(path.name for path in training.glob("*.safetensors")) == [
        "state-00000002.safetensors",
        "state.safetensors",
    ]
    with monkeypatch.context() as patch:
        taken = killed_at(framework, patch, None)
        run(framework, data, base, tmp_path / "new", resume=True, **states)
    assert taken == [3, 4, 5]
    assert weights(tmp_path / "new") == weights(whole(framework))

    (training / "state.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"damaged.* Rename state-00000005.safetensors to state.safetensors to"):
        run(framework, data, base, tmp_path / "new", resume=True, **states)
    (training / "state-00000005.safetensors").rename(training / "state.safetensors")
    run(framework, data, base, tmp_path / "new", resume=True, **states)
    assert weights(tmp_path / "new") == weights(whole(framework))
    assert len(list(training.glob("state-*.safetensors"))) == 1
    run(framework, data, base, tmp_path / "new", resume=True)  # finished; nothing is written


@pytest.mark.parametrize("name", ["save_every", "keep_states"])
def test_impossible_numbers_of_states(framework, data, base, tmp_path, name):
    with pytest.raises(InputError, match=f"{name} must be a positive integer"):
        run(framework, data, base, tmp_path / "new", **{name: 0})


MISFITS = {
    "another task": ({"task": "masked-lm"}, "prepared with task: sequence-classification; the run needs masked-lm"),
    "another length": ({"recipe": replace(RECIPE, max_length=8)}, "prepared with max_length: 32; the run needs 8"),
    "other labels": ({"labels": ["bad", "worse", "good"]}, "prepared with labels"),
    "another tokenizer": ({"model": "cased"}, "prepared with tokenizer: another one; the run needs its own"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_shards_that_do_not_fit(base, shards, tmp_path, case):
    """They are refused before a framework is imported."""
    shutil.copytree(base, tmp_path / "cased")
    vocabulary = (base / "vocab.txt").read_text().splitlines()
    vocabulary[2000:2002] = vocabulary[2001:1999:-1]
    (tmp_path / "cased/vocab.txt").write_text("\n".join(vocabulary))
    (tmp_path / "cased/tokenizer.json").unlink(missing_ok=True)
    changes, message = MISFITS[case]
    options = {"task": HEAD_TASK, "model": "base", "recipe": RECIPE, "output": tmp_path / "new", **changes}
    options["model"] = {"base": base, "cased": tmp_path / "cased"}[options["model"]]
    with pytest.raises(InputError, match=message):
        finetune(train=shards, backend="pt", **options)
    assert not (tmp_path / "new").exists()
