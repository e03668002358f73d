"""Attention of texts of different lengths by one kernel, on a GPU in half precision.

PyTorch's kernel, `torch.nn.attention.varlen`, reads the queries and the keys of all segments one after another, and the
cumulative lengths of both. It has no mask, no dropout, and does no work between segments.

Shapes: B rows, Q queries, T tokens, N heads, H head size, S segments.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from distilbert_core.model.packing import bucket_size
from distilbert_pt.layers import has_hooks
from distilbert_pt.tensors import to_device

# Numbers of segments and maximum lengths are rounded up, so that few programs are compiled. A maximum is a multiple of
# the 128 queries that a block of the kernel computes.
SEGMENTS, LENGTHS = {"steps": 4}, {"steps": 2, "multiple": 128}
LARGEST_HEAD = 256


class CumulativeLengths(NamedTuple):
    """The segments of packed rows, as the kernel reads them.

    Attributes:
        queries: [S + 1] int32: the number of queries before each segment, and of all. Segments at the end may be empty.
        keys: [S + 1] int32, the same for the keys.
        most_queries: At least the number of queries of any segment.
        most_keys: At least the number of keys of any segment.
    """

    queries: Tensor
    keys: Tensor
    most_queries: int
    most_keys: int


class UnpaddedKeys(NamedTuple):
    """A padded batch whose keys are read without padding.

    Attributes:
        order: [B * T] indices of the keys: first those that are attended to, then the others.
        unused: [B * T, 1, 1] boolean, True for the others.
        no_key: [B, 1, 1, 1] boolean, True for rows of padding; their queries attend to all keys equally.
        lengths: Each row is a segment with all of its queries.
    """

    order: Tensor
    unused: Tensor
    no_key: Tensor
    lengths: CumulativeLengths


def cumulative_lengths(queries: Sequence[int], keys: Sequence[int], device: torch.device) -> CumulativeLengths:
    """Return the cumulative lengths of segments on a device, without waiting for the device.

    Args:
        queries: The number of queries of each segment.
        keys: The number of keys of each segment.
        device: The device of the kernel.

    Example:
        >>> import torch
        >>> from distilbert_pt.varlen import cumulative_lengths
        >>> lengths = cumulative_lengths([1, 0, 1], [3, 2, 2], torch.device("cpu"))
        >>> lengths.queries.tolist(), lengths.keys.tolist(), lengths.most_keys
        ([0, 1, 1, 2], [0, 3, 5, 7], 128)
    """
    ends = np.zeros((2, bucket_size(len(keys), **SEGMENTS) + 1), np.int32)
    for row, sizes in zip(ends, (queries, keys), strict=True):
        row[1 : len(sizes) + 1] = np.cumsum(sizes)
        row[len(sizes) + 1 :] = row[len(sizes)]
    of_queries, of_keys = to_device(torch.from_numpy(ends), device)
    most_queries, most_keys = (bucket_size(max(*sizes, 1), **LENGTHS) for sizes in (queries, keys))
    return CumulativeLengths(of_queries, of_keys, most_queries, most_keys)


def unpadded_keys(mask: Tensor, queries: int) -> UnpaddedKeys:
    """Return the order and the lengths of the keys of a padded batch, without waiting for the device.

    Args:
        mask: [B, T] boolean, True for keys to attend to.
        queries: Number of queries of each row.
    """
    batch, tokens = mask.shape
    no_key = ~mask.any(dim=1, keepdim=True)  # [B, 1]
    mask = mask | no_key
    flat = mask.flatten()
    order = (~flat).to(torch.uint8).argsort(stable=True)
    of_keys = torch.zeros(batch + 1, dtype=torch.int32, device=mask.device)
    of_keys[1:] = mask.sum(dim=1).cumsum(0)
    of_queries = torch.arange(batch + 1, dtype=torch.int32, device=mask.device) * queries
    lengths = CumulativeLengths(of_queries, of_keys, queries, tokens)
    return UnpaddedKeys(order, ~flat[order][:, None, None], no_key[:, None, None], lengths)


def varlen_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    lengths: CumulativeLengths,
    head_mask: Tensor | None,
    dropout: nn.Module,
) -> tuple[Tensor, None]:
    """Attend within the segments of packed rows, by the kernel.

    Args:
        query: [B, N, Q, H].
        key: [B, N, T, H].
        value: [B, N, T, H].
        lengths: The segments.
        head_mask: [N] factors of the heads, or None.
        dropout: The module of dropout, for which `drops` is False.

    Returns:
        Context [B, N, Q, H] and None.
    """
    q, k, v = (x.transpose(1, 2).flatten(0, 1) for x in (query, key, value))  # [B * Q or T, N, H]
    return _as_context(kernel(q, k, v, lengths), query, head_mask), None


def unpadded_attention(
    query: Tensor, key: Tensor, value: Tensor, keys: UnpaddedKeys, head_mask: Tensor | None, dropout: nn.Module
) -> tuple[Tensor, None]:
    """Attend to the keys of a padded batch that are not padding, by the kernel; the numbers of `eager_attention`.

    Args:
        query: [B, N, Q, H].
        key: [B, N, T, H].
        value: [B, N, T, H].
        keys: The keys, from `unpadded_keys`.
        head_mask: [N] factors of the heads, or None.
        dropout: The module of dropout, for which `drops` is False.

    Returns:
        Context [B, N, Q, H] and None.
    """
    q, k, v = (x.transpose(1, 2).flatten(0, 1) for x in (query.masked_fill(keys.no_key, 0), key, value))
    # The kernel leaves the gradients of unused keys undefined; a filled key has none.
    k, v = (x[keys.order].masked_fill(keys.unused, 0) for x in (k, v))  # [B * T, N, H]
    return _as_context(kernel(q, k, v, keys.lengths), query, head_mask), None


def kernel(query: Tensor, key: Tensor, value: Tensor, lengths: CumulativeLengths) -> Tensor:
    """[all queries, N, H], [all keys, N, H] twice -> [all queries, N, H]."""
    from torch.nn.attention.varlen import varlen_attn  # imports torch.compile, which takes long

    context = varlen_attn(query, key, value, *lengths)
    assert isinstance(context, Tensor)  # not a tuple, as no further result was asked for
    return context


def _as_context(flat: Tensor, query: Tensor, head_mask: Tensor | None) -> Tensor:
    """[B * Q, N, H] -> [B, N, Q, H]; scaling all weights of a head scales its context."""
    if head_mask is not None:
        flat = flat * head_mask[:, None]
    return flat.unflatten(0, (query.shape[0], query.shape[2])).transpose(1, 2)


def drops(dropouts: Iterable[Any]) -> bool:
    """Return whether modules of dropout must see or drop attention weights, which the kernel does not have."""
    return any(
        type(dropout) is not nn.Dropout or has_hooks(dropout) or (dropout.training and dropout.p > 0)
        for dropout in dropouts
    )


def autocast_dtype(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which a model with parameters of this dtype multiplies matrices on a GPU, now."""
    if device.type != "cuda" or dtype == torch.float64 or not torch.is_autocast_enabled("cuda"):
        return dtype
    return torch.get_autocast_dtype("cuda")


@cache
def kernel_problem(device: torch.device, dtype: torch.dtype, head_size: int) -> str | None:
    """Return why the kernel cannot compute attention, as the end of a sentence; None if it can.

    Example:
        >>> import torch
        >>> from distilbert_pt.varlen import kernel_problem
        >>> kernel_problem(torch.device("cpu"), torch.bfloat16, 64)
        "needs a CUDA GPU, and the model is on cpu; move it with model.to('cuda'), or use 'sdpa'."
    """
    if device.type != "cuda":
        return f"needs a CUDA GPU, and the model is on {device}; move it with model.to('cuda'), or use 'sdpa'."
    if dtype not in (torch.float16, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        return (
            f"computes in float16 or bfloat16, and the model computes in {name}; load it with dtype='bfloat16', call "
            "it under torch.autocast, or use 'sdpa'."
        )
    if head_size % 8 or head_size > LARGEST_HEAD:
        return f"needs heads whose size is a multiple of 8 up to {LARGEST_HEAD}, got {head_size}; use 'sdpa'."
    if find_spec("torch.nn.attention.varlen") is None or not torch.backends.cuda.is_flash_attention_available():
        return f"needs torch.nn.attention.varlen, which this PyTorch {torch.__version__} lacks; use 'sdpa'."
    capability = torch.cuda.get_device_capability(device)
    if capability < (8, 0):
        found = ".".join(map(str, capability))
        return f"needs a GPU of compute capability 8.0 or higher, got {found}; use 'sdpa'."
    return None
