"""The numbers of a training run, the same for all backends, and the learning rate of each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import wraps
from typing import Any, ClassVar, TypeVar

import numpy as np

from distilbert_core.errors import InputError, did_you_mean
from distilbert_core.model.parameters import Kind, Parameter
from distilbert_core.training.labels import BALANCED

DECAYED = frozenset({Kind.KERNEL, Kind.EMBEDDING})  # biases and norms have no weight decay

SCHEDULES: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # fraction of the peak, by progress after warmup
    "linear": lambda progress: 1 - progress,
    "cosine": lambda progress: (1 + np.cos(np.pi * progress)) / 2,
    "constant": np.ones_like,
}


Limit = tuple[Callable[[Any], bool], str]  # a condition on a value, and its description in messages


def _number(value: Any, lowest: float, highest: float = math.inf) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and lowest <= value < highest


def _integer(value: Any, lowest: int, highest: float = math.inf) -> bool:
    return isinstance(value, int) and _number(value, lowest, highest)


def _class_weights(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return value is None or value == BALANCED
    return bool(value) and all(_number(weight, math.ulp(0.0)) for weight in value.values())


POSITIVE = (lambda value: _number(value, math.ulp(0.0)), "a number above 0")
NOT_NEGATIVE = (lambda value: _number(value, 0.0), "a number >= 0")
FRACTION = (lambda value: _number(value, 0.0, 1.0), "a number in [0, 1)")
BOOLEAN: Limit = (lambda value: isinstance(value, bool), "True or False")
COUNT = (lambda value: _integer(value, 1), "a positive integer")
COUNT_OR_NONE = (lambda value: value is None or _integer(value, 1), "a positive integer, or None")
LIMITS: Mapping[str, Limit] = {
    "epochs": POSITIVE,
    "max_steps": COUNT_OR_NONE,
    "batch_size": COUNT,
    "max_tokens": COUNT_OR_NONE,
    "accumulate": COUNT,
    "max_length": COUNT_OR_NONE,
    "doc_stride": (lambda value: _integer(value, 0), "an integer >= 0"),
    "learning_rate": NOT_NEGATIVE,
    "schedule": (lambda value: value in list(SCHEDULES), f"one of {', '.join(SCHEDULES)}"),
    "warmup": FRACTION,
    "weight_decay": NOT_NEGATIVE,
    "beta1": FRACTION,
    "beta2": FRACTION,
    "epsilon": POSITIVE,
    "max_grad_norm": POSITIVE,
    "mask_probability": (lambda value: _number(value, math.ulp(0.0), 1.0), "a number in (0, 1)"),
    "dropout": (lambda value: value is None or _number(value, 0.0, 1.0), "a number in [0, 1), or None"),
    "eval_every": COUNT_OR_NONE,
    "patience": COUNT_OR_NONE,
    "seed": (lambda value: _integer(value, 0, 2**32), "an integer in [0, 2**32)"),
    "dtype": (lambda value: value in ("float32", "float64", "bfloat16"), "'float32', 'float64' or 'bfloat16'"),
    "class_weights": (_class_weights, f"None, {BALANCED!r}, or numbers above 0 by name of label"),
    "gradient_checkpointing": BOOLEAN,
    "shard": BOOLEAN,
}


# Other names of the numbers: those of Transformers' TrainingArguments, and common abbreviations.
OTHER_NAMES = {
    "lr": "learning_rate",
    "num_train_epochs": "epochs",
    "num_epochs": "epochs",
    "per_device_train_batch_size": "batch_size",
    "gradient_accumulation_steps": "accumulate",
    "max_seq_length": "max_length",
    "lr_scheduler_type": "schedule",
    "warmup_ratio": "warmup",
    "adam_beta1": "beta1",
    "adam_beta2": "beta2",
    "adam_epsilon": "epsilon",
    "mlm_probability": "mask_probability",
    "eval_steps": "eval_every",
    "early_stopping_patience": "patience",
}
Class = TypeVar("Class", bound=type)


def name_unknown_numbers(kind: Class) -> Class:
    """Decorator: let a recipe suggest a name in its error for an unknown one."""
    make: Callable[..., None] = kind.__init__  # type: ignore[misc]
    names = [field.name for field in fields(kind)]

    @wraps(make)
    def __init__(self: Any, *args: Any, **numbers: Any) -> None:  # noqa: N807, it replaces this method
        for name in numbers:
            if name not in names:
                raise TypeError(f"{kind.__name__} has no {name!r}.{did_you_mean(OTHER_NAMES.get(name, name), names)}")
        make(self, *args, **numbers)

    kind.__init__ = __init__  # type: ignore[misc]
    return kind


@name_unknown_numbers
@dataclass(frozen=True)
class Recipe:
    """The numbers of a training run. The optimizer is AdamW, with the formulas of PyTorch and optax.

    The command line reads its help from the attributes below.

    Attributes:
        epochs: Number of passes over the rows; fractions are possible.
        max_steps: Number of steps, in place of `epochs`.
        batch_size: Rows of a step.
        max_tokens: Most tokens of a step, in place of `batch_size`: as many rows as fit. The steps of `epochs` are then
            counted in tokens.
        accumulate: Number of micro-batches in which a batch is computed, one after another, to save memory. A step
            follows the mean of their gradients.
        max_length: Maximum length of a row in tokens. Longer texts are cut, longer contexts of questions are split.
            None: 128, or 384 for question answering.
        doc_stride: Tokens that neighbouring windows of a context share, at most half a window (question answering).
        learning_rate: The highest learning rate, reached at the end of the warmup.
        schedule: Learning rate after the warmup: 'linear' or 'cosine' (both down to zero), or 'constant'.
        warmup: Fraction of all steps in which the learning rate rises linearly, in [0, 1).
        weight_decay: Weight decay of matrices; biases and norms have none.
        beta1: Decay of the mean of gradients.
        beta2: Decay of the mean of squared gradients.
        epsilon: Added to the root of the mean of squares, after its correction for the first steps.
        max_grad_norm: Gradients are scaled down so that their norm, all together, is at most this.
        mask_probability: Fraction of the tokens to predict (masked-LM).
        dropout: Rate of every dropout; None: the rates of the model's configuration.
        eval_every: Steps between evaluations; None: one at the end of each epoch.
        patience: Stop after this number of evaluations in a row without a better metric; None: never.
        seed: Seed of everything that is drawn: order, masks, new heads, dropout.
        dtype: Dtype of parameters and computation, 'float32' or 'float64'. With 'bfloat16', computation is in bfloat16,
            and parameters and losses are in float32.
        class_weights: Weight of each label in the loss, by name: {'bad': 1, 'good': 3}; or 'balanced', in inverse
            proportion to the frequency of the labels in the training file; None: equal weights.
        gradient_checkpointing: Keep only the input of each block for the backward pass, which computes the rest again:
            the same numbers in less memory and more time.
        shard: Keep a part of each parameter, gradient and moment in each process, and gather a block while it is
            computed (PyTorch in the processes of torchrun, by FSDP2).

    Raises:
        InputError: A number is impossible; the message names it.
        TypeError: A name is unknown; the message suggests a number.

    Example:
        >>> from distilbert_core.training import Recipe
        >>> Recipe(learning_rate=4e-5, warmup=0.25).learning_rates(steps=8).round(6).tolist()
        [2e-05, 4e-05, 4e-05, 3.3e-05, 2.7e-05, 2e-05, 1.3e-05, 7e-06]
    """

    _limits: ClassVar[Mapping[str, Limit]] = LIMITS

    epochs: float = 3.0
    max_steps: int | None = None
    batch_size: int = 32
    max_tokens: int | None = None
    accumulate: int = 1
    max_length: int | None = None
    doc_stride: int = 128
    learning_rate: float = 5e-5
    schedule: str = "linear"
    warmup: float = 0.1
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    max_grad_norm: float = 1.0
    mask_probability: float = 0.15
    dropout: float | None = None
    eval_every: int | None = None
    patience: int | None = None
    seed: int = 42
    dtype: str = "float32"
    class_weights: str | Mapping[str, float] | None = field(default=None, hash=False)
    gradient_checkpointing: bool = False
    shard: bool = False

    def __post_init__(self) -> None:
        for name, (fits, description) in self._limits.items():
            value = getattr(self, name)
            if not fits(value):
                raise InputError(f"{name} must be {description}, got {value!r}.")
        if isinstance(self.class_weights, Mapping):  # a copy, with names as JSON has them
            weights = {str(label): float(weight) for label, weight in self.class_weights.items()}
            object.__setattr__(self, "class_weights", weights)
        if self.max_tokens is None and self.accumulate > self.batch_size:
            raise InputError(f"accumulate must be at most batch_size={self.batch_size}, got {self.accumulate}.")

    @property
    def stored_dtype(self) -> str:
        """Dtype of the parameters."""
        return "float32" if self.dtype == "bfloat16" else self.dtype

    def steps_of_an_epoch(self, rows: int, tokens: int = 0) -> float:
        """Return the number of steps in which as many rows, or with `max_tokens` tokens, are seen as there are."""
        return rows / self.batch_size if self.max_tokens is None else tokens / self.max_tokens

    def steps(self, rows: int, tokens: int = 0) -> int:
        """Return the number of steps for a number of rows, and of tokens in them."""
        return self.max_steps or max(1, math.ceil(self.epochs * self.steps_of_an_epoch(rows, tokens)))

    def steps_between_evaluations(self, rows: int, tokens: int = 0) -> int:
        """Return the number of steps between evaluations, for a number of rows, and of tokens in them."""
        return self.eval_every or max(1, math.ceil(self.steps_of_an_epoch(rows, tokens)))

    def learning_rates(self, steps: int) -> np.ndarray:
        """Return the learning rate of each step, float64 [steps]: a linear rise, then the schedule."""
        index = np.arange(steps)
        warmup = int(self.warmup * steps)
        progress = (index - warmup) / max(steps - warmup, 1)
        rising = (index + 1) / max(warmup, 1)
        return self.learning_rate * np.where(index < warmup, rising, SCHEDULES[self.schedule](progress))

    def decays(self, parameter: Parameter) -> bool:
        """Return whether a parameter has weight decay."""
        return parameter.kind in DECAYED

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers by name, with values that JSON can hold."""
        return asdict(self)
