"""Training on two devices, and in two processes, ends with the weights of one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from importlib import util

import keras
import numpy as np
import pytest

from distilbert_core import DistilBertTokenizerFast, Head
from distilbert_tf import AdamW
from support.checkpoints import random_inputs, save_random, small_config
from support.comparison import assert_close, largest_difference
from support.frameworks import FRAMEWORKS
from support.paths import EXAMPLES
from support.processes import fresh_python

FRAMEWORK = FRAMEWORKS["tf"]
EXAMPLE = EXAMPLES / "keras_multi_worker.py"
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0}

TWO_DEVICES = """
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

import keras, numpy as np
from distilbert_tf import AdamW, TFDistilBertForSequenceClassification

folder = {folder!r}
data = dict(np.load(folder + "/data.npz"))
labels = data.pop("labels")
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for name, options in {compilations!r}.items():
    if "loss" in options:
        options["loss"] = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with strategy.scope():
        model = TFDistilBertForSequenceClassification.from_pretrained(folder, dtype="float64")
        options.setdefault("optimizer", keras.optimizers.AdamW(0.01))
        if options["optimizer"] == "fused":
            options["optimizer"] = AdamW(0.01)
        model.compile(**options)
    assert strategy.num_replicas_in_sync == 2
    parts = (data, labels, {weights!r}) if name == "weighted" else (data, labels)
    batches = tf.data.Dataset.from_tensor_slices(parts).batch(4)
    print(model.fit(batches, epochs=2, shuffle=False, verbose=0).history["loss"])
    model.save_pretrained(folder + "/" + name)
"""
COMPILATIONS = {
    "own": {},
    "given": {"loss": "cross-entropy", "metrics": ["accuracy"]},
    "weighted": {"optimizer": "fused"},
}
WEIGHTS = [0.5, 2.0, 0.0, 3.0]


def one_device(folder, x, y, optimizer, epochs=2, weights=None, **options):
    """Train where there is nothing to distribute, and return losses and parameters."""
    model = FRAMEWORK.load(Head.SEQUENCE_CLASSIFICATION, folder, dtype="float64", **NO_DROPOUT)
    model.compile(optimizer, run_eagerly=True, **options)
    data = {"x": x, "y": y, "sample_weight": weights}
    losses = model.fit(**data, batch_size=4, epochs=epochs, shuffle=False, verbose=0).history["loss"]
    return losses, FRAMEWORK.parameters(model)


def parameters(folder):
    return FRAMEWORK.parameters(FRAMEWORK.load(Head.SEQUENCE_CLASSIFICATION, folder, dtype="float64"))


def test_two_devices(tmp_path):
    config = small_config(n_layers=1, **NO_DROPOUT)
    save_random(tmp_path, config, Head.SEQUENCE_CLASSIFICATION)
    inputs = random_inputs(config, Head.SEQUENCE_CLASSIFICATION)
    x, y = {name: inputs[name][:4] for name in ("input_ids", "attention_mask")}, np.array([3, 0, 6, 2])
    np.savez(tmp_path / "data.npz", **x, labels=y)
    code = TWO_DEVICES.format(folder=str(tmp_path), compilations=COMPILATIONS, weights=WEIGHTS)
    printed = fresh_python(code).splitlines()
    for line, name in zip(printed, COMPILATIONS, strict=True):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True) if name == "given" else None
        weights = np.array(WEIGHTS) if name == "weighted" else None
        optimizer = AdamW if name == "weighted" else keras.optimizers.AdamW
        losses, expected = one_device(tmp_path, x, y, optimizer(0.01), weights=weights, loss=loss)
        assert_close(json.loads(line), losses, 1e-6)  # of float32, as Keras keeps them
        assert_close(parameters(tmp_path / name), expected, TOLERANCES[name])


WHOLE_RUN = """
import sys
from contextlib import nullcontext
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from distilbert_core.training.distillation import DistillationRecipe, distill
from distilbert_core.training import Recipe, finetune
from distilbert_tf.training import BackendEngine

places, compute = set(), BackendEngine.compute

def computed(self, model, function, batches):
    def noted(*arguments):
        places.add((name, tf.zeros(()).device[-5:]))
        return function(*arguments)
    return compute(self, model, noted, batches)

BackendEngine.compute = computed  # by the teacher
folder = {folder!r}
numbers = dict(max_steps=2, batch_size=8, learning_rate=1e-2, epsilon=1e-3, dropout=0.0, dtype="float64")
task, data = "sequence-classification", folder + "/data.tsv"
mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
# As many parts of a batch in each: on one device after one another, on two at once.
for name, scope, parts in (("one", nullcontext(), 4), ("two", mirrored.scope(), 2)):
    with scope:
        recipe, output = Recipe(accumulate=parts, **numbers), folder + "/finetune/" + name
        finetune(task, data, model=folder + "/model", recipe=recipe, output=output, backend="tf")
        terms = dict(hidden_weight=1.0, relation_weight=1.0)
        recipe, output = DistillationRecipe(accumulate=parts, **terms, **numbers), folder + "/distill/" + name
        pair = dict(student=folder + "/model", teacher="sst2-tiny")
        distill(task, [data], **pair, recipe=recipe, output=output, backend="tf")
assert {{place for place in places if place[0] == "two"}} == {{("two", "CPU:0"), ("two", "CPU:1")}}, places
"""


def test_a_run_on_two_devices_is_that_on_one(tmp_path):
    """Measured: 2.2e-16."""
    config = small_config(vocab_size=30522, num_labels=2, n_layers=1)
    save_random(tmp_path / "model", config, Head.SEQUENCE_CLASSIFICATION)
    DistilBertTokenizerFast.from_pretrained("sst2-tiny").save_pretrained(tmp_path / "model")
    rows = "".join(f"{'very ' * n}good\t{n % 2}\n" for n in range(11))
    (tmp_path / "data.tsv").write_text(f"text\tlabel\n{rows}")
    fresh_python(WHOLE_RUN.format(folder=str(tmp_path)))
    for command in ("finetune", "distill"):
        start, one, two = (parameters(tmp_path / name) for name in ("model", f"{command}/one", f"{command}/two"))
        assert largest_difference(one, start) > 1e-3, command
        assert_close(two, one, 1e-12)
        logs = [(tmp_path / command / name / "training/metrics.jsonl").read_text() for name in ("one", "two")]
        losses = [json.loads(log.splitlines()[0])["loss"] for log in logs]
        assert_close(losses[1], losses[0], 1e-12)


# Measured: 4e-14, and 7e-9 for a loss that Keras computes in float32.
# The gradient of a key's bias is 0 but for rounding, which AdamW divides by its root: 1.1e-12 with the fast one.
TOLERANCES = {"own": 1e-12, "given": 1e-7, "weighted": 1e-11}


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("localhost", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.fixture
def example():
    spec = util.spec_from_file_location("keras_multi_worker", EXAMPLE)
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_two_processes(tmp_path, example):
    tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
    config = small_config(n_layers=1, num_labels=2, vocab_size=len(tokenizer))
    save_random(tmp_path / "start", config, Head.SEQUENCE_CLASSIFICATION)
    tokenizer.save_pretrained(tmp_path / "start")

    workers = [f"localhost:{port}" for port in free_ports(2)]
    options = ["--model", str(tmp_path / "start"), "--dropout", "0", "--dtype", "float64"]
    running = []
    for index in range(2):
        place = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        command = [sys.executable, str(EXAMPLE), str(tmp_path / str(index)), *options]
        environment = {**os.environ, "TF_CONFIG": json.dumps(place)}
        running.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    outputs = [process.communicate(timeout=300) for process in running]
    assert [process.returncode for process in running] == [0, 0], outputs

    batches = list(example.dataset("sst2-tiny"))
    x = {name: np.concatenate([inputs[name] for inputs, _ in batches]) for name in ("input_ids", "attention_mask")}
    y = np.concatenate([labels for _, labels in batches])
    losses, expected = one_device(
        tmp_path / "start", x, y, keras.optimizers.AdamW(1e-4, weight_decay=0.01), example.EPOCHS
    )
    said = "".join(f"epoch {epoch + 1}: loss {loss:.6f}\n" for epoch, loss in enumerate(losses))
    assert [printed for printed, _ in outputs] == [said, said]
    assert_close(parameters(tmp_path / "0"), expected, 1e-12)  # measured: 2e-15
    assert not (tmp_path / "1").exists()  # only the first worker saves
