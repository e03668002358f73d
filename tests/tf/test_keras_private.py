"""Keras still has the private interface that `distilbert_tf.keras_private` and `distilbert_tf.training` use."""

from __future__ import annotations

import inspect

import keras
import numpy as np
import pytest

from distilbert_tf.keras_private import indexing_operation, loss_counted_by, replace_variable

LAYER = {"_tracker", "_untrack_variable", "_trainable_variables"}
OPTIMIZER = {"_get_variable_index", "_momentums", "_velocities", "_all_reduce_sum_gradients"}


def test_the_members_exist():
    layer = keras.layers.Dense(3)
    optimizer = keras.optimizers.AdamW()
    optimizer.build([keras.Variable(np.zeros(2))])
    message = f"Keras {keras.__version__} has changed its private interface"
    assert {name for name in LAYER if not hasattr(layer, name)} == set(), message
    assert {name for name in OPTIMIZER if not hasattr(optimizer, name)} == set(), message
    arguments = inspect.signature(keras.Model._maybe_symbolic_build).parameters
    assert list(arguments) == ["self", "iterator", "data_batch"], message


def test_the_indexing_operation():
    assert issubclass(indexing_operation(), keras.Operation)
    assert indexing_operation().__name__ == "GetItem"


@pytest.mark.parametrize(("leaf", "shape"), [("kernel", (2, 5)), ("bias", (5,))])
def test_a_variable_of_another_shape(leaf, shape):
    layer = keras.layers.Dense(3)
    layer.build((None, 2))
    other = {"kernel": layer.bias, "bias": layer.kernel}[leaf]
    replace_variable(layer, leaf, shape)
    assert getattr(layer, leaf).shape == shape
    assert getattr(layer, leaf).trainable
    assert {id(variable) for variable in layer.trainable_variables} == {id(getattr(layer, leaf)), id(other)}
    assert layer.units == (5 if leaf == "kernel" else 3)


@pytest.mark.parametrize(("count", "expected"), [(None, 2.5), (3, 3.25)])
def test_the_mean_loss_counts_texts(count, expected):
    """Of two batches of one row with losses 1 and 4; the second has three texts."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    model.compile(loss="mse", run_eagerly=True)
    zero = np.zeros((1, 1), "float32")
    for size, of_batch in ((1.0, None), (2.0, count)):
        with loss_counted_by(model, of_batch):
            logs = model.test_step((np.array([[size]], "float32"), zero))
    assert float(logs["loss"]) == pytest.approx(expected)
