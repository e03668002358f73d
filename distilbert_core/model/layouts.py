"""How a parameter looks in each framework: the name of the leaf on its layer, and whether a kernel is transposed.

The module paths are the canonical names in all three; only the last part differs.
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
        leaf: Name, on its layer, of each kind of parameter.
        transposed: Kinds whose two axes are swapped against the checkpoint.
    """

    leaf: Mapping[Kind, str]
    transposed: frozenset[Kind]

    def find(self, model: Any, parameter: Parameter) -> tuple[Any, str]:
        """Return the layer of a model that a parameter is on, and the name of its leaf there."""
        path, leaf = self.path(parameter)
        layer = model
        for step in path:
            layer = layer[int(step)] if step.isdigit() else getattr(layer, step)
        return layer, leaf

    def path(self, parameter: Parameter) -> tuple[list[str], str]:
        """Return where a parameter is: the attributes from the model to its layer, and the leaf's name there."""
        *layer, _ = parameter.name.split(".")
        return layer, self.leaf[parameter.kind]

    def place(self, parameter: Parameter) -> tuple[str, tuple[int, ...]]:
        """Return the path of attributes to a parameter, joined by '.', and its shape there."""
        path, leaf = self.path(parameter)
        return ".".join([*path, leaf]), parameter.shape[:: -1 if parameter.kind in self.transposed else 1]

    def convert(self, parameter: Parameter, array: np.ndarray) -> np.ndarray:
        """Return an array of a checkpoint in this layout, or the other way round, without copying it."""
        return array.T if parameter.kind in self.transposed else array


LAYOUTS = {
    "keras": Layout(
        leaf={
            Kind.KERNEL: "kernel",
            Kind.BIAS: "bias",
            Kind.EMBEDDING: "embeddings",
            Kind.NORM_SCALE: "gamma",
            Kind.NORM_BIAS: "beta",
        },
        transposed=frozenset({Kind.KERNEL}),
    ),
    "flax": Layout(
        leaf={
            Kind.KERNEL: "kernel",
            Kind.BIAS: "bias",
            Kind.EMBEDDING: "embedding",
            Kind.NORM_SCALE: "scale",
            Kind.NORM_BIAS: "bias",
        },
        transposed=frozenset({Kind.KERNEL}),
    ),
}
