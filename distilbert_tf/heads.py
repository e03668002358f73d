"""The task heads: layers, logits and losses of each, and one forward for all.

Shapes: B batch, T tokens, D model size, V vocabulary, L labels, C choices.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import keras
import tensorflow as tf
from keras import ops

from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.inputs import check_packed, choice_count, choose
from distilbert_core.model.losses import labels_given, single
from distilbert_core.model.outputs import ModelOutput
from distilbert_tf.fitting import FittedModel
from distilbert_tf.layers import LayerFactory, VocabProjector, activation_function
from distilbert_tf.losses import cross_entropy, question_answering_loss, sequence_classification_loss
from distilbert_tf.model import TFDistilBertModel
from distilbert_tf.tensors import check_values, shape_of


class _ModelWithHead(FittedModel):
    """A base model and a head: `make_head` makes the layers, `head_logits` calls them; the row `head` has the rest."""

    head: ClassVar[Head]

    def __init__(self, config: DistilBertConfig, dtype: Any = None, name: str | None = None):
        layers = LayerFactory.from_config(config, dtype)
        super().__init__(config, layers.policy, name)
        self.distilbert = TFDistilBertModel(config, dtype=layers.policy, name="distilbert")
        self._adopt(self.distilbert)
        self.make_head(config, layers)
        self._finish_init()

    def make_head(self, config: DistilBertConfig, layers: LayerFactory) -> None:
        """Make the layers of the head."""
        raise NotImplementedError

    def head_logits(self, hidden: tf.Tensor, training: bool | None) -> tf.Tensor:
        """Return the logits [B, T, L], or [B, L] of a head that reads the first token.

        Args:
            hidden: Hidden states [B, T, D].
            training: Whether to apply dropout.
        """
        raise NotImplementedError

    def task_loss(self, logits: Any, labels: Any, weights: Any = None) -> tf.Tensor:
        """Return the loss [].

        Args:
            logits: The outputs of the head; a tuple if it has several.
            labels: The labels of the head; a tuple if it has several.
            weights: Factors of the losses of the labels; see `sample_weight` of `call`.
        """
        return cross_entropy(logits, labels, weights=weights)

    def packed_outputs(
        self,
        input_ids: tf.Tensor,
        position_ids: tf.Tensor,
        segment_ids: tf.Tensor | None,
        output_tokens: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        """Return the logits [R, S, L] of packed rows.

        Args:
            input_ids: [R, C] integers.
            position_ids: [R, C] integers: the position of each token in its text.
            segment_ids: [R, C] integers: the id of the text that each token belongs to.
            output_tokens: [R, S] indices of the tokens to return logits for; all tokens if left out.
            training: Whether to apply dropout.
        """
        hidden = self.distilbert.packed_outputs(
            input_ids, position_ids, segment_ids, output_tokens, training=training
        )  # [R, S, D]
        logits = self.head_logits(tf.reshape(hidden, (-1, 1, self.config.dim)), training)  # [R * S, ...]
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
        segment_ids: tf.Tensor | None = None,
        output_tokens: tf.Tensor | None = None,
        output_indices: tf.Tensor | None = None,
    ) -> ModelOutput | tuple[Any, ...]:
        """Compute the logits, and the loss if labels are given.

        Args:
            input_ids: [B, T] integers below `vocab_size`; [B, C, T] for multiple choice. Or a dict of all arguments, or
                a list of them in this order. Give these or `inputs_embeds`.
            attention_mask: Shape of the ids, 1 for tokens to attend to and 0 for padding; any dtype. All ones if left
                out.
            head_mask: [N] or [layers, N] factors for the attention weights of each head; 0 switches a head off.
            inputs_embeds: [B, T, D] word embeddings in place of ids; [B, C, T, D] for multiple choice.
            labels: The expected answers, in the form that the class describes.
            output_attentions: Also return the attention weights; the configuration's default if left out.
            output_hidden_states: Also return all hidden states; the configuration's default if left out.
            return_dict: Return an output object (True) or a tuple; the configuration's default if left out.
            training: Whether to apply dropout; False if left out, unless an outer layer or `fit` sets it.
            position_ids: [B, T], [1, T] or [T] integers below `max_position_embeddings`; [B, C, T] for multiple choice.
                0, 1, ... if left out.
            sample_weight: Weight of each label in the loss, numbers >= 0: [B], or the shape of the labels. The sum of
                the weighted losses is divided by the number of labels that count, whatever their weights are. For
                weights of classes [L], give `class_weights[labels]` (any number where a label is -100).
            segment_ids: [R, C] integers, for packed rows, as `DataCollatorWithPacking` makes them: the id of the text
                that each token belongs to. The ids and `position_ids` are then [R, C] too, and labels of tokens have
                the shape of `output_tokens`.
            output_tokens: [R, S] ascending indices of the tokens of each packed row whose outputs are computed; all if
                left out.
            output_indices: [B] integers, [B, C] for multiple choice: the indices of the first tokens of texts in the
                flattened `output_tokens`. Heads that read the first token need them in packed rows.

        Returns:
            `loss` [] if labels are given, `logits`, and on request `hidden_states` and `attentions`.

        Raises:
            InputError: An argument has an impossible shape or value; the message names it.
        """
        inputs: dict[str, Any] = {"input_ids": input_ids, "inputs_embeds": inputs_embeds}
        inputs |= {"attention_mask": attention_mask, "position_ids": position_ids}
        options: dict[str, Any] = {"output_attentions": output_attentions, "output_hidden_states": output_hidden_states}
        options |= {"head_mask": head_mask, "segment_ids": segment_ids, "output_tokens": output_tokens}
        return self._predict(inputs, (labels,), sample_weight, return_dict, output_indices, training, **options)

    def _predict(
        self,
        inputs: dict[str, Any],
        labels: tuple[tf.Tensor | None, ...],
        sample_weight: tf.Tensor | None,
        return_dict: bool | None,
        output_indices: tf.Tensor | None,
        training: bool | None,
        **options: Any,
    ) -> ModelOutput | tuple[Any, ...]:
        """Compute the outputs of the head, and the loss if labels are given.

        Args:
            inputs: The inputs with axes of texts and tokens, by name.
            labels: The labels, in the order of `Head.labels`.
            sample_weight: Weights of the labels.
            return_dict: Whether to return an output object or a tuple.
            output_indices: Indices of the outputs of packed rows.
            training: Whether to apply dropout.
            **options: Further arguments of the base model.
        """
        check_packed(self.head, options["segment_ids"], options["output_tokens"], shape_of(output_indices))
        choices = None
        if self.head.has_choices and output_indices is None:
            choices = _choices(inputs)
            inputs = {name: _flatten_choices(x) for name, x in inputs.items()}
        base = self.distilbert(**inputs, **options, return_dict=True, training=training)
        if output_indices is None:
            logits = self.head_logits(base.last_hidden_state, training)
            outputs = self.head.named(logits if choices is None else ops.reshape(logits, (-1, choices)))
        else:
            outputs = self.head.named(self._logits_at(base.last_hidden_state, output_indices, training))
        loss = None
        if labels_given(self.head, labels, sample_weight):
            loss = self.task_loss(single(outputs.values()), single(labels), sample_weight)
        output = self.head.output_type(
            loss=loss, **outputs, hidden_states=base.hidden_states, attentions=base.attentions
        )
        return output if choose(return_dict, self.config.return_dict) else output.to_tuple()

    def _logits_at(self, hidden: tf.Tensor, indices: tf.Tensor, training: bool | None) -> tf.Tensor:
        """Return the logits of packed rows at some indices of their outputs.

        Args:
            hidden: [R, S, D] hidden states.
            indices: Integers in any shape, indices into [R * S]; -1 for padding.
            training: Whether to apply dropout.

        Returns:
            [B, L]; [B, C] for multiple choice; [B, T, 2] for question answering, with -inf at padding.
        """
        padding = indices < 0 if self.head.reads_tokens else None
        if padding is not None:
            indices = ops.maximum(indices, 0)
        flat = ops.reshape(hidden, (-1, self.config.dim))  # [R * S, D]
        check_values("output_indices", indices, flat.shape[0], "outputs")
        chosen = tf.gather(flat, ops.reshape(indices, (-1,)))  # [B * C or B * T, D]
        logits = self.head_logits(chosen[:, None], training)
        logits = ops.reshape(logits, (*ops.shape(indices), logits.shape[-1]))
        if padding is not None:
            return ops.where(padding[..., None], ops.cast(-math.inf, logits.dtype), logits)
        return logits[..., 0] if self.head.has_choices else logits


def _choices(inputs: dict[str, Any]) -> int | tf.Tensor:
    """Return the number of choices; a tensor if it is not known while a graph is traced."""
    shape = shape_of(choose(inputs["inputs_embeds"], inputs["input_ids"]))
    if shape is not None and len(shape) > 2 and shape[1] is None:
        return ops.shape(choose(inputs["inputs_embeds"], inputs["input_ids"]))[1]
    return choice_count(**{name: shape_of(x) for name, x in inputs.items()})


def _flatten_choices(x: tf.Tensor | None) -> tf.Tensor | None:
    """[B, C, ...] -> [B * C, ...]; positions of all texts, [1, T] or [T], remain as they are."""
    return x if x is None or len(x.shape) < 3 else ops.reshape(x, (-1, *ops.shape(x)[2:]))


@keras.saving.register_keras_serializable("distilbert")
class TFDistilBertForMaskedLM(_ModelWithHead):
    """Predicts masked tokens. The projector shares the word embeddings unless `tie_word_embeddings` is False.

    Labels are [B, T] token ids, -100 for tokens that are not predicted. Logits are [B, T, V].

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

    def make_head(self, config: DistilBertConfig, layers: LayerFactory) -> None:
        """Make the layers of the head."""
        self.activation = activation_function(config)
        self.vocab_transform = layers.dense("vocab_transform", config.dim, config.dim)
        self.vocab_layer_norm = layers.layer_norm("vocab_layer_norm", config.dim)
        self.vocab_projector = VocabProjector(config, layers)

    @property
    def act(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """The activation, by its name in Transformers."""
        return self.activation

    def head_logits(self, hidden: tf.Tensor, training: bool | None) -> tf.Tensor:
        """[B, T, D] -> [B, T, V]."""
        hidden = self.vocab_layer_norm(self.activation(self.vocab_transform(hidden)))
        return self.vocab_projector(hidden, self.get_input_embeddings().table())


class _TextClassifier(_ModelWithHead):
    """The layers of a head that reads the first token of each text."""

    def make_head(self, config: DistilBertConfig, layers: LayerFactory) -> None:
        """Make the layers of the head."""
        self.pre_classifier = layers.dense("pre_classifier", config.dim, config.dim)
        self.classifier = layers.dense("classifier", config.dim, self.head.label_count(config))
        self.dropout = layers.dropout(self.head.dropout_rate(config))

    def head_logits(self, hidden: tf.Tensor, training: bool | None) -> tf.Tensor:
        """[B, T, D] -> [B, L]."""
        return self.classifier(self.dropout(ops.relu(self.pre_classifier(hidden[:, 0])), training=training))


@keras.saving.register_keras_serializable("distilbert")
class TFDistilBertForSequenceClassification(_TextClassifier):
    """Classifies or scores a text by its first token.

    Labels are [B] classes, [B] or [B, L] numbers (regression), or [B, L] of 0 and 1 (multi-label). The field
    `config.problem_type` decides; if it is None, `num_labels` and the dtype of the labels do. Logits are [B, L].

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

    def task_loss(self, logits: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
        """[B, L] -> []."""
        return sequence_classification_loss(self.config, logits, labels, weights)


@keras.saving.register_keras_serializable("distilbert")
class TFDistilBertForMultipleChoice(_TextClassifier):
    """Chooses one of C texts. Inputs are [B, C, T], labels are [B] indices of the right choice, logits are [B, C].

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


@keras.saving.register_keras_serializable("distilbert")
class TFDistilBertForTokenClassification(_ModelWithHead):
    """Classifies every token. Labels are [B, T] classes, -100 for tokens that do not count; logits are [B, T, L].

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

    def make_head(self, config: DistilBertConfig, layers: LayerFactory) -> None:
        """Make the layers of the head."""
        self.dropout = layers.dropout(self.head.dropout_rate(config))
        self.classifier = layers.dense("classifier", config.dim, config.num_labels)

    def head_logits(self, hidden: tf.Tensor, training: bool | None) -> tf.Tensor:
        """[B, T, D] -> [B, T, L]."""
        return self.classifier(self.dropout(hidden, training=training))


@keras.saving.register_keras_serializable("distilbert")
class TFDistilBertForQuestionAnswering(_ModelWithHead):
    """Finds the answer to a question in a text: scores each token as the start, and as the end, of the answer.

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

    def make_head(self, config: DistilBertConfig, layers: LayerFactory) -> None:
        """Make the layers of the head."""
        self.dropout = layers.dropout(self.head.dropout_rate(config))
        self.qa_outputs = layers.dense("qa_outputs", config.dim, 2)

    def head_logits(self, hidden: tf.Tensor, training: bool | None) -> tf.Tensor:
        """[B, T, D] -> [B, T, 2]."""
        return self.qa_outputs(self.dropout(hidden, training=training))

    def task_loss(
        self, logits: tuple[tf.Tensor, tf.Tensor], labels: tuple[tf.Tensor, tf.Tensor], weights: Any = None
    ) -> tf.Tensor:
        """[B, T] twice -> []."""
        return question_answering_loss(*logits, *labels, weights)

    def call(  # type: ignore[override]  # two labels in place of one
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
        segment_ids: tf.Tensor | None = None,
        output_tokens: tf.Tensor | None = None,
        output_indices: tf.Tensor | None = None,
    ) -> ModelOutput | tuple[Any, ...]:
        """Compute the scores of start and end, and the loss if both positions are given.

        Args:
            input_ids: [B, T] integers below `vocab_size`, or a dict of all arguments, or a list of them in this order.
                Give these or `inputs_embeds`.
            attention_mask: [B, T], 1 for tokens to attend to and 0 for padding; any dtype. All ones if left out.
            head_mask: [N] or [layers, N] factors for the attention weights of each head; 0 switches a head off.
            inputs_embeds: [B, T, D] word embeddings in place of ids.
            start_positions: [B] index of the first token of the answer. A negative index counts as 0; an index of T or
                more does not count.
            end_positions: [B] index of the last token of the answer, with the same rules.
            output_attentions: Also return the attention weights; the configuration's default if left out.
            output_hidden_states: Also return all hidden states; the configuration's default if left out.
            return_dict: Return an output object (True) or a tuple; the configuration's default if left out.
            training: Whether to apply dropout; False if left out, unless an outer layer or `fit` sets it.
            position_ids: [B, T], [1, T] or [T] integers below `max_position_embeddings`; 0, 1, ... if left out.
            sample_weight: [B] weight of each row in the loss, numbers >= 0. It does not change the divisor of the sum.
            segment_ids: [R, C] integers, for packed rows, as `DataCollatorWithPacking` makes them: the id of the text
                that each token belongs to. The ids and `position_ids` are then [R, C] too.
            output_tokens: [R, S] ascending indices of the tokens of each packed row whose outputs are computed; all if
                left out.
            output_indices: [B, T] integers: the index of each token of each text in the flattened rows, or the
                flattened `output_tokens`; -1 for padding, which cannot be an answer.

        Returns:
            `loss` [] if positions are given, `start_logits` and `end_logits` [B, T], and on request `hidden_states` and
            `attentions`. The softmax of the loss includes padding, as in Transformers.

        Raises:
            InputError: An argument has an impossible shape or value; the message names it.
        """
        inputs: dict[str, Any] = {"input_ids": input_ids, "inputs_embeds": inputs_embeds}
        inputs |= {"attention_mask": attention_mask, "position_ids": position_ids}
        options: dict[str, Any] = {"output_attentions": output_attentions, "output_hidden_states": output_hidden_states}
        options |= {"head_mask": head_mask, "segment_ids": segment_ids, "output_tokens": output_tokens}
        labels = start_positions, end_positions
        return self._predict(inputs, labels, sample_weight, return_dict, output_indices, training, **options)


MODELS = (
    TFDistilBertForMaskedLM,
    TFDistilBertForSequenceClassification,
    TFDistilBertForMultipleChoice,
    TFDistilBertForTokenClassification,
    TFDistilBertForQuestionAnswering,
)
