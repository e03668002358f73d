"""Scaled dot-product attention as plain functions.

Shapes: B batch, T tokens, N heads, H head size. A mask is boolean [B, T], True where a key may be attended to, or
None. A row of the mask without a single True attends to all keys alike.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def eager_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, head_mask: Tensor | None, dropout: float
) -> tuple[Tensor, Tensor]:
    """Attend step by step, softmax in at least float32.

    Args:
        query: [B, N, T, H], as are `key` and `value`.
        key: See `query`.
        value: See `query`.
        mask: [B, T] boolean, or None.
        head_mask: [N] factors of the heads, or None.
        dropout: Probability with which an attention weight is dropped.

    Returns:
        Context [B, N, T, H] and the weights [B, N, T, T] that it was summed with.
    """
    scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(-1, -2)  # [B, N, T, T]
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if mask is not None:
        # The lowest number, not -inf: a row of nothing else is then uniform, not NaN.
        scores = scores.masked_fill(~mask[:, None, None, :], torch.finfo(scores.dtype).min)
    weights = F.dropout(scores.softmax(dim=-1).to(value.dtype), dropout)
    if head_mask is not None:
        weights = weights * head_mask[:, None, None]
    return weights @ value, weights


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, head_mask: Tensor | None, dropout: float
) -> tuple[Tensor, None]:
    """Attend with PyTorch's fused kernel; the same numbers as `eager_attention`, without the weights.

    Args and context are those of `eager_attention`.
    """
    if mask is not None:
        # A row without any key: let it see all of them with a query of zero, which is uniform attention. What the
        # kernels themselves make of such a row differs between them (zeros, NaN).
        empty = ~mask.any(dim=-1)  # [B]
        query = query.masked_fill(empty[:, None, None, None], 0)
        mask = (mask | empty[:, None])[:, None, None, :]  # [B, 1, 1, T]
    context = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)
    if head_mask is not None:
        context = context * head_mask[:, None, None]  # scaling all weights of a head scales its context
    return context, None


ATTENTION = {"sdpa": fused_attention, "eager": eager_attention}
