"""How a student learns from a teacher: the numbers of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from distilbert_core.errors import InputError
from distilbert_core.training.recipe import LIMITS, NOT_NEGATIVE, POSITIVE, Limit, Recipe, name_unknown_numbers

TERMS = ("distillation", "task", "cosine", "squared_error")  # of the loss
BOOLEAN: Limit = (lambda value: isinstance(value, bool), "True or False")


@name_unknown_numbers
@dataclass(frozen=True)
class DistillationRecipe(Recipe):
    """The numbers of distillation, whose loss is a weighted sum; by default, those that DistilBERT was made with.

    From Sanh et al. 2019, "DistilBERT, a distilled version of BERT", section 3, with the weights of its training:
    5 for the teacher's probabilities, 2 for masked tokens, 1 for the direction of hidden states.

    Attributes:
        distillation_weight: Of the teacher's probabilities, softened by the temperature.
        task_weight: Of the labels: masked tokens, or the classes of texts that have one.
        cosine_weight: Of the angle between the hidden states of student and teacher after their last blocks.
        squared_error_weight: Of the squared error of the logits.
        temperature: What logits are divided by before their probabilities are compared.
        only_masked: Compare the logits of masked tokens only, not those of all tokens (masked-LM).
        mask_smoothing: A word that occurs n times is masked with weight n ** -mask_smoothing (masked-LM).

    Raises:
        InputError: A number is impossible; the message names it.
        TypeError: A name is unknown; the message names the number that may be meant.

    Example:
        >>> from distilbert_core.training.distillation import DistillationRecipe
        >>> DistillationRecipe(cosine_weight=0.5).weights
        {'distillation': 5.0, 'task': 2.0, 'cosine': 0.5, 'squared_error': 0.0}
    """

    _limits: ClassVar[Mapping[str, Limit]] = {
        **LIMITS,
        **{f"{term}_weight": NOT_NEGATIVE for term in TERMS},
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
        """Whether a term other than that of the labels counts."""
        return any(weight for term, weight in self.weights.items() if term != "task")

    def total(self, terms: Mapping[str, Any]) -> dict[str, Any]:
        """Return the losses of a step by name: 'loss', which is the weighted sum, and each of its terms.

        Args:
            terms: For each term a function of no arguments that returns its loss []; those of weight 0 are not called.
        """
        losses = {f"loss_{term}": terms[term]() for term, weight in self.weights.items() if weight}
        return {"loss": sum(self.weights[name.removeprefix("loss_")] * loss for name, loss in losses.items()), **losses}
