"""The numbers of a distillation run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from distilbert_core.errors import InputError
from distilbert_core.training.recipe import (
    BOOLEAN,
    COUNT_OR_NONE,
    LIMITS,
    NOT_NEGATIVE,
    POSITIVE,
    Limit,
    Recipe,
    name_unknown_numbers,
)

TERMS = ("distillation", "task", "cosine", "squared_error", "hidden", "relation")  # the terms of the loss


@name_unknown_numbers
@dataclass(frozen=True)
class DistillationRecipe(Recipe):
    """The numbers of distillation, whose loss is a weighted sum. The defaults are those of DistilBERT's training.

    They are from Sanh et al. 2019, "DistilBERT, a distilled version of BERT", section 3, and its code: weight 5 for the
    teacher's probabilities, 2 for masked tokens, 1 for the direction of hidden states.

    Attributes:
        distillation_weight: Weight of the teacher's probabilities, softened by the temperature.
        task_weight: Weight of the labels: masked tokens, or the classes of labelled texts.
        cosine_weight: Weight of the angle between the last hidden states of student and teacher.
        squared_error_weight: Weight of the squared error of the logits.
        hidden_weight: Weight of the error of the hidden states of the embeddings and of all layers, relative to the
            variance of the teacher's.
        relation_weight: Weight of the relations between the tokens of a text in the last layer: how similar their
            queries are to each other, their keys, and their values.
        relation_heads: Number of heads in which relations are compared; it must divide the attention widths of student
            and teacher. None: the largest that leaves at least 16 numbers to a head of the narrower model.
        temperature: Divisor of the logits before their probabilities are compared.
        only_masked: Compare the logits of masked tokens only, instead of all tokens (masked-LM).
        mask_smoothing: A word that occurs n times is masked with weight n ** -mask_smoothing (masked-LM).

    Raises:
        InputError: A number is impossible; the message names it.
        TypeError: A name is unknown; the message suggests a number.

    Example:
        >>> from distilbert_core.training.distillation import DistillationRecipe
        >>> DistillationRecipe(cosine_weight=0.5).weights
        {'distillation': 5.0, 'task': 2.0, 'cosine': 0.5, 'squared_error': 0.0, 'hidden': 0.0, 'relation': 0.0}
    """

    _limits: ClassVar[Mapping[str, Limit]] = {
        **LIMITS,
        **{f"{term}_weight": NOT_NEGATIVE for term in TERMS},
        "relation_heads": COUNT_OR_NONE,
        "temperature": POSITIVE,
        "only_masked": BOOLEAN,
        "mask_smoothing": NOT_NEGATIVE,
        "class_weights": (lambda value: value is None, "None: it is for fine-tuning"),
    }

    learning_rate: float = 5e-4
    warmup: float = 0.05
    weight_decay: float = 0.0
    epsilon: float = 1e-6
    max_grad_norm: float = 5.0
    distillation_weight: float = 5.0
    task_weight: float = 2.0
    cosine_weight: float = 1.0
    squared_error_weight: float = 0.0
    hidden_weight: float = 0.0
    relation_weight: float = 0.0
    relation_heads: int | None = None
    temperature: float = 2.0
    only_masked: bool = False
    mask_smoothing: float = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
        if not any(self.weights.values()):
            raise InputError("One of the weights must be above 0: " + ", ".join(f"{term}_weight" for term in TERMS))

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term of the loss."""
        return {term: getattr(self, f"{term}_weight") for term in TERMS}

    @property
    def needs_teacher(self) -> bool:
        """Whether a term other than the labels has a weight."""
        return any(weight for term, weight in self.weights.items() if term != "task")

    def total(self, terms: Mapping[str, Any]) -> dict[str, Any]:
        """Return the losses of a step by name: 'loss', the weighted sum, and each of its terms.

        Args:
            terms: For each term a function without arguments that returns its loss []. It is not called if its weight
                is 0.
        """
        losses = {f"loss_{term}": terms[term]() for term, weight in self.weights.items() if weight}
        return {"loss": sum(self.weights[name.removeprefix("loss_")] * loss for name, loss in losses.items()), **losses}
