"""Runs that are killed or fail: they continue to the same bits, and the old checkpoint stays."""

from __future__ import annotations

import errno
import json
import math
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from distilbert_core import CheckpointError, InputError, TrainingError
from distilbert_core.training import Recipe, evaluate
from support.processes import fresh_python
from support.runs import RECIPE, records, run, weights


def test_a_run_with_other_weights_is_another(framework, data, base, whole, tmp_path):
    shutil.copytree(whole(framework), tmp_path / "new")
    settings = tmp_path / "new/training/settings.json"
    assert '"class_weights": null' in settings.read_text()
    with pytest.raises(InputError, match=r"new was begun with another recipe \(class_weights\); give"):
        run(framework, data, base, tmp_path / "new", replace(RECIPE, class_weights="balanced"), resume=True)
    before = json.loads(settings.read_text())
    del before["recipe"]["class_weights"]  # as runs were begun before there were such
    settings.write_text(json.dumps(before))
    assert run(framework, data, base, tmp_path / "new", resume=True).step == RECIPE.max_steps
    assert weights(tmp_path / "new") == weights(whole(framework))


def test_the_same_seed_gives_the_same_bits(framework, data, base, whole, tmp_path):
    run(framework, data, base, tmp_path / "again")
    assert weights(tmp_path / "again") == weights(whole(framework))
    assert records(tmp_path / "again") == records(whole(framework))
    run(framework, data, base, tmp_path / "other", replace(RECIPE, seed=RECIPE.seed + 1))
    assert weights(tmp_path / "other") != weights(whole(framework))


def test_a_run_that_was_killed_goes_on_to_the_same_bits(framework, data, base, whole, tmp_path, monkeypatch):
    """Killed before anything was saved, and in the middle."""
    engine = framework.module("training").BackendEngine
    step = engine.step
    for killed_at in (1, 3):

        def killed(self, batch, number, killed_at=killed_at):
            if number == killed_at:
                raise KeyboardInterrupt
            return step(self, batch, number)

        with monkeypatch.context() as patch:
            patch.setattr(engine, "step", killed)
            with pytest.raises(KeyboardInterrupt):
                run(framework, data, base, tmp_path / "killed", resume=killed_at > 1)
    done = run(framework, data, base, tmp_path / "killed", resume=True)
    assert done.step == RECIPE.max_steps
    assert weights(tmp_path / "killed") == weights(whole(framework))
    assert records(tmp_path / "killed") == records(whole(framework))


KILLED = """
import os, signal
from importlib import import_module
from distilbert_core.training import Recipe, finetune

engine = import_module("{package}.training").BackendEngine
step = engine.step

def killed(self, batch, number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, batch, number)

engine.step = killed
finetune(
    "sequence-classification", {data!r}, eval={data!r}, model={base!r}, output={output!r}, backend={backend!r},
    recipe=Recipe(**{recipe!r}),
)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_a_process_that_was_killed_goes_on_to_the_same_bits(framework, data, base, whole, tmp_path, monkeypatch):
    """A signal that nobody can answer, after the state of step 2 was written."""
    monkeypatch.setenv("JAX_ENABLE_X64", "true")  # as in this process: XLA rounds differently without it
    code = KILLED.format(
        package=framework.package.__name__,
        backend=framework.name,
        data=str(data),
        base=str(base),
        output=str(tmp_path / "killed"),
        recipe=RECIPE.to_dict(),
    )
    with pytest.raises(subprocess.CalledProcessError) as error:
        fresh_python(code)
    assert error.value.returncode == -signal.SIGKILL, error.value.stderr
    assert run(framework, data, base, tmp_path / "killed", resume=True).step == RECIPE.max_steps
    assert weights(tmp_path / "killed") == weights(whole(framework))
    assert records(tmp_path / "killed") == records(whole(framework))


def test_what_is_resumed_must_be_the_same_run(framework, data, base, whole, tmp_path):
    shutil.copytree(whole(framework), tmp_path / "new")
    with pytest.raises(InputError, match=r"new was begun with another eval; give the same"):
        run(framework, data, base, tmp_path / "new", resume=True, eval=None)
    state = tmp_path / "new/training/state.safetensors"
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"state.safetensors is damaged"):
        run(framework, data, base, tmp_path / "new", resume=True)


def test_a_loss_that_is_nan(framework, data, base, tmp_path, monkeypatch):
    engine = framework.module("training").BackendEngine
    step = engine.step
    monkeypatch.setattr(
        engine,
        "step",
        lambda self, batch, number: {"loss": math.nan} if number == 3 else step(self, batch, number),
    )
    with pytest.raises(
        TrainingError, match=r"The loss of step 4 is nan; .*new keeps the model of step 2\. Try a lower"
    ):
        run(framework, data, base, tmp_path / "new")
    evaluate("sequence-classification", data, model=tmp_path / "new", backend=framework.name)  # it loads
    monkeypatch.undo()
    assert run(framework, data, base, tmp_path / "new", resume=True).step == RECIPE.max_steps


def test_nan_weights_are_not_saved(framework, data, base, tmp_path):
    recipe = Recipe(max_steps=2, eval_every=1, learning_rate=1e30, warmup=0)
    with pytest.raises(TrainingError, match=r"(After step [12] .* is not finite|The loss of step 2 is (nan|inf))"):
        run(framework, data, base, tmp_path / "new", recipe, eval=None)


def test_a_full_disk_leaves_the_old_checkpoint(framework, data, base, whole, tmp_path, monkeypatch):
    import distilbert_core.files.atomic

    flushed = []
    flush = distilbert_core.files.atomic.flush

    def full(path):
        flushed.append(path.name)
        if flushed.count("state.safetensors") == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(path)

    with monkeypatch.context() as patch:
        patch.setattr(distilbert_core.files.atomic, "flush", full)
        with pytest.raises(OSError, match="No space left on device"):
            run(framework, data, base, tmp_path / "new")
    assert not list(tmp_path.glob("**/.saving-*"))
    run(framework, data, base, tmp_path / "new", resume=True)  # from the state that was there before
    assert weights(tmp_path / "new") == weights(whole(framework))
