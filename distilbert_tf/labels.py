"""Labels and weights of batches for `fit`, `evaluate` and `predict`, wherever they are given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras

from distilbert_core.errors import InputError
from distilbert_core.model.packed_batches import WEIGHT
from distilbert_tf.arguments import as_inputs, as_tensor


class Takes(NamedTuple):
    """The names of the labels and outputs of a model, and the form of its ids."""

    labels: tuple[str, ...]
    outputs: tuple[str, ...]
    pad_token_id: int | None
    axes: int  # of input_ids
    others: bool  # whether labels and outputs may have other names, as in a user's own class


def labels_apart(takes: Takes, x: Any, y: Any = None, weights: Any = None) -> tuple[Any, Any, Any]:
    """Return inputs without labels, the labels, and their weights, in the form that Keras takes.

    Args:
        takes: Names and form of the inputs of the model.
        x: Inputs. A dict may contain labels and `sample_weight`. Lists and ragged tensors in it become arrays and
            tensors.
        y: Labels: one array, a tuple, or a dict by their names or the names of the outputs; None if the inputs contain
            them or none are given.
        weights: Weights of the labels, in the same form.

    Raises:
        InputError: Labels or weights are given twice, or have other names, or rows of a list have different lengths, or
            one array is given in place of two labels.
    """
    x = as_inputs(x, takes.pad_token_id, takes.axes)
    if isinstance(x, dict):
        for argument, value, among in (("y", y, takes.labels), (WEIGHT, weights, (WEIGHT,))):
            if value is not None and not x.keys().isdisjoint(among):
                raise InputError(f"{' and '.join(among)} must be among the inputs or given as {argument}, not both.")
        y = {name: x.pop(name) for name in takes.labels if name in x} or y
        weights = x.pop(WEIGHT, weights)
    return x, by_order("y", y, takes), by_order(WEIGHT, weights, takes)


def by_order(argument: str, values: Any, takes: Takes) -> Any:
    """Return the values of a dict: one value, or a tuple in the order of the names; return other values unchanged."""
    if isinstance(values, Mapping):
        given = next((of for of in (takes.labels, takes.outputs) if set(of) == set(values)), None)
        if given is None and takes.others:
            return {name: as_tensor(name, value) for name, value in values.items()}
        if given is None:
            raise InputError(f"{argument} must have {' and '.join(takes.labels)}, got {', '.join(values)}.")
        values = tuple(values[name] for name in given)
        values = values if len(given) > 1 else values[0]
    if len(takes.labels) > 1 and isinstance(values, list | tuple) and len(values) == len(takes.labels):
        return type(values)(as_tensor(argument, value) for value in values)
    values = as_tensor(argument, values)
    if argument == "y" and len(takes.labels) > 1 and not takes.others and hasattr(values, "shape"):
        names = " and ".join(takes.labels)
        raise InputError(f"y must be {names}, in a tuple or a dict, got one array of shape {values.shape}.")
    return values


def batch_apart(takes: Takes, batch: Any) -> tuple[Any, Any, Any]:
    """Return the inputs, labels and weights of a batch in a form that `fit` takes; see `labels_apart`."""
    return labels_apart(takes, *keras.utils.unpack_x_y_sample_weight(batch))
