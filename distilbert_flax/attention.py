"""Scaled dot-product attention as plain functions.

Shapes: B batch, Q queries, T tokens, N heads, H head size. Segments are numbers of the queries [B, Q] and of the keys
[B, T]: a query may attend to the keys that have its number. None allows all; a query without a single such key attends
to all alike.
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from distilbert_flax.layers import at_least_float32

# Where nobody asks for the weights, queries attend by blocks: of QUERY_BLOCK queries, or of more if they have at
# most WEIGHTS weights.
QUERY_BLOCK, WEIGHTS = 128, 2**23

Segments = tuple[Array, Array]


def attention(
    query: Array,
    key: Array,
    value: Array,
    segments: Segments | None,
    head_mask: Array | None,
    dropout: float,
    rng: Array | None,
) -> tuple[Array, Array]:
    """Attend step by step, softmax in at least float32.

    Args:
        query: [B, Q, N, H].
        key: [B, T, N, H], as is `value`.
        value: See `key`.
        segments: [B, Q] and [B, T] integers or booleans, or None.
        head_mask: [N] factors of the heads, or None.
        dropout: Probability with which an attention weight is dropped.
        rng: The key that dropout draws from; None: nothing is dropped.

    Returns:
        Context [B, Q, N, H] and the weights [B, N, Q, T] that it was summed with.
    """
    # Heads before tokens, so that both products are those of matrices as they lie: others are slow in XLA on a CPU.
    query, key, value = (jnp.swapaxes(x, 1, 2) for x in (query / math.sqrt(query.shape[-1]), key, value))
    precise = at_least_float32(query.dtype)
    scores = jnp.matmul(query, jnp.swapaxes(key, -1, -2), preferred_element_type=precise)  # [B, N, Q, T]
    if segments is not None:
        of_queries, of_keys = segments
        mask = of_queries[:, :, None] == of_keys[:, None]  # [B, Q, T]
        # The lowest number, not -inf: a row of nothing else is then uniform, not NaN.
        scores = jnp.where(mask[:, None], scores, jnp.finfo(scores.dtype).min)
    weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
    if rng is not None:
        kept = jax.random.bernoulli(rng, 1 - dropout, weights.shape)
        weights = jnp.where(kept, weights / (1 - dropout or 1), 0)  # 1: nothing is kept, and 0/0 would be NaN
    if head_mask is not None:
        weights = weights * head_mask[None, :, None, None]
    return jnp.swapaxes(weights @ value, 1, 2), weights


def blockwise_attention(
    query: Array,
    key: Array,
    value: Array,
    segments: Segments | None,
    head_mask: Array | None,
    dropout: float,
    rng: Array | None,
) -> tuple[Array, None]:
    """Attend by blocks of queries; the same numbers as `attention`, in memory that grows with Q + T, not with Q x T.

    The backward pass computes the weights of each block again. Arguments and context are those of `attention`. Where a
    size is a symbol (`jax.export`), there are no blocks: their number depends on the sizes.
    """
    batch, queries, heads = query.shape[:3]
    if not all(isinstance(size, int) for size in (batch, queries, key.shape[1])):
        return attention(query, key, value, segments, head_mask, dropout, rng)[0], None
    at_a_time = max(QUERY_BLOCK, WEIGHTS // max(batch * heads * key.shape[1], 1))
    if queries <= at_a_time:
        return attention(query, key, value, segments, head_mask, dropout, rng)[0], None
    blocks = -(-queries // at_a_time)
    return _by_blocks(query, key, value, segments, head_mask, dropout, rng, size=-(-queries // blocks)), None


@partial(jax.jit, static_argnames=("dropout", "size"))  # a loop that is not under jit would be compiled at each call
def _by_blocks(
    query: Array,
    key: Array,
    value: Array,
    segments: Segments | None,
    head_mask: Array | None,
    dropout: float,
    rng: Array | None,
    size: int,
) -> Array:
    batch, queries = query.shape[:2]

    def blocks(x: Array) -> Array:
        """[B, Q, ...] -> [Q / size, B, size, ...], filled up with zeros."""
        x = jnp.pad(x, [(0, 0), (0, -queries % size), *[(0, 0)] * (x.ndim - 2)])
        return jnp.moveaxis(x.reshape(batch, -1, size, *x.shape[2:]), 1, 0)

    @partial(jax.checkpoint, prevent_cse=False)  # the loop keeps the two computations apart by itself
    def attend(block: tuple[Array, ...]) -> Array:
        number, query, *of_queries = block
        its_segments = None if segments is None else (of_queries[0], segments[1])
        its_rng = None if rng is None else jax.random.fold_in(rng, number)
        return attention(query, key, value, its_segments, head_mask, dropout, its_rng)[0]

    query = blocks(query)
    of_queries = [] if segments is None else [blocks(segments[0])]
    context = jax.lax.map(attend, (jnp.arange(len(query)), query, *of_queries))  # [Q / size, B, size, N, H]
    return jnp.moveaxis(context, 0, 1).reshape(batch, -1, *key.shape[2:])[:, :queries]
