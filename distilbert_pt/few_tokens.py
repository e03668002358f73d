"""The blocks of a model for one short text, on an x86 processor: products without copies of the weights.

For few tokens, a dense layer spends its time on the weight W: the usual product x Wᵀ reorders W in each call, or needs
a reordered copy, which must be compared with W. Here the product is W xᵀ. It reads the rows of W in the order in which
they lie in memory, and reorders only x, which is small. So there is no copy, and each call sees the current weights.
Between the products, values stay transposed: [features, tokens].

Shapes: T tokens, Q query tokens, N heads, H head size, D model size, F feed-forward size.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from distilbert_core.model.outputs import BaseModelOutput
from distilbert_pt.attention import packed_attention
from distilbert_pt.layers import ACTIVATION_FUNCTIONS, has_hooks
from distilbert_pt.model import FeedForward, MultiHeadSelfAttention, Transformer, TransformerBlock

MOST_TOKENS = 128  # with more, PyTorch's usual products are as fast
MOST_TOKENS_ONEDNN = 32  # with more, MKL multiplies faster on processors with AVX2
MULTIPLE = 8  # oneDNN compiles a kernel for each number of tokens, so these are rounded up

ELEMENTWISE = frozenset(ACTIVATION_FUNCTIONS.values())


class OwnMethod(partial[Any]):
    """A method that inference sets on a module for the time of a call; it computes what the class's method does."""


def forward(transformer: Transformer, x: Tensor, attn_mask: Any = None, *args: Any, **kwargs: Any) -> Any:
    """`Transformer.forward`; one short text is computed by `encode`.

    Args:
        transformer: The stack of blocks.
        x: The argument of this name.
        attn_mask: The argument of this name.
        *args: The further arguments of the base model's call: head_mask, output_attentions, output_hidden_states.
        **kwargs: Its keywords: return_dict, last_mask, output_tokens, attend.
    """
    options = dict(zip(("head_mask", "output_attentions", "output_hidden_states"), args, strict=False)) | kwargs
    if not is_one_text(x, attn_mask, options) or not is_ordinary(transformer):
        return Transformer.forward(transformer, x, attn_mask, *args, **kwargs)
    output_tokens = options.get("output_tokens")
    hidden = encode(transformer, x[0], None if output_tokens is None else output_tokens[0])
    output = BaseModelOutput(last_hidden_state=hidden[None])
    return output if options.get("return_dict") else output.to_tuple()


def is_one_text(x: Tensor, runs: Any, options: dict[str, Any]) -> bool:
    """Return whether a call of the blocks is for one short text in a packed row, and for hidden states only."""
    return bool(
        options.get("attend") is packed_attention
        and len(runs) == 1
        and runs[0][0] == 1
        and x.shape[1] <= MOST_TOKENS
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not options.get("output_attentions")
        and not options.get("output_hidden_states")
        and all(mask is None for mask in options.get("head_mask") or ())
    )


def is_ordinary(transformer: Any) -> bool:
    """Return whether all blocks compute what `encode` does: no layer was replaced, and no hook is skipped."""
    return type(transformer) is Transformer and all(map(_is_ordinary_block, transformer.layer))


def _is_ordinary_block(block: Any) -> bool:
    if not _is_plain(block, TransformerBlock):
        return False
    attention, feed_forward = block.attention, block.ffn
    return bool(
        _is_plain(attention, MultiHeadSelfAttention)
        and _is_plain(feed_forward, FeedForward)
        and _is_own(feed_forward, "expand")
        and feed_forward.activation in ELEMENTWISE
        and _is_off(attention.dropout)
        and _is_off(feed_forward.dropout)
        and all(map(_is_plain_linear, (attention.q_lin, attention.k_lin, attention.v_lin, attention.out_lin)))
        and _is_plain_linear(feed_forward.lin1)
        and _is_plain_linear(feed_forward.lin2)
    )


def _is_plain(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Return whether a module is of this very class, and a call of it computes what the class's `forward` does."""
    return type(module) is kind and _is_own(module, "forward") and not has_hooks(module)


def _is_own(module: nn.Module, name: str) -> bool:
    """Return whether a method of a module is that of the class, or set by inference."""
    return name not in module.__dict__ or isinstance(module.__dict__[name], OwnMethod)


def _is_off(dropout: Any) -> bool:
    return _is_plain(dropout, nn.Dropout) and not bool(dropout.training and dropout.p)


def _is_plain_linear(layer: Any) -> bool:
    if not _is_plain(layer, nn.Linear):
        return False
    weight = layer.weight
    return bool(
        type(weight) is nn.Parameter
        and type(layer.bias) is nn.Parameter
        and weight.dtype == layer.bias.dtype == torch.float32
        and weight.device.type == "cpu"
        and weight.is_contiguous()
        and weight.numel() > 0
    )


def encode(transformer: Transformer, x: Tensor, output_tokens: Tensor | None) -> Tensor:
    """Compute all blocks for one text.

    Args:
        transformer: The stack of blocks, for which `is_ordinary` holds.
        x: [T, D] embeddings.
        output_tokens: [Q] indices of the tokens that the last block computes; None: all.

    Returns:
        [T, D], or [Q, D].
    """
    block: Any  # PyTorch types attributes of modules as tensors or modules
    for block in transformer.layer:
        attention, feed_forward = block.attention, block.ffn
        columns = transposed(x)  # [D, T]
        count = x.shape[0]
        keys, values = (
            dense(layer, columns)[:, :count].unflatten(0, (-1, attention.head_size))  # [N, H, T]
            for layer in (attention.k_lin, attention.v_lin)
        )
        if output_tokens is not None and block is transformer.layer[-1]:
            x = x[output_tokens]  # [Q, D]
            columns = transposed(x)
        queries = dense(attention.q_lin, columns).unflatten(0, (-1, attention.head_size))  # [N, H, Q]
        scores = torch.baddbmm(
            x.new_empty(()), queries.transpose(1, 2), keys, beta=0, alpha=attention.head_size**-0.5
        )  # [N, Q, T]
        context = values @ scores.softmax(dim=-1).transpose(1, 2)  # [N, H, Q]
        x = block.sa_layer_norm(residual(attention.out_lin, context.flatten(0, 1), x))  # [Q, D]
        hidden = feed_forward.activation(dense(feed_forward.lin1, transposed(x)))  # [F, Q]
        x = block.output_layer_norm(residual(feed_forward.lin2, hidden, x))
    return x


def transposed(x: Tensor) -> Tensor:
    """[T, D] -> [D, T], with columns of zeros up to a number of tokens for which a kernel is compiled."""
    count, size = x.shape
    if count == 1 or count % MULTIPLE == 0:
        return x.t().contiguous()
    columns = x.new_zeros(size, -(-count // MULTIPLE) * MULTIPLE)
    columns[:, :count] = x.t()
    return columns


def dense(layer: nn.Linear, columns: Tensor) -> Tensor:
    """[in, T] -> [out, T]."""
    return product(layer.weight, columns).add_(layer.bias[:, None])


def residual(layer: nn.Linear, columns: Tensor, x: Tensor) -> Tensor:
    """[in, T or more], and x [T, out] -> [T, out]: the dense layer plus x."""
    return torch.add(x, product(layer.weight, columns)[:, : x.shape[0]].t()).add_(layer.bias)


def product(weight: Tensor, columns: Tensor) -> Tensor:
    """[out, in], [in, T] -> [out, T]."""
    if columns.shape[1] > MOST_TOKENS_ONEDNN and torch.backends.cpu.get_cpu_capability() == "AVX2":
        return torch.mm(weight, columns)
    y: Tensor = torch.ops.mkldnn._linear_pointwise(weight, columns.t(), None, "none", [], "none")
    return y
