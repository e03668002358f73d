"""Scaled dot-product attention as a plain function.

Shapes: B batch, T tokens, N heads, H head size. A mask is boolean [B, T], True where a key may be attended to, or
None. A row of the mask without a single True attends to all keys alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array


def attention(
    query: Array,
    key: Array,
    value: Array,
    mask: Array | None,
    head_mask: Array | None,
    dropout: Callable[[Array], Array],
) -> tuple[Array, Array]:
    """Attend step by step, softmax in at least float32.

    Args:
        query: [B, T, N, H], as are `key` and `value`.
        key: See `query`.
        value: See `query`.
        mask: [B, T] boolean, or None.
        head_mask: [N] factors of the heads, or None.
        dropout: What drops attention weights, the identity in inference.

    Returns:
        Context [B, T, N, H] and the weights [B, N, T, T] that it was summed with.
    """
    scores = jnp.einsum("btnh,bsnh->bnts", query / math.sqrt(query.shape[-1]), key)  # [B, N, T, T]
    scores = scores.astype(jnp.promote_types(scores.dtype, jnp.float32))
    if mask is not None:
        # The lowest number, not -inf: a row of nothing else is then uniform, not NaN.
        scores = jnp.where(mask[:, None, None, :], scores, jnp.finfo(scores.dtype).min)
    weights = dropout(jax.nn.softmax(scores, axis=-1).astype(value.dtype))
    if head_mask is not None:
        weights = weights * head_mask[:, None, None]
    return jnp.einsum("bnts,bsnh->btnh", weights, value), weights
