"""DistilBERT in Flax NNX, in the order of the data flow: embeddings, attention, feed-forward, block, encoder, model.

Shapes: B batch, T tokens, Q query tokens, N heads, H head size, D model size, F feed-forward size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.forking import start
from distilbert_core.model.heads import Head
from distilbert_core.model.inputs import check_shapes, choose
from distilbert_core.model.outputs import PLAIN_OUTPUTS, BaseModelOutput
from distilbert_core.model.parameters import sinusoidal_table
from distilbert_flax.attention import Segments, eager_attention, fused_attention
from distilbert_flax.layers import FixedTable, LayerFactory, activation_function
from distilbert_flax.pretrained import FlaxDistilBertPreTrainedModel
from distilbert_flax.scanning import Kept, loop_blocks, scan_blocks
from distilbert_flax.tensors import as_input, check_values, is_nonzero, shape_of


class Embeddings(nnx.Module):
    """Word plus position embeddings, normalised."""

    def __init__(self, config: DistilBertConfig, layers: LayerFactory):
        self.pad_token_id = config.pad_token_id
        self.word_embeddings = layers.embedding(config.vocab_size, config.dim, pad_row=config.pad_token_id)
        self.position_embeddings = layers.embedding(config.max_position_embeddings, config.dim)
        if config.sinusoidal_pos_embds:
            table = sinusoidal_table(config.max_position_embeddings, config.dim)
            self.position_embeddings.embedding = FixedTable(jnp.asarray(table, layers.param_dtype))
        self.LayerNorm = layers.layer_norm(config.dim)
        self.dropout = nnx.Dropout(config.dropout)

    def __call__(
        self, input_ids: Array | None, inputs_embeds: Array | None, position_ids: Array | None, mode: dict[str, Any]
    ) -> Array:
        """[B, T] ids, or [B, T, D] word embeddings, to [B, T, D]."""
        if inputs_embeds is None:
            words = self.word_embeddings(input_ids)  # [B, T, D]
            if self.pad_token_id is not None:  # the padding row learns nothing from the look-up
                is_pad = jnp.asarray(input_ids == self.pad_token_id)[..., None]
                words = jnp.where(is_pad, jax.lax.stop_gradient(words), words)
        else:
            words = jnp.asarray(inputs_embeds, self.word_embeddings.dtype)
        if position_ids is None:
            position_ids = jnp.arange(words.shape[1])[None]  # [1, T]
        elif position_ids.ndim == 1:
            position_ids = position_ids[None]
        positions = self.position_embeddings(position_ids)  # [B or 1, T, D]
        return self.dropout(self.LayerNorm(words + positions), **mode)


class MultiHeadSelfAttention(nnx.Module):
    """Self-attention with four plain dense layers."""

    def __init__(self, config: DistilBertConfig, layer: int, layers: LayerFactory):
        self.head_size = config.head_size
        size = len(config.kept_heads(layer)) * config.head_size
        self.q_lin = layers.dense(config.dim, size)
        self.k_lin = layers.dense(config.dim, size)
        self.v_lin = layers.dense(config.dim, size)
        self.out_lin = layers.dense(size, config.dim)
        self.dropout = nnx.Dropout(config.attention_dropout)

    def __call__(
        self,
        x: Array,
        queries: Array,
        segments: Segments | None,
        head_mask: Array | None,
        attend: Callable[..., Any],
        mode: dict[str, Any],
    ) -> tuple[Array, Array | None]:
        """Attend from the queries [B, Q, D] to x [B, T, D].

        Args:
            x: [B, T, D].
            queries: [B, Q, D].
            segments: Segment ids of the queries and of the keys; None allows all keys.
            head_mask: [N] factors of the heads, or None.
            attend: A function of `distilbert_flax.attention`; only `eager_attention` returns weights.
            mode: Arguments of dropout.

        Returns:
            Context [B, Q, D], and the weights [B, N, Q, T] or None.
        """
        seed = mode["rngs"] if draws(self.dropout, mode) else None
        query = self._split_heads(self.q_lin(queries))  # [B, Q, N, H]
        key, value = self._split_heads(self.k_lin(x)), self._split_heads(self.v_lin(x))  # [B, T, N, H]
        # [B, Q, N, H], [B, N, Q, T]
        context, weights = attend(query, key, value, segments, head_mask, self.dropout.rate, seed)
        return self.out_lin(context.reshape(*queries.shape[:2], -1)), weights  # [B, Q, D]

    def _split_heads(self, x: Array) -> Array:
        """[B, T, N * H] -> [B, T, N, H]."""
        return x.reshape(*x.shape[:2], -1, self.head_size)


class FeedForward(nnx.Module):
    """Two dense layers with the activation between them."""

    def __init__(self, config: DistilBertConfig, layers: LayerFactory):
        self.lin1 = layers.dense(config.dim, config.hidden_dim)
        self.lin2 = layers.dense(config.hidden_dim, config.dim)
        self.activation = activation_function(config)
        self.dropout = nnx.Dropout(config.dropout)

    def __call__(self, x: Array, mode: dict[str, Any]) -> Array:
        """[B, T, D] -> [B, T, D]."""
        x = self.lin2(self.activation(self.lin1(x)))  # [B, T, D] -> [B, T, F] -> [B, T, D]
        return self.dropout(x, **mode)


class TransformerBlock(nnx.Module):
    """Attention and feed-forward, each added to its input and then normalised."""

    def __init__(self, config: DistilBertConfig, layer: int, layers: LayerFactory):
        self.attention = MultiHeadSelfAttention(config, layer, layers)
        self.sa_layer_norm = layers.layer_norm(config.dim)
        self.ffn = FeedForward(config, layers)
        self.output_layer_norm = layers.layer_norm(config.dim)

    def __call__(
        self,
        x: Array,
        output_tokens: Array | None,
        segments: Segments | None,
        head_mask: Array | None,
        attend: Callable[..., Any],
        mode: dict[str, Any],
    ) -> tuple[Array, Array | None]:
        """Compute the block for all tokens, or for some of them.

        Args:
            x: [B, T, D].
            output_tokens: [B, Q] indices of the tokens to compute, or None for all.
            segments: Segment ids of the queries and of the keys; None allows all keys.
            head_mask: [N] factors of the heads, or None.
            attend: A function of `distilbert_flax.attention`; only `eager_attention` returns weights.
            mode: Arguments of dropout, with a key in place of generators.

        Returns:
            [B, T, D], or [B, Q, D] of the output tokens, and the attention weights [B, N, Q, T] or None.
        """
        queries = x if output_tokens is None else jnp.take_along_axis(x, output_tokens[..., None], axis=1)  # [B, Q, D]
        key = mode["rngs"]
        in_attention, in_ffn = (mode if key is None else {**mode, "rngs": jax.random.fold_in(key, i)} for i in (0, 1))
        attended, weights = self.attention(x, queries, segments, head_mask, attend, in_attention)
        x = self.sa_layer_norm(attended + queries)
        return self.output_layer_norm(self.ffn(x, in_ffn) + x), weights

    def _drops(self, mode: dict[str, Any]) -> bool:
        """Return whether a call in this mode draws random numbers."""
        return any(draws(site, mode) for site in (self.attention.dropout, self.ffn.dropout))


def draws(dropout: nnx.Dropout, mode: dict[str, Any]) -> bool:
    """Return whether a dropout draws random numbers in this mode."""
    return dropout.rate > 0 and not choose(mode["deterministic"], dropout.deterministic)


class Transformer(nnx.Module):
    """The stack of blocks.

    Attributes:
        scan_layers: Run the blocks by `jax.lax.scan`, which compiles one block only.
        gradient_checkpointing: Keep only the input of each block, and compute the rest again in the backward pass.
    """

    def __init__(self, config: DistilBertConfig, layers: LayerFactory, scan_layers: bool, gradient_checkpointing: bool):
        self.layer = nnx.List([TransformerBlock(config, i, layers) for i in range(config.n_layers)])
        self.scan_layers = scan_layers
        self.gradient_checkpointing = gradient_checkpointing

    def __call__(
        self,
        x: Array,
        output_tokens: Array | None,
        segments: tuple[Segments | None, Segments | None],
        head_masks: list[Array | None],
        attend: Callable[..., Any],
        output_hidden_states: bool,
        output_attentions: bool,
        mode: dict[str, Any],
    ) -> BaseModelOutput:
        """Compute all blocks.

        Args:
            x: [B, T, D] embeddings.
            output_tokens: [B, Q] indices: the last block computes only these tokens. None for all.
            segments: Segment ids of the queries and of the keys, of all blocks except the last, and of the last; None
                allows all keys.
            head_masks: [N] factors of the heads of each block, or None.
            attend: A function of `distilbert_flax.attention`; only `eager_attention` returns weights.
            output_hidden_states: Also return the input and each block's output.
            output_attentions: Also return each block's attention weights.
            mode: Arguments of dropout.
        """
        # One key for each block, drawn here: a block drops the same if it is scanned, or computed again.
        keys = [mode["rngs"].dropout() if block._drops(mode) else None for block in self.layer]

        def run(
            block: TransformerBlock,
            x: Array,
            head_mask: Array | None,
            key: Array | None,
            output_tokens: Array | None = None,
        ) -> tuple[Array, Kept]:
            of_block = segments[0] if output_tokens is None else segments[1]
            x, weights = block(x, output_tokens, of_block, head_mask, attend, {**mode, "rngs": key})
            return x, (x if output_hidden_states else None, weights)

        run_last = run
        if self.gradient_checkpointing:
            run_last = nnx.remat(run)
            run = nnx.remat(run, prevent_cse=not self.scan_layers)  # a scan itself separates the two computations
        layers = list(zip(self.layer, head_masks, keys, strict=True))
        run_all = scan_blocks if self.scan_layers else loop_blocks
        if output_tokens is None:
            last, kept = run_all(run, x, layers)
        else:
            below, kept = run_all(run, x, layers[:-1])
            block, head_mask, key = layers[-1]
            last, of_last = run_last(block, below, head_mask, key, output_tokens)
            kept.append(of_last)
        return BaseModelOutput(
            last_hidden_state=last,
            hidden_states=(x, *(hidden for hidden, _ in kept)) if output_hidden_states else None,
            attentions=tuple(weights for _, weights in kept) if output_attentions else None,
        )


class FlaxDistilBertModel(FlaxDistilBertPreTrainedModel):
    """The base model: hidden states of every token.

    A new model is in inference mode until `model.train()` is called; a call may be given `train=True`.

    Args:
        config: The architecture.
        input_shape: Ignored, because no parameter depends on the input; accepted for compatibility with Transformers.
        seed: The same as `rngs=nnx.Rngs(seed)`.
        dtype: Dtype of the computation, as in Flax: `jnp.bfloat16` leaves the parameters in float32. The dtype of the
            parameters if left out.
        _do_init: False makes a model whose trained parameters have shapes in place of values: calls take `params`.
        rngs: Generators of initial parameters and dropout, with the streams 'params' and 'dropout' (without 'dropout',
            'params' serves both), a key, or a seed; `nnx.Rngs(0)` if left out.
        param_dtype: Dtype of the parameters; float32 if left out, or float64 if that is `dtype`.
        scan_layers: Compile one block and run it for every layer, by `jax.lax.scan`: the same numbers, and compiling
            many layers takes as long as compiling one. Call such a model under jit. Layers must have the same number of
            heads.
        gradient_checkpointing: Keep only the input of each block and compute the rest again in the backward pass: less
            memory for more time.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from distilbert_flax import DistilBertConfig, FlaxDistilBertModel
        >>> config = DistilBertConfig(n_layers=2, dim=24, n_heads=4, hidden_dim=48)
        >>> model = FlaxDistilBertModel(config, rngs=nnx.Rngs(0))
        >>> model(jnp.array([[101, 7592, 102]])).last_hidden_state.shape
        (1, 3, 24)
    """

    head = Head.BASE

    def __init__(
        self,
        config: DistilBertConfig,
        input_shape: tuple[int, ...] = (1, 1),
        seed: int | None = None,
        dtype: Any = None,
        _do_init: bool = True,
        *,
        rngs: nnx.Rngs | Array | int | None = None,
        param_dtype: Any = None,
        scan_layers: bool = False,
        gradient_checkpointing: bool = False,
    ):
        layers = LayerFactory.from_config(config, rngs, seed, dtype, param_dtype, _do_init)
        super().__init__(config, layers, input_shape)
        self.embeddings = Embeddings(config, layers)
        self.transformer = Transformer(config, layers, scan_layers, gradient_checkpointing)
        self.rngs = layers.stored_rngs()
        self._finish_init()

    def __call__(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        head_mask: ArrayLike | None = None,
        inputs_embeds: ArrayLike | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        position_ids: ArrayLike | None = None,
        train: bool | None = None,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | Array | None = None,
        params: Mapping[str, Any] | None = None,
        dropout_rng: Array | None = None,
        segment_ids: ArrayLike | None = None,
        output_tokens: ArrayLike | None = None,
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
            train: Apply dropout; the mode of the last `model.train()` or `model.eval()` if left out.
            deterministic: The opposite of `train`.
            rngs: Generators of dropout, an `nnx.Rngs` or a key; the model's own if left out.
            params: Parameters to use in place of the model's, a nested dict like `model.params`. Such a call neither
                reads nor changes the state of the model: dropout is off unless `train=True` and `dropout_rng` are
                given.
            dropout_rng: Another name of `rngs`, for a key.
            segment_ids: [B, T] integers, for rows that hold several texts (`distilbert_core.model.packing`): the id of
                the text that each token belongs to. The tokens of a text attend to each other. Give `position_ids`
                too, and no `attention_mask`: padding is a segment.
            output_tokens: [B, Q] ascending indices of tokens: the last block computes only these.

        Returns:
            `last_hidden_state` [B, T, D], or [B, Q, D], and on request `hidden_states` and `attentions`.

        Raises:
            InputError: An argument has an impossible shape or value; the message names it. Values are checked when
                called eagerly; under `jax.jit` an id out of range makes its row NaN.
        """
        start("flax")
        config = self.config
        given = {
            "input_ids": input_ids,
            "inputs_embeds": inputs_embeds,
            "attention_mask": attention_mask,
            "position_ids": position_ids,
            "head_mask": head_mask,
            "segment_ids": segment_ids,
            "output_tokens": output_tokens,
        }
        arguments = {name: as_input(name, value) for name, value in given.items()}
        check_shapes(config, {name: shape_of(value) for name, value in arguments.items()})
        input_ids, inputs_embeds, attention_mask, position_ids, head_mask, segment_ids, output_tokens = (
            arguments.values()
        )
        check_values("input_ids", input_ids, config.vocab_size, "vocab_size")
        check_values("position_ids", position_ids, config.max_position_embeddings, "max_position_embeddings")
        model, mode = self._for_call(params, train, deterministic, rngs, dropout_rng)

        x = model.embeddings(input_ids, inputs_embeds, position_ids, mode)  # [B, T, D]
        check_values("output_tokens", output_tokens, x.shape[1], "tokens")
        output_attentions = choose(output_attentions, config.output_attentions)
        output = model.transformer(
            x,
            output_tokens,
            attention_segments(attention_mask, segment_ids, output_tokens),
            self._head_masks(head_mask),
            eager_attention if output_attentions else fused_attention,
            choose(output_hidden_states, config.output_hidden_states),
            output_attentions,
            mode,
        )
        return output if choose(return_dict, config.return_dict) else output.to_tuple()

    def packed_outputs(
        self,
        input_ids: ArrayLike,
        position_ids: ArrayLike,
        segment_ids: ArrayLike,
        output_tokens: ArrayLike | None = None,
        **mode: Any,
    ) -> Array:
        """Return the hidden states [B, Q, D] of the output tokens of packed rows, of all tokens if left out.

        Args:
            input_ids: [B, T] integers.
            position_ids: [B, T] integers.
            segment_ids: [B, T] integers.
            output_tokens: [B, Q] ascending indices of tokens.
            **mode: `train` and `rngs` of a call.
        """
        rows: Any = {"position_ids": position_ids, "segment_ids": segment_ids, "output_tokens": output_tokens}
        output: Any = self(input_ids, **{**PLAIN_OUTPUTS, **rows, **mode})
        hidden: Array = output.last_hidden_state
        return hidden

    def _head_masks(self, head_mask: Array | None) -> list[Array | None]:
        """Split [N] or [L, N] into the factors [N] of each block, for the heads that were not pruned."""
        layers = range(self.config.n_layers)
        if head_mask is None:
            return [None for _ in layers]
        head_mask = jnp.broadcast_to(head_mask.astype(self.dtype), (len(layers), self.config.n_heads))
        return [head_mask[layer, jnp.array(self.config.kept_heads(layer))] for layer in layers]


def attention_segments(
    attention_mask: Array | None, segment_ids: Array | None, output_tokens: Array | None
) -> tuple[Segments | None, Segments | None]:
    """Return the segments of queries and keys of all blocks except the last, and the segments of the last."""
    if segment_ids is not None:
        of_queries, of_keys = segment_ids, segment_ids
    elif attention_mask is not None:
        of_queries, of_keys = jnp.ones(attention_mask.shape, bool), is_nonzero(attention_mask)
    else:
        return None, None
    of_outputs = of_queries if output_tokens is None else jnp.take_along_axis(of_queries, output_tokens, axis=1)
    return (of_queries, of_keys), (of_outputs, of_keys)
