"""DistilBERT in Flax NNX, in the order in which data flows: embeddings, attention, feed-forward, block, encoder, body.

Shapes: B batch, T tokens, Q tokens that attend, N heads, H head size, D model size, F feed-forward size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from distilbert_core.errors import InputError
from distilbert_core.model.config import ACTIVATIONS, LAPLACE, DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.inputs import check_range, check_shapes, choose
from distilbert_core.model.outputs import PLAIN_OUTPUTS, BaseModelOutput
from distilbert_core.model.parameters import sinusoidal_table
from distilbert_flax.attention import Segments, attention, blockwise_attention
from distilbert_flax.layers import FixedTable, Numerics
from distilbert_flax.pretrained import FlaxDistilBertPreTrainedModel, as_input, shape_of, values_known

ACTIVATION_FUNCTIONS: Mapping[str, Callable[[Array], Array]] = {
    "gelu": partial(jax.nn.gelu, approximate=False),
    "gelu_new": partial(jax.nn.gelu, approximate=True),
    "gelu_10": lambda x: jnp.clip(jax.nn.gelu(x, approximate=False), -10, 10),
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "laplace": lambda x: 0.5 * (1 + jax.lax.erf((x - LAPLACE[0]) / (LAPLACE[1] * math.sqrt(2)))),
    "leaky_relu": jax.nn.leaky_relu,
    "linear": lambda x: x,
    "mish": jax.nn.mish,
    "relu": jax.nn.relu,
    "relu2": lambda x: jnp.square(jax.nn.relu(x)),
    "relu6": jax.nn.relu6,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
}


def activation_function(config: DistilBertConfig) -> Callable[[Array], Array]:
    """Return the function that `config.activation` names or is."""
    if callable(config.activation):
        return config.activation
    return ACTIVATION_FUNCTIONS[ACTIVATIONS[config.activation]]


class Embeddings(nnx.Module):
    """Word plus position embeddings, normalised."""

    def __init__(self, config: DistilBertConfig, make: Numerics):
        self.pad_token_id = config.pad_token_id
        self.word_embeddings = make.embedding(config.vocab_size, config.dim, pad_row=config.pad_token_id)
        self.position_embeddings = make.embedding(config.max_position_embeddings, config.dim)
        if config.sinusoidal_pos_embds:
            table = sinusoidal_table(config.max_position_embeddings, config.dim)
            self.position_embeddings.embedding = FixedTable(jnp.asarray(table, make.param_dtype))
        self.LayerNorm = make.layer_norm(config.dim)
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

    def __init__(self, config: DistilBertConfig, layer: int, make: Numerics):
        self.head_size = config.head_size
        size = len(config.kept_heads(layer)) * config.head_size
        self.q_lin = make.dense(config.dim, size)
        self.k_lin = make.dense(config.dim, size)
        self.v_lin = make.dense(config.dim, size)
        self.out_lin = make.dense(size, config.dim)
        self.dropout = nnx.Dropout(config.attention_dropout)

    def __call__(
        self,
        x: Array,
        queries: Array,
        segments: Segments | None,
        head_mask: Array | None,
        mode: dict[str, Any],
        output_attentions: bool,
    ) -> tuple[Array, Array | None]:
        """[B, T, D] and those tokens of it that attend [B, Q, D] -> [B, Q, D], and the weights [B, N, Q, T] or None."""
        rng = mode["rngs"] if draws(self.dropout, mode) else None
        query = self._split_heads(self.q_lin(queries))  # [B, Q, N, H]
        key, value = self._split_heads(self.k_lin(x)), self._split_heads(self.v_lin(x))  # [B, T, N, H]
        attend = attention if output_attentions else blockwise_attention
        # [B, Q, N, H], [B, N, Q, T]
        context, weights = attend(query, key, value, segments, head_mask, self.dropout.rate, rng)
        return self.out_lin(context.reshape(*queries.shape[:2], -1)), weights  # [B, Q, D]

    def _split_heads(self, x: Array) -> Array:
        """[B, T, N * H] -> [B, T, N, H]."""
        return x.reshape(*x.shape[:2], -1, self.head_size)


class FeedForward(nnx.Module):
    """Two dense layers with the activation between them."""

    def __init__(self, config: DistilBertConfig, make: Numerics):
        self.lin1 = make.dense(config.dim, config.hidden_dim)
        self.lin2 = make.dense(config.hidden_dim, config.dim)
        self.activation = activation_function(config)
        self.dropout = nnx.Dropout(config.dropout)

    def __call__(self, x: Array, mode: dict[str, Any]) -> Array:
        """[B, T, D] -> [B, T, D]."""
        x = self.lin2(self.activation(self.lin1(x)))  # [B, T, D] -> [B, T, F] -> [B, T, D]
        return self.dropout(x, **mode)


class TransformerBlock(nnx.Module):
    """Attention and feed-forward, each added to its input and then normalised."""

    def __init__(self, config: DistilBertConfig, layer: int, make: Numerics):
        self.attention = MultiHeadSelfAttention(config, layer, make)
        self.sa_layer_norm = make.layer_norm(config.dim)
        self.ffn = FeedForward(config, make)
        self.output_layer_norm = make.layer_norm(config.dim)

    def __call__(
        self,
        x: Array,
        output_tokens: Array | None,
        segments: Segments | None,
        head_mask: Array | None,
        mode: dict[str, Any],
        output_attentions: bool,
    ) -> tuple[Array, Array | None]:
        """[B, T, D] -> [B, T, D], or [B, Q, D] of the output tokens [B, Q], and the weights [B, N, Q, T] or None."""
        queries = x
        if output_tokens is not None:
            queries = jnp.take_along_axis(x, output_tokens[..., None], axis=1)  # [B, Q, D]
            if segments is not None:
                segments = jnp.take_along_axis(segments[0], output_tokens, axis=1), segments[1]
        key = mode["rngs"]
        in_attention, in_ffn = (mode if key is None else {**mode, "rngs": jax.random.fold_in(key, i)} for i in (0, 1))
        attended, weights = self.attention(x, queries, segments, head_mask, in_attention, output_attentions)
        x = self.sa_layer_norm(attended + queries)
        return self.output_layer_norm(self.ffn(x, in_ffn) + x), weights

    def _drops(self, mode: dict[str, Any]) -> bool:
        """Whether a call in this mode draws random numbers."""
        return any(draws(site, mode) for site in (self.attention.dropout, self.ffn.dropout))


def draws(dropout: nnx.Dropout, mode: dict[str, Any]) -> bool:
    """Whether a dropout draws random numbers in this mode."""
    return dropout.rate > 0 and not choose(mode["deterministic"], dropout.deterministic)


class Transformer(nnx.Module):
    """The stack of blocks.

    Attributes:
        scan_layers: Run the blocks by `jax.lax.scan`: one block is compiled, for however many there are.
        gradient_checkpointing: Keep only each block's input for the backward pass, and compute the rest again there.
    """

    def __init__(self, config: DistilBertConfig, make: Numerics, scan_layers: bool, gradient_checkpointing: bool):
        self.layer = nnx.List([TransformerBlock(config, i, make) for i in range(config.n_layers)])
        self.scan_layers = scan_layers
        self.gradient_checkpointing = gradient_checkpointing

    def __call__(
        self,
        x: Array,
        output_tokens: Array | None,
        segments: Segments | None,
        head_masks: list[Array | None],
        mode: dict[str, Any],
        output_hidden_states: bool,
        output_attentions: bool,
    ) -> tuple[Array, tuple[Array, ...] | None, tuple[Array, ...] | None]:
        """[B, T, D] -> [B, T, D], or [B, Q, D] of the output tokens.

        Also, if asked for, the hidden states (the input is the first) and attention weights.
        """
        # One key for each block, drawn here: blocks drop the same whether they are scanned, or computed again.
        keys = [mode["rngs"].dropout() if block._drops(mode) else None for block in self.layer]

        def run(
            block: TransformerBlock,
            x: Array,
            head_mask: Array | None,
            key: Array | None,
            output_tokens: Array | None = None,
        ) -> tuple[Array, Kept]:
            x, weights = block(x, output_tokens, segments, head_mask, {**mode, "rngs": key}, output_attentions)
            return x, (x if output_hidden_states else None, weights)

        run_last = run
        if self.gradient_checkpointing:
            run_last = nnx.remat(run)
            run = nnx.remat(run, prevent_cse=not self.scan_layers)  # a scan keeps the two computations apart by itself
        layers = list(zip(self.layer, head_masks, keys, strict=True))
        run_all = scan_blocks if self.scan_layers else loop_blocks
        if output_tokens is None:
            last, kept = run_all(run, x, layers)
        else:
            below, kept = run_all(run, x, layers[:-1])
            block, head_mask, key = layers[-1]
            last, of_last = run_last(block, below, head_mask, key, output_tokens)
            kept.append(of_last)
        return (
            last,
            (x, *(hidden for hidden, _ in kept)) if output_hidden_states else None,
            tuple(weights for _, weights in kept) if output_attentions else None,
        )


Kept = tuple[Any, Any]  # a block's output and its attention weights, each None unless asked for
RunBlock = Callable[..., tuple[Array, Kept]]
Layer = tuple[TransformerBlock, Array | None, Array | None]  # a block, the factors of its heads, its key of dropout


def loop_blocks(run: RunBlock, x: Array, layers: list[Layer]) -> tuple[Array, list[Kept]]:
    """Run blocks one after another."""
    kept = []
    for block, head_mask, key in layers:
        x, of_block = run(block, x, head_mask, key)
        kept.append(of_block)
    return x, kept


def scan_blocks(run: RunBlock, x: Array, layers: list[Layer]) -> tuple[Array, list[Kept]]:
    """Run blocks one after another by `jax.lax.scan`, their parameters stacked for the time of the call."""
    if not layers:
        return x, []
    graphs, states = zip(*(nnx.split(block) for block, _, _ in layers), strict=True)
    for layer, graph in enumerate(graphs):
        if graph != graphs[0]:
            raise InputError(
                f"scan_layers=True needs layers that are alike; layer {layer} differs from layer 0 in its number of "
                "heads, its dtype or its mode. Use scan_layers=False."
            )
    per_layer = [(state, *others) for state, (_, *others) in zip(states, layers, strict=True)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *per_layer)

    def step(x: Array, layer: Any) -> tuple[Array, Kept]:
        state, head_mask, key = layer
        return run(nnx.merge(graphs[0], state), x, head_mask, key)

    x, kept = jax.lax.scan(step, x, stacked)
    return x, [jax.tree.map(lambda stacked, layer=layer: stacked[layer], kept) for layer in range(len(layers))]


class FlaxDistilBertModel(FlaxDistilBertPreTrainedModel):
    """The body: hidden states of every token.

    A new model does inference until `train=True` is given to a call, or `model.train()` is called.

    Args:
        config: The architecture.
        input_shape: Not used, as no parameter depends on the input; accepted for compatibility with Transformers.
        seed: Another way to say `rngs=nnx.Rngs(seed)`.
        dtype: Dtype of the computation, as in Flax: `jnp.bfloat16` leaves the parameters in float32. That of the
            parameters if left out.
        _do_init: False makes a model whose trained parameters have shapes in place of values: calls take `params`.
        rngs: Where initial parameters and dropout come from: generators with the streams 'params' and 'dropout' (of
            'params' alone, both), a key, or a seed; `nnx.Rngs(0)` if left out.
        param_dtype: Dtype of the parameters. If left out float32, or `dtype` where that is more precise: float64.
        scan_layers: Compile one block and run it for every layer, by `jax.lax.scan`: the same numbers, and compiling
            takes as long for many layers as for one. Call such a model under jit. Layers must have the same number of
            heads.
        gradient_checkpointing: Keep only each block's input for the backward pass and compute the rest again there:
            less memory for more time.

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
        make = Numerics.of(config, rngs, seed, dtype, param_dtype, _do_init)
        super().__init__(config, make, input_shape)
        self.embeddings = Embeddings(config, make)
        self.transformer = Transformer(config, make, scan_layers, gradient_checkpointing)
        self.rngs = make.stored_rngs()
        self._finish()

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
            train: Apply dropout; what `model.train()` or `model.eval()` said last if left out.
            deterministic: The opposite of `train`, for those who think that way round.
            rngs: Where dropout comes from, an `nnx.Rngs` or a key; the model's own if left out.
            params: Parameters to use in place of the model's, a nested dict like `model.params`. Such a call changes no
                state and depends on none: dropout is off unless `train=True` and `dropout_rng` are given.
            dropout_rng: Another name for `rngs`, as a key.
            segment_ids: [B, T] integers, for rows that hold several texts: a token attends to the tokens that have its
                number. With it, give `position_ids`, and no `attention_mask`: padding is a segment of its own. See
                `distilbert_core.model.packing`.
            output_tokens: [B, Q] places of tokens, ascending: the last block computes only these.

        Returns:
            `last_hidden_state` [B, T, D], or [B, Q, D], and if asked for `hidden_states` and `attentions`.

        Raises:
            InputError: An argument has an impossible shape or value; the message names it. Values are checked when
                called eagerly; under `jax.jit` an id out of range makes its row NaN.
        """
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
        x, hidden_states, attentions = model.transformer(
            x,
            output_tokens,
            attention_segments(attention_mask, segment_ids),
            self._head_masks(head_mask),
            mode,
            choose(output_hidden_states, config.output_hidden_states),
            choose(output_attentions, config.output_attentions),
        )
        output = BaseModelOutput(last_hidden_state=x, hidden_states=hidden_states, attentions=attentions)
        return output if choose(return_dict, config.return_dict) else output.to_tuple()

    def packed_outputs(
        self,
        input_ids: ArrayLike,
        position_ids: ArrayLike,
        segment_ids: ArrayLike,
        output_tokens: ArrayLike | None = None,
        **mode: Any,
    ) -> Array:
        """Return the hidden states [B, Q, D] of the output tokens of packed rows, all tokens if left out.

        `train` and `rngs` are those of a call.
        """
        rows: Any = {"position_ids": position_ids, "segment_ids": segment_ids, "output_tokens": output_tokens}
        output: Any = self(input_ids, **{**PLAIN_OUTPUTS, **rows, **mode})
        hidden: Array = output.last_hidden_state
        return hidden

    def _head_masks(self, head_mask: Array | None) -> list[Array | None]:
        """Split [N] or [L, N] into each block's factors [N], of the heads that it still has."""
        layers = range(self.config.n_layers)
        if head_mask is None:
            return [None for _ in layers]
        head_mask = jnp.broadcast_to(head_mask.astype(self.dtype), (len(layers), self.config.n_heads))
        return [head_mask[layer, jnp.array(self.config.kept_heads(layer))] for layer in layers]


def attention_segments(attention_mask: Array | None, segment_ids: Array | None) -> Segments | None:
    """Return the segments of queries and keys, both [B, T]; a mask is of one segment, in which all queries are."""
    if segment_ids is not None:
        return segment_ids, segment_ids
    if attention_mask is None:
        return None
    return jnp.ones(attention_mask.shape, bool), attention_mask != 0


def check_values(name: str, ids: ArrayLike | None, size: int, meaning: str) -> None:
    """Raise InputError if ids do not lie in [0, size); does nothing while values are not known."""
    if ids is None or not values_known(ids):
        return
    values = np.asarray(ids)  # looked at by NumPy: under jit, what JAX computes of known values is not known
    if values.size:
        check_range(name, int(values.min()), int(values.max()), size, meaning)
