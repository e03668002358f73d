"""Scaled dot-product attention as plain functions.

Shapes: B batch, Q queries, T tokens, N heads, H head size. A mask is boolean, True for keys that a query may attend to:
[B, Q, T], or [B, 1, T] if it is the same for all queries; None allows all keys. A query without a key attends to all
keys equally.
"""

from __future__ import annotations

import math
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from distilbert_pt.layers import has_hooks


def eager_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, head_mask: Tensor | None, dropout: nn.Module
) -> tuple[Tensor, Tensor]:
    """Attend step by step, softmax in at least float32.

    Args:
        query: [B, N, Q, H].
        key: [B, N, T, H].
        value: [B, N, T, H].
        mask: [B, Q or 1, T] boolean, or None.
        head_mask: [N] factors of the heads, or None.
        dropout: The module that drops attention weights.

    Returns:
        Context [B, N, Q, H] and the weights [B, N, Q, T].
    """
    query = query / math.sqrt(query.shape[-1])
    if query.dtype == torch.float16:  # scores may exceed its largest number, 65,504
        query, key = query.float(), key.float()
    scores = query @ key.transpose(-1, -2)  # [B, N, Q, T]
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if mask is not None:
        # The lowest number, not -inf: a row of -inf alone would become NaN.
        scores = scores.masked_fill(~mask[:, None], torch.finfo(scores.dtype).min)
    weights: Tensor = dropout(scores.softmax(dim=-1).to(value.dtype))
    if head_mask is not None:
        weights = weights * head_mask[:, None, None]
    return weights @ value, weights


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, head_mask: Tensor | None, dropout: nn.Module
) -> tuple[Tensor, None]:
    """Attend with PyTorch's fused kernel; the same numbers as `eager_attention`, without the weights.

    A dropout with hooks, or another module than PyTorch's, must be called with the weights, which the kernel does not
    return: `eager_attention` is used then.

    Args:
        query: [B, N, Q, H].
        key: [B, N, T, H].
        value: [B, N, T, H].
        mask: [B, Q or 1, T] boolean, or None.
        head_mask: [N] factors of the heads, or None.
        dropout: The module that drops attention weights.

    Returns:
        Context [B, N, Q, H] and None.
    """
    if type(dropout) is not nn.Dropout or has_hooks(dropout):
        return eager_attention(query, key, value, mask, head_mask, dropout)[0], None
    rate = dropout.p if dropout.training else 0.0
    if mask is not None:
        # A query without a key: a query of zeros that may attend to all keys attends to them equally. The kernels
        # themselves differ in such rows (zeros, NaN).
        empty = ~mask.any(dim=-1, keepdim=True)  # [B, Q or 1, 1]
        query = query.masked_fill(empty[:, None], 0)
        mask = (mask | empty)[:, None]  # [B, 1, Q or 1, T]
    context = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=rate)
    if head_mask is not None:
        context = context * head_mask[:, None, None]  # scaling all weights of a head scales its context
    return context, None


SegmentRun = tuple[int, int, int]  # number of equal segments in succession, queries of each, keys of each


def segment_sizes(segment_ids: Tensor, query_tokens: Tensor | None = None) -> tuple[list[int], list[int]]:
    """Return the number of queries and the number of keys of each segment of packed rows, in order.

    Args:
        segment_ids: [B, T]; another number begins a segment, and so does a row.
        query_tokens: [B, Q] ascending indices of the query tokens in the rows; None for all tokens.

    Example:
        >>> import torch
        >>> from distilbert_pt.attention import segment_sizes
        >>> segment_sizes(torch.tensor([[1, 1, 1, 2, 2], [1, 0, 0, 0, 0]]), torch.tensor([[0, 3], [0, 1]]))
        ([1, 1, 1, 1], [3, 2, 1, 4])
    """
    starts = torch.ones_like(segment_ids, dtype=torch.bool)  # [B, T]
    starts[:, 1:] = segment_ids[:, 1:] != segment_ids[:, :-1]
    numbers = starts.flatten().cumsum(0).view_as(segment_ids) - 1  # [B, T]: index of each segment in all rows
    keys = numbers.flatten().bincount().tolist()
    if query_tokens is None:
        return keys, keys
    return numbers.gather(1, query_tokens).flatten().bincount(minlength=len(keys)).tolist(), keys


def segment_runs(queries: list[int], keys: list[int]) -> list[SegmentRun]:
    """Group the segments of packed rows into runs of segments with equal sizes.

    Args:
        queries: The number of queries of each segment.
        keys: The number of keys of each segment.

    Example:
        >>> from distilbert_pt.attention import segment_runs
        >>> segment_runs([3, 2, 2], [3, 2, 2])
        [(1, 3, 3), (2, 2, 2)]
    """
    return [(len(list(same)), *sizes) for sizes, same in groupby(zip(queries, keys, strict=True))]


def packed_attention(
    query: Tensor, key: Tensor, value: Tensor, runs: list[SegmentRun], head_mask: Tensor | None, dropout: nn.Module
) -> tuple[Tensor, None]:
    """Attend within the segments of packed rows: no mask, and no work between segments.

    Args:
        query: [B, N, Q, H].
        key: [B, N, T, H].
        value: [B, N, T, H].
        runs: The segments, from `segment_runs`.
        head_mask: [N] factors of the heads, or None.
        dropout: The module that drops attention weights.

    Returns:
        Context [B, N, Q, H] and None.
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


def attention_masks(
    attention_mask: Tensor | None, segment_ids: Tensor | None, output_tokens: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """Return the mask [B, T or 1, T] of all blocks except the last, and the mask [B, Q or 1, T] of the last."""
    if segment_ids is None:
        mask = None if attention_mask is None else (attention_mask != 0)[:, None]
        return mask, mask
    queries = segment_ids if output_tokens is None else segment_ids.gather(1, output_tokens)  # [B, Q]
    all_blocks, last = (x[:, :, None] == segment_ids[:, None] for x in (segment_ids, queries))
    return all_blocks, last


FLASH = "flash_attention_2"  # its name in Transformers
ATTENTION = {"sdpa": fused_attention, "eager": eager_attention, FLASH: fused_attention}
