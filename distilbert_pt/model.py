"""DistilBERT in PyTorch, in the order of the data flow: embeddings, attention, feed-forward, block, encoder, model.

Shapes: B batch, T tokens, Q query tokens, N heads, H head size, D model size, F feed-forward size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from distilbert_core.errors import InputError
from distilbert_core.model.config import NORM_EPSILON, DistilBertConfig
from distilbert_core.model.forking import start
from distilbert_core.model.heads import Head
from distilbert_core.model.inputs import check_shapes, choose
from distilbert_core.model.outputs import PLAIN_OUTPUTS, BaseModelOutput
from distilbert_pt import varlen
from distilbert_pt.attention import (
    ATTENTION,
    FLASH,
    attention_masks,
    eager_attention,
    fused_attention,
    packed_attention,
    segment_runs,
    segment_sizes,
)
from distilbert_pt.layers import activation_function
from distilbert_pt.pretrained import DistilBertPreTrainedModel
from distilbert_pt.tensors import check_values, shape_of, to_device, values_known


class Embeddings(nn.Module):
    """Word plus position embeddings, normalised."""

    def __init__(self, config: DistilBertConfig):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.dim, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.dim)
        self.LayerNorm = nn.LayerNorm(config.dim, eps=NORM_EPSILON)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        input_ids: Tensor | None = None,
        input_embeds: Tensor | None = None,
        position_ids: Tensor | None = None,
    ) -> Tensor:
        """[B, T] ids, or [B, T, D] word embeddings, to [B, T, D]."""
        words = self.word_embeddings(input_ids) if input_embeds is None else input_embeds  # [B, T, D]
        if position_ids is None:
            position_ids = torch.arange(words.shape[1], device=words.device)[None]  # [1, T]
        positions = self.position_embeddings(position_ids)  # [B or 1, T, D], or [T, D]
        return self.dropout(self.LayerNorm(words + positions))


class MultiHeadSelfAttention(nn.Module):
    """Self-attention with four plain dense layers.

    Args:
        config: The architecture.
        layer: Index of the block, whose pruned heads are left out; None for all heads.
    """

    def __init__(self, config: DistilBertConfig, layer: int | None = None):
        super().__init__()
        self.head_size = config.head_size
        self.dropout = nn.Dropout(config.attention_dropout)
        heads = config.n_heads if layer is None else len(config.kept_heads(layer))
        size = heads * config.head_size
        self.q_lin = nn.Linear(config.dim, size)
        self.k_lin = nn.Linear(config.dim, size)
        self.v_lin = nn.Linear(config.dim, size)
        self.out_lin = nn.Linear(size, config.dim)

    @property
    def n_heads(self) -> int:
        """Number of heads without the pruned ones (N)."""
        return int(self.q_lin.weight.shape[0]) // self.head_size

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Any = None,
        head_mask: Tensor | None = None,
        output_attentions: bool = False,
        attend: Callable[..., Any] = eager_attention,
    ) -> tuple[Tensor, ...]:
        """Attend from query tokens to key tokens.

        Args:
            query: [B, Q, D].
            key: [B, T, D].
            value: [B, T, D].
            mask: [B, T], 0 hides a token; or the mask that `attend` takes.
            head_mask: A factor for each head: N numbers in any shape, such as [1, N, 1, 1].
            output_attentions: Also return the attention weights.
            attend: A function of `distilbert_pt.attention`; only `eager_attention` returns weights.

        Returns:
            Context [B, Q, D], and with `output_attentions` the weights [B, N, Q, T].
        """
        query, key, value = (
            self.split_heads(layer(x))  # [B, N, Q or T, H]
            for layer, x in ((self.q_lin, query), (self.k_lin, key), (self.v_lin, value))
        )
        if isinstance(mask, Tensor) and mask.ndim == 2:
            mask = (mask != 0)[:, None]
        if head_mask is not None:
            head_mask = head_mask.flatten()
        context, weights = attend(query, key, value, mask, head_mask, self.dropout)  # [B, N, Q, H], [B, N, Q, T]
        context = self.out_lin(context.transpose(1, 2).flatten(2))  # [B, Q, D]
        return (context, weights) if output_attentions else (context,)

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


FFN = FeedForward  # its name in Transformers


class TransformerBlock(nn.Module):
    """Attention and feed-forward, each added to its input and then normalised.

    Args:
        config: The architecture.
        layer: Index of the block, whose pruned heads are left out; None for all heads.
    """

    def __init__(self, config: DistilBertConfig, layer: int | None = None):
        super().__init__()
        self.attention = MultiHeadSelfAttention(config, layer)
        self.sa_layer_norm = nn.LayerNorm(config.dim, eps=NORM_EPSILON)
        self.ffn = FeedForward(config)
        self.output_layer_norm = nn.LayerNorm(config.dim, eps=NORM_EPSILON)

    def forward(
        self,
        x: Tensor,
        attn_mask: Any = None,
        head_mask: Tensor | None = None,
        output_attentions: bool = False,
        output_tokens: Tensor | None = None,
        attend: Callable[..., Any] = eager_attention,
    ) -> tuple[Tensor, ...]:
        """Compute the block for all tokens, or for some of them.

        Args:
            x: [B, T, D].
            attn_mask: The mask of `MultiHeadSelfAttention`.
            head_mask: A factor for each head.
            output_attentions: Also return the attention weights.
            output_tokens: [B, Q] indices of the tokens to compute; all if left out.
            attend: A function of `distilbert_pt.attention`.

        Returns:
            With `output_attentions` the weights [B, N, Q, T], then [B, T, D], or [B, Q, D] of the output tokens.
        """
        queries = x if output_tokens is None else x.take_along_dim(output_tokens[..., None], 1)  # [B, Q, D]
        attended, *weights = self.attention(queries, x, x, attn_mask, head_mask, output_attentions, attend)
        x = self.sa_layer_norm(attended + queries)
        return *weights, self.output_layer_norm(self.ffn(x) + x)


class Transformer(nn.Module):
    """The stack of blocks.

    If `checkpointing` holds keywords of `torch.utils.checkpoint.checkpoint`, training keeps only the input of every
    `checkpoint_interval`-th block, and the backward pass computes that block again.
    """

    def __init__(self, config: DistilBertConfig):
        super().__init__()
        self.checkpointing: Mapping[str, Any] | None = None
        self.checkpoint_interval = 1
        self.layer = nn.ModuleList(TransformerBlock(config, i) for i in range(config.n_layers))

    def forward(
        self,
        x: Tensor,
        attn_mask: Any = None,
        head_mask: Sequence[Tensor | None] | Tensor | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        return_dict: bool | None = None,
        *,
        last_mask: Any = None,
        output_tokens: Tensor | None = None,
        attend: Callable[..., Any] = eager_attention,
    ) -> BaseModelOutput | tuple[Any, ...]:
        """Compute all blocks.

        Args:
            x: [B, T, D] embeddings.
            attn_mask: The mask of `MultiHeadSelfAttention`.
            head_mask: For each block a factor for each of its heads, or None; None for all blocks.
            output_attentions: Also return each block's attention weights.
            output_hidden_states: Also return the input and each block's output.
            return_dict: Return an output object; a tuple if left out.
            last_mask: The mask of the last block, if it has `output_tokens`.
            output_tokens: [B, Q] indices: the last block computes only these tokens.
            attend: A function of `distilbert_pt.attention`.
        """
        hidden_states, attentions = [x], []
        for index, block in enumerate(self.layer):
            tokens = output_tokens if block is self.layer[-1] else None
            arguments = (
                x,
                attn_mask if tokens is None else last_mask,
                None if head_mask is None else head_mask[index],
                output_attentions,
                tokens,
                attend,
            )
            if self.training and self.checkpointing is not None and index % self.checkpoint_interval == 0:
                *weights, x = checkpoint(block, *arguments, **self.checkpointing)
            else:
                *weights, x = block(*arguments)
            attentions += weights
            if output_hidden_states:
                hidden_states.append(x)
        output = BaseModelOutput(
            last_hidden_state=x,
            hidden_states=tuple(hidden_states) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )
        return output if return_dict else output.to_tuple()


class DistilBertModel(DistilBertPreTrainedModel):
    """The base model: hidden states of every token.

    Args:
        config: The architecture.
        attn_implementation: 'sdpa' (PyTorch's fused attention), 'eager', or 'flash_attention_2' (see
            `attn_implementation`); the configuration's `attn_implementation`, else 'sdpa', if left out. The attribute
            of this name may be changed later.

    Example:
        >>> import torch
        >>> from distilbert_pt import DistilBertConfig, DistilBertModel
        >>> model = DistilBertModel(DistilBertConfig(n_layers=2, dim=24, n_heads=4, hidden_dim=48)).eval()
        >>> model(torch.tensor([[101, 7592, 102]])).last_hidden_state.shape
        torch.Size([1, 3, 24])
    """

    head = Head.BASE

    def __init__(self, config: DistilBertConfig, attn_implementation: str | None = None):
        super().__init__(config)
        self.attn_implementation = attn_implementation or getattr(config, "attn_implementation", None) or "sdpa"
        self.embeddings = Embeddings(config)
        self.transformer = Transformer(config)
        self._finish_init()
        if getattr(config, "gradient_checkpointing", False):  # a field of old configurations
            self.gradient_checkpointing_enable()

    @property
    def attn_implementation(self) -> str:
        """'sdpa', 'eager' or 'flash_attention_2'.

        Packed rows on a GPU in half precision use the kernel of `distilbert_pt.varlen` with both names except 'eager'.
        'flash_attention_2' also reads padded batches without their padding, and is an error where the kernel cannot
        run: in float32, or on a CPU.

        Raises:
            InputError: Set to another value, or to 'flash_attention_2' without a GPU.
        """
        return self._attn_implementation

    @attn_implementation.setter
    def attn_implementation(self, name: str) -> None:
        if name not in ATTENTION:
            raise InputError(f"attn_implementation must be one of {', '.join(ATTENTION)}, got {name!r}.")
        if name == FLASH and not torch.cuda.is_available():
            raise InputError(f"attn_implementation={name!r} needs a CUDA GPU, and PyTorch finds none; use 'sdpa'.")
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
        position_ids: Tensor | None = None,
        segment_ids: Tensor | None = None,
        output_tokens: Tensor | None = None,
    ) -> BaseModelOutput | tuple[Any, ...]:
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
            segment_ids: [B, T] integers, for rows that hold several texts (`distilbert_core.model.packing`): the id of
                the text that each token belongs to. The tokens of a text stand together and attend to each other.
                Give `position_ids` too, and no `attention_mask`: padding is a segment. A model on a GPU reads these ids
                and `output_tokens` on the CPU: leave them there, then nothing waits for the GPU.
            output_tokens: [B, Q] ascending indices of tokens: the last block computes only these.

        Returns:
            `last_hidden_state` [B, T, D], or [B, Q, D], and on request `hidden_states` and `attentions`.

        Raises:
            InputError: An argument has an impossible shape or value; the message names it. Values are checked when
                called eagerly on a CPU; on a GPU, and in compiled or exported code, PyTorch's own kernels check them.
                Or 'flash_attention_2' cannot run on the model's device or in its dtype.
        """
        if not torch.compiler.is_compiling():
            start("pt")
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
        attend, masks = self._attention(attention_mask, segment_ids, output_tokens, output_attentions)
        if output_tokens is not None:
            output_tokens = to_device(output_tokens, self.device)

        output = self.transformer(
            self.embeddings(input_ids, inputs_embeds, position_ids),  # [B, T, D]
            masks[0],
            self.head_masks(head_mask),
            output_attentions,
            choose(output_hidden_states, config.output_hidden_states),
            return_dict=True,
            last_mask=masks[1],
            output_tokens=output_tokens,
            attend=attend,
        )
        return self._as_requested(output, return_dict)

    def _attention(
        self,
        attention_mask: Tensor | None,
        segment_ids: Tensor | None,
        output_tokens: Tensor | None,
        output_attentions: bool,
    ) -> tuple[Callable[..., Any], Sequence[Any]]:
        """Return the function of attention, and its masks of all blocks except the last and of the last."""
        attend: Callable[..., Any] = eager_attention if output_attentions else ATTENTION[self.attn_implementation]
        flash = self.attn_implementation == FLASH
        packed = segment_ids is not None and values_known(segment_ids)
        kernel = (flash or packed) and self._kernel_runs(required=flash)
        if attend is fused_attention and packed and segment_ids is not None:
            ids, tokens = segment_ids.cpu(), None if output_tokens is None else output_tokens.cpu()
            queries, keys = segment_sizes(ids, tokens)
            sizes = (keys, keys), (queries, keys)
            if kernel:
                return varlen.varlen_attention, [varlen.cumulative_lengths(*each, self.device) for each in sizes]
            return packed_attention, [segment_runs(*each) for each in sizes]
        if attend is fused_attention and flash and kernel and segment_ids is None and attention_mask is not None:
            mask = attention_mask != 0
            outputs = mask if output_tokens is None else output_tokens
            return varlen.unpadded_attention, [varlen.unpadded_keys(mask, x.shape[1]) for x in (mask, outputs)]
        rows = (None if x is None else to_device(x, self.device) for x in (segment_ids, output_tokens))
        return attend, attention_masks(attention_mask, *rows)

    def _kernel_runs(self, required: bool) -> bool:
        """Return whether the kernel of `distilbert_pt.varlen` can compute attention now.

        Raises:
            InputError: It is required, and cannot run on this device or in this dtype.
        """
        if not torch.compiler.is_compiling():
            device = self.device
            dtype = varlen.autocast_dtype(device, self.dtype)
            problem = varlen.kernel_problem(device, dtype, self.config.head_size)
            if required and problem is not None:
                raise InputError(f"attn_implementation={FLASH!r} {problem}")
            if problem is not None:
                return False
        return not varlen.drops(getattr(block.attention, "dropout", None) for block in self.transformer.layer)

    def packed_outputs(
        self, input_ids: Tensor, position_ids: Tensor, segment_ids: Tensor, output_tokens: Tensor | None = None
    ) -> Tensor:
        """Return the hidden states [B, Q, D] of the output tokens of packed rows, all tokens if left out."""
        rows = {"position_ids": position_ids, "segment_ids": segment_ids, "output_tokens": output_tokens}
        output = self(input_ids, **PLAIN_OUTPUTS, **rows)
        hidden: Tensor = output.last_hidden_state
        return hidden

    def head_masks(self, head_mask: Tensor | None) -> list[Tensor | None]:
        """Split [N] or [L, N] into the factors [N] of each block, for the heads that were not pruned."""
        layers = range(self.config.n_layers)
        if head_mask is None:
            return [None for _ in layers]
        head_mask = head_mask.to(self.dtype).expand(len(layers), -1)
        return [head_mask[layer, self.config.kept_heads(layer)] for layer in layers]
