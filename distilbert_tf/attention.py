"""Scaled dot-product attention as a plain function.

Shapes: B batch, T tokens, N heads, H head size. A mask is boolean [B, T], True where a key may be attended to, or
None. A row of the mask without a single True attends to all keys alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from keras import ops


def attention(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    mask: tf.Tensor | None,
    head_mask: tf.Tensor | None,
    dropout: Callable[[tf.Tensor], tf.Tensor],
) -> tuple[tf.Tensor, tf.Tensor]:
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
    scores = ops.einsum("btnh,bsnh->bnts", query / math.sqrt(query.shape[-1]), key)  # [B, N, T, T]
    scores = upcast(scores)
    if mask is not None:
        # The lowest number, not -inf: a row of nothing else is then uniform, not NaN.
        lowest = ops.convert_to_tensor(np.finfo(scores.dtype.name).min, scores.dtype)
        scores = ops.where(mask[:, None, None, :], scores, lowest)
    weights = dropout(ops.cast(tf.nn.softmax(scores), value.dtype))
    if head_mask is not None:
        weights = weights * head_mask[:, None, None]
    return ops.einsum("bnts,bsnh->btnh", weights, value), weights


def upcast(x: tf.Tensor) -> tf.Tensor:
    """Return a tensor in at least float32."""
    return x if x.dtype == tf.float64 else ops.cast(x, "float32")
