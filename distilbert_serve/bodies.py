"""The bodies of the task routes: inputs and options, by the names of the command line."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, NotRequired, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, Field, PositiveInt
from typing_extensions import TypedDict

T = TypeVar("T")


class _FirstError(FailFast):
    """A list is read until its first error: a body of a million wrong values would take minutes and gigabytes."""

    __hash__ = object.__hash__  # members of a union must have one


Rows = Annotated[list[T], _FirstError()]


class TextPair(TypedDict):
    """A text, or a pair of texts."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[misc]
    text: str
    text_pair: NotRequired[str]


class Question(TypedDict):
    """A question and the text that contains the answer."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[misc]
    question: str
    context: str


class Choices(TypedDict):
    """A prompt and its possible endings."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[misc]
    prompt: str
    choices: Rows[str]


class TaskBody(BaseModel):
    """One input or a list of inputs, the options of the task, and the model that answers."""

    model_config = ConfigDict(extra="forbid", strict=True)
    expects: ClassVar[str] = "a text or a list of texts"
    inputs: Any
    model: str | None = Field(None, description="Name of the model; left out: the only one that can do the task.")

    @property
    def is_one(self) -> bool:
        """Whether `inputs` is one input, whose answer is one record."""
        return not isinstance(self.inputs, list)

    @property
    def values(self) -> list[Any]:
        """The inputs as a list."""
        return [self.inputs] if self.is_one else self.inputs

    @property
    def options(self) -> dict[str, Any]:
        """The options that are given."""
        return {
            name: value
            for name, value in self
            if name not in ("inputs", "model", "truncation") and name in self.model_fields_set and value is not None
        }


class _Texts(TaskBody):
    inputs: str | Rows[str] = Field(description="A text, or a list of texts.")
    truncation: bool | None = Field(
        None,
        description="Texts that are too long for the model: true cuts them, false refuses them, null cuts them and "
        "says so in the header Distilbert-Note.",
    )


class PredictBody(_Texts):
    """Texts to classify."""

    expects: ClassVar[str] = "a text, an object with text and text_pair, or a list of them"
    inputs: str | TextPair | Rows[str | TextPair] = Field(  # type: ignore[assignment]
        description="A text, or a pair of texts, or a list of them."
    )
    top_k: PositiveInt | None = Field(None, description="Return the best labels too, at most this number.")
    all_scores: bool = Field(False, description="Return all labels too, the best first.")


class ZeroShotBody(_Texts):
    """Texts to classify by labels of your own."""

    labels: Rows[str] = Field(min_length=1, description="Labels to choose from.")
    template: str = Field("This example is {}.", description="Sentence that states a label; {} stands for the label.")
    multi_label: bool = Field(False, description="Score each label on its own, as several labels may be true.")


class FillMaskBody(_Texts):
    """Texts with [MASK]."""

    top_k: PositiveInt = Field(5, description="Number of candidates for each mask.")
    targets: Rows[str] | None = Field(None, description="Choose among these words only.")


class TagBody(_Texts):
    """Texts in which to find entities."""

    aggregation: Literal["none", "simple", "first", "average", "max"] = Field(
        "simple", description="How to group tokens into entities; none returns the label of every token."
    )
    stride: int | None = Field(
        None, ge=0, description="Read a long text in windows that overlap by this number of tokens."
    )


class AnswerBody(TaskBody):
    """Questions to answer from a text of any length."""

    expects: ClassVar[str] = "an object with the texts question and context, or a list of them"
    inputs: Question | Rows[Question] = Field(description="A question with its context, or a list of them.")
    top_k: PositiveInt = Field(1, description="Number of answers to each question.")
    impossible: bool = Field(False, description="Allow the empty answer.")
    max_answer_len: PositiveInt = Field(15, description="Maximum number of tokens in an answer.")


class EmbedBody(_Texts):
    """Texts to turn into vectors."""

    pooling: Literal["mean", "cls", "none"] = Field(
        "mean", description="The mean over the tokens, or the vector of [CLS]; none returns one vector per token."
    )
    normalize: bool = Field(True, description="Scale a pooled vector to length 1.")


class ChooseBody(_Texts):
    """Prompts with possible endings."""

    expects: ClassVar[str] = "an object with a text prompt and a list of texts choices, or a list of them"
    inputs: Choices | Rows[Choices] = Field(  # type: ignore[assignment]
        description="A prompt with its choices, or a list of them."
    )


# By the name of the route, as in `distilbert_core.pipelines.records.FORMS`.
BODIES: dict[str, type[TaskBody]] = {
    "predict": PredictBody,
    "zero-shot": ZeroShotBody,
    "fill-mask": FillMaskBody,
    "tag": TagBody,
    "answer": AnswerBody,
    "embed": EmbedBody,
    "choose": ChooseBody,
}
