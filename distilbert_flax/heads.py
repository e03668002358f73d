"""The task heads: layers, logits and losses of each, and one forward for all.

Shapes: B batch, T tokens, D model size, V vocabulary, L labels, C choices.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.inputs import check_packed, choice_count, choose
from distilbert_core.model.losses import labels_given, single
from distilbert_core.model.outputs import ModelOutput
from distilbert_flax.layers import LayerFactory, VocabProjector, activation_function
from distilbert_flax.losses import cross_entropy, question_answering_loss, sequence_classification_loss
from distilbert_flax.model import FlaxDistilBertModel
from distilbert_flax.pretrained import FlaxDistilBertPreTrainedModel
from distilbert_flax.tensors import as_input, check_values, shape_of


class _ModelWithHead(FlaxDistilBertPreTrainedModel):
    """A base model and a head: `make_head` makes the layers, `head_logits` calls them; the row `head` has the rest."""

    head: ClassVar[Head]

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
        encoder: Any = {"scan_layers": scan_layers, "gradient_checkpointing": gradient_checkpointing}
        self.distilbert = FlaxDistilBertModel(config, rngs=layers.rngs, _do_init=_do_init, **layers.dtypes, **encoder)
        self._adopt(self.distilbert)
        self.make_head(config, layers)
        self._finish_init()

    def make_head(self, config: DistilBertConfig, layers: LayerFactory) -> None:
        """Make the layers of the head."""
        raise NotImplementedError

    def head_logits(self, hidden: Array, mode: dict[str, Any]) -> Array:
        """Return the logits [B, T, L], or [B, L] of a head that reads the first token.

        Args:
            hidden: Hidden states [B, T, D].
            mode: Arguments of each dropout layer.
        """
        raise NotImplementedError

    def task_loss(self, logits: Any, labels: Any, weights: ArrayLike | None = None) -> Array:
        """Return the loss [].

        Args:
            logits: The outputs of the head; a tuple if it has several.
            labels: The labels of the head; a tuple if it has several.
            weights: Factors of the losses of the labels; see `sample_weight` of `__call__`.
        """
        return cross_entropy(logits, labels, weights=weights)

    def packed_outputs(
        self,
        input_ids: ArrayLike,
        position_ids: ArrayLike,
        segment_ids: ArrayLike,
        output_tokens: ArrayLike | None = None,
        *,
        train: bool | None = None,
        rngs: nnx.Rngs | Array | None = None,
    ) -> Array:
        """Return the logits [R, S, L] of packed rows.

        Args:
            input_ids: [R, C] integers.
            position_ids: [R, C] integers: the position of each token in its text.
            segment_ids: [R, C] integers: the id of the text that each token belongs to.
            output_tokens: [R, S] indices of the tokens to return logits for; all tokens if left out.
            train: Apply dropout; the mode of the last `model.train()` or `model.eval()` if left out.
            rngs: Random state of dropout; the model's own if left out.
        """
        _, mode = self._for_call(None, train, None, rngs, None)
        hidden = self.distilbert.packed_outputs(
            input_ids, position_ids, segment_ids, output_tokens, train=train, rngs=mode["rngs"]
        )  # [R, S, D]
        logits = self.head_logits(hidden.reshape(-1, 1, hidden.shape[-1]), mode)
        return logits.reshape(*hidden.shape[:2], -1)

    def __call__(
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        head_mask: ArrayLike | None = None,
        inputs_embeds: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        position_ids: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        segment_ids: ArrayLike | None = None,
        output_tokens: ArrayLike | None = None,
        output_indices: ArrayLike | None = None,
        train: bool | None = None,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | Array | None = None,
        params: Mapping[str, Any] | None = None,
        dropout_rng: Array | None = None,
    ) -> ModelOutput | tuple[Any, ...]:
        """Compute the logits, and the loss if labels are given.

        Args:
            input_ids: [B, T] integers below `vocab_size`; [B, C, T] for multiple choice. Give these or `inputs_embeds`.
            attention_mask: Shape of the ids, 1 for tokens to attend to and 0 for padding; any dtype. All ones if left
                out.
            head_mask: [N] or [layers, N] factors for the attention weights of each head; 0 switches a head off.
            inputs_embeds: [B, T, D] word embeddings in place of ids; [B, C, T, D] for multiple choice.
            labels: The expected answers, in the form that the class describes.
            output_attentions: Also return the attention weights; the configuration's default if left out.
            output_hidden_states: Also return all hidden states; the configuration's default if left out.
            return_dict: Return an output object (True) or a tuple; the configuration's default if left out.
            position_ids: [B, T], [1, T] or [T] integers below `max_position_embeddings`; [B, C, T] for multiple choice.
                0, 1, ... if left out.
            sample_weight: Weight of each label in the loss, numbers >= 0: [B], or the shape of the labels. The sum of
                the weighted losses is divided by the number of labels that count, whatever their weights are. For
                weights of classes [L], give `class_weights[labels]` (any number where a label is -100).
            segment_ids: [R, C] the text of each token of packed rows, as `PackedBatches` makes them. The ids and
                `position_ids` are then [R, C] too, and labels of tokens have the shape of `output_tokens`.
            output_tokens: [R, S] ascending indices of the tokens of each packed row that are computed; all if left out.
            output_indices: [B], or [B, C] for multiple choice: indices of the first tokens of texts in the flattened
                `output_tokens`. Heads that read the first token need them in packed rows.
            train: Apply dropout; the mode of the last `model.train()` or `model.eval()` if left out.
            deterministic: The opposite of `train`.
            rngs: Random state of dropout, an `nnx.Rngs` or a key; the model's own if left out.
            params: Parameters to use in place of the model's, like `model.params`. The call neither changes nor reads
                the state of the model. Dropout is off unless `train=True` and `dropout_rng` are given.
            dropout_rng: Another name for `rngs`, as a key.

        Returns:
            `loss` [] if labels are given, `logits`, and on request `hidden_states` and `attentions`.

        Raises:
            InputError: An argument has an impossible shape or value; the message names it.
        """
        inputs: dict[str, Any] = {"input_ids": input_ids, "inputs_embeds": inputs_embeds}
        inputs |= {"attention_mask": attention_mask, "position_ids": position_ids}
        options: dict[str, Any] = {"output_attentions": output_attentions, "output_hidden_states": output_hidden_states}
        options |= {"head_mask": head_mask, "segment_ids": segment_ids, "output_tokens": output_tokens}
        mode = self._for_call(params, train, deterministic, rngs, dropout_rng)
        return self._predict(*mode, inputs, (labels,), sample_weight, return_dict, output_indices, **options)

    def _predict(
        self,
        model: Self,
        mode: dict[str, Any],
        inputs: dict[str, Any],
        labels: tuple[ArrayLike | None, ...],
        sample_weight: ArrayLike | None,
        return_dict: bool | None,
        output_indices: ArrayLike | None,
        **options: Any,
    ) -> ModelOutput | tuple[Any, ...]:
        """Compute the outputs of the head, and the loss if labels are given.

        Args:
            model: The model with the parameters of the call.
            mode: Arguments of each dropout layer.
            inputs: The inputs with axes of texts and tokens, by name.
            labels: The labels, in the order of `Head.labels`.
            sample_weight: Weights of the labels.
            return_dict: Whether to return an output object or a tuple.
            output_indices: Indices of the outputs of packed rows.
            **options: Further arguments of the base model.
        """
        check_packed(self.head, options["segment_ids"], options["output_tokens"], shape_of(output_indices))
        choices = None
        if self.head.has_choices and output_indices is None:
            inputs = {name: as_input(name, x) for name, x in inputs.items()}
            choices = choice_count(**{name: shape_of(x) for name, x in inputs.items()})
            inputs = {name: _flatten_choices(x) for name, x in inputs.items()}
        base: Any = model.distilbert(**inputs, **options, return_dict=True, **mode)
        if output_indices is None:
            logits = model.head_logits(base.last_hidden_state, mode)
            outputs = self.head.named(logits if choices is None else logits.reshape(-1, choices))
        else:
            outputs = self.head.named(model._logits_at(base.last_hidden_state, output_indices, mode))
        loss = None
        if labels_given(self.head, labels, sample_weight):
            loss = self.task_loss(single(outputs.values()), single(labels), sample_weight)
        output = self.head.output_type(
            loss=loss, **outputs, hidden_states=base.hidden_states, attentions=base.attentions
        )
        return output if choose(return_dict, self.config.return_dict) else output.to_tuple()

    def _logits_at(self, hidden: Array, indices: ArrayLike, mode: dict[str, Any]) -> Array:
        """Return the logits of packed rows: [B, L], [B, C] for multiple choice, or [B, T, 2] for question answering.

        Args:
            hidden: [R, S, D] hidden states.
            indices: `output_indices` of the call. The logits are -inf where an index is -1.
            mode: Arguments of each dropout layer.
        """
        read = jnp.maximum(jnp.asarray(indices), 0) if self.head.reads_tokens else indices
        flat = hidden.reshape(-1, hidden.shape[-1])  # [R * S, D]
        check_values("output_indices", read, flat.shape[0], "outputs")
        logits = self.head_logits(flat[jnp.reshape(read, -1)][:, None], mode)  # [B * C or B * T, ...]
        logits = logits.reshape(*jnp.shape(indices), -1)
        if self.head.reads_tokens:
            return jnp.where(jnp.asarray(indices)[..., None] < 0, -jnp.inf, logits)
        return logits[..., 0] if self.head.has_choices else logits


def _flatten_choices(x: Array | None) -> Array | None:
    """[B, C, ...] -> [B * C, ...]; positions of all texts, [1, T] or [T], remain as they are."""
    return x if x is None or jnp.ndim(x) < 3 else jnp.reshape(x, (-1, *jnp.shape(x)[2:]))


class FlaxDistilBertForMaskedLM(_ModelWithHead):
    """Predicts masked tokens. The projector shares the word embeddings unless `tie_word_embeddings` is False.

    Labels are [B, T] token ids, -100 for tokens that are not predicted. Logits are [B, T, V].

    Example:
        >>> import jax.numpy as jnp
        >>> from distilbert_flax import DistilBertConfig, FlaxDistilBertForMaskedLM
        >>> config = DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48, vocab_size=100)
        >>> model = FlaxDistilBertForMaskedLM(config)
        >>> output = model(jnp.array([[1, 4, 2]]), labels=jnp.array([[-100, 7, -100]]))
        >>> output.logits.shape, output.loss.shape
        ((1, 3, 100), ())
    """

    head = Head.MASKED_LM

    def make_head(self, config: DistilBertConfig, layers: LayerFactory) -> None:
        """Make the layers of the head."""
        self.activation = activation_function(config)
        self.vocab_transform = layers.dense(config.dim, config.dim)
        self.vocab_layer_norm = layers.layer_norm(config.dim)
        self.vocab_projector = VocabProjector(config, layers)

    def head_logits(self, hidden: Array, mode: dict[str, Any]) -> Array:
        """[B, T, D] -> [B, T, V]."""
        hidden = self.vocab_layer_norm(self.activation(self.vocab_transform(hidden)))
        return self.vocab_projector(hidden, self.distilbert.embeddings.word_embeddings.embedding[...])

    def get_output_embeddings(self) -> VocabProjector:
        """Return the projector to the vocabulary."""
        return self.vocab_projector


class _TextClassifier(_ModelWithHead):
    """The layers of a head that reads the first token of each text."""

    def make_head(self, config: DistilBertConfig, layers: LayerFactory) -> None:
        """Make the layers of the head."""
        self.pre_classifier = layers.dense(config.dim, config.dim)
        self.classifier = layers.dense(config.dim, self.head.label_count(config))
        self.dropout = nnx.Dropout(self.head.dropout_rate(config))

    def head_logits(self, hidden: Array, mode: dict[str, Any]) -> Array:
        """[B, T, D] -> [B, L]."""
        return self.classifier(self.dropout(jax.nn.relu(self.pre_classifier(hidden[:, 0])), **mode))


class FlaxDistilBertForSequenceClassification(_TextClassifier):
    """Classifies or scores a text by its first token.

    Labels are [B] classes, [B] or [B, L] numbers (regression), or [B, L] of 0 and 1 (multi-label). The field
    `config.problem_type` decides; if it is None, `num_labels` and the dtype of the labels do. Logits are [B, L].

    Example:
        >>> import jax.numpy as jnp
        >>> from distilbert_flax import DistilBertConfig, FlaxDistilBertForSequenceClassification
        >>> config = DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48, num_labels=3)
        >>> model = FlaxDistilBertForSequenceClassification(config)
        >>> output = model(jnp.array([[1, 4, 2], [1, 9, 2]]), labels=jnp.array([2, 0]))
        >>> output.logits.shape, output.loss.shape
        ((2, 3), ())
    """

    head = Head.SEQUENCE_CLASSIFICATION

    def task_loss(self, logits: Array, labels: ArrayLike, weights: ArrayLike | None = None) -> Array:
        """[B, L] -> []."""
        return sequence_classification_loss(self.config, logits, labels, weights)


class FlaxDistilBertForMultipleChoice(_TextClassifier):
    """Chooses one of C texts. Inputs are [B, C, T], labels are [B] indices of the right choice, logits are [B, C].

    Example:
        >>> import jax.numpy as jnp
        >>> from distilbert_flax import DistilBertConfig, FlaxDistilBertForMultipleChoice
        >>> config = DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48)
        >>> model = FlaxDistilBertForMultipleChoice(config)
        >>> output = model(jnp.array([[[1, 4, 2], [1, 9, 2]]]), labels=jnp.array([1]))
        >>> output.logits.shape, output.loss.shape
        ((1, 2), ())
    """

    head = Head.MULTIPLE_CHOICE


class FlaxDistilBertForTokenClassification(_ModelWithHead):
    """Classifies every token. Labels are [B, T] classes, -100 for tokens that do not count; logits are [B, T, L].

    Example:
        >>> import jax.numpy as jnp
        >>> from distilbert_flax import DistilBertConfig, FlaxDistilBertForTokenClassification
        >>> config = DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48, num_labels=5)
        >>> model = FlaxDistilBertForTokenClassification(config)
        >>> output = model(jnp.array([[1, 4, 2]]), labels=jnp.array([[-100, 3, -100]]))
        >>> output.logits.shape, output.loss.shape
        ((1, 3, 5), ())
    """

    head = Head.TOKEN_CLASSIFICATION

    def make_head(self, config: DistilBertConfig, layers: LayerFactory) -> None:
        """Make the layers of the head."""
        self.dropout = nnx.Dropout(self.head.dropout_rate(config))
        self.classifier = layers.dense(config.dim, config.num_labels)

    def head_logits(self, hidden: Array, mode: dict[str, Any]) -> Array:
        """[B, T, D] -> [B, T, L]."""
        return self.classifier(self.dropout(hidden, **mode))


class FlaxDistilBertForQuestionAnswering(_ModelWithHead):
    """Finds the answer to a question in a text: scores each token as the start, and as the end, of the answer.

    Example:
        >>> import jax.numpy as jnp
        >>> from distilbert_flax import DistilBertConfig, FlaxDistilBertForQuestionAnswering
        >>> config = DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48)
        >>> model = FlaxDistilBertForQuestionAnswering(config)
        >>> answer = {"start_positions": jnp.array([2]), "end_positions": jnp.array([3])}
        >>> output = model(jnp.array([[1, 4, 2, 9]]), **answer)
        >>> output.start_logits.shape, output.loss.shape
        ((1, 4), ())
    """

    head = Head.QUESTION_ANSWERING

    def make_head(self, config: DistilBertConfig, layers: LayerFactory) -> None:
        """Make the layers of the head."""
        self.dropout = nnx.Dropout(self.head.dropout_rate(config))
        self.qa_outputs = layers.dense(config.dim, 2)

    def head_logits(self, hidden: Array, mode: dict[str, Any]) -> Array:
        """[B, T, D] -> [B, T, 2]."""
        return self.qa_outputs(self.dropout(hidden, **mode))

    def task_loss(
        self, logits: tuple[Array, Array], labels: tuple[ArrayLike, ArrayLike], weights: ArrayLike | None = None
    ) -> Array:
        """[B, T] twice -> []."""
        loss = question_answering_loss(*logits, *labels, weights)
        assert loss is not None
        return loss

    def __call__(  # type: ignore[override]  # two labels in place of one
        self,
        input_ids: ArrayLike | None = None,
        attention_mask: ArrayLike | None = None,
        head_mask: ArrayLike | None = None,
        inputs_embeds: ArrayLike | None = None,
        start_positions: ArrayLike | None = None,
        end_positions: ArrayLike | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        *,
        position_ids: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        segment_ids: ArrayLike | None = None,
        output_tokens: ArrayLike | None = None,
        output_indices: ArrayLike | None = None,
        train: bool | None = None,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | Array | None = None,
        params: Mapping[str, Any] | None = None,
        dropout_rng: Array | None = None,
    ) -> ModelOutput | tuple[Any, ...]:
        """Compute the scores of start and end, and the loss if both positions are given.

        Args:
            input_ids: [B, T] integers below `vocab_size`. Give these or `inputs_embeds`.
            attention_mask: [B, T], 1 for tokens to attend to and 0 for padding; any dtype. All ones if left out.
            head_mask: [N] or [layers, N] factors for the attention weights of each head; 0 switches a head off.
            inputs_embeds: [B, T, D] word embeddings in place of ids.
            start_positions: [B] index of the answer's first token. Negative ones count as 0; from T on, none counts.
            end_positions: [B] index of the last token of the answer, with the same rules.
            output_attentions: Also return the attention weights; the configuration's default if left out.
            output_hidden_states: Also return all hidden states; the configuration's default if left out.
            return_dict: Return an output object (True) or a tuple; the configuration's default if left out.
            position_ids: [B, T], [1, T] or [T] integers below `max_position_embeddings`; 0, 1, ... if left out.
            sample_weight: [B] weight of each row in the loss, numbers >= 0. It does not change the divisor of the sum.
            segment_ids: [R, C] the text of each token of packed rows; ids and `position_ids` are then [R, C] too.
            output_tokens: [R, S] ascending indices of the tokens of each packed row that are computed; all if left out.
            output_indices: [B, T] index of each token of each text in the flattened rows, or the flattened
                `output_tokens`; -1 for padding, which cannot be an answer.
            train: Apply dropout; the mode of the last `model.train()` or `model.eval()` if left out.
            deterministic: The opposite of `train`.
            rngs: Random state of dropout, an `nnx.Rngs` or a key; the model's own if left out.
            params: Parameters to use in place of the model's, like `model.params`. The call neither changes nor reads
                the state of the model. Dropout is off unless `train=True` and `dropout_rng` are given.
            dropout_rng: Another name for `rngs`, as a key.

        Returns:
            `loss` [] if positions are given, `start_logits` and `end_logits` [B, T], and on request `hidden_states` and
            `attentions`. The softmax of the loss includes padding, as in Transformers; that of packed rows does not.

        Raises:
            InputError: An argument has an impossible shape or value; the message names it.
        """
        inputs: dict[str, Any] = {"input_ids": input_ids, "inputs_embeds": inputs_embeds}
        inputs |= {"attention_mask": attention_mask, "position_ids": position_ids}
        options: dict[str, Any] = {"output_attentions": output_attentions, "output_hidden_states": output_hidden_states}
        options |= {"head_mask": head_mask, "segment_ids": segment_ids, "output_tokens": output_tokens}
        labels = start_positions, end_positions
        mode = self._for_call(params, train, deterministic, rngs, dropout_rng)
        return self._predict(*mode, inputs, labels, sample_weight, return_dict, output_indices, **options)


MODELS = (
    FlaxDistilBertForMaskedLM,
    FlaxDistilBertForSequenceClassification,
    FlaxDistilBertForMultipleChoice,
    FlaxDistilBertForTokenClassification,
    FlaxDistilBertForQuestionAnswering,
)
