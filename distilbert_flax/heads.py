"""The five task heads.

Shapes: B batch, T tokens, D model size, V vocabulary, L labels, C choices.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import ArrayLike

from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.inputs import choice_count, choose, refuse_weights
from distilbert_core.model.outputs import (
    BaseModelOutput,
    MaskedLMOutput,
    ModelOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from distilbert_flax.layers import Numerics
from distilbert_flax.losses import cross_entropy, question_answering_loss, sequence_classification_loss
from distilbert_flax.model import FlaxDistilBertModel, activation_function
from distilbert_flax.pretrained import FlaxDistilBertPreTrainedModel, as_input, shape_of


class _ModelWithHead(FlaxDistilBertPreTrainedModel):
    """A body, `head_logits` from its hidden states, and `task_loss` from logits and labels."""

    output_type: ClassVar[type[ModelOutput]]

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
        encoder: Any = {"scan_layers": scan_layers, "gradient_checkpointing": gradient_checkpointing}
        self.distilbert = FlaxDistilBertModel(config, rngs=make.rngs, _do_init=_do_init, **make.dtypes, **encoder)
        self._adopt(self.distilbert)
        self.make_head(config, make)
        self._finish()

    def make_head(self, config: DistilBertConfig, make: Numerics) -> None:
        """Make the layers above the body."""
        raise NotImplementedError

    def head_logits(self, hidden: Array, mode: dict[str, Any]) -> Array:
        """Return the logits of hidden states [B, T, D]."""
        raise NotImplementedError

    def task_loss(self, logits: Array, labels: ArrayLike, weights: ArrayLike | None = None) -> Array:
        """Return the loss [] of logits against labels, whose losses are multiplied by weights."""
        return cross_entropy(logits, labels, weights=weights)

    def _loss_of(self, logits: Array, labels: ArrayLike | None, sample_weight: ArrayLike | None) -> Array | None:
        """Return the loss if there are labels, or raise InputError if there are only weights."""
        if labels is None:
            refuse_weights(sample_weight)
            return None
        return self.task_loss(logits, labels, sample_weight)

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
        """Return the logits [B, Q, ...] of the output tokens of packed rows, all tokens if left out.

        The arguments are those of `FlaxDistilBertModel`.
        """
        _, mode = self._for_call(None, train, None, rngs, None)
        hidden = self.distilbert.packed_outputs(
            input_ids, position_ids, segment_ids, output_tokens, train=train, rngs=mode["rngs"]
        )  # [B, Q, D]
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
        train: bool | None = None,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | Array | None = None,
        params: Mapping[str, Any] | None = None,
        dropout_rng: Array | None = None,
    ) -> ModelOutput | tuple:
        """Compute the logits, and the loss if labels are given.

        Args:
            input_ids: As for `FlaxDistilBertModel`, as are all arguments but `labels` and `sample_weight`.
            attention_mask: See there.
            head_mask: See there.
            inputs_embeds: See there.
            labels: What the model should have predicted; the class says in what form.
            output_attentions: See there.
            output_hidden_states: See there.
            return_dict: See there.
            position_ids: See there.
            sample_weight: What each label counts in the loss, numbers >= 0: [B], or of the labels' shape. The sum of
                the weighted losses is divided by the number of labels that count, whatever their weights are. With
                weights of classes [L], give `class_weights[labels]` (any number where a label is -100).
            train: See there.
            deterministic: See there.
            rngs: See there.
            params: See there.
            dropout_rng: See there.

        Returns:
            `loss` [] if labels are given, `logits`, and if asked for `hidden_states` and `attentions`.

        Raises:
            InputError: An argument has an impossible shape or value; the message names it.
        """
        model, mode = self._for_call(params, train, deterministic, rngs, dropout_rng)
        body: Any = model.distilbert(
            input_ids,
            attention_mask,
            head_mask,
            inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            position_ids=position_ids,
            **mode,
        )
        logits = model.head_logits(body.last_hidden_state, mode)
        loss = self._loss_of(logits, labels, sample_weight)
        return self._task_output(body, return_dict, loss=loss, logits=logits)

    def _task_output(
        self, body: BaseModelOutput, return_dict: bool | None, **values: Array | None
    ) -> ModelOutput | tuple:
        """Put a head's values and what the body returns beside its last hidden state together."""
        output = self.output_type(**values, hidden_states=body.hidden_states, attentions=body.attentions)
        return output if choose(return_dict, self.config.return_dict) else output.to_tuple()


class VocabProjector(nnx.Module):
    """Logits of every token of the vocabulary: a bias, and a kernel of its own only if it is not tied."""

    def __init__(self, config: DistilBertConfig, make: Numerics):
        self.dtype = make.dtype
        if not config.tie_word_embeddings:
            self.kernel = make.dense(config.dim, config.vocab_size).kernel  # [D, V]
        self.bias = make.bias(config.vocab_size)

    def __call__(self, x: Array, word_embeddings: Array) -> Array:
        """[B, T, D] and the table [V, D] -> [B, T, V]."""
        kernel = self.kernel[...] if hasattr(self, "kernel") else word_embeddings.T
        bias = self.bias[...].reshape(*[1] * (x.ndim - 1), -1)  # of as many axes: JAX can be told to insist on it
        return x @ kernel.astype(self.dtype) + bias.astype(self.dtype)


class FlaxDistilBertForMaskedLM(_ModelWithHead):
    """Predicts masked tokens; the projector is the word embeddings unless `tie_word_embeddings` is False.

    Labels are [B, T] token ids, -100 where there is nothing to predict. Logits are [B, T, V].

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
    output_type = MaskedLMOutput

    def make_head(self, config: DistilBertConfig, make: Numerics) -> None:
        """Make the layers above the body."""
        self.activation = activation_function(config)
        self.vocab_transform = make.dense(config.dim, config.dim)
        self.vocab_layer_norm = make.layer_norm(config.dim)
        self.vocab_projector = VocabProjector(config, make)

    def head_logits(self, hidden: Array, mode: dict[str, Any]) -> Array:
        """[B, T, D] -> [B, T, V]."""
        hidden = self.vocab_layer_norm(self.activation(self.vocab_transform(hidden)))
        return self.vocab_projector(hidden, self.distilbert.embeddings.word_embeddings.embedding[...])

    def get_output_embeddings(self) -> VocabProjector:
        """Return the projector to the vocabulary."""
        return self.vocab_projector


class FlaxDistilBertForSequenceClassification(_ModelWithHead):
    """Classifies or scores a whole text, from the first token.

    Labels are [B] classes, [B] or [B, L] numbers (regression), or [B, L] of 0 and 1 (multi-label), as
    `config.problem_type` says or, where that is None, `num_labels` and the labels' dtype. Logits are [B, L].

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
    output_type = SequenceClassifierOutput

    def make_head(self, config: DistilBertConfig, make: Numerics) -> None:
        """Make the layers above the body."""
        self.pre_classifier = make.dense(config.dim, config.dim)
        self.classifier = make.dense(config.dim, config.num_labels)
        self.dropout = nnx.Dropout(config.seq_classif_dropout)

    def head_logits(self, hidden: Array, mode: dict[str, Any]) -> Array:
        """[B, T, D] -> [B, L]."""
        return self.classifier(self.dropout(jax.nn.relu(self.pre_classifier(hidden[:, 0])), **mode))

    def task_loss(self, logits: Array, labels: ArrayLike, weights: ArrayLike | None = None) -> Array:
        """[B, L] -> []."""
        return sequence_classification_loss(self.config, logits, labels, weights)


class FlaxDistilBertForMultipleChoice(_ModelWithHead):
    """Chooses one of C texts. Inputs are [B, C, T], labels [B] indices of the right choice, logits [B, C].

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
    output_type = MultipleChoiceModelOutput

    def make_head(self, config: DistilBertConfig, make: Numerics) -> None:
        """Make the layers above the body."""
        self.pre_classifier = make.dense(config.dim, config.dim)
        self.classifier = make.dense(config.dim, 1)
        self.dropout = nnx.Dropout(config.seq_classif_dropout)

    def head_logits(self, hidden: Array, mode: dict[str, Any]) -> Array:
        """[B * C, T, D] -> [B * C, 1]."""
        return self.classifier(self.dropout(jax.nn.relu(self.pre_classifier(hidden[:, 0])), **mode))

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
        train: bool | None = None,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | Array | None = None,
        params: Mapping[str, Any] | None = None,
        dropout_rng: Array | None = None,
    ) -> ModelOutput | tuple:
        """Compute the score of each choice, and the loss if labels are given.

        The arguments are those of the other heads, with an axis C after the batch: input_ids [B, C, T],
        inputs_embeds [B, C, T, D], attention_mask and position_ids [B, C, T].
        """
        input_ids, inputs_embeds = as_input("input_ids", input_ids), as_input("inputs_embeds", inputs_embeds)
        choices = choice_count(shape_of(input_ids), shape_of(inputs_embeds))
        model, mode = self._for_call(params, train, deterministic, rngs, dropout_rng)
        body: Any = model.distilbert(
            _flatten_choices(input_ids),
            _flatten_choices(attention_mask),
            head_mask,
            _flatten_choices(inputs_embeds),
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            position_ids=_flatten_choices(position_ids),
            **mode,
        )
        logits = model.head_logits(body.last_hidden_state, mode).reshape(-1, choices)  # [B, C]
        loss = self._loss_of(logits, labels, sample_weight)
        return self._task_output(body, return_dict, loss=loss, logits=logits)


def _flatten_choices(x: ArrayLike | None) -> Array | None:
    """[B, C, ...] -> [B * C, ...]."""
    return None if x is None else jnp.reshape(x, (-1, *jnp.shape(x)[2:]))


class FlaxDistilBertForTokenClassification(_ModelWithHead):
    """Classifies every token. Labels are [B, T] classes, -100 for tokens that do not count; logits [B, T, L].

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
    output_type = TokenClassifierOutput

    def make_head(self, config: DistilBertConfig, make: Numerics) -> None:
        """Make the layers above the body."""
        self.dropout = nnx.Dropout(config.dropout)
        self.classifier = make.dense(config.dim, config.num_labels)

    def head_logits(self, hidden: Array, mode: dict[str, Any]) -> Array:
        """[B, T, D] -> [B, T, L]."""
        return self.classifier(self.dropout(hidden, **mode))


class FlaxDistilBertForQuestionAnswering(_ModelWithHead):
    """Finds the span of a text that answers a question: a score for each token to be its start, and its end.

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
    output_type = QuestionAnsweringModelOutput

    def make_head(self, config: DistilBertConfig, make: Numerics) -> None:
        """Make the layers above the body."""
        self.dropout = nnx.Dropout(config.qa_dropout)
        self.qa_outputs = make.dense(config.dim, 2)

    def head_logits(self, hidden: Array, mode: dict[str, Any]) -> Array:
        """[B, T, D] -> [B, T, 2]."""
        return self.qa_outputs(self.dropout(hidden, **mode))

    def __call__(  # type: ignore[override]  # two kinds of labels in place of one
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
        train: bool | None = None,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | Array | None = None,
        params: Mapping[str, Any] | None = None,
        dropout_rng: Array | None = None,
    ) -> ModelOutput | tuple:
        """Compute the start and end scores, and the loss if both positions are given.

        Args:
            input_ids: As for `FlaxDistilBertModel`, as are all arguments but the positions and `sample_weight`.
            attention_mask: See there.
            head_mask: See there.
            inputs_embeds: See there.
            start_positions: [B] index of the answer's first token. Negative ones count as 0, those from T on do not
                count.
            end_positions: [B] index of its last token, likewise.
            output_attentions: See there.
            output_hidden_states: See there.
            return_dict: See there.
            position_ids: See there.
            sample_weight: [B] what each row counts in the loss, numbers >= 0. It does not change what the sum is
                divided by.
            train: See there.
            deterministic: See there.
            rngs: See there.
            params: See there.
            dropout_rng: See there.

        Returns:
            `loss` [] if positions are given, `start_logits` and `end_logits` [B, T], and if asked for
            `hidden_states` and `attentions`. Padding is part of the loss's softmax, as in Transformers.

        Raises:
            InputError: An argument has an impossible shape or value; the message names it.
        """
        model, mode = self._for_call(params, train, deterministic, rngs, dropout_rng)
        body: Any = model.distilbert(
            input_ids,
            attention_mask,
            head_mask,
            inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            position_ids=position_ids,
            **mode,
        )
        start_logits, end_logits = jnp.moveaxis(model.head_logits(body.last_hidden_state, mode), -1, 0)  # [B, T] each
        loss = question_answering_loss(start_logits, end_logits, start_positions, end_positions, sample_weight)
        return self._task_output(body, return_dict, loss=loss, start_logits=start_logits, end_logits=end_logits)
