"""DistilBERT in Keras 3, in the order of the data flow: embeddings, attention, feed-forward, block, encoder, model.

Shapes: B batch, T tokens, Q query tokens, N heads, H head size, D model size, F feed-forward size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.forking import start
from distilbert_core.model.heads import Head
from distilbert_core.model.inputs import check_shapes, choose
from distilbert_core.model.outputs import PLAIN_OUTPUTS, BaseModelOutput
from distilbert_tf.attention import Segments, blockwise_attention, eager_attention, may_branch
from distilbert_tf.layers import Dense, DenseRows, LayerFactory, activation_function, gelu
from distilbert_tf.pretrained import TFDistilBertPreTrainedModel
from distilbert_tf.tensors import check_values, is_nonzero, shape_of
from distilbert_tf.trees import walk


class Embeddings(keras.layers.Layer):
    """Word plus position embeddings, normalised."""

    def __init__(self, config: DistilBertConfig, layers: LayerFactory):
        super().__init__(name="embeddings", dtype=layers.policy)
        self.pad_token_id = config.pad_token_id
        with keras.name_scope(self.name):
            self.word_embeddings = layers.word_embeddings(config)
            self.position_embeddings = layers.position_embeddings(config)
            self.LayerNorm = layers.layer_norm("LayerNorm", config.dim)
            self.dropout = layers.dropout(config.dropout)
        self.built = True

    def call(
        self,
        input_ids: tf.Tensor | None,
        inputs_embeds: tf.Tensor | None,
        position_ids: tf.Tensor | None,
        training: bool | None = None,
    ) -> tf.Tensor:
        """[B, T] ids, or [B, T, D] word embeddings, to [B, T, D]."""
        if inputs_embeds is None:
            words = self.word_embeddings(input_ids)  # [B, T, D]
            if self.pad_token_id is not None:  # the padding row learns nothing from the look-up
                is_pad = tf.expand_dims(ops.equal(input_ids, self.pad_token_id), -1)
                words = ops.where(is_pad, ops.stop_gradient(words), words)
        else:
            words = inputs_embeds
        if position_ids is None:
            position_ids = tf.range(ops.shape(words)[1])[None]  # [1, T]
        positions = self.position_embeddings(position_ids)  # [B or 1, T, D], or [T, D]
        return self.dropout(self.LayerNorm(words + positions), training=training)


class MultiHeadSelfAttention(keras.layers.Layer):
    """Self-attention with four plain dense layers."""

    def __init__(self, config: DistilBertConfig, layer: int, layers: LayerFactory):
        super().__init__(name="attention", dtype=layers.policy)
        self.head_size = config.head_size
        size = len(config.kept_heads(layer)) * config.head_size
        with keras.name_scope(self.name):
            self.q_lin = layers.dense("q_lin", config.dim, size)
            self.k_lin = layers.dense("k_lin", config.dim, size)
            self.v_lin = layers.dense("v_lin", config.dim, size)
            self.out_lin = layers.dense("out_lin", size, config.dim)
            self.dropout = layers.dropout(config.attention_dropout)
        self.built = True

    def call(
        self,
        x: tf.Tensor,
        queries: tf.Tensor,
        segments: Segments | None,
        head_mask: tf.Tensor | None,
        attend: Callable[..., Any],
        training: bool | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Attend from the queries [B, Q, D] to x [B, T, D].

        Args:
            x: [B, T, D].
            queries: [B, Q, D].
            segments: Segment ids of the queries and of the keys; None allows all keys.
            head_mask: [N] factors of the heads, or None.
            attend: A function of `distilbert_tf.attention`; only `eager_attention` returns weights.
            training: Apply dropout.

        Returns:
            Context [B, Q, D], and the weights [B, N, Q, T] or None.
        """
        seed = draw_seed(self.dropout) if training and self.dropout.rate else None
        query = self.split_heads(self.q_lin, queries)  # [B, N, Q, H]
        key, value = self.split_heads(self.k_lin, x), self.split_heads(self.v_lin, x)  # [B, N, T, H]
        context, weights = attend(query, key, value, segments, head_mask, self.dropout.rate, seed)  # [B, N, Q, H]
        context = ops.reshape(ops.transpose(context, (0, 2, 1, 3)), (*ops.shape(queries)[:2], -1))  # [B, Q, N * H]
        return self.out_lin(context), weights  # [B, Q, D]

    def split_heads(self, layer: Dense, x: tf.Tensor) -> tf.Tensor:
        """[B, T, D] -> [B, N, T, H], by a layer from D to N * H."""
        # Batch and length are read from x: tf2onnx merges two reshapes, and would read them from the wrong tensor.
        y = layer(x)  # [B, T, N * H]
        heads = y.shape[-1] // self.head_size
        return ops.transpose(ops.reshape(y, (*ops.shape(x)[:2], heads, self.head_size)), (0, 2, 1, 3))


def draw_seed(dropout: keras.layers.Dropout) -> tf.Tensor:
    """Return the next seed [2] of a dropout layer, in a range that XLA accepts too."""
    return tf.cast(dropout.seed_generator.next() % (tf.int32.max - 1), tf.int32)


class FeedForward(keras.layers.Layer):
    """Two dense layers with the activation between them."""

    def __init__(self, config: DistilBertConfig, layers: LayerFactory):
        super().__init__(name="ffn", dtype=layers.policy)
        self.activation = activation_function(config)
        first = DenseRows if self.activation is gelu else Dense
        with keras.name_scope(self.name):
            self.lin1 = layers.dense("lin1", config.dim, config.hidden_dim, first)
            self.lin2 = layers.dense("lin2", config.hidden_dim, config.dim)
            self.dropout = layers.dropout(config.dropout)
        self.built = True

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """[B, T, D] -> [B, T, D]."""
        rows = tf.reshape(x, (-1, x.shape[-1]))  # [B * T, D]
        rows = self.lin2(self.activation(self.lin1(rows)))  # [B * T, D] -> [B * T, F] -> [B * T, D]
        return self.dropout(tf.reshape(rows, ops.shape(x)), training=training)


class TransformerBlock(keras.layers.Layer):
    """Attention and feed-forward, each added to its input and then normalised."""

    def __init__(self, config: DistilBertConfig, layer: int, layers: LayerFactory):
        super().__init__(name=f"layer_{layer}", dtype=layers.policy)
        with keras.name_scope(self.name):
            self.attention = MultiHeadSelfAttention(config, layer, layers)
            self.sa_layer_norm = layers.layer_norm("sa_layer_norm", config.dim)
            self.ffn = FeedForward(config, layers)
            self.output_layer_norm = layers.layer_norm("output_layer_norm", config.dim)
        self.built = True

    def call(
        self,
        x: tf.Tensor,
        output_tokens: tf.Tensor | None,
        segments: Segments | None,
        head_mask: tf.Tensor | None,
        attend: Callable[..., Any],
        training: bool | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Compute the block for all tokens, or for some of them.

        Args:
            x: [B, T, D].
            output_tokens: [B, Q] indices of the tokens to compute, or None for all.
            segments: Segment ids of the queries and of the keys; None allows all keys.
            head_mask: [N] factors of the heads, or None.
            attend: A function of `distilbert_tf.attention`; only `eager_attention` returns weights.
            training: Apply dropout.

        Returns:
            [B, T, D], or [B, Q, D] of the output tokens, and the attention weights [B, N, Q, T] or None.
        """
        queries = x if output_tokens is None else tf.gather(x, output_tokens, batch_dims=1)  # [B, Q, D]
        attended, weights = self.attention(x, queries, segments, head_mask, attend=attend, training=training)
        x = self.sa_layer_norm(attended + queries)
        return self.output_layer_norm(self.ffn(x, training=training) + x), weights


def recomputed(block: TransformerBlock, x: tf.Tensor, head_mask: tf.Tensor | None, **arguments: Any) -> tuple[Any, ...]:
    """Call a block for training, and keep only its inputs: the backward pass computes the block again.

    Weights, and the seeds of dropout, enter the computation as tensors. So the second computation draws the same masks,
    and the generators move on as in an ordinary call.

    Args:
        block: The block.
        x: [B, T, D].
        head_mask: [N] factors of the heads, or None.
        **arguments: Further arguments of the block.
    """
    dropouts = [layer for _, layer in walk(block) if getattr(layer, "seed_generator", None) is not None]
    seeds = [(layer.seed_generator.state, layer.seed_generator.next()) for layer in dropouts]
    weights = [weight for weight in block.weights if keras.backend.is_float_dtype(weight.dtype)]

    @tf.recompute_grad
    def run(x: tf.Tensor, *tensors: tf.Tensor) -> tuple[tf.Tensor, ...]:
        values, of_head_mask = tensors[: len(weights)], tensors[len(weights) :]
        with keras.StatelessScope(state_mapping=[*zip(weights, values, strict=True), *seeds]):
            outputs = block(x, head_mask=of_head_mask[0] if of_head_mask else None, **arguments)
        return tuple(output for output in outputs if output is not None)

    factors = [] if head_mask is None else [head_mask]
    output, *attention = run(x, *(tf.convert_to_tensor(weight.value) for weight in weights), *factors)
    return output, attention[0] if attention else None


class Transformer(keras.layers.Layer):
    """The stack of blocks.

    Attributes:
        gradient_checkpointing: In training, keep only the input of each block, and compute the rest again in the
            backward pass.
    """

    def __init__(self, config: DistilBertConfig, layers: LayerFactory):
        super().__init__(name="transformer", dtype=layers.policy)
        self.gradient_checkpointing = False
        with keras.name_scope(self.name):
            self.layer = [TransformerBlock(config, i, layers) for i in range(config.n_layers)]
        for block in self.layer:  # TensorFlow's checkpoints follow attributes, not lists
            setattr(self, block.name, block)
        self.built = True

    def call(
        self,
        x: tf.Tensor,
        output_tokens: tf.Tensor | None,
        segments: tuple[Segments | None, Segments | None],
        head_masks: list[tf.Tensor | None],
        attend: Callable[..., Any],
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        training: bool | None = None,
    ) -> BaseModelOutput:
        """Compute all blocks.

        Args:
            x: [B, T, D] embeddings.
            output_tokens: [B, Q] indices: the last block computes only these tokens. None for all.
            segments: Segment ids of the queries and of the keys, of all blocks except the last, and of the last; None
                allows all keys.
            head_masks: [N] factors of the heads of each block, or None.
            attend: A function of `distilbert_tf.attention`; only `eager_attention` returns weights.
            output_hidden_states: Also return the input and each block's output.
            output_attentions: Also return each block's attention weights.
            training: Apply dropout.
        """
        hidden_states, attentions = [x], []
        for block, head_mask in zip(self.layer, head_masks, strict=True):
            tokens, of_block = (output_tokens, segments[1]) if block is self.layer[-1] else (None, segments[0])
            run = partial(recomputed, block) if self.gradient_checkpointing and training else block
            x, weights = run(
                x, output_tokens=tokens, segments=of_block, head_mask=head_mask, attend=attend, training=training
            )
            hidden_states.append(x)
            attentions.append(weights)
        return BaseModelOutput(
            last_hidden_state=x,
            hidden_states=tuple(hidden_states) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )


@keras.saving.register_keras_serializable("distilbert")
class TFDistilBertModel(TFDistilBertPreTrainedModel):
    """The base model: hidden states of every token.

    Args:
        config: The architecture.
        dtype: Dtype policy, e.g. 'float32', 'bfloat16' or 'mixed_float16'; Keras' global policy if left out.
        name: Name of the model.

    Example:
        >>> import tensorflow as tf
        >>> from distilbert_tf import DistilBertConfig, TFDistilBertModel
        >>> model = TFDistilBertModel(DistilBertConfig(n_layers=2, dim=24, n_heads=4, hidden_dim=48))
        >>> model(tf.constant([[101, 7592, 102]])).last_hidden_state.shape
        TensorShape([1, 3, 24])
    """

    head = Head.BASE

    def __init__(self, config: DistilBertConfig, dtype: Any = None, name: str | None = None):
        layers = LayerFactory.from_config(config, dtype)
        super().__init__(config, layers.policy, name)
        with keras.name_scope(self.name):
            self.embeddings = Embeddings(config, layers)
            self.transformer = Transformer(config, layers)
        self._finish_init()

    def call(
        self,
        input_ids: tf.Tensor | None = None,
        attention_mask: tf.Tensor | None = None,
        head_mask: tf.Tensor | None = None,
        inputs_embeds: tf.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool | None = None,
        *,
        position_ids: tf.Tensor | None = None,
        segment_ids: tf.Tensor | None = None,
        output_tokens: tf.Tensor | None = None,
    ) -> BaseModelOutput | tuple[Any, ...]:
        """Compute the hidden states of every token.

        Args:
            input_ids: [B, T] integers below `vocab_size`, or a dict of all arguments, or a list of them in this
                order. Give these or `inputs_embeds`.
            attention_mask: [B, T], 1 for tokens to attend to and 0 for padding; any dtype. All ones if left out.
            head_mask: [N] or [L, N] factors for the attention weights of each head, 0 switches a head off.
            inputs_embeds: [B, T, D] word embeddings in place of ids.
            output_attentions: Also return the attention weights; the configuration's default if left out.
            output_hidden_states: Also return all hidden states; the configuration's default if left out.
            return_dict: Return an output object (True) or a tuple; the configuration's default if left out.
            training: Apply dropout; False if left out, unless an outer layer or `fit` says otherwise.
            position_ids: [B, T], [1, T] or [T] integers below `max_position_embeddings`; 0, 1, ... if left out.
            segment_ids: [B, T] integers, for rows that hold several texts (`distilbert_core.model.packing`): the id of
                the text that each token belongs to. The tokens of a text attend to each other. Give `position_ids`
                too, and no `attention_mask`: padding is a segment.
            output_tokens: [B, Q] ascending indices of tokens: the last block computes only these.

        Returns:
            `last_hidden_state` [B, T, D], or [B, Q, D], and on request `hidden_states` and `attentions`.

        Raises:
            InputError: An argument has an impossible shape or value; the message names it. Values are checked when
                called eagerly. In a tf.function TensorFlow itself raises on the CPU, but an accelerator (or XLA)
                silently reads some row.
        """
        start("tf")
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
        output_attentions = choose(output_attentions, config.output_attentions)
        at_any_length = choose(input_ids, inputs_embeds).shape[1] is None
        # Positions are given with packed rows, never in a graph for a converter.
        in_blocks = not at_any_length or training or position_ids is not None or may_branch()
        attend = blockwise_attention if in_blocks and not output_attentions else eager_attention
        output = self.transformer(
            self.embeddings(input_ids, inputs_embeds, position_ids, training=training),  # [B, T, D]
            output_tokens,
            attention_segments(attention_mask, segment_ids, output_tokens),
            self.head_masks(head_mask),
            attend=attend,
            output_hidden_states=choose(output_hidden_states, config.output_hidden_states),
            output_attentions=output_attentions,
            training=training,
        )
        return output if choose(return_dict, config.return_dict) else output.to_tuple()

    @property
    def distilbert(self) -> TFDistilBertModel:
        """The base model: this model itself."""
        return self

    def packed_outputs(
        self,
        input_ids: tf.Tensor,
        position_ids: tf.Tensor,
        segment_ids: tf.Tensor | None,
        output_tokens: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """Return the hidden states [B, Q, D] of the output tokens of packed rows, all tokens if left out.

        Without `segment_ids`, each row is one text.
        """
        rows = {"position_ids": position_ids, "segment_ids": segment_ids, "output_tokens": output_tokens}
        return self(input_ids, **rows, **PLAIN_OUTPUTS, training=training).last_hidden_state

    def head_masks(self, head_mask: tf.Tensor | None) -> list[tf.Tensor | None]:
        """Split [N] or [L, N] into the factors [N] of each block, for the heads that were not pruned."""
        layers = range(self.config.n_layers)
        if head_mask is None:
            return [None for _ in layers]
        head_mask = ops.cast(head_mask, self.compute_dtype)
        head_mask = ops.broadcast_to(head_mask, (len(layers), self.config.n_heads))
        return [ops.take(head_mask[layer], self.config.kept_heads(layer)) for layer in layers]


def attention_segments(
    attention_mask: tf.Tensor | None, segment_ids: tf.Tensor | None, output_tokens: tf.Tensor | None
) -> tuple[Segments | None, Segments | None]:
    """Return the segments of queries and keys of all blocks except the last, and the segments of the last."""
    if segment_ids is not None:
        queries = segment_ids if output_tokens is None else tf.gather(segment_ids, output_tokens, batch_dims=1)
        return (segment_ids, segment_ids), (queries, segment_ids)
    if attention_mask is None:
        return None, None
    real = tf.cast(is_nonzero(attention_mask), tf.int32)  # [B, T]
    return ((tf.ones((1, 1), tf.int32), real),) * 2
