"""Scaled dot-product attention as plain functions.

Shapes: B batch, Q queries, T tokens, N heads, H head size. Segments are the segment ids of the queries, [B, Q] or, if
all have the same, [B, 1], and of the keys [B, T]: a query attends to the keys with its segment id. None allows all
keys. A query without a key attends to all keys equally.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from contextvars import ContextVar

import numpy as np
import tensorflow as tf

from distilbert_tf.tensors import upcast

# If weights are not returned, queries attend in blocks of QUERY_BLOCK queries, or of more if a block then has at most
# WEIGHTS weights.
QUERY_BLOCK, WEIGHTS = 256, 2**23

Segments = tuple[tf.Tensor, tf.Tensor]

_IN_BLOCKS = ContextVar("in_blocks", default=False)


@contextlib.contextmanager
def blocks_at_any_length() -> Iterator[None]:
    """Context manager: graphs for inference at any length may attend in blocks too.

    Otherwise such a graph attends at once, because it may be for TensorFlow Lite or ONNX, whose converters refuse the
    branch and the loop.
    """
    token = _IN_BLOCKS.set(True)
    try:
        yield
    finally:
        _IN_BLOCKS.reset(token)


def may_branch() -> bool:
    """Return whether `blocks_at_any_length` is on."""
    return _IN_BLOCKS.get()


def eager_attention(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    segments: Segments | None,
    head_mask: tf.Tensor | None,
    dropout: float,
    seed: tf.Tensor | None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Attend step by step, softmax in at least float32.

    Args:
        query: [B, N, Q, H].
        key: [B, N, T, H].
        value: [B, N, T, H].
        segments: Segment ids of the queries and of the keys, or None.
        head_mask: [N] factors of the heads, or None.
        dropout: Probability with which an attention weight is dropped.
        seed: [2] int32, the seed of dropout; None for no dropout.

    Returns:
        Context [B, N, Q, H] and the weights [B, N, Q, T].
    """
    query = query / math.sqrt(query.shape[-1])
    if query.dtype == tf.float16:  # scores may exceed its largest number, 65,504
        query, key = upcast(query), upcast(key)
    scores = upcast(tf.matmul(query, key, transpose_b=True))  # [B, N, Q, T]
    if segments is not None:
        of_queries, of_keys = segments
        # TensorFlow Lite refuses an axis that an index adds if sizes are unknown.
        mask = tf.expand_dims(of_queries, 2) == tf.expand_dims(of_keys, 1)  # [B, Q or 1, T]
        # The lowest number, not -inf: a row of -inf alone would become NaN.
        lowest = tf.constant(np.finfo(scores.dtype.name).min, scores.dtype)
        scores = tf.where(tf.expand_dims(mask, 1), scores, lowest)
    weights = tf.cast(tf.nn.softmax(scores), value.dtype)
    if seed is not None:
        weights = tf.nn.experimental.stateless_dropout(weights, dropout, seed)
    if head_mask is not None:
        weights = weights * head_mask[:, None, None]
    return tf.matmul(weights, value), weights


def blockwise_attention(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    segments: Segments | None,
    head_mask: tf.Tensor | None,
    dropout: float,
    seed: tf.Tensor | None,
) -> tuple[tf.Tensor, None]:
    """Attend by blocks of queries; the same numbers as `eager_attention`, in memory that grows with Q + T, not Q x T.

    Args:
        query: [B, N, Q, H].
        key: [B, N, T, H].
        value: [B, N, T, H].
        segments: Segment ids of the queries and of the keys, or None.
        head_mask: [N] factors of the heads, or None.
        dropout: Probability with which an attention weight is dropped.
        seed: [2] int32, the seed of dropout; None for no dropout.

    Returns:
        Context [B, N, Q, H] and None.
    """

    def at_once() -> tf.Tensor:
        return eager_attention(query, key, value, segments, None, dropout, seed)[0]

    def in_blocks() -> tf.Tensor:
        return _by_blocks(query, key, value, segments, dropout, seed)

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
    """Return the largest number of queries in a block, as a tensor if the graph is traced for all shapes."""
    batch, heads, keys, _ = sizes_of(key)
    weights = batch * heads * keys  # of one query in each row
    if tf.is_tensor(weights):
        return tf.maximum(QUERY_BLOCK, WEIGHTS // tf.maximum(weights, 1))
    return max(QUERY_BLOCK, WEIGHTS // max(weights, 1))


def sizes_of(x: tf.Tensor) -> list[int | tf.Tensor]:
    """Return the shape of a tensor, with tensors for unknown sizes."""
    return [tf.shape(x)[i] if size is None else size for i, size in enumerate(x.shape)]


def _by_blocks(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    segments: Segments | None,
    dropout: float,
    seed: tf.Tensor | None,
) -> tf.Tensor:
    # The backward pass computes each block again, to save the memory of the weights. Each block has its own seed.
    batch, heads, length, size = sizes_of(query)
    of_queries, of_keys = segments or (tf.zeros((1, 1), tf.int32), tf.zeros((1, 1), tf.int32))
    of_queries = tf.broadcast_to(of_queries, (batch, length))  # [B, Q]
    blocks = -(-length // queries_at_a_time(key))
    block = -(-length // blocks)  # queries of a block
    more = blocks * block - length  # padding of the last block
    queries = tf.reshape(tf.pad(query, [(0, 0), (0, 0), (0, more), (0, 0)]), (batch, heads, blocks, block, size))
    numbers = tf.reshape(tf.pad(of_queries, [(0, 0), (0, more)]), (batch, blocks, block))

    def attend(block: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        query, of_queries, number = block
        block_segments = None if segments is None else (of_queries, of_keys)
        block_seed = None if seed is None else seed + tf.stack([number, 0])

        @tf.recompute_grad
        def context(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
            return eager_attention(query, key, value, block_segments, None, dropout, block_seed)[0]

        return context(query, key, value)

    contexts = tf.map_fn(
        attend,
        (tf.transpose(queries, (2, 0, 1, 3, 4)), tf.transpose(numbers, (1, 0, 2)), tf.range(blocks)),
        fn_output_signature=value.dtype,
        parallel_iterations=1,
    )  # [Q / block, B, N, block, H]
    contexts = tf.reshape(tf.transpose(contexts, (1, 2, 0, 3, 4)), (batch, heads, blocks * block, size))
    return contexts[:, :, :length]  # [B, N, Q, H]
