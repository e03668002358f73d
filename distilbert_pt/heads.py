"""The five task heads.

Shapes: B batch, T tokens, D model size, V vocabulary, L labels, C choices.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from distilbert_core.compatibility import renames
from distilbert_core.errors import InputError
from distilbert_core.model.config import NORM_EPSILON, DistilBertConfig
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
from distilbert_pt.layers import activation_function
from distilbert_pt.losses import cross_entropy, question_answering_loss, sequence_classification_loss
from distilbert_pt.model import DistilBertModel
from distilbert_pt.pretrained import DistilBertPreTrainedModel
from distilbert_pt.tensors import shape_of


class _ModelWithHead(DistilBertPreTrainedModel):
    """A body, `head_logits` from its hidden states, and `task_loss` from logits and labels."""

    output_type: ClassVar[type[ModelOutput]]

    def __init__(self, config: DistilBertConfig, attn_implementation: str | None = None):
        super().__init__(config)
        self.distilbert = DistilBertModel(config, attn_implementation)
        self._adopt(self.distilbert)

    @property
    def attn_implementation(self) -> str:
        """'sdpa' or 'eager'."""
        return self.distilbert.attn_implementation

    @attn_implementation.setter
    def attn_implementation(self, name: str) -> None:
        self.distilbert.attn_implementation = name

    def head_logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of hidden states [B, T, D]."""
        raise NotImplementedError

    def task_loss(self, logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the loss [] of logits against labels, whose losses are multiplied by weights."""
        return cross_entropy(logits, labels, weights=weights)

    def _loss_of(self, logits: Tensor, labels: Tensor | None, sample_weight: Tensor | None) -> Tensor | None:
        """Return the loss if there are labels, or raise InputError if there are only weights."""
        if labels is None:
            refuse_weights(sample_weight)
            return None
        return self.task_loss(logits, labels, sample_weight)

    def packed_outputs(
        self, input_ids: Tensor, position_ids: Tensor, segment_ids: Tensor, output_tokens: Tensor | None = None
    ) -> Tensor:
        """Return the logits [B, Q, ...] of the output tokens of packed rows, all tokens if left out.

        The arguments are those of `DistilBertModel`.
        """
        hidden = self.distilbert.packed_outputs(input_ids, position_ids, segment_ids, output_tokens)  # [B, Q, D]
        rows = hidden.shape[:2]
        return self.head_logits(hidden.flatten(0, 1)[:, None]).unflatten(0, rows).flatten(2)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        position_ids: Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> ModelOutput | tuple:
        """Compute the logits, and the loss if labels are given.

        Args:
            input_ids: As for `DistilBertModel`, as are all arguments but `labels` and `sample_weight`.
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
        )
        logits = self.head_logits(body.last_hidden_state)
        loss = self._loss_of(logits, labels, sample_weight)
        return self.task_output(body, return_dict, loss=loss, logits=logits)

    def task_output(
        self, body: BaseModelOutput, return_dict: bool | None, **values: Tensor | None
    ) -> ModelOutput | tuple:
        """Put a head's values and what the body returns beside its last hidden state together."""
        output = self.output_type(**values, hidden_states=body.hidden_states, attentions=body.attentions)
        return self._as_requested(output, return_dict)


class DistilBertForMaskedLM(_ModelWithHead):
    """Predicts masked tokens; the projector is the word embeddings unless `tie_word_embeddings` is False.

    Labels are [B, T] token ids, -100 where there is nothing to predict. Logits are [B, T, V].

    Example:
        >>> import torch
        >>> from distilbert_pt import DistilBertConfig, DistilBertForMaskedLM
        >>> config = DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48, vocab_size=100)
        >>> model = DistilBertForMaskedLM(config).eval()
        >>> output = model(torch.tensor([[1, 4, 2]]), labels=torch.tensor([[-100, 7, -100]]))
        >>> output.logits.shape, output.loss.shape
        (torch.Size([1, 3, 100]), torch.Size([]))
    """

    head = Head.MASKED_LM
    output_type = MaskedLMOutput

    def __init__(self, config: DistilBertConfig, attn_implementation: str | None = None):
        super().__init__(config, attn_implementation)
        self.activation = activation_function(config)
        self.vocab_transform = nn.Linear(config.dim, config.dim)
        self.vocab_layer_norm = nn.LayerNorm(config.dim, eps=NORM_EPSILON)
        self.vocab_projector = nn.Linear(config.dim, config.vocab_size)
        self._finish_init()

    def head_logits(self, hidden: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, V]."""
        return self.vocab_projector(self.vocab_layer_norm(self.activation(self.vocab_transform(hidden))))

    def get_output_embeddings(self) -> nn.Linear:
        """Return the projector to the vocabulary."""
        return self.vocab_projector

    @renames(new_embeddings="embeddings")
    def set_output_embeddings(self, embeddings: nn.Linear) -> None:
        """Use another projector to the vocabulary; if it is tied, it gets the weight of the word embeddings.

        Raises:
            InputError: Its weight is not [vocab_size, dim].
        """
        shape = (self.config.vocab_size, self.config.dim)
        if shape_of(embeddings.weight) != shape:
            raise InputError(f"embeddings must have a weight of shape {shape}, got {shape_of(embeddings.weight)}.")
        self.vocab_projector = embeddings
        self.tie_weights()


class DistilBertForSequenceClassification(_ModelWithHead):
    """Classifies or scores a whole text, from the first token.

    Labels are [B] classes, [B] or [B, L] numbers (regression), or [B, L] of 0 and 1 (multi-label), as
    `config.problem_type` says or, where that is None, `num_labels` and the labels' dtype. Logits are [B, L].

    Example:
        >>> import torch
        >>> from distilbert_pt import DistilBertConfig, DistilBertForSequenceClassification
        >>> config = DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48, num_labels=3)
        >>> model = DistilBertForSequenceClassification(config).eval()
        >>> output = model(torch.tensor([[1, 4, 2], [1, 9, 2]]), labels=torch.tensor([2, 0]))
        >>> output.logits.shape, output.loss.shape
        (torch.Size([2, 3]), torch.Size([]))
    """

    head = Head.SEQUENCE_CLASSIFICATION
    output_type = SequenceClassifierOutput

    def __init__(self, config: DistilBertConfig, attn_implementation: str | None = None):
        super().__init__(config, attn_implementation)
        self.pre_classifier = nn.Linear(config.dim, config.dim)
        self.classifier = nn.Linear(config.dim, config.num_labels)
        self.dropout = nn.Dropout(config.seq_classif_dropout)
        self._finish_init()

    def head_logits(self, hidden: Tensor) -> Tensor:
        """[B, T, D] -> [B, L]."""
        return self.classifier(self.dropout(self.pre_classifier(hidden[:, 0]).relu()))

    def task_loss(self, logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """[B, L] -> []."""
        return sequence_classification_loss(self.config, logits, labels, weights)


class DistilBertForMultipleChoice(_ModelWithHead):
    """Chooses one of C texts. Inputs are [B, C, T], labels [B] indices of the right choice, logits [B, C].

    Example:
        >>> import torch
        >>> from distilbert_pt import DistilBertConfig, DistilBertForMultipleChoice
        >>> config = DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48)
        >>> model = DistilBertForMultipleChoice(config).eval()
        >>> output = model(torch.tensor([[[1, 4, 2], [1, 9, 2]]]), labels=torch.tensor([1]))
        >>> output.logits.shape, output.loss.shape
        (torch.Size([1, 2]), torch.Size([]))
    """

    head = Head.MULTIPLE_CHOICE
    output_type = MultipleChoiceModelOutput

    def __init__(self, config: DistilBertConfig, attn_implementation: str | None = None):
        super().__init__(config, attn_implementation)
        self.pre_classifier = nn.Linear(config.dim, config.dim)
        self.classifier = nn.Linear(config.dim, 1)
        self.dropout = nn.Dropout(config.seq_classif_dropout)
        self._finish_init()

    def head_logits(self, hidden: Tensor) -> Tensor:
        """[B * C, T, D] -> [B * C, 1]."""
        return self.classifier(self.dropout(self.pre_classifier(hidden[:, 0]).relu()))

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        position_ids: Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> ModelOutput | tuple:
        """Compute the score of each choice, and the loss if labels are given.

        The arguments are those of the other heads, with an axis C after the batch: input_ids [B, C, T],
        inputs_embeds [B, C, T, D], attention_mask and position_ids [B, C, T].
        """
        choices = choice_count(*(None if x is None else x.shape for x in (input_ids, inputs_embeds)))
        body = self.distilbert(
            _flatten_choices(input_ids),
            _flatten_choices(attention_mask),
            head_mask,
            _flatten_choices(inputs_embeds),
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            position_ids=_flatten_choices(position_ids),
        )
        # Both sizes are the input's: computing one (-1) would bind an exported program to batches of two or more.
        batch = choose(input_ids, inputs_embeds).shape[0]
        logits = self.head_logits(body.last_hidden_state).reshape(batch, choices)
        loss = self._loss_of(logits, labels, sample_weight)
        return self.task_output(body, return_dict, loss=loss, logits=logits)


def _flatten_choices(x: Tensor | None) -> Tensor | None:
    """[B, C, ...] -> [B * C, ...]."""
    return None if x is None else x.flatten(0, 1)


class DistilBertForTokenClassification(_ModelWithHead):
    """Classifies every token. Labels are [B, T] classes, -100 for tokens that do not count; logits [B, T, L].

    Example:
        >>> import torch
        >>> from distilbert_pt import DistilBertConfig, DistilBertForTokenClassification
        >>> config = DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48, num_labels=5)
        >>> model = DistilBertForTokenClassification(config).eval()
        >>> output = model(torch.tensor([[1, 4, 2]]), labels=torch.tensor([[-100, 3, -100]]))
        >>> output.logits.shape, output.loss.shape
        (torch.Size([1, 3, 5]), torch.Size([]))
    """

    head = Head.TOKEN_CLASSIFICATION
    output_type = TokenClassifierOutput

    def __init__(self, config: DistilBertConfig, attn_implementation: str | None = None):
        super().__init__(config, attn_implementation)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.dim, config.num_labels)
        self._finish_init()

    def head_logits(self, hidden: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, L]."""
        return self.classifier(self.dropout(hidden))


class DistilBertForQuestionAnswering(_ModelWithHead):
    """Finds the span of a text that answers a question: a score for each token to be its start, and its end.

    Example:
        >>> import torch
        >>> from distilbert_pt import DistilBertConfig, DistilBertForQuestionAnswering
        >>> config = DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48)
        >>> model = DistilBertForQuestionAnswering(config).eval()
        >>> answer = {"start_positions": torch.tensor([2]), "end_positions": torch.tensor([3])}
        >>> output = model(torch.tensor([[1, 4, 2, 9]]), **answer)
        >>> output.start_logits.shape, output.loss.shape
        (torch.Size([1, 4]), torch.Size([]))
    """

    head = Head.QUESTION_ANSWERING
    output_type = QuestionAnsweringModelOutput

    def __init__(self, config: DistilBertConfig, attn_implementation: str | None = None):
        super().__init__(config, attn_implementation)
        self.dropout = nn.Dropout(config.qa_dropout)
        self.qa_outputs = nn.Linear(config.dim, 2)
        self._finish_init()

    def head_logits(self, hidden: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, 2]."""
        return self.qa_outputs(self.dropout(hidden))

    def forward(  # type: ignore[override]  # two kinds of labels in place of one
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        head_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        position_ids: Tensor | None = None,
        sample_weight: Tensor | None = None,
    ) -> ModelOutput | tuple:
        """Compute the start and end scores, and the loss if both positions are given.

        Args:
            input_ids: As for `DistilBertModel`, as are all arguments but the positions and `sample_weight`.
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
        )
        start_logits, end_logits = self.head_logits(body.last_hidden_state).unbind(-1)  # [B, T] each
        loss = question_answering_loss(start_logits, end_logits, start_positions, end_positions, sample_weight)
        return self.task_output(body, return_dict, loss=loss, start_logits=start_logits, end_logits=end_logits)
