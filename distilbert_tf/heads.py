"""The five task heads.

Shapes: B batch, T tokens, D model size, V vocabulary, L labels, C choices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import keras
import tensorflow as tf
from keras import ops

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
from distilbert_tf.fitting import FittedModel
from distilbert_tf.layers import LayerFactory, activation_function
from distilbert_tf.losses import cross_entropy, question_answering_loss, sequence_classification_loss
from distilbert_tf.model import TFDistilBertModel
from distilbert_tf.tensors import shape_of


class _ModelWithHead(FittedModel):
    """A body, `head_logits` from its hidden states, and `task_loss` from logits and labels."""

    output_type: ClassVar[type[ModelOutput]]

    def __init__(self, config: DistilBertConfig, dtype: Any = None, name: str | None = None):
        layers = LayerFactory.from_config(config, dtype)
        super().__init__(config, layers.policy, name)
        self.distilbert = TFDistilBertModel(config, dtype=layers.policy, name="distilbert")
        self._adopt(self.distilbert)
        self.make_head(config, layers)
        self.built = True

    def make_head(self, config: DistilBertConfig, layers: LayerFactory) -> None:
        """Make the layers above the body."""
        raise NotImplementedError

    def head_logits(self, hidden: tf.Tensor, training: bool | None) -> tf.Tensor:
        """Return the logits of hidden states [B, T, D]."""
        raise NotImplementedError

    def task_loss(self, logits: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
        """Return the loss [] of logits against labels, whose losses are multiplied by weights."""
        return cross_entropy(logits, labels, weights=weights)

    def _loss_of(
        self, logits: tf.Tensor, labels: tf.Tensor | None, sample_weight: tf.Tensor | None
    ) -> tf.Tensor | None:
        """Return the loss if there are labels, or raise InputError if there are only weights."""
        if labels is None:
            refuse_weights(sample_weight)
            return None
        return self.task_loss(logits, labels, sample_weight)

    def packed_outputs(
        self,
        input_ids: tf.Tensor,
        position_ids: tf.Tensor,
        segment_ids: tf.Tensor | None,
        output_tokens: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """Return the logits [B, Q, ...] of the output tokens of packed rows, all tokens if left out.

        The arguments are those of `TFDistilBertModel`.
        """
        hidden = self.distilbert.packed_outputs(
            input_ids, position_ids, segment_ids, output_tokens, training=training
        )  # [B, Q, D]
        logits = self.head_logits(tf.reshape(hidden, (-1, 1, self.config.dim)), training)  # [B * Q, ...]
        return tf.reshape(logits, (*ops.shape(hidden)[:2], logits.shape[-1]))

    def call(
        self,
        input_ids: tf.Tensor | None = None,
        attention_mask: tf.Tensor | None = None,
        head_mask: tf.Tensor | None = None,
        inputs_embeds: tf.Tensor | None = None,
        labels: tf.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool | None = None,
        *,
        position_ids: tf.Tensor | None = None,
        sample_weight: tf.Tensor | None = None,
    ) -> ModelOutput | tuple:
        """Compute the logits, and the loss if labels are given.

        Args:
            input_ids: As for `TFDistilBertModel`, as are all arguments but `labels` and `sample_weight`.
            attention_mask: See there.
            head_mask: See there.
            inputs_embeds: See there.
            labels: What the model should have predicted; the class says in what form.
            output_attentions: See there.
            output_hidden_states: See there.
            return_dict: See there.
            training: See there.
            position_ids: See there.
            sample_weight: What each label counts in the loss, numbers >= 0: [B], or of the labels' shape. The sum of
                the weighted losses is divided by the number of labels that count, whatever their weights are. With
                weights of classes [L], give `class_weights[labels]` (any number where a label is -100).

        Returns:
            `loss` [] if labels are given, `logits`, and if asked for `hidden_states` and `attentions`.

        Raises:
            InputError: An argument has an impossible shape or value; the message names it.
        """
        body = self.distilbert(
            input_ids,
            attention_mask,
            head_mask,
            inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            position_ids=position_ids,
            training=training,
        )
        logits = self.head_logits(body.last_hidden_state, training)
        loss = self._loss_of(logits, labels, sample_weight)
        return self.task_output(body, return_dict, loss=loss, logits=logits)

    def task_output(
        self, body: BaseModelOutput, return_dict: bool | None, **values: tf.Tensor | None
    ) -> ModelOutput | tuple:
        """Put a head's values and what the body returns beside its last hidden state together."""
        output = self.output_type(**values, hidden_states=body.hidden_states, attentions=body.attentions)
        return output if choose(return_dict, self.config.return_dict) else output.to_tuple()


class VocabProjector(keras.layers.Layer):
    """Logits of every token of the vocabulary: a bias, and a kernel of its own only if it is not tied."""

    def __init__(self, config: DistilBertConfig, layers: LayerFactory):
        super().__init__(name="vocab_projector", dtype=layers.policy)
        if not config.tie_word_embeddings:
            shape = (config.dim, config.vocab_size)
            self.kernel = self.add_weight(shape=shape, initializer=layers.normal(), name="kernel")
        self.bias = self.add_weight(shape=(config.vocab_size,), initializer="zeros", name="bias")
        self.built = True

    def call(self, x: tf.Tensor, word_embeddings: tf.Tensor) -> tf.Tensor:
        """[B, T, D] -> [B, T, V], with the table [V, D] to use if there is no kernel."""
        kernel = getattr(self, "kernel", None)
        if kernel is None:
            kernel = ops.transpose(word_embeddings)
        return ops.matmul(x, ops.cast(kernel, x.dtype)) + ops.cast(self.bias, x.dtype)


@keras.saving.register_keras_serializable("distilbert")
class TFDistilBertForMaskedLM(_ModelWithHead):
    """Predicts masked tokens; the projector is the word embeddings unless `tie_word_embeddings` is False.

    Labels are [B, T] token ids, -100 where there is nothing to predict. Logits are [B, T, V].

    Example:
        >>> import tensorflow as tf
        >>> from distilbert_tf import DistilBertConfig, TFDistilBertForMaskedLM
        >>> config = DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48, vocab_size=100)
        >>> model = TFDistilBertForMaskedLM(config)
        >>> output = model(tf.constant([[1, 4, 2]]), labels=tf.constant([[-100, 7, -100]]))
        >>> output.logits.shape, output.loss.shape
        (TensorShape([1, 3, 100]), TensorShape([]))
    """

    head = Head.MASKED_LM
    output_type = MaskedLMOutput

    def make_head(self, config: DistilBertConfig, layers: LayerFactory) -> None:
        """Make the layers above the body."""
        self.activation = activation_function(config)
        self.vocab_transform = layers.dense("vocab_transform", config.dim, config.dim)
        self.vocab_layer_norm = layers.layer_norm("vocab_layer_norm", config.dim)
        self.vocab_projector = VocabProjector(config, layers)

    @property
    def act(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """The activation, as Transformers calls it."""
        return self.activation

    def head_logits(self, hidden: tf.Tensor, training: bool | None) -> tf.Tensor:
        """[B, T, D] -> [B, T, V]."""
        hidden = self.vocab_layer_norm(self.activation(self.vocab_transform(hidden)))
        return self.vocab_projector(hidden, self.get_input_embeddings().table())


@keras.saving.register_keras_serializable("distilbert")
class TFDistilBertForSequenceClassification(_ModelWithHead):
    """Classifies or scores a whole text, from the first token.

    Labels are [B] classes, [B] or [B, L] numbers (regression), or [B, L] of 0 and 1 (multi-label), as
    `config.problem_type` says or, where that is None, `num_labels` and the labels' dtype. Logits are [B, L].

    Example:
        >>> import tensorflow as tf
        >>> from distilbert_tf import DistilBertConfig, TFDistilBertForSequenceClassification
        >>> config = DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48, num_labels=3)
        >>> model = TFDistilBertForSequenceClassification(config)
        >>> output = model(tf.constant([[1, 4, 2], [1, 9, 2]]), labels=tf.constant([2, 0]))
        >>> output.logits.shape, output.loss.shape
        (TensorShape([2, 3]), TensorShape([]))
    """

    head = Head.SEQUENCE_CLASSIFICATION
    output_type = SequenceClassifierOutput

    def make_head(self, config: DistilBertConfig, layers: LayerFactory) -> None:
        """Make the layers above the body."""
        self.pre_classifier = layers.dense("pre_classifier", config.dim, config.dim)
        self.classifier = layers.dense("classifier", config.dim, config.num_labels)
        self.dropout = layers.dropout(config.seq_classif_dropout)

    def head_logits(self, hidden: tf.Tensor, training: bool | None) -> tf.Tensor:
        """[B, T, D] -> [B, L]."""
        return self.classifier(self.dropout(ops.relu(self.pre_classifier(hidden[:, 0])), training=training))

    def task_loss(self, logits: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
        """[B, L] -> []."""
        return sequence_classification_loss(self.config, logits, labels, weights)


@keras.saving.register_keras_serializable("distilbert")
class TFDistilBertForMultipleChoice(_ModelWithHead):
    """Chooses one of C texts. Inputs are [B, C, T], labels [B] indices of the right choice, logits [B, C].

    Example:
        >>> import tensorflow as tf
        >>> from distilbert_tf import DistilBertConfig, TFDistilBertForMultipleChoice
        >>> config = DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48)
        >>> model = TFDistilBertForMultipleChoice(config)
        >>> output = model(tf.constant([[[1, 4, 2], [1, 9, 2]]]), labels=tf.constant([1]))
        >>> output.logits.shape, output.loss.shape
        (TensorShape([1, 2]), TensorShape([]))
    """

    head = Head.MULTIPLE_CHOICE
    output_type = MultipleChoiceModelOutput

    def make_head(self, config: DistilBertConfig, layers: LayerFactory) -> None:
        """Make the layers above the body."""
        self.pre_classifier = layers.dense("pre_classifier", config.dim, config.dim)
        self.classifier = layers.dense("classifier", config.dim, 1)
        self.dropout = layers.dropout(config.seq_classif_dropout)

    def head_logits(self, hidden: tf.Tensor, training: bool | None) -> tf.Tensor:
        """[B * C, T, D] -> [B * C, 1]."""
        return self.classifier(self.dropout(ops.relu(self.pre_classifier(hidden[:, 0])), training=training))

    def call(
        self,
        input_ids: tf.Tensor | None = None,
        attention_mask: tf.Tensor | None = None,
        head_mask: tf.Tensor | None = None,
        inputs_embeds: tf.Tensor | None = None,
        labels: tf.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool | None = None,
        *,
        position_ids: tf.Tensor | None = None,
        sample_weight: tf.Tensor | None = None,
    ) -> ModelOutput | tuple:
        """Compute the score of each choice, and the loss if labels are given.

        The arguments are those of the other heads, with an axis C after the batch: input_ids [B, C, T],
        inputs_embeds [B, C, T, D], attention_mask and position_ids [B, C, T].
        """
        choices = _choices(input_ids, inputs_embeds)
        body = self.distilbert(
            _flatten_choices(input_ids),
            _flatten_choices(attention_mask),
            head_mask,
            _flatten_choices(inputs_embeds),
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            position_ids=_flatten_choices(position_ids),
            training=training,
        )
        logits = self.head_logits(body.last_hidden_state, training)  # [B * C, 1]
        logits = ops.reshape(logits, (-1, choices))  # [B, C]
        loss = self._loss_of(logits, labels, sample_weight)
        return self.task_output(body, return_dict, loss=loss, logits=logits)


def _choices(input_ids: tf.Tensor | None, inputs_embeds: tf.Tensor | None) -> int | tf.Tensor:
    """Return the number of choices; a tensor where it is not known while tracing."""
    x = choose(inputs_embeds, input_ids)
    shape = shape_of(x)
    if shape is not None and len(shape) > 2 and shape[1] is None:
        return ops.shape(x)[1]
    return choice_count(shape_of(input_ids), shape_of(inputs_embeds))


def _flatten_choices(x: tf.Tensor | None) -> tf.Tensor | None:
    """[B, C, ...] -> [B * C, ...]."""
    return None if x is None else ops.reshape(x, (-1, *ops.shape(x)[2:]))


@keras.saving.register_keras_serializable("distilbert")
class TFDistilBertForTokenClassification(_ModelWithHead):
    """Classifies every token. Labels are [B, T] classes, -100 for tokens that do not count; logits [B, T, L].

    Example:
        >>> import tensorflow as tf
        >>> from distilbert_tf import DistilBertConfig, TFDistilBertForTokenClassification
        >>> config = DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48, num_labels=5)
        >>> model = TFDistilBertForTokenClassification(config)
        >>> output = model(tf.constant([[1, 4, 2]]), labels=tf.constant([[-100, 3, -100]]))
        >>> output.logits.shape, output.loss.shape
        (TensorShape([1, 3, 5]), TensorShape([]))
    """

    head = Head.TOKEN_CLASSIFICATION
    output_type = TokenClassifierOutput

    def make_head(self, config: DistilBertConfig, layers: LayerFactory) -> None:
        """Make the layers above the body."""
        self.dropout = layers.dropout(config.dropout)
        self.classifier = layers.dense("classifier", config.dim, config.num_labels)

    def head_logits(self, hidden: tf.Tensor, training: bool | None) -> tf.Tensor:
        """[B, T, D] -> [B, T, L]."""
        return self.classifier(self.dropout(hidden, training=training))


@keras.saving.register_keras_serializable("distilbert")
class TFDistilBertForQuestionAnswering(_ModelWithHead):
    """Finds the span of a text that answers a question: a score for each token to be its start, and its end.

    Example:
        >>> import tensorflow as tf
        >>> from distilbert_tf import DistilBertConfig, TFDistilBertForQuestionAnswering
        >>> config = DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48)
        >>> model = TFDistilBertForQuestionAnswering(config)
        >>> answer = {"start_positions": tf.constant([2]), "end_positions": tf.constant([3])}
        >>> output = model(tf.constant([[1, 4, 2, 9]]), **answer)
        >>> output.start_logits.shape, output.loss.shape
        (TensorShape([1, 4]), TensorShape([]))
    """

    head = Head.QUESTION_ANSWERING
    output_type = QuestionAnsweringModelOutput
    label_names = ("start_positions", "end_positions")
    logit_names = ("start_logits", "end_logits")

    def make_head(self, config: DistilBertConfig, layers: LayerFactory) -> None:
        """Make the layers above the body."""
        self.dropout = layers.dropout(config.qa_dropout)
        self.qa_outputs = layers.dense("qa_outputs", config.dim, 2)

    def head_logits(self, hidden: tf.Tensor, training: bool | None) -> tf.Tensor:
        """[B, T, D] -> [B, T, 2]."""
        return self.qa_outputs(self.dropout(hidden, training=training))

    def task_loss(self, logits: tuple, labels: tuple, weights: tf.Tensor | tuple | None = None) -> tf.Tensor:
        """[B, T] twice -> []."""
        (start, end), (start_positions, end_positions) = logits, labels
        return question_answering_loss(start, end, start_positions, end_positions, weights)

    def call(  # type: ignore[override]  # two kinds of labels in place of one
        self,
        input_ids: tf.Tensor | None = None,
        attention_mask: tf.Tensor | None = None,
        head_mask: tf.Tensor | None = None,
        inputs_embeds: tf.Tensor | None = None,
        start_positions: tf.Tensor | None = None,
        end_positions: tf.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool | None = None,
        *,
        position_ids: tf.Tensor | None = None,
        sample_weight: tf.Tensor | None = None,
    ) -> ModelOutput | tuple:
        """Compute the start and end scores, and the loss if both positions are given.

        Args:
            input_ids: As for `TFDistilBertModel`, as are all arguments but the positions and `sample_weight`.
            attention_mask: See there.
            head_mask: See there.
            inputs_embeds: See there.
            start_positions: [B] index of the answer's first token. Negative ones count as 0, those from T on do not
                count.
            end_positions: [B] index of its last token, likewise.
            output_attentions: See there.
            output_hidden_states: See there.
            return_dict: See there.
            training: See there.
            position_ids: See there.
            sample_weight: [B] what each row counts in the loss, numbers >= 0. It does not change what the sum is
                divided by.

        Returns:
            `loss` [] if positions are given, `start_logits` and `end_logits` [B, T], and if asked for
            `hidden_states` and `attentions`. Padding is part of the loss's softmax, as in Transformers.

        Raises:
            InputError: An argument has an impossible shape or value; the message names it.
        """
        body = self.distilbert(
            input_ids,
            attention_mask,
            head_mask,
            inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            position_ids=position_ids,
            training=training,
        )
        start_logits, end_logits = ops.unstack(
            self.head_logits(body.last_hidden_state, training), axis=-1
        )  # [B, T] each
        loss = question_answering_loss(start_logits, end_logits, start_positions, end_positions, sample_weight)
        return self.task_output(body, return_dict, loss=loss, start_logits=start_logits, end_logits=end_logits)
