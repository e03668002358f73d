"""The task heads: a head is one row, from which everything that depends on the head is read.

A row lists the layers of the head, the hidden states that it reads, its outputs and its labels. Defining a row checks
it. The rest of a new head is one class per backend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal, get_args

from distilbert_core.errors import InputError
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.outputs import (
    BaseModelOutput,
    MaskedLMOutput,
    ModelOutput,
    MultipleChoiceModelOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from distilbert_core.model.parameters import (
    BASE_MODEL,
    LOGICAL_AXES,
    Parameter,
    base_model_parameters,
    dense,
    layer_norm,
)

Reads = Literal["tokens", "first", "choices"]


class _Registry(type):
    """The type of `Head`: `Head("ForMaskedLM")` finds a row, and iterating over `Head` yields all rows."""

    _rows: dict[str, Head]

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) != 1:
            row = super().__call__(*args, **kwargs)
            if row.value in cls._rows:
                raise InputError(f"value must be new, got {row.value!r}, which is a head already.")
            return cls._rows.setdefault(row.value, row)
        if args[0] not in cls._rows:
            raise ValueError(f"{args[0]!r} is not a head; the heads are {', '.join(cls._rows)}.")
        return cls._rows[args[0]]

    def __iter__(cls) -> Iterator[Head]:
        return iter(tuple(cls._rows.values()))

    def __len__(cls) -> int:
        return len(cls._rows)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Head(metaclass=_Registry):
    """A task head on the base model. Calling the class with the fields defines a head and registers it.

    `Head("ForMaskedLM")` returns a registered head, and `for head in Head` yields all of them.

    Attributes:
        value: End of the class name in every backend, such as 'ForMaskedLM'.
        reads: The hidden states that the head reads: 'tokens' for all tokens, 'first' for the first token of a text,
            'choices' for the first token of each of C texts.
        layers: Function from a configuration to the parameters of the head, in the order of the data flow.
        outputs: Names of the outputs that the head predicts; two or more share the last axis of the head's logits.
        labels: Names of the arguments that take labels.
        output_type: Type of the outputs.
        dropout: Field of the configuration with the dropout rate of the head; None if it has no dropout.
        keras_name: Name that Keras gives to a model with this head.

    Raises:
        TypeError: A field is missing; the message names it.
        InputError: A field is invalid; the message names it.

    Example:
        >>> from distilbert_core import Head
        >>> Head.QUESTION_ANSWERING.outputs, Head("ForMaskedLM").reads
        (('start_logits', 'end_logits'), 'tokens')
        >>> [head.architecture for head in Head][:2]
        ['DistilBertModel', 'DistilBertForMaskedLM']
    """

    value: str
    reads: Reads
    layers: Callable[[DistilBertConfig], Iterator[Parameter]]
    outputs: tuple[str, ...]
    labels: tuple[str, ...]
    output_type: type[ModelOutput]
    dropout: str | None
    keras_name: str

    _rows: ClassVar[dict[str, Head]] = {}
    BASE: ClassVar[Head]
    NONE: ClassVar[Head]  # another name of BASE
    MASKED_LM: ClassVar[Head]
    SEQUENCE_CLASSIFICATION: ClassVar[Head]
    MULTIPLE_CHOICE: ClassVar[Head]
    TOKEN_CLASSIFICATION: ClassVar[Head]
    QUESTION_ANSWERING: ClassVar[Head]

    @property
    def architecture(self) -> str:
        """The class name that config.json lists under `architectures`."""
        return f"DistilBert{self.value}"

    @property
    def has_choices(self) -> bool:
        """Whether inputs have an axis of choices after the batch."""
        return self.reads == "choices"

    @property
    def reads_tokens(self) -> bool:
        """Whether the outputs have an axis of tokens."""
        return self.reads == "tokens"

    @property
    def labels_tokens(self) -> bool:
        """Whether each token has a label. In question answering, tokens have outputs, but a text has the labels."""
        return self.reads_tokens and len(self.labels) == 1

    def named(self, logits: Any) -> dict[str, Any]:
        """Return the logits of the head, arrays of any framework, by the names of its outputs.

        Args:
            logits: [..., L]; with several outputs the last axis has an entry for each of them, which are then [...].
        """
        if len(self.outputs) == 1:
            return {self.outputs[0]: logits}
        return {name: logits[..., index] for index, name in enumerate(self.outputs)}

    def dropout_rate(self, config: DistilBertConfig) -> float:
        """Return the dropout rate of the head; 0 if it has no dropout."""
        return 0.0 if self.dropout is None else float(getattr(config, self.dropout))

    def label_count(self, config: DistilBertConfig) -> int:
        """Return the number of labels that a classifier scores: one for each choice, else `num_labels`."""
        return 1 if self.has_choices else config.num_labels

    def remove(self) -> None:
        """Remove the head from the registry."""
        del type(self)._rows[self.value]

    def __post_init__(self) -> None:
        config = DistilBertConfig()
        for name, (valid, expected) in self._rules(config).items():
            if not valid:
                raise InputError(f"{name} of a head must be {expected}, got {getattr(self, name)!r}.")
        for parameter in self.layers(config):
            if len(parameter.axes) != len(parameter.shape) or not set(parameter.axes) <= set(LOGICAL_AXES):
                raise InputError(
                    f"axes of {parameter.name} must name each axis of {parameter.shape}, out of "
                    f"{', '.join(LOGICAL_AXES)}; got {parameter.axes}."
                )
            if not parameter.of_head:
                raise InputError(f"{parameter.name} must have of_head=True: it is a parameter of {self.value}.")

    def _rules(self, config: DistilBertConfig) -> dict[str, tuple[bool, str]]:
        """Return for each field whether it is valid, and the values that are expected."""
        is_type = isinstance(self.output_type, type) and issubclass(self.output_type, ModelOutput)
        known = set(self.output_type.fields) if is_type else set()
        return {
            "value": (isinstance(self.value, str) and self.value.isidentifier(), "the end of a class name"),
            "reads": (self.reads in get_args(Reads), f"one of {', '.join(get_args(Reads))}"),
            "layers": (callable(self.layers), "a function from a configuration to parameters"),
            "output_type": (is_type, "a subclass of ModelOutput"),
            "outputs": (_are_names(self.outputs) and {*self.outputs} <= known != set(), "fields of its output_type"),
            "labels": (_are_names(self.labels) or self.labels == (), "a tuple of names"),
            "dropout": (self.dropout is None or hasattr(config, self.dropout), "None or a field of the configuration"),
            "keras_name": (isinstance(self.keras_name, str) and self.keras_name.isidentifier(), "a name"),
        }

    def __str__(self) -> str:
        return self.value

    def __repr__(self) -> str:
        return f"Head({self.value!r})"

    def __reduce__(self) -> tuple[type[Head], tuple[str]]:
        return Head, (self.value,)


def _are_names(names: Any) -> bool:
    return isinstance(names, tuple) and bool(names) and all(isinstance(name, str) for name in names)


# -- the layers of the heads ------------------------------------------------------------------------------------

_dense = partial(dense, of_head=True)


def _no_layers(config: DistilBertConfig) -> Iterator[Parameter]:
    return iter(())


def _masked_lm(config: DistilBertConfig) -> Iterator[Parameter]:
    yield from _dense("vocab_transform", hidden=config.dim, embed=config.dim)
    yield from layer_norm("vocab_layer_norm", config.dim, of_head=True)
    kernel, bias = _dense("vocab_projector", vocab=config.vocab_size, embed=config.dim)
    words = f"{BASE_MODEL}.embeddings.word_embeddings.weight"
    yield replace(kernel, tied_to=words if config.tie_word_embeddings else None)
    yield bias


def _text_classifier(config: DistilBertConfig, labels: int) -> Iterator[Parameter]:
    yield from _dense("pre_classifier", hidden=config.dim, embed=config.dim)
    yield from _dense("classifier", labels=labels, hidden=config.dim)


def _sequence_classification(config: DistilBertConfig) -> Iterator[Parameter]:
    return _text_classifier(config, config.num_labels)


def _multiple_choice(config: DistilBertConfig) -> Iterator[Parameter]:
    return _text_classifier(config, 1)


def _token_classification(config: DistilBertConfig) -> Iterator[Parameter]:
    return _dense("classifier", labels=config.num_labels, embed=config.dim)


def _question_answering(config: DistilBertConfig) -> Iterator[Parameter]:
    return _dense("qa_outputs", labels=2, embed=config.dim)


# -- the heads --------------------------------------------------------------------------------------------------

Head.BASE = Head.NONE = Head(
    value="Model",
    reads="tokens",
    layers=_no_layers,
    outputs=("last_hidden_state",),
    labels=(),
    output_type=BaseModelOutput,
    dropout=None,
    keras_name="tf_distil_bert_model",
)
Head.MASKED_LM = Head(
    value="ForMaskedLM",
    reads="tokens",
    layers=_masked_lm,
    outputs=("logits",),
    labels=("labels",),
    output_type=MaskedLMOutput,
    dropout=None,
    keras_name="tf_distil_bert_for_masked_lm",
)
Head.SEQUENCE_CLASSIFICATION = Head(
    value="ForSequenceClassification",
    reads="first",
    layers=_sequence_classification,
    outputs=("logits",),
    labels=("labels",),
    output_type=SequenceClassifierOutput,
    dropout="seq_classif_dropout",
    keras_name="tf_distil_bert_for_sequence_classification",
)
Head.MULTIPLE_CHOICE = Head(
    value="ForMultipleChoice",
    reads="choices",
    layers=_multiple_choice,
    outputs=("logits",),
    labels=("labels",),
    output_type=MultipleChoiceModelOutput,
    dropout="seq_classif_dropout",
    keras_name="tf_distil_bert_for_multiple_choice",
)
Head.TOKEN_CLASSIFICATION = Head(
    value="ForTokenClassification",
    reads="tokens",
    layers=_token_classification,
    outputs=("logits",),
    labels=("labels",),
    output_type=TokenClassifierOutput,
    dropout="dropout",
    keras_name="tf_distil_bert_for_token_classification",
)
Head.QUESTION_ANSWERING = Head(
    value="ForQuestionAnswering",
    reads="tokens",
    layers=_question_answering,
    outputs=("start_logits", "end_logits"),
    labels=("start_positions", "end_positions"),
    output_type=QuestionAnsweringModelOutput,
    dropout="qa_dropout",
    keras_name="tf_distil_bert_for_question_answering",
)


def parameter_table(config: DistilBertConfig, head: Head | None) -> tuple[Parameter, ...]:
    """Return all parameters of a model, in the order of the data flow.

    Under a head the names of the base model begin with 'distilbert.'. The names of the base model alone (`Head.BASE`)
    have no prefix.

    Args:
        config: Sizes of the model.
        head: Its head. None: the base model inside a user's own model, whose names have the prefix too.

    Example:
        >>> from distilbert_core import DistilBertConfig, Head, parameter_table
        >>> table = parameter_table(DistilBertConfig(), Head.SEQUENCE_CLASSIFICATION)
        >>> table[-1].name, table[-1].shape
        ('classifier.bias', (2,))
        >>> sum(p.shape[0] * (p.shape[1] if len(p.shape) > 1 else 1) for p in table)
        66955010
    """
    prefix = "" if head is Head.BASE else f"{BASE_MODEL}."
    of_head = () if head is None else head.layers(config)
    return (*base_model_parameters(config, prefix), *of_head)
