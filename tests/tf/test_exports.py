"""Graphs for inputs of any size: SavedModel, TensorFlow Lite, also in integers, and ONNX if tf2onnx is installed."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from distilbert_core import Head
from support.checkpoints import save_random, small_config
from support.comparison import assert_close, largest_difference
from support.frameworks import FRAMEWORKS

FRAMEWORK = FRAMEWORKS["tf"]
pytestmark = [
    pytest.mark.filterwarnings(r"ignore:\s*Warning. tf.lite.Interpreter is deprecated:UserWarning"),
    pytest.mark.filterwarnings("ignore:Statistics for quantized inputs:UserWarning"),
]


def model_of(folder, head, **options):
    save_random(folder, small_config(n_layers=1), head)
    return FRAMEWORK.load(head, folder, **options)


def inputs_of(head, rows, length, dtype):
    rng = np.random.default_rng(length)
    shape = (rows, 3, length) if head is Head.MULTIPLE_CHOICE else (rows, length)
    mask = np.arange(length) < rng.integers(1, length + 1, shape[:-1])[..., None]
    return {"input_ids": rng.integers(0, 47, shape).astype(dtype), "attention_mask": mask.astype(dtype)}


def test_saved_model_without_a_signature(tmp_path):
    head = Head.MULTIPLE_CHOICE
    model = model_of(tmp_path, head, dtype="float64")
    model.save_pretrained(tmp_path / "saved", saved_model=True)
    exported = tf.saved_model.load(tmp_path / "saved" / "saved_model" / "1")
    for rows, length in ((1, 9), (3, 5)):
        inputs = inputs_of(head, rows, length, np.int64)
        got = exported.signatures["serving_default"](**{name: tf.constant(value) for name, value in inputs.items()})
        expected = dict(FRAMEWORK.call(model, **inputs))
        assert_close({name: value.numpy() for name, value in got.items()}, expected, 1e-13)


@pytest.mark.parametrize("head", [Head.MASKED_LM, Head.MULTIPLE_CHOICE])
def test_tensorflow_lite(tmp_path, head):
    model = model_of(tmp_path, head)
    model.export(tmp_path / "model.tflite", format="litert", verbose=False)
    runner = tf.lite.Interpreter(str(tmp_path / "model.tflite")).get_signature_runner()
    for rows, length in ((1, 9), (3, 5)):
        inputs = inputs_of(head, rows, length, np.int32)
        # Measured: 3e-4, and 2e-4 between the model itself in float32 and float64.
        assert_close(runner(**inputs), dict(FRAMEWORK.call(model, **inputs)), 1e-3)


def test_tensorflow_lite_of_a_keras_model_and_in_integers(tmp_path):
    head = Head.SEQUENCE_CLASSIFICATION
    model = model_of(tmp_path, head)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    exact = tf.lite.Interpreter(model_content=converter.convert()).get_signature_runner()
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.representative_dataset = lambda: (inputs_of(head, 2, 5 + i, np.int32) for i in range(8))
    integers = tf.lite.Interpreter(model_content=converter.convert()).get_signature_runner()
    for rows, length in ((1, 9), (3, 5)):
        inputs = inputs_of(head, rows, length, np.int32)
        expected = FRAMEWORK.call(model, **inputs).logits
        assert_close(exact(**inputs)["logits"], expected, 1e-5)
        assert 0 < largest_difference(integers(**inputs)["logits"], expected) < 0.4  # of 1.0


def test_onnx(tmp_path):
    pytest.importorskip("tf2onnx")
    runtime = pytest.importorskip("onnxruntime")
    model = model_of(tmp_path, Head.QUESTION_ANSWERING)
    model.export(str(tmp_path / "model.onnx"), format="onnx", verbose=False)
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    names = [output.name for output in session.get_outputs()]
    for rows, length in ((1, 9), (3, 5)):
        inputs = inputs_of(Head.QUESTION_ANSWERING, rows, length, np.int64)
        got = dict(zip(names, session.run(None, inputs), strict=True))
        assert_close(got, dict(FRAMEWORK.call(model, **inputs)), 1e-5)


def test_graphs_for_converters_have_no_branches(tmp_path):
    """A graph at any length attends at once; one that trains, or that runs here, may attend in blocks."""
    model = model_of(tmp_path, Head.TOKEN_CLASSIFICATION)
    found = {}
    for training in (False, True):
        run = tf.function(lambda **inputs: model(**inputs, training=training).logits)  # noqa: B023 - traced at once
        graph = run.get_concrete_function(**model.input_signature).graph.as_graph_def()
        found[training] = {node.op for node in graph.node} & {"If", "StatelessIf", "While", "StatelessWhile"}
    assert found == {False: set(), True: found[True]}
    assert found[True]
