"""How a parameter is named and laid out in each framework: its attribute on its layer, and whether it is transposed.

Paths of layers are the canonical names in all three frameworks; only the last part differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from distilbert_core.model.parameters import Kind, Parameter


@dataclass(frozen=True)
class Layout:
    """The layout of one framework.

    Attributes:
        leaf: The attribute of a layer that holds each kind of parameter.
        transposed: Kinds whose two axes are swapped, compared with a checkpoint.
    """

    leaf: Mapping[Kind, str]
    transposed: frozenset[Kind]

    def find(self, model: Any, parameter: Parameter) -> tuple[Any, str]:
        """Return the layer of a model that has a parameter, and the name of the parameter's attribute."""
        path, leaf = self.path(parameter)
        layer = model
        for step in path:
            layer = layer[int(step)] if step.isdigit() else getattr(layer, step)
        return layer, leaf

    def path(self, parameter: Parameter) -> tuple[list[str], str]:
        """Return the attributes that lead from a model to a parameter's layer, and the parameter's attribute there."""
        *layer, _ = parameter.name.split(".")
        return layer, self.leaf[parameter.kind]

    def place(self, parameter: Parameter) -> tuple[str, tuple[int, ...]]:
        """Return the path of attributes to a parameter, joined by '.', and its shape in this layout."""
        path, leaf = self.path(parameter)
        return ".".join([*path, leaf]), parameter.shape[:: -1 if parameter.kind in self.transposed else 1]

    def convert(self, parameter: Parameter, array: np.ndarray) -> np.ndarray:
        """Convert an array from the layout of a checkpoint to this one, or back; it is not copied."""
        return array.T if parameter.kind in self.transposed else array


TORCH = Layout(
    leaf={
        Kind.KERNEL: "weight",
        Kind.BIAS: "bias",
        Kind.EMBEDDING: "weight",
        Kind.NORM_SCALE: "weight",
        Kind.NORM_BIAS: "bias",
    },
    transposed=frozenset(),
)
KERAS = Layout(
    leaf={
        Kind.KERNEL: "kernel",
        Kind.BIAS: "bias",
        Kind.EMBEDDING: "embeddings",
        Kind.NORM_SCALE: "gamma",
        Kind.NORM_BIAS: "beta",
    },
    transposed=frozenset({Kind.KERNEL}),
)
FLAX = Layout(
    leaf={
        Kind.KERNEL: "kernel",
        Kind.BIAS: "bias",
        Kind.EMBEDDING: "embedding",
        Kind.NORM_SCALE: "scale",
        Kind.NORM_BIAS: "bias",
    },
    transposed=frozenset({Kind.KERNEL}),
)
LAYOUTS = {"torch": TORCH, "keras": KERAS, "flax": FLAX}  # by the name of the framework
