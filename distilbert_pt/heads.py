"""The task heads: layers, logits and losses of each, and one forward for all.

Shapes: B batch, T tokens, D model size, V vocabulary, L labels, C choices.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from torch import Tensor, nn

from distilbert_core.compatibility import renames
from distilbert_core.errors import InputError
from distilbert_core.model.config import NORM_EPSILON, DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.inputs import check_packed, choice_count, choose
from distilbert_core.model.losses import labels_given, single
from distilbert_core.model.outputs import ModelOutput
from distilbert_pt.layers import activation_function
from distilbert_pt.losses import cross_entropy, question_answering_loss, sequence_classification_loss
from distilbert_pt.model import DistilBertModel
from distilbert_pt.pretrained import DistilBertPreTrainedModel
from distilbert_pt.tensors import check_values, shape_of


class _ModelWithHead(DistilBertPreTrainedModel):
    """A base model and a head: `make_head` makes the layers, `head_logits` calls them; the row `head` has the rest."""

    head: ClassVar[Head]

    def __init__(self, config: DistilBertConfig, attn_implementation: str | None = None):
        super().__init__(config)
        self.distilbert = DistilBertModel(config, attn_implementation)
        self._adopt(self.distilbert)
        self.make_head(config)
        self._finish_init()

    @property
    def attn_implementation(self) -> str:
        """'sdpa' or 'eager'."""
        return self.distilbert.attn_implementation

    @attn_implementation.setter
    def attn_implementation(self, name: str) -> None:
        self.distilbert.attn_implementation = name

    def make_head(self, config: DistilBertConfig) -> None:
        """Make the layers of the head."""
        raise NotImplementedError

    def head_logits(self, hidden: Tensor) -> Tensor:
        """Return the logits [B, T, L], or [B, L] of a head that reads the first token, of hidden states [B, T, D]."""
        raise NotImplementedError

    def task_loss(self, logits: Any, labels: Any, weights: Tensor | None = None) -> Tensor:
        """Return the loss [].

        Args:
            logits: The outputs of the head; a tuple if it has several.
            labels: The labels of the head; a tuple if it has several.
            weights: Factors of the losses of the labels; see `sample_weight` of `forward`.
        """
        return cross_entropy(logits, labels, weights=weights)

    def packed_outputs(
        self, input_ids: Tensor, position_ids: Tensor, segment_ids: Tensor, output_tokens: Tensor | None = None
    ) -> Tensor:
        """Return the logits [R, S, L] of packed rows.

        Args:
            input_ids: [R, C] integers.
            position_ids: [R, C] integers: the position of each token in its text.
            segment_ids: [R, C] integers: the id of the text that each token belongs to.
            output_tokens: [R, S] indices of the tokens to return logits for; all tokens if left out.
        """
        hidden = self.distilbert.packed_outputs(input_ids, position_ids, segment_ids, output_tokens)  # [R, S, D]
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
        segment_ids: Tensor | None = None,
        output_tokens: Tensor | None = None,
        output_indices: Tensor | None = None,
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
            segment_ids: [R, C] integers, for packed rows, as `DataCollatorWithPacking` makes them: the id of the text
                that each token belongs to. The ids and `position_ids` are then [R, C] too, and labels of tokens have
                the shape of `output_tokens`.
            output_tokens: [R, S] ascending indices of the tokens of each packed row that are computed; all if left out.
            output_indices: [B], or [B, C] for multiple choice: indices of the first tokens of texts in the flattened
                `output_tokens`. Heads that read the first token need them in packed rows.

        Returns:
            `loss` [] if labels are given, `logits`, and on request `hidden_states` and `attentions`.

        Raises:
            InputError: An argument has an impossible shape or value; the message names it.
        """
        inputs: dict[str, Any] = {"input_ids": input_ids, "inputs_embeds": inputs_embeds}
        inputs |= {"attention_mask": attention_mask, "position_ids": position_ids}
        options: dict[str, Any] = {"output_attentions": output_attentions, "output_hidden_states": output_hidden_states}
        options |= {"head_mask": head_mask, "segment_ids": segment_ids, "output_tokens": output_tokens}
        return self._predict(inputs, (labels,), sample_weight, return_dict, output_indices, **options)

    def _predict(
        self,
        inputs: dict[str, Any],
        labels: tuple[Tensor | None, ...],
        sample_weight: Tensor | None,
        return_dict: bool | None,
        output_indices: Tensor | None,
        **options: Any,
    ) -> ModelOutput | tuple[Any, ...]:
        """Compute the outputs of the head, and the loss if labels are given.

        Args:
            inputs: The inputs with axes of texts and tokens, by name.
            labels: The labels, in the order of `Head.labels`.
            sample_weight: Weights of the labels.
            return_dict: Whether to return an output object or a tuple.
            output_indices: Indices of the outputs of packed rows.
            **options: Further arguments of the base model.
        """
        check_packed(self.head, options["segment_ids"], options["output_tokens"], shape_of(output_indices))
        shape: tuple[int, ...] | None = None
        if self.head.has_choices and output_indices is None:
            given = choose(inputs["input_ids"], inputs["inputs_embeds"])
            texts = (None if x is None else x.shape for x in (inputs["input_ids"], inputs["inputs_embeds"]))
            others = (shape_of(inputs[name]) for name in ("attention_mask", "position_ids"))
            choices = choice_count(*texts, *others)  # a tracer's sizes are tensors
            # The sizes of the input: a computed size (-1) would restrict an exported program to batches of two or more.
            shape = given.shape[0], choices
            inputs = {name: _flatten_choices(x) for name, x in inputs.items()}  # [B * C, ...]
        base = self.distilbert(**inputs, **options, return_dict=True)
        if output_indices is None:
            logits = self.head_logits(base.last_hidden_state)
            outputs = self.head.named(logits if shape is None else logits.reshape(shape))
        else:
            outputs = self.head.named(self._logits_at(base.last_hidden_state, output_indices))
        loss = None
        if labels_given(self.head, labels, sample_weight):
            loss = self.task_loss(single(outputs.values()), single(labels), sample_weight)
        output = self.head.output_type(
            loss=loss, **outputs, hidden_states=base.hidden_states, attentions=base.attentions
        )
        return self._as_requested(output, return_dict)

    def _logits_at(self, hidden: Tensor, indices: Tensor) -> Tensor:
        """Return the logits of packed rows at some indices of their outputs.

        Args:
            hidden: [R, S, D] hidden states.
            indices: Integers in any shape, indices into [R * S]; -1 for padding.

        Returns:
            [B, L]; [B, C] for multiple choice; [B, T, 2] for question answering, with -inf at padding.
        """
        padding = indices < 0 if self.head.reads_tokens else None
        if padding is not None:
            indices = indices.clamp(min=0)
        flat = hidden.flatten(0, 1)  # [R * S, D]
        check_values("output_indices", indices, flat.shape[0], "outputs")
        logits = self.head_logits(flat[indices.flatten().long()][:, None])  # [B * C or B * T, ...]
        logits = logits.reshape(*indices.shape, -1)
        if padding is not None:
            return logits.masked_fill(padding[..., None], -math.inf)
        return logits[..., 0] if self.head.has_choices else logits


def _flatten_choices(x: Tensor | None) -> Tensor | None:
    """[B, C, ...] -> [B * C, ...]; positions of all texts, [1, T] or [T], remain as they are."""
    return x if x is None or x.ndim < 3 else x.flatten(0, 1)


class DistilBertForMaskedLM(_ModelWithHead):
    """Predicts masked tokens. The projector shares the word embeddings unless `tie_word_embeddings` is False.

    Labels are [B, T] token ids, -100 for tokens that are not predicted. Logits are [B, T, V].

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

    def make_head(self, config: DistilBertConfig) -> None:
        """Make the layers of the head."""
        self.activation = activation_function(config)
        self.vocab_transform = nn.Linear(config.dim, config.dim)
        self.vocab_layer_norm = nn.LayerNorm(config.dim, eps=NORM_EPSILON)
        self.vocab_projector = nn.Linear(config.dim, config.vocab_size)

    def head_logits(self, hidden: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, V]."""
        return self.vocab_projector(self.vocab_layer_norm(self.activation(self.vocab_transform(hidden))))

    def get_output_embeddings(self) -> nn.Linear:
        """Return the projector to the vocabulary."""
        return self.vocab_projector

    @renames(new_embeddings="embeddings")
    def set_output_embeddings(self, embeddings: nn.Linear) -> None:
        """Replace the projector to the vocabulary; a tied projector gets the weight of the word embeddings.

        Raises:
            InputError: The weight of the new projector is not [vocab_size, dim].
        """
        shape = (self.config.vocab_size, self.config.dim)
        if shape_of(embeddings.weight) != shape:
            raise InputError(f"embeddings must have a weight of shape {shape}, got {shape_of(embeddings.weight)}.")
        self.vocab_projector = embeddings
        self.tie_weights()


class _TextClassifier(_ModelWithHead):
    """The layers of a head that reads the first token of each text."""

    def make_head(self, config: DistilBertConfig) -> None:
        """Make the layers of the head."""
        self.pre_classifier = nn.Linear(config.dim, config.dim)
        self.classifier = nn.Linear(config.dim, self.head.label_count(config))
        self.dropout = nn.Dropout(self.head.dropout_rate(config))

    def head_logits(self, hidden: Tensor) -> Tensor:
        """[B, T, D] -> [B, L]."""
        return self.classifier(self.dropout(self.pre_classifier(hidden[:, 0]).relu()))


class DistilBertForSequenceClassification(_TextClassifier):
    """Classifies or scores a text by its first token.

    Labels are [B] classes, [B] or [B, L] numbers (regression), or [B, L] of 0 and 1 (multi-label). The field
    `config.problem_type` decides; if it is None, `num_labels` and the dtype of the labels do. Logits are [B, L].

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

    def task_loss(self, logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """[B, L] -> []."""
        return sequence_classification_loss(self.config, logits, labels, weights)


class DistilBertForMultipleChoice(_TextClassifier):
    """Chooses one of C texts. Inputs are [B, C, T], labels are [B] indices of the right choice, logits are [B, C].

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


class DistilBertForTokenClassification(_ModelWithHead):
    """Classifies every token. Labels are [B, T] classes, -100 for tokens that do not count; logits are [B, T, L].

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

    def make_head(self, config: DistilBertConfig) -> None:
        """Make the layers of the head."""
        self.dropout = nn.Dropout(self.head.dropout_rate(config))
        self.classifier = nn.Linear(config.dim, config.num_labels)

    def head_logits(self, hidden: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, L]."""
        return self.classifier(self.dropout(hidden))


class DistilBertForQuestionAnswering(_ModelWithHead):
    """Finds the answer to a question in a text: scores each token as the start, and as the end, of the answer.

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

    def make_head(self, config: DistilBertConfig) -> None:
        """Make the layers of the head."""
        self.dropout = nn.Dropout(self.head.dropout_rate(config))
        self.qa_outputs = nn.Linear(config.dim, 2)

    def head_logits(self, hidden: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, 2]."""
        return self.qa_outputs(self.dropout(hidden))

    def task_loss(
        self, logits: tuple[Tensor, Tensor], labels: tuple[Tensor, Tensor], weights: Tensor | None = None
    ) -> Tensor:
        """[B, T] twice -> []."""
        loss = question_answering_loss(*logits, *labels, weights)
        assert loss is not None
        return loss

    def forward(  # type: ignore[override]  # two labels in place of one
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
        segment_ids: Tensor | None = None,
        output_tokens: Tensor | None = None,
        output_indices: Tensor | None = None,
    ) -> ModelOutput | tuple[Any, ...]:
        """Compute the scores of start and end, and the loss if both positions are given.

        Args:
            input_ids: [B, T] integers below `vocab_size`. Give these or `inputs_embeds`.
            attention_mask: [B, T], 1 for tokens to attend to and 0 for padding; any dtype. All ones if left out.
            head_mask: [N] or [layers, N] factors for the attention weights of each head; 0 switches a head off.
            inputs_embeds: [B, T, D] word embeddings in place of ids.
            start_positions: [B] index of the first token of the answer. A negative index counts as 0; an index of T or
                more does not count.
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
        return self._predict(inputs, labels, sample_weight, return_dict, output_indices, **options)


MODELS = (
    DistilBertForMaskedLM,
    DistilBertForSequenceClassification,
    DistilBertForMultipleChoice,
    DistilBertForTokenClassification,
    DistilBertForQuestionAnswering,
)
