"""Uses of Keras' private interface; tests/tf/test_keras_private.py checks that Keras still has it.

The optimizer in `distilbert_tf.training` also overrides a private method, `_all_reduce_sum_gradients`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras


def indexing_operation() -> type:
    """Return the class of the operation behind an index of a symbolic tensor: `tensor[:, 0]`."""
    return type(keras.KerasTensor((1,))[0]._keras_history.operation)


class BuiltOnOneReplica(keras.Model):
    """A model that Keras builds with the batch of one device when it trains on several."""

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        # Before training on several devices Keras builds the model with the mean of the devices' batches. The mean has
        # fractions of ids, and fails for a dict in several processes. The batch of one device has the same shapes.
        strategy = self.distribute_strategy
        if iterator is not None and strategy.num_replicas_in_sync > 1:
            _, _, batches = next(iter(iterator))
            data_batch = keras.tree.map_structure(lambda v: strategy.experimental_local_results(v)[0], next(batches))
            iterator = None
        super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)


def replace_variable(layer: keras.layers.Layer, leaf: str, shape: tuple[int, ...]) -> None:
    """Replace a variable of a layer by zeros of another shape, as Keras' own quantizers do.

    Args:
        layer: The layer.
        leaf: The attribute of the variable.
        shape: The new shape.
    """
    old = getattr(layer, leaf)
    attribute = f"_{leaf}" if hasattr(layer, f"_{leaf}") else leaf
    can_be_trained = any(variable is old for variable in layer._trainable_variables)
    layer._untrack_variable(old)
    layer._tracker.unlock()
    new = layer.add_weight(shape=shape, initializer="zeros", name=leaf, trainable=can_be_trained)
    setattr(layer, attribute, new)
    layer._tracker.lock()
    new.trainable = old.trainable  # a frozen variable stays frozen, and can be unfrozen
    if isinstance(layer, keras.layers.Dense) and leaf == "kernel":
        layer.units = shape[1]
        layer.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: shape[0]})
    elif isinstance(layer, keras.layers.Embedding):
        layer.input_dim = shape[0]


@contextlib.contextmanager
def loss_counted_by(model: keras.Model, count: Any) -> Iterator[None]:
    """Context manager: steps of a model weigh the loss of a batch, in the mean over batches, by a number of texts.

    Keras weighs it by the first axis of the first input, which is not the number of texts in packed rows.

    Args:
        model: A compiled model.
        count: The number of texts; None: as in Keras.
    """
    tracker = model._loss_tracker
    if count is None or tracker is None:
        yield
        return
    update_state = tracker.update_state
    tracker.update_state = lambda values, sample_weight=None: update_state(values, sample_weight=count)
    try:
        yield
    finally:
        del tracker.update_state
