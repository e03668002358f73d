"""The tensors of two checkpoints that differ, and by how much."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from distilbert_core.model.heads import Head
from distilbert_core.model.parameters import BASE_MODEL
from weight_conversion.weights import LazyTensor, Weights

BLOCK_ELEMENTS = 1 << 20  # compared at a time, which bounds the memory for copies in float64


@dataclass(frozen=True)
class TensorDifference:
    """One tensor in two checkpoints.

    Attributes:
        name: Canonical name, always with the prefix of the base model.
        shapes: Shapes in both checkpoints; None for a checkpoint without the tensor.
        dtypes: Dtypes in both checkpoints; None for a checkpoint without the tensor.
        differing: Number of elements that differ: in their bits, or in value if the dtypes differ. None if the tensors
            cannot be compared.
        absolute: Largest absolute difference; NaN if an element is NaN in one checkpoint only.
        relative: Largest absolute difference divided by the largest magnitude in the first checkpoint.
    """

    name: str
    shapes: tuple[tuple[int, ...] | None, tuple[int, ...] | None]
    dtypes: tuple[str | None, str | None]
    differing: int | None = None
    absolute: float | None = None
    relative: float | None = None

    @property
    def kind(self) -> str:
        """Kind of the difference: 'only in A', 'only in B', 'shape', 'dtype', 'values', or 'equal'."""
        if self.shapes[1] is None:
            return "only in A"
        if self.shapes[0] is None:
            return "only in B"
        if self.shapes[0] != self.shapes[1]:
            return "shape"
        if self.dtypes[0] != self.dtypes[1]:
            return "dtype"
        return "values" if self.differing else "equal"


def diff(first: Weights, second: Weights, progress: Callable[[int], None] | None = None) -> Iterator[TensorDifference]:
    """Compare all tensors of two checkpoints: the tensors of the first, then the ones that only the second has.

    Args:
        first: A checkpoint, opened with `open_weights`.
        second: Another checkpoint of any format.
        progress: Called for each compared tensor of the first checkpoint, with its number of bytes.

    Raises:
        CheckpointError: A tensor cannot be read.

    Example:
        >>> from weight_conversion import open_weights
        >>> from weight_conversion.verification.comparing import diff
        >>> weights = open_weights("sst2-tiny")
        >>> {difference.kind for difference in diff(weights, weights)}
        {'equal'}
    """
    a, b = full_names(first), full_names(second)
    for name in [*a, *(name for name in b if name not in a)]:
        yield _compare(name, a.get(name), b.get(name))
        if progress is not None and name in a:
            progress(a[name].nbytes)


def relative_to(scale: float, absolute: float) -> float:
    """Return a relative difference; 0 / 0 counts as 0."""
    if absolute == 0:
        return 0.0
    return float(np.divide(absolute, scale)) if scale else np.inf


def full_names(weights: Weights) -> dict[str, LazyTensor]:
    """Return the tensors by name, always with the prefix of the base model."""
    prefix = f"{BASE_MODEL}." if weights.head is Head.BASE else ""
    return {prefix + name: tensor for name, tensor in weights.tensors.items()}


def _compare(name: str, a: LazyTensor | None, b: LazyTensor | None) -> TensorDifference:
    shapes = (a.shape if a else None, b.shape if b else None)
    dtypes = (a.dtype if a else None, b.dtype if b else None)
    if a is None or b is None or a.shape != b.shape:
        return TensorDifference(name, shapes, dtypes)
    return TensorDifference(name, shapes, dtypes, *_measure(_flat(a), _flat(b)))


def _flat(tensor: LazyTensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.read()).reshape(-1)


def _measure(a: np.ndarray, b: np.ndarray) -> tuple[int, float, float]:
    """Return the number of differing elements, the largest absolute difference, and the largest relative one."""
    count, absolute, scale = 0, 0.0, 0.0
    for start in range(0, a.size, BLOCK_ELEMENTS):
        x, y = a[start : start + BLOCK_ELEMENTS], b[start : start + BLOCK_ELEMENTS]
        x64, y64 = x.astype(np.float64), y.astype(np.float64)
        unequal = _bits(x) != _bits(y) if x.dtype == y.dtype else _bits(x64) != _bits(y64)
        count += int(unequal.sum())
        with np.errstate(invalid="ignore"):  # infinity minus infinity
            gaps = np.abs(x64 - y64)[unequal]
        absolute = float(np.maximum(absolute, gaps.max(initial=0.0)))  # NaN stays NaN
        scale = max(scale, float(np.abs(x64, where=np.isfinite(x64), out=np.zeros_like(x64)).max()))
    return count, absolute, relative_to(scale, absolute)


def _bits(array: np.ndarray) -> np.ndarray:
    return array.view(f"u{array.dtype.itemsize}")
