"""Keras still has the private interface that `distilbert_tf.keras_private` and `distilbert_tf.training` use."""

from __future__ import annotations

import inspect

import keras
import numpy as np
import pytest

from distilbert_tf.keras_private import indexing_operation, replace_variable

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
