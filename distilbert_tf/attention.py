"""Scaled dot-product attention as plain functions.

Shapes: B batch, Q queries, T tokens, N heads, H head size. Segments say who attends to whom: a query to the keys that
have its number. They are integers, those of the queries [B, Q], or [B, 1] if it is the same for all, and those of the
keys [B, T]; None: all attend to all. A query of a segment without keys attends to all alike.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar

import numpy as np
import tensorflow as tf

# Where nobody asks for the weights, queries attend by blocks: of QUERY_BLOCK queries, or of more if they have at
# most WEIGHTS weights.
QUERY_BLOCK, WEIGHTS = 256, 2**23

Segments = tuple[tf.Tensor, tf.Tensor]

_IN_BLOCKS = ContextVar("in_blocks", default=False)


@contextlib.contextmanager
def blocks_at_any_length() -> Iterator[None]:
    """Context manager: graphs for inference at any length may attend in blocks too.

    Elsewhere such a graph attends at once. It may be one for TensorFlow Lite or ONNX, whose converters refuse the
    branch and the loop.
    """
    token = _IN_BLOCKS.set(True)
    try:
        yield
    finally:
        _IN_BLOCKS.reset(token)


def may_branch() -> bool:
    """Whether `blocks_at_any_length` is on."""
    return _IN_BLOCKS.get()


def eager_attention(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    segments: Segments | None,
    head_mask: tf.Tensor | None,
    rate: float,
    seed: tf.Tensor | None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Attend step by step, softmax in at least float32.

    Args:
        query: [B, N, Q, H].
        key: [B, N, T, H], as is `value`.
        value: See `key`.
        segments: Of queries and keys, or None.
        head_mask: [N] factors of the heads, or None.
        rate: Probability with which an attention weight is dropped.
        seed: [2] int32 that say which are; None: none is.

    Returns:
        Context [B, N, Q, H] and the weights [B, N, Q, T] that it was summed with.
    """
    scores = upcast(tf.matmul(query / math.sqrt(query.shape[-1]), key, transpose_b=True))  # [B, N, Q, T]
    if segments is not None:
        of_queries, of_keys = segments
        # TensorFlow Lite refuses an axis that an index adds, where sizes are not known.
        mask = tf.expand_dims(of_queries, 2) == tf.expand_dims(of_keys, 1)  # [B, Q or 1, T]
        # The lowest number, not -inf: a row of nothing else is then uniform, not NaN.
        lowest = tf.constant(np.finfo(scores.dtype.name).min, scores.dtype)
        scores = tf.where(tf.expand_dims(mask, 1), scores, lowest)
    weights = tf.cast(tf.nn.softmax(scores), value.dtype)
    if seed is not None:
        weights = tf.nn.experimental.stateless_dropout(weights, rate, seed)
    if head_mask is not None:
        weights = weights * head_mask[:, None, None]
    return tf.matmul(weights, value), weights


def attention(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    segments: Segments | None,
    head_mask: tf.Tensor | None,
    rate: float,
    seed: tf.Tensor | None,
) -> tuple[tf.Tensor, None]:
    """Attend in memory that grows with T, not T²; the same numbers as `eager_attention`, without the weights.

    Args and context are those of `eager_attention`.
    """

    def at_once() -> tf.Tensor:
        return eager_attention(query, key, value, segments, None, rate, seed)[0]

    def in_blocks() -> tf.Tensor:
        return blockwise_attention(query, key, value, segments, rate, seed)

    length, at_a_time = query.shape[2], queries_at_a_time(key)
    if length is None:  # traced for all lengths
        context = tf.cond(tf.shape(query)[2] > at_a_time, in_blocks, at_once)
    elif length <= QUERY_BLOCK or (not tf.is_tensor(at_a_time) and length <= at_a_time):
        context = at_once()
    else:
        context = in_blocks()
    if head_mask is not None:
        context = context * head_mask[:, None, None]  # scaling all weights of a head scales its context
    return context, None


def queries_at_a_time(key: tf.Tensor) -> int | tf.Tensor:
    """Return how many queries a block has at most: a number, or a tensor if it is traced for all shapes."""
    batch, heads, keys, _ = sizes_of(key)
    weights = batch * heads * keys  # of a query, in all rows
    if tf.is_tensor(weights):
        return tf.maximum(QUERY_BLOCK, WEIGHTS // tf.maximum(weights, 1))
    return max(QUERY_BLOCK, WEIGHTS // max(weights, 1))


def sizes_of(x: tf.Tensor) -> list[int | tf.Tensor]:
    """Return the shape of a tensor: numbers where they are known, else tensors."""
    return [tf.shape(x)[i] if size is None else size for i, size in enumerate(x.shape)]


def blockwise_attention(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    segments: Segments | None,
    rate: float,
    seed: tf.Tensor | None,
) -> tf.Tensor:
    """Attend with a block of queries at a time, which the backward pass does anew in place of keeping their weights.

    Args and context are those of `eager_attention`; a block has a seed of its own.
    """
    batch, heads, length, size = sizes_of(query)
    of_queries, of_keys = segments or (tf.zeros((1, 1), tf.int32), tf.zeros((1, 1), tf.int32))
    of_queries = tf.broadcast_to(of_queries, (batch, length))  # [B, Q]
    blocks = -(-length // queries_at_a_time(key))
    block = -(-length // blocks)  # queries of one
    more = blocks * block - length  # that fill up the last
    queries = tf.reshape(tf.pad(query, [(0, 0), (0, 0), (0, more), (0, 0)]), (batch, heads, blocks, block, size))
    numbers = tf.reshape(tf.pad(of_queries, [(0, 0), (0, more)]), (batch, blocks, block))

    def attend(block: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        query, of_queries, number = block
        block_segments = None if segments is None else (of_queries, of_keys)
        block_seed = None if seed is None else seed + tf.stack([number, 0])

        @tf.recompute_grad
        def context(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
            return eager_attention(query, key, value, block_segments, None, rate, block_seed)[0]

        return context(query, key, value)

    contexts = tf.map_fn(
        attend,
        (tf.transpose(queries, (2, 0, 1, 3, 4)), tf.transpose(numbers, (1, 0, 2)), tf.range(blocks)),
        fn_output_signature=value.dtype,
        parallel_iterations=1,
    )  # [Q / block, B, N, block, H]
    contexts = tf.reshape(tf.transpose(contexts, (1, 2, 0, 3, 4)), (batch, heads, blocks * block, size))
    return contexts[:, :, :length]  # [B, N, Q, H]


def upcast(x: tf.Tensor) -> tf.Tensor:
    """Return a tensor in at least float32."""
    return x if x.dtype == tf.float64 else tf.cast(x, tf.float32)
