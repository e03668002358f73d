"""Smaller widths: selection of units between layers, and projection of the residual stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.model.config import NORM_EPSILON, DistilBertConfig
from distilbert_core.model.heads import Head, parameter_table
from distilbert_core.model.parameters import Kind, Parameter

# Axes of the residual stream. The hidden size of a head is one of them, unless the student keeps some of its units:
# the masked-LM head compares its hidden states with the word embeddings.
STREAM = ("embed", "hidden")


def narrow_config(
    config: DistilBertConfig, dim: int | None, hidden_dim: int | None, n_heads: int | None
) -> DistilBertConfig:
    """Return the configuration of a student with smaller widths.

    Raises:
        InputError: A width is larger than in the teacher, or `dim` does not fit `n_heads`.
    """
    size = config.head_size
    if dim is None:
        dim = config.dim if n_heads is None else n_heads * size
    n_heads = dim // size if n_heads is None else n_heads
    hidden_dim = config.hidden_dim if hidden_dim is None else hidden_dim
    changes: dict[str, Any] = {"dim": dim, "hidden_dim": hidden_dim, "n_heads": n_heads}
    for name, value in changes.items():
        if not 1 <= value <= getattr(config, name):
            raise InputError(f"{name} must be from 1 to the teacher's {getattr(config, name)}, got {value}.")
    if dim != n_heads * size:
        raise InputError(f"dim must be n_heads times {size}, the size of a head, got dim={dim} and n_heads={n_heads}.")
    if dim < config.dim:
        changes["sinusoidal_pos_embds"] = False  # a projected table does not hold sines
        left = {layer: len(config.kept_heads(layer)) for layer in range(config.n_layers)}
        changes["pruned_heads"] = {layer: list(range(n, n_heads)) for layer, n in left.items() if n < n_heads}
    return config.updated(**changes)


def strongest_units(first: np.ndarray, second: np.ndarray, count: int, size: int = 1) -> np.ndarray:
    """Return the units between two dense layers that contribute most to the norm of the product `second @ first`.

    Args:
        first: Kernel of the layer before, [units, in].
        second: Kernel of the layer after, [out, units].
        count: Number of groups of units to keep; all groups if there are fewer.
        size: Number of neighbouring units in a group, such as the size of a head.

    Returns:
        Indices of the units in ascending order.
    """
    before = first.astype(np.float64).reshape(-1, size, first.shape[1])  # [groups, size, in]
    after = second.T.astype(np.float64).reshape(-1, size, second.shape[0])  # [groups, size, out]
    # The squared norm of A B is the sum of all elements of (A^T A) * (B B^T), which are small matrices here.
    strength = ((before @ before.swapaxes(1, 2)) * (after @ after.swapaxes(1, 2))).sum((1, 2))
    groups = np.sort(np.argsort(-strength, kind="stable")[:count])
    return (groups[:, None] * size + np.arange(size)).ravel()


def narrow_arrays(
    arrays: Mapping[str, np.ndarray], head: Head, old: DistilBertConfig, new: DistilBertConfig
) -> dict[str, np.ndarray]:
    """Return arrays with the widths of another configuration. Arrays whose shape does not change stay the same."""
    table = [parameter for parameter in parameter_table(old, head) if parameter.tied_to is None]
    kept = _kept_units(arrays, table, old, new)
    stream = _stream_axes(arrays, table, new.dim) if new.dim < old.dim else None
    narrowed = {}
    for parameter in table:
        array = arrays[parameter.name]
        narrowed[parameter.name] = _narrow_array(parameter, array, kept, stream).astype(array.dtype)
    return narrowed


def _narrow_array(
    parameter: Parameter,
    array: np.ndarray,
    kept: Mapping[tuple[int | None, str], np.ndarray],
    stream: np.ndarray | None,
) -> np.ndarray:
    """Return the array of a parameter with the kept units, projected onto the axes of the stream."""
    if parameter.kind in (Kind.NORM_SCALE, Kind.NORM_BIAS):
        if stream is None:
            return array
        # A scale is the diagonal of a matrix. The student keeps the diagonal of the projected matrix.
        return array.astype(np.float64) @ (stream**2 if parameter.kind is Kind.NORM_SCALE else stream)
    for axis, name in enumerate(parameter.axes):
        units = kept.get((parameter.layer, name))
        if units is not None:
            array = array.take(units, axis)
        elif name in STREAM and stream is not None:
            array = np.moveaxis(np.tensordot(array.astype(np.float64), stream, (axis, 0)), -1, axis)
    return array


def _kept_units(
    arrays: Mapping[str, np.ndarray], table: Sequence[Parameter], old: DistilBertConfig, new: DistilBertConfig
) -> dict[tuple[int | None, str], np.ndarray]:
    """Return the indices of the units that the student keeps, by the layer and the name of their axis."""
    kernels = [parameter for parameter in table if parameter.kind is Kind.KERNEL]
    kept = {}
    for layer in (None, *range(old.n_layers)):
        for axis, size, count, group in (
            ("heads", old.n_heads, new.n_heads, old.head_size),
            ("mlp", old.hidden_dim, new.hidden_dim, 1),
            ("hidden", old.dim, new.dim, 1),
        ):
            # In the attention, the value projection comes last. Only the values reach the output.
            before = [arrays[p.name] for p in kernels if p.layer == layer and p.axes[0] == axis]
            after = [arrays[p.name] for p in kernels if p.layer == layer and p.axes[1] == axis]
            if count < size and before and after:
                kept[layer, axis] = strongest_units(before[-1], after[0], count, group)
    return kept


def _stream_axes(arrays: Mapping[str, np.ndarray], table: Sequence[Parameter], dim: int) -> np.ndarray:
    """Estimate the leading principal axes [teacher's dim, dim] of the residual stream without data.

    The states of the stream are approximated by the normalised word embeddings with the scale and bias of each layer
    norm in turn, with equal weights. The mean is not removed: it is the strongest axis.
    """
    words = next(arrays[parameter.name] for parameter in table if parameter.axes[0] == "vocab").astype(np.float64)
    centred = words - words.mean(-1, keepdims=True)
    normal = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + NORM_EPSILON)  # [V, D]
    moment, mean = normal.T @ normal / len(normal), normal.mean(0)
    total = np.zeros_like(moment)
    norms = [p for p in table if p.kind in (Kind.NORM_SCALE, Kind.NORM_BIAS) and not p.of_head]
    for norm in zip(norms[::2], norms[1::2], strict=True):
        scale, bias = (arrays[parameter.name].astype(np.float64) for parameter in norm)
        cross = np.outer(scale * mean, bias)
        states = np.outer(scale, scale) * moment + cross + cross.T + np.outer(bias, bias)  # second moment
        total += states / np.trace(states)
    return np.linalg.eigh(total).eigenvectors[:, : -dim - 1 : -1]
