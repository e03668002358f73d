"""Scaled dot-product attention as plain functions.

Shapes: B batch, Q queries, T tokens, N heads, H head size. Segments are the segment ids of the queries [B, Q] and of
the keys [B, T]: a query attends to the keys with its segment id. None allows all keys. A query without a key attends to
all keys equally.
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from distilbert_flax.tensors import at_least_float32

# If weights are not returned, queries attend in blocks of QUERY_BLOCK queries, or of more if a block then has at most
# WEIGHTS weights.
QUERY_BLOCK, WEIGHTS = 128, 2**23

# Heads that cuDNN's kernel takes on every GPU that has it.
LARGEST_HEAD = 128

Segments = tuple[Array, Array]


def eager_attention(
    query: Array,
    key: Array,
    value: Array,
    segments: Segments | None,
    head_mask: Array | None,
    dropout: float,
    seed: Array | None,
) -> tuple[Array, Array]:
    """Attend step by step, softmax in at least float32.

    Args:
        query: [B, Q, N, H].
        key: [B, T, N, H].
        value: [B, T, N, H].
        segments: Segment ids of the queries and of the keys, integers or booleans, or None.
        head_mask: [N] factors of the heads, or None.
        dropout: Probability with which an attention weight is dropped.
        seed: The key of dropout; None for no dropout.

    Returns:
        Context [B, Q, N, H] and the weights [B, N, Q, T].
    """
    # Heads before tokens, so that both products are of contiguous matrices: XLA is slow with others on a CPU.
    query, key, value = (jnp.swapaxes(x, 1, 2) for x in (query / math.sqrt(query.shape[-1]), key, value))
    precise = at_least_float32(query.dtype)
    scores = jnp.matmul(query, jnp.swapaxes(key, -1, -2), preferred_element_type=precise)  # [B, N, Q, T]
    if segments is not None:
        # The lowest number, not -inf: a row of -inf alone would become NaN.
        scores = jnp.where(_mask(segments)[:, None], scores, jnp.finfo(scores.dtype).min)
    weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
    if seed is not None:
        kept = jax.random.bernoulli(seed, 1 - dropout, weights.shape)
        weights = jnp.where(kept, weights / (1 - dropout or 1), 0)  # "or 1": if nothing is kept, 0/0 would be NaN
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
    seed: Array | None,
) -> tuple[Array, None]:
    """Attend by blocks of queries; the same numbers as `eager_attention`, in memory that grows with Q + T, not Q x T.

    The backward pass computes the weights of each block again. If a size is a symbol (`jax.export`), there is one
    block, because the number of blocks depends on the sizes.

    Args:
        query: [B, Q, N, H].
        key: [B, T, N, H].
        value: [B, T, N, H].
        segments: Segment ids of the queries and of the keys, integers or booleans, or None.
        head_mask: [N] factors of the heads, or None.
        dropout: Probability with which an attention weight is dropped.
        seed: The key of dropout; None for no dropout.

    Returns:
        Context [B, Q, N, H] and None.
    """
    batch, queries, heads = query.shape[:3]
    if not all(isinstance(size, int) for size in (batch, queries, key.shape[1])):
        return eager_attention(query, key, value, segments, head_mask, dropout, seed)[0], None
    at_a_time = max(QUERY_BLOCK, WEIGHTS // max(batch * heads * key.shape[1], 1))
    if queries <= at_a_time:
        return eager_attention(query, key, value, segments, head_mask, dropout, seed)[0], None
    blocks = -(-queries // at_a_time)
    return _by_blocks(query, key, value, segments, head_mask, dropout, seed, size=-(-queries // blocks)), None


def _mask(segments: Segments) -> Array:
    """Return [B, Q, T], True where a query may attend to a key."""
    of_queries, of_keys = segments
    return of_queries[:, :, None] == of_keys[:, None]


@partial(jax.jit, static_argnames=("dropout", "size"))  # without jit, each call would compile the loop
def _by_blocks(
    query: Array,
    key: Array,
    value: Array,
    segments: Segments | None,
    head_mask: Array | None,
    dropout: float,
    seed: Array | None,
    size: int,
) -> Array:
    batch, queries = query.shape[:2]

    def blocks(x: Array) -> Array:
        """[B, Q, ...] -> [Q / size, B, size, ...], padded with zeros."""
        x = jnp.pad(x, [(0, 0), (0, -queries % size), *[(0, 0)] * (x.ndim - 2)])
        return jnp.moveaxis(x.reshape(batch, -1, size, *x.shape[2:]), 1, 0)

    @partial(jax.checkpoint, prevent_cse=False)  # the loop itself separates the two computations
    def attend(block: tuple[Array, ...]) -> Array:
        number, query, *of_queries = block
        block_segments = None if segments is None else (of_queries[0], segments[1])
        block_seed = None if seed is None else jax.random.fold_in(seed, number)
        return eager_attention(query, key, value, block_segments, head_mask, dropout, block_seed)[0]

    query = blocks(query)
    of_queries = [] if segments is None else [blocks(segments[0])]
    context = jax.lax.map(attend, (jnp.arange(len(query)), query, *of_queries))  # [Q / size, B, size, N, H]
    return jnp.moveaxis(context, 0, 1).reshape(batch, -1, *key.shape[2:])[:, :queries]


def cudnn_attention(
    query: Array,
    key: Array,
    value: Array,
    segments: Segments | None,
    head_mask: Array | None,
    dropout: float,
    seed: Array | None,
) -> tuple[Array, None]:
    """Attend with cuDNN's fused kernel, for which `cudnn_runs` is True; the weights are never stored.

    Args:
        query: [B, Q, N, H].
        key: [B, T, N, H].
        value: [B, T, N, H].
        segments: Segment ids of the queries and of the keys, integers or booleans, or None.
        head_mask: [N] factors of the heads, or None.
        dropout: Probability with which an attention weight is dropped; ignored without a seed.
        seed: None: the kernel has no dropout.

    Returns:
        Context [B, Q, N, H] and None.
    """
    mask = None
    if segments is not None:
        mask = _mask(segments)
        # A query without a key: a query of zeros that may attend to all keys attends to them equally.
        empty = ~mask.any(axis=-1, keepdims=True)  # [B, Q, 1]
        query = jnp.where(empty[..., None], 0, query)
        mask = (mask | empty)[:, None]  # [B, 1, Q, T]
    context = kernel(query, key, value, mask=mask)
    if head_mask is not None:
        context = context * head_mask[:, None]  # scaling all weights of a head scales its context
    return context, None


kernel = partial(jax.nn.dot_product_attention, implementation="cudnn")


def fused_attention(
    query: Array,
    key: Array,
    value: Array,
    segments: Segments | None,
    head_mask: Array | None,
    dropout: float,
    seed: Array | None,
) -> tuple[Array, None]:
    """Attend with the fastest function that computes these arguments: `cudnn_attention` or `blockwise_attention`.

    Args:
        query: [B, Q, N, H].
        key: [B, T, N, H].
        value: [B, T, N, H].
        segments: Segment ids of the queries and of the keys, integers or booleans, or None.
        head_mask: [N] factors of the heads, or None.
        dropout: Probability with which an attention weight is dropped.
        seed: The key of dropout; None for no dropout.

    Returns:
        Context [B, Q, N, H] and None.
    """
    attend = cudnn_attention if seed is None and cudnn_runs(query, key) else blockwise_attention
    return attend(query, key, value, segments, head_mask, dropout, seed)


def cudnn_runs(query: Array, key: Array) -> bool:
    """Return whether cuDNN's kernel can compute attention: on a GPU of NVIDIA, in half precision.

    Its backward pass takes even numbers of queries and of keys only, and a call without gradients looks the same.

    Args:
        query: [B, Q, N, H].
        key: [B, T, N, H].
    """
    sizes = (query.shape[1], key.shape[1], query.shape[-1])
    if query.dtype not in (jnp.float16, jnp.bfloat16) or not all(isinstance(size, int) for size in sizes):
        return False
    queries, keys, size = sizes
    if queries % 2 or keys % 2 or size % 8 or size > LARGEST_HEAD:
        return False
    return on_ampere_or_later(query)


def on_ampere_or_later(x: Array) -> bool:
    """Return whether an array is, or will be under jit, on a GPU of NVIDIA that has cuDNN's kernel."""
    if isinstance(x, jax.core.Tracer):
        default = getattr(jax.config, "jax_default_device", None)
        if isinstance(default, str):
            default = jax.devices(default)[0]
        device = default or jax.devices()[0]
    else:
        device = next(iter(x.devices()))
    if device.platform != "gpu" or "nvidia" not in device.device_kind.lower():
        return False
    return float(getattr(device, "compute_capability", 0)) >= 8
