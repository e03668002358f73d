"""Scaled dot-product attention as plain functions.

Shapes: B batch, Q queries, T tokens, N heads, H head size. A mask is boolean [B, Q, T], or [B, 1, T] if it is the same
for all queries: True where a key may be attended to. None allows all; a row without a single True attends to all alike.
"""

from __future__ import annotations

import math
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilbert_pt.pretrained import has_hooks


def eager_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, head_mask: Tensor | None, dropout: nn.Module
) -> tuple[Tensor, Tensor]:
    """Attend step by step, softmax in at least float32.

    Args:
        query: [B, N, Q, H].
        key: [B, N, T, H], as is `value`.
        value: See `key`.
        mask: [B, Q or 1, T] boolean, or None.
        head_mask: [N] factors of the heads, or None.
        dropout: Called with the attention weights.

    Returns:
        Context [B, N, Q, H] and the weights [B, N, Q, T] that it was summed with.
    """
    scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(-1, -2)  # [B, N, Q, T]
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if mask is not None:
        # The lowest number, not -inf: a row of nothing else is then uniform, not NaN.
        scores = scores.masked_fill(~mask[:, None], torch.finfo(scores.dtype).min)
    weights: Tensor = dropout(scores.softmax(dim=-1).to(value.dtype))
    if head_mask is not None:
        weights = weights * head_mask[:, None, None]
    return weights @ value, weights


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, head_mask: Tensor | None, dropout: nn.Module
) -> tuple[Tensor, None]:
    """Attend with PyTorch's fused kernel; the same numbers as `eager_attention`, without the weights.

    Args and context are those of `eager_attention`. A dropout that has hooks, or is not PyTorch's, must be called with
    the weights; the kernel has none to give, so `eager_attention` does the work then.
    """
    if type(dropout) is not nn.Dropout or has_hooks(dropout):
        return eager_attention(query, key, value, mask, head_mask, dropout)[0], None
    rate = dropout.p if dropout.training else 0.0
    if mask is not None:
        # A row without any key: let it see all of them with a query of zero, which is uniform attention. What the
        # kernels themselves make of such a row differs between them (zeros, NaN).
        empty = ~mask.any(dim=-1, keepdim=True)  # [B, Q or 1, 1]
        query = query.masked_fill(empty[:, None], 0)
        mask = (mask | empty)[:, None]  # [B, 1, Q or 1, T]
    context = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=rate)
    if head_mask is not None:
        context = context * head_mask[:, None, None]  # scaling all weights of a head scales its context
    return context, None


Run = tuple[int, int, int]  # so many segments after one another, queries of each, keys of each


def segment_runs(segment_ids: Tensor, query_tokens: Tensor | None = None) -> list[Run]:
    """Return the segments of packed rows, in order, as runs of equal ones.

    Args:
        segment_ids: [B, T]; a change of number begins a segment, and so does a row.
        query_tokens: [B, Q] places in the rows of the tokens that attend, ascending; None: all do.

    Example:
        >>> import torch
        >>> from distilbert_pt.attention import segment_runs
        >>> segment_runs(torch.tensor([[1, 1, 1, 2, 2, 3, 3]]))
        [(1, 3, 3), (2, 2, 2)]
    """
    starts = torch.ones_like(segment_ids, dtype=torch.bool)  # [B, T]
    starts[:, 1:] = segment_ids[:, 1:] != segment_ids[:, :-1]
    numbers = starts.flatten().cumsum(0).view_as(segment_ids) - 1  # [B, T]: the segments counted through all rows
    keys = numbers.flatten().bincount().tolist()
    queries = keys
    if query_tokens is not None:
        queries = numbers.gather(1, query_tokens).flatten().bincount(minlength=len(keys)).tolist()
    return [(len(list(same)), *sizes) for sizes, same in groupby(zip(queries, keys, strict=True))]


def packed_attention(
    query: Tensor, key: Tensor, value: Tensor, runs: list[Run], head_mask: Tensor | None, dropout: nn.Module
) -> tuple[Tensor, None]:
    """Attend within the segments of packed rows: no mask, and no work between segments.

    Args:
        query: As for `fused_attention`, as are all arguments but `runs`.
        key: See `query`.
        value: See `query`.
        runs: What `segment_runs` returned.
        head_mask: See `query`.
        dropout: See `query`.
    """
    batch = query.shape[0]
    query, key, value = (x.transpose(1, 2).flatten(0, 1) for x in (query, key, value))  # [B * Q or T, N, H]
    sizes = [(count * queries, count * keys) for count, queries, keys in runs]
    parts = zip(
        runs,
        query.split([queries for queries, _ in sizes]),
        key.split([keys for _, keys in sizes]),
        value.split([keys for _, keys in sizes]),
        strict=True,
    )
    contexts = []
    for (count, queries, _), *tensors in parts:
        if queries:
            # [count, N, of each, H]
            q, k, v = (x.unflatten(0, (count, -1)).transpose(1, 2) for x in tensors)
            context, _ = fused_attention(q, k, v, None, head_mask, dropout)
            contexts.append(context.transpose(1, 2).flatten(0, 1))
    joined = contexts[0] if len(contexts) == 1 else torch.cat(contexts)
    return joined.unflatten(0, (batch, -1)).transpose(1, 2), None  # [B, N, Q, H]


ATTENTION = {"sdpa": fused_attention, "eager": eager_attention}
