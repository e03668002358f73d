"""A run in two processes that TF_CONFIG names is that of one process. `finetune`: tests/models/test_launching.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from socket import socket
from unittest.mock import Mock

import pytest
import tensorflow as tf

from distilbert_core import DistilBertTokenizerFast, Head, InputError
from distilbert_tf.training import all_devices, current_strategy
from support.checkpoints import save_random, small_config
from support.comparison import assert_close
from support.frameworks import FRAMEWORKS

FRAMEWORK = FRAMEWORKS["tf"]
HEAD = Head.SEQUENCE_CLASSIFICATION

RUNS = """
import sys
from distilbert_core.training import Recipe, finetune
from distilbert_core.training.distillation import DistillationRecipe, distill
from distilbert_core.training.engine import Engine

folder, parts = sys.argv[1], int(sys.argv[2])
task, data = "sequence-classification", folder + "/data.tsv"
numbers = dict(max_steps=2, eval_every=1, batch_size=8, learning_rate=1e-2, epsilon=1e-3, dtype="float64")
numbers |= dict(accumulate=parts)
given = dict(backend="tf", progress=False)

def output(name):
    return folder + "/" + name + "-" + str(parts)

pair = dict(student=folder + "/model", teacher="sst2-tiny")
recipe = DistillationRecipe(dropout=0.0, **numbers)
distill(task, data, eval=data, **given, **pair, recipe=recipe, output=output("distill"))
if parts > 1:
    sys.exit()

dropping = dict(**given, model=folder + "/model", recipe=Recipe(dropout=0.3, **numbers))
finetune(task, data, **dropping, output=output("whole"))
take = Engine.step

def stop(engine, batch, step):
    if step == 1:
        raise KeyboardInterrupt
    return take(engine, batch, step)

Engine.step = stop
try:
    finetune(task, data, **dropping, output=output("stopped"))
except KeyboardInterrupt:
    Engine.step = take
finetune(task, data, **dropping, output=output("stopped"), resume=True)
"""


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("localhost", 0))
        return [one.getsockname()[1] for one in sockets]


def run_processes(count, *words):
    """Run the program in several processes, and wait for all."""
    workers = [f"localhost:{port}" for port in free_ports(count)]
    started = []
    for index in range(count):
        place = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(place)}
        command = [sys.executable, "-c", RUNS, *map(str, words)]
        started.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
    try:
        printed = [process.communicate(timeout=600)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * count, printed


def test_two_processes_make_the_run_of_one(tmp_path):
    """Measured: 0. With dropout each process draws its own masks, and a stopped run goes on with those of both."""
    save_random(tmp_path / "model", small_config(vocab_size=30522, num_labels=2, n_layers=1), HEAD)
    DistilBertTokenizerFast.from_pretrained("sst2-tiny").save_pretrained(tmp_path / "model")
    rows = "".join(f"{'very ' * n}good\t{n % 2}\n" for n in range(11))
    (tmp_path / "data.tsv").write_text(f"text\tlabel\n{rows}")
    run_processes(2, tmp_path, 1)
    run_processes(1, tmp_path, 2)

    def parameters(name):
        return FRAMEWORK.parameters(FRAMEWORK.load(HEAD, tmp_path / name, dtype="float64"))

    def losses(name):
        lines = (tmp_path / name / "training/metrics.jsonl").read_text().splitlines()
        return [record["loss"] for record in map(json.loads, lines) if "loss" in record]

    assert_close(parameters("distill-1"), parameters("distill-2"), 1e-12)
    assert len(losses("distill-1")) == 2  # one process wrote them
    assert_close(losses("distill-1"), losses("distill-2"), 1e-12)
    assert losses("stopped-1") == losses("whole-1")
    states = [(tmp_path / name / "training/state.safetensors").read_bytes() for name in ("stopped-1", "whole-1")]
    assert states[0] == states[1]


def test_processes_are_joined_first(monkeypatch):
    workers = ["localhost:1", "localhost:2"]
    monkeypatch.setenv(
        "TF_CONFIG", json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": 0}})
    )
    tf.zeros(())
    with pytest.raises(InputError, match="must join before it computes anything: begin the program with strategy ="):
        all_devices.__wrapped__()


def test_asynchronous_gradients_are_refused(monkeypatch):
    strategy = Mock(spec=tf.distribute.experimental.ParameterServerStrategy)
    monkeypatch.setattr(tf.distribute, "has_strategy", lambda: True)
    monkeypatch.setattr(tf.distribute, "get_strategy", lambda: strategy)
    with pytest.raises(InputError, match=r"ParameterServerStrategy is asynchronous: .* MultiWorkerMirroredStrategy"):
        current_strategy()
