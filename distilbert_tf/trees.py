"""The types of the core as trees of Keras, and the layers and variables in a model by their paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import optree

from distilbert_core.model.outputs import ModelOutput
from distilbert_core.model.pretrained import PretrainedModel
from distilbert_core.tokenization.batch_encoding import BatchEncoding


def register(output: type[ModelOutput]) -> None:
    """Let a type of outputs be a result of Keras' functions."""
    optree.register_pytree_node_class(output, namespace="keras")


def register_encoding() -> None:
    """Let `BatchEncoding` be an input of Keras' functions, with its names in the order of Keras' dicts.

    Functional models take inputs in this order, whatever their names are.
    """
    optree.register_pytree_node(
        BatchEncoding,
        lambda encoding: ([encoding[name] for name in sorted(encoding)], sorted(encoding)),
        BatchEncoding.tree_unflatten,
        namespace="keras",
    )


# Keras' own bookkeeping in a layer or model.
KERAS_ATTRIBUTES = frozenset(vars(keras.Model(name="plain")))


def walk(part: Any, path: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Any]]:
    """Yield a layer and all layers and variables in it, each once and outer ones first, with their paths of attributes.

    Example:
        >>> import keras
        >>> from distilbert_tf.trees import walk
        >>> layer = keras.layers.Dense(3)
        >>> layer.build((None, 2))
        >>> [path for path, _ in walk(layer, "top")]
        ['top', 'top.kernel', 'top.bias']
    """
    seen = set() if seen is None else seen
    if id(part) in seen:
        return
    inside: Mapping[str, Any] = {}
    match part:
        case keras.layers.Layer():
            own = {name: value for name, value in vars(part).items() if name not in KERAS_ATTRIBUTES}
            inside = {
                name if name.removeprefix("_") in own else name.removeprefix("_"): value
                for name, value in own.items()
                if not name.startswith("_self_")
            }
            if isinstance(part, keras.Model) and not isinstance(part, PretrainedModel):
                inside = {**inside, "layers": part.layers}  # of a functional model: they are not attributes
        case Mapping():
            inside = {str(name): value for name, value in part.items()}
        case list() | tuple():
            inside = {str(index): value for index, value in enumerate(part)}
        case keras.Variable():
            pass
        case _:
            return
    seen.add(id(part))
    if isinstance(part, keras.layers.Layer | keras.Variable):
        yield path, part
    for name, value in inside.items():
        yield from walk(value, f"{path}.{name}" if path else name, seen)
