"""DistilBERT in PyTorch, in the order in which data flows: embeddings, attention, feed-forward, block, encoder, body.

Shapes: B batch, T tokens, Q tokens that attend, N heads, H head size, D model size, F feed-forward size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from distilbert_core.config import ACTIVATIONS, NORM_EPSILON, DistilBertConfig
from distilbert_core.errors import InputError
from distilbert_core.inputs import check_range, check_shapes, choose
from distilbert_core.outputs import PLAIN_OUTPUTS, BaseModelOutput
from distilbert_core.parameters import Head
from distilbert_pt.attention import ATTENTION, eager_attention, fused_attention, packed_attention, segment_runs
from distilbert_pt.pretrained import DistilBertPreTrainedModel, shape_of, values_known

ACTIVATION_FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
}


def activation_function(config: DistilBertConfig) -> Callable[[Tensor], Tensor]:
    """Return the function that `config.activation` names or is."""
    if callable(config.activation):
        return config.activation
    return ACTIVATION_FUNCTIONS[ACTIVATIONS[config.activation]]


class Embeddings(nn.Module):
    """Word plus position embeddings, normalised."""

    def __init__(self, config: DistilBertConfig):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.dim, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.dim)
        self.LayerNorm = nn.LayerNorm(config.dim, eps=NORM_EPSILON)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, input_ids: Tensor | None, inputs_embeds: Tensor | None, position_ids: Tensor | None) -> Tensor:
        """[B, T] ids, or [B, T, D] word embeddings, to [B, T, D]."""
        words = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds  # [B, T, D]
        if position_ids is None:
            position_ids = torch.arange(words.shape[1], device=words.device)[None]  # [1, T]
        positions = self.position_embeddings(position_ids)  # [B or 1, T, D], or [T, D]
        return self.dropout(self.LayerNorm(words + positions))


class MultiHeadSelfAttention(nn.Module):
    """Self-attention with four plain dense layers."""

    def __init__(self, config: DistilBertConfig, layer: int):
        super().__init__()
        self.head_size = config.head_size
        self.dropout = nn.Dropout(config.attention_dropout)
        size = len(config.kept_heads(layer)) * config.head_size
        self.q_lin = nn.Linear(config.dim, size)
        self.k_lin = nn.Linear(config.dim, size)
        self.v_lin = nn.Linear(config.dim, size)
        self.out_lin = nn.Linear(size, config.dim)

    def forward(
        self, x: Tensor, queries: Tensor, mask: Any, head_mask: Tensor | None, attend: Callable
    ) -> tuple[Tensor, Tensor | None]:
        """[B, T, D] and the tokens of it that attend [B, Q, D] -> [B, Q, D], and the attention weights [B, N, Q, T]."""
        query = self.split_heads(self.q_lin(queries))  # [B, N, Q, H]
        key, value = self.split_heads(self.k_lin(x)), self.split_heads(self.v_lin(x))  # [B, N, T, H]
        context, weights = attend(query, key, value, mask, head_mask, self.dropout)  # [B, N, Q, H], [B, N, Q, T]
        return self.out_lin(context.transpose(1, 2).flatten(2)), weights  # [B, Q, D]

    def split_heads(self, x: Tensor) -> Tensor:
        """[B, T, N * H] -> [B, N, T, H]."""
        return x.unflatten(-1, (-1, self.head_size)).transpose(1, 2)


class FeedForward(nn.Module):
    """Two dense layers with the activation between them."""

    def __init__(self, config: DistilBertConfig):
        super().__init__()
        self.lin1 = nn.Linear(config.dim, config.hidden_dim)
        self.lin2 = nn.Linear(config.hidden_dim, config.dim)
        self.activation = activation_function(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        return self.dropout(self.lin2(self.expand(x)))

    def expand(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, F]."""
        return self.activation(self.lin1(x))


class TransformerBlock(nn.Module):
    """Attention and feed-forward, each added to its input and then normalised."""

    def __init__(self, config: DistilBertConfig, layer: int):
        super().__init__()
        self.attention = MultiHeadSelfAttention(config, layer)
        self.sa_layer_norm = nn.LayerNorm(config.dim, eps=NORM_EPSILON)
        self.ffn = FeedForward(config)
        self.output_layer_norm = nn.LayerNorm(config.dim, eps=NORM_EPSILON)

    def forward(
        self, x: Tensor, output_tokens: Tensor | None, mask: Any, head_mask: Tensor | None, attend: Callable
    ) -> tuple[Tensor, Tensor | None]:
        """[B, T, D] -> [B, T, D], or [B, Q, D] of the output tokens [B, Q], and the attention weights [B, N, Q, T]."""
        queries = x if output_tokens is None else x.take_along_dim(output_tokens[..., None], 1)  # [B, Q, D]
        attended, weights = self.attention(x, queries, mask, head_mask, attend)
        x = self.sa_layer_norm(attended + queries)
        return self.output_layer_norm(self.ffn(x) + x), weights


class Transformer(nn.Module):
    """The stack of blocks.

    In training, with `checkpointing` set to keywords of `torch.utils.checkpoint.checkpoint`, the backward pass computes
    each block again from its input, in place of keeping what is inside.
    """

    def __init__(self, config: DistilBertConfig):
        super().__init__()
        self.checkpointing: Mapping[str, Any] | None = None
        self.layer = nn.ModuleList(TransformerBlock(config, i) for i in range(config.n_layers))

    def forward(
        self,
        x: Tensor,
        output_tokens: Tensor | None,
        masks: list[Any],
        head_masks: list[Tensor | None],
        attend: Callable,
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor | None, ...]]:
        """Return the hidden states (the input, then each block's output) and each block's attention weights."""
        hidden_states, attentions = [x], []
        for block, mask, head_mask in zip(self.layer, masks, head_masks, strict=True):
            arguments = (x, output_tokens if block is self.layer[-1] else None, mask, head_mask, attend)
            if self.training and self.checkpointing is not None:
                x, weights = checkpoint(block, *arguments, **self.checkpointing)
            else:
                x, weights = block(*arguments)
            hidden_states.append(x)
            attentions.append(weights)
        return tuple(hidden_states), tuple(attentions)


class DistilBertModel(DistilBertPreTrainedModel):
    """The body: hidden states of every token.

    Args:
        config: The architecture.
        attn_implementation: 'sdpa' (PyTorch's fused attention) or 'eager'; also an attribute that may be changed.

    Example:
        >>> import torch
        >>> from distilbert_pt import DistilBertConfig, DistilBertModel
        >>> model = DistilBertModel(DistilBertConfig(n_layers=2, dim=24, n_heads=4, hidden_dim=48)).eval()
        >>> model(torch.tensor([[101, 7592, 102]])).last_hidden_state.shape
        torch.Size([1, 3, 24])
    """

    head = Head.NONE

    def __init__(self, config: DistilBertConfig, attn_implementation: str = "sdpa"):
        super().__init__(config)
        self.attn_implementation = attn_implementation
        self.embeddings = Embeddings(config)
        self.transformer = Transformer(config)
        self.initialise()

    @property
    def attn_implementation(self) -> str:
        """'sdpa' or 'eager'.

        Raises:
            InputError: Set to anything else.
        """
        return self._attn_implementation

    @attn_implementation.setter
    def attn_implementation(self, name: str) -> None:
        if name not in ATTENTION:
            raise InputError(f"attn_implementation must be one of {', '.join(ATTENTION)}, got {name!r}.")
        self._attn_implementation = name

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        position_ids: Tensor | None = None,
        segment_ids: Tensor | None = None,
        output_tokens: Tensor | None = None,
    ) -> BaseModelOutput | tuple:
        """Compute the hidden states of every token.

        Args:
            input_ids: [B, T] integers below `vocab_size`. Give these or `inputs_embeds`.
            attention_mask: [B, T], 1 for tokens to attend to and 0 for padding; any dtype. All ones if left out.
            head_mask: [N] or [L, N] factors for the attention weights of each head, 0 switches a head off.
            inputs_embeds: [B, T, D] word embeddings in place of ids.
            output_attentions: Also return the attention weights; the configuration's default if left out.
            output_hidden_states: Also return all hidden states; the configuration's default if left out.
            return_dict: Return an output object (True) or a tuple; the configuration's default if left out.
            position_ids: [B, T], [1, T] or [T] integers below `max_position_embeddings`; 0, 1, ... if left out.
            segment_ids: [B, T] integers, for rows that hold several texts: a token attends to the tokens after one
                another that have its number. With it, give `position_ids`, and no `attention_mask`: padding is a
                segment of its own. See `distilbert_core.packing`.
            output_tokens: [B, Q] places of tokens, ascending: the last block computes only these.

        Returns:
            `last_hidden_state` [B, T, D], or [B, Q, D], and if asked for `hidden_states` and `attentions`.

        Raises:
            InputError: An argument has an impossible shape or value; the message names it. Values are checked when
                called eagerly; compiled or exported code leaves that to PyTorch's own kernels.
        """
        config = self.config
        arguments = {
            "input_ids": input_ids,
            "inputs_embeds": inputs_embeds,
            "attention_mask": attention_mask,
            "position_ids": position_ids,
            "head_mask": head_mask,
            "segment_ids": segment_ids,
            "output_tokens": output_tokens,
        }
        check_shapes(config, {name: shape_of(value) for name, value in arguments.items()})
        check_values("input_ids", input_ids, config.vocab_size, "vocab_size")
        check_values("position_ids", position_ids, config.max_position_embeddings, "max_position_embeddings")
        if output_tokens is not None:
            tokens = choose(input_ids, inputs_embeds).shape[1]
            check_values("output_tokens", output_tokens, tokens, "tokens")
            output_tokens = output_tokens.long()  # as PyTorch gathers
        output_attentions = choose(output_attentions, config.output_attentions)
        attend: Callable = eager_attention if output_attentions else ATTENTION[self.attn_implementation]
        masks: tuple[Any, Any]  # of all blocks but the last, and of the last
        if segment_ids is not None and attend is fused_attention and values_known(segment_ids):
            attend = packed_attention
            masks = segment_runs(segment_ids), segment_runs(segment_ids, output_tokens)
        else:
            masks = attention_masks(attention_mask, segment_ids, output_tokens)

        x = self.embeddings(input_ids, inputs_embeds, position_ids)  # [B, T, D]
        hidden_states, attentions = self.transformer(
            x, output_tokens, [masks[0]] * (config.n_layers - 1) + [masks[1]], self.head_masks(head_mask), attend
        )
        output = BaseModelOutput(
            last_hidden_state=hidden_states[-1],
            hidden_states=hidden_states if choose(output_hidden_states, config.output_hidden_states) else None,
            attentions=attentions if output_attentions else None,
        )
        return output if choose(return_dict, config.return_dict) else output.to_tuple()

    def packed_outputs(
        self, input_ids: Tensor, position_ids: Tensor, segment_ids: Tensor, output_tokens: Tensor | None = None
    ) -> Tensor:
        """Return the hidden states [B, Q, D] of the output tokens of packed rows, all tokens if left out."""
        rows = {"position_ids": position_ids, "segment_ids": segment_ids, "output_tokens": output_tokens}
        output = self(input_ids, **PLAIN_OUTPUTS, **rows)
        hidden: Tensor = output.last_hidden_state
        return hidden

    def head_masks(self, head_mask: Tensor | None) -> list[Tensor | None]:
        """Split [N] or [L, N] into each block's factors [N], of the heads that it still has."""
        layers = range(self.config.n_layers)
        if head_mask is None:
            return [None for _ in layers]
        head_mask = head_mask.to(self.dtype).expand(len(layers), -1)
        return [head_mask[layer, self.config.kept_heads(layer)] for layer in layers]


def attention_masks(
    attention_mask: Tensor | None, segment_ids: Tensor | None, output_tokens: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """Return the mask [B, T or 1, T] of all blocks but the last, and that of the last [B, Q or 1, T]."""
    if segment_ids is None:
        mask = None if attention_mask is None else (attention_mask != 0)[:, None]
        return mask, mask
    queries = segment_ids if output_tokens is None else segment_ids.gather(1, output_tokens)  # [B, Q]
    all_blocks, last = (x[:, :, None] == segment_ids[:, None] for x in (segment_ids, queries))
    return all_blocks, last


def check_values(name: str, ids: Tensor | None, size: int, meaning: str) -> None:
    """Raise InputError if ids do not lie in [0, size); does nothing while values are not known."""
    if ids is not None and values_known(ids) and ids.numel():
        lowest, highest = torch.aminmax(ids)
        check_range(name, int(lowest), int(highest), size, meaning)
