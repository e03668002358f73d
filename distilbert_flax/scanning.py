"""How the blocks of an encoder are run: one after another in a loop, or by `jax.lax.scan`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from distilbert_core.errors import InputError

Kept = tuple[Any, Any]  # a block's output and its attention weights, each None if they are not returned
RunBlock = Callable[..., tuple[Array, Kept]]
Layer = tuple[nnx.Module, Array | None, Array | None]  # a block, the factors of its heads, its key of dropout


def loop_blocks(run: RunBlock, x: Array, layers: list[Layer]) -> tuple[Array, list[Kept]]:
    """Run blocks one after another."""
    kept = []
    for block, head_mask, key in layers:
        x, of_block = run(block, x, head_mask, key)
        kept.append(of_block)
    return x, kept


def scan_blocks(run: RunBlock, x: Array, layers: list[Layer]) -> tuple[Array, list[Kept]]:
    """Run blocks one after another by `jax.lax.scan`, which stacks their parameters during the call."""
    if not layers:
        return x, []
    graphs, states = zip(*(nnx.split(block) for block, _, _ in layers), strict=True)
    for layer, graph in enumerate(graphs):
        if graph != graphs[0]:
            raise InputError(
                f"scan_layers=True needs equal layers; layer {layer} differs from layer 0 in its number of "
                "heads, its dtype or its mode. Use scan_layers=False."
            )
    per_layer = [(state, *others) for state, (_, *others) in zip(states, layers, strict=True)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *per_layer)

    def step(x: Array, layer: Any) -> tuple[Array, Kept]:
        state, head_mask, key = layer
        return run(nnx.merge(graphs[0], state), x, head_mask, key)

    x, kept = jax.lax.scan(step, x, stacked)
    return x, [jax.tree.map(lambda stacked, layer=layer: stacked[layer], kept) for layer in range(len(layers))]
