"""Models that Keras saved or exported, loaded again: with TensorFlow alone, and inside a functional model."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from distilbert_core import Head
from support.checkpoints import HEADS, random_inputs, save_random, small_config
from support.comparison import assert_close
from support.frameworks import FRAMEWORKS
from support.processes import fresh_python

FRAMEWORK = FRAMEWORKS["tf"]
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0}


def model_and_inputs(tmp_path, head, **changes):
    config = small_config(n_layers=1, **changes)
    save_random(tmp_path, config, head)
    inputs = random_inputs(config, head)
    return FRAMEWORK.load(head, tmp_path, dtype="float64"), {n: inputs[n] for n in ("input_ids", "attention_mask")}


def export(model, folder, head):
    sizes = [None, 4, None] if head is Head.MULTIPLE_CHOICE else [None, None]  # the number of choices is fixed
    names = ("input_ids", "attention_mask")
    signature = [{name: tf.TensorSpec(sizes, tf.int64, name=name) for name in names}]
    model.export(folder, format="tf_saved_model", input_signature=signature, verbose=False)


@pytest.mark.parametrize("head", HEADS)
def test_export(tmp_path, head):
    model, inputs = model_and_inputs(tmp_path, head)
    export(model, tmp_path / "exported", head)
    exported = tf.saved_model.load(tmp_path / "exported")
    for arguments in (inputs, {name: value[:3, ..., :7] for name, value in inputs.items()}):
        got = exported.serve({name: tf.constant(value) for name, value in arguments.items()})
        assert_close(
            {name: np.asarray(value) for name, value in got.items()}, FRAMEWORK.call(model, **arguments), 1e-13
        )


WITHOUT_THIS_PACKAGE = """
import sys, numpy as np, tensorflow as tf
folder = {folder!r}
inputs = {{name: tf.constant(value) for name, value in np.load(folder + "/inputs.npz").items()}}
exported = tf.saved_model.load(folder + "/exported")
got = exported.signatures["serving_default"](**inputs)
np.save(folder + "/served.npy", got["logits"])
print("distilbert_tf" in sys.modules)
"""

WEIGHTS = """
import numpy as np
from distilbert_tf import DistilBertConfig, TFDistilBertForTokenClassification
folder = {folder!r}
model = TFDistilBertForTokenClassification(DistilBertConfig.from_pretrained(folder), dtype="float64")
model.load_weights(folder + "/saved.weights.h5")
np.save(folder + "/loaded.npy", model.predict(dict(np.load(folder + "/inputs.npz")), verbose=0)["logits"])
"""


def test_fresh_processes(tmp_path):
    model, inputs = model_and_inputs(tmp_path, Head.TOKEN_CLASSIFICATION)
    np.savez(tmp_path / "inputs.npz", **inputs)
    export(model, tmp_path / "exported", Head.TOKEN_CLASSIFICATION)
    model.save_weights(tmp_path / "saved.weights.h5")
    assert fresh_python(WITHOUT_THIS_PACKAGE.format(folder=str(tmp_path))).split() == ["False"]
    fresh_python(WEIGHTS.format(folder=str(tmp_path)))
    expected = FRAMEWORK.call(model, **inputs).logits
    assert_close(np.load(tmp_path / "served.npy"), expected, 1e-13)
    assert_close(np.load(tmp_path / "loaded.npy"), expected, 1e-13)


def compiled(model):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss=loss, metrics=["accuracy"], run_eagerly=True)
    return model


def test_a_saved_model_trains_on(tmp_path):
    """A .keras file holds the optimizer, its state and the loss."""
    model, inputs = model_and_inputs(tmp_path, Head.SEQUENCE_CLASSIFICATION, **NO_DROPOUT)
    compiled(model).train_on_batch(inputs, np.arange(5))
    model.save(tmp_path / "saved.keras")
    loaded = keras.saving.load_model(tmp_path / "saved.keras")
    got, expected = (m.train_on_batch(inputs, np.arange(5)) for m in (loaded, model))
    assert_close(got, expected, 1e-7)
    assert_close(FRAMEWORK.parameters(loaded), FRAMEWORK.parameters(model), 1e-12)


def test_functional_model(tmp_path):
    """A base model inside a functional model trains, saves and loads as a part of it."""
    base, inputs = model_and_inputs(tmp_path, Head.BASE, **NO_DROPOUT)
    arguments = {name: keras.Input((None,), dtype="int64", name=name) for name in inputs}
    top = keras.layers.Dense(3, dtype="float64")
    whole = keras.Model(arguments, top(base(arguments).last_hidden_state[:, 0]))
    compiled(whole).fit(inputs, np.array([0, 1, 2, 0, 1]), epochs=2, verbose=0)
    expected = top(FRAMEWORK.call(base, **inputs).last_hidden_state[:, 0]).numpy()
    assert_close(whole.predict(inputs, verbose=0), expected, 1e-12)
    whole.save(tmp_path / "whole.keras")
    assert_close(keras.saving.load_model(tmp_path / "whole.keras").predict(inputs, verbose=0), expected, 1e-12)
