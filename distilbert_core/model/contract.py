"""The contract of a backend: everything that the core needs of a package such as `distilbert_pt`.

A backend package has one object, `BACKEND`, in its module `backend`. The core finds it by `get_backend` and looks up no
other name of the package. To write a backend, derive `Backend`, and write the classes and functions that its members
return. The protocols below list the members that the core uses. mypy compares the three backends with them, and
tests/models/test_contract.py compares the names of arguments and their order.

Shapes: R packed rows, C columns of a packed row, S outputs of a row, B batch, T tokens, L labels.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, TypeAlias

import numpy as np

from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.layouts import Layout
from distilbert_core.model.packed_batches import Sizes
from distilbert_core.model.packing import Packing, Ragged
from distilbert_core.model.parameters import Parameter

Tensor: TypeAlias = Any  # a tensor of the backend's framework; the core passes it on and does not look inside
Device: TypeAlias = Any  # a device as the backend's framework names it


class Model(Protocol):
    """A model of any head: `PretrainedModel`, and how packed rows are computed."""

    config: DistilBertConfig

    @property
    def head(self) -> Head | None:
        """The head; None for a user's own class."""

    @classmethod
    def from_pretrained(cls, source: str | Path, **kwargs: Any) -> Any:
        """Load a checkpoint; see `PretrainedModel.from_pretrained`."""

    def save_pretrained(self, folder: str | Path, **kwargs: Any) -> None:
        """Write config.json and model.safetensors; see `PretrainedModel.save_pretrained`."""

    @property
    def parameter_table(self) -> tuple[Parameter, ...]:
        """Every parameter of this model."""

    @property
    def base_model(self) -> Any:
        """The base model inside a model with a head, else the model itself."""

    def gradient_checkpointing_enable(self) -> None:
        """Keep only the input of each block for the backward pass, which computes the rest again."""

    def packed_outputs(
        self, input_ids: Tensor, position_ids: Tensor, segment_ids: Tensor, output_tokens: Tensor | None = None
    ) -> Tensor:
        """Return hidden states, or logits if the model has a head, of packed rows.

        Args:
            input_ids: [R, C] integers.
            position_ids: [R, C] integers: the position of each token in its text.
            segment_ids: [R, C] integers: the id of the text that each token belongs to. Tokens attend to the tokens
                of their own text.
            output_tokens: [R, S] indices of the tokens to return outputs for; all tokens if left out.

        Returns:
            [R, S, ...], or [R, C, ...] without `output_tokens`.
        """


class ModelWithHead(Model, Protocol):
    """A model with a head on its base model."""

    distilbert: Any  # the base model, a `Model`

    @property
    def head(self) -> Head:
        """The head."""

    def head_logits(self, hidden: Tensor) -> Tensor:
        """Return the logits [B, T, ...] of hidden states [B, T, D]."""

    def task_loss(self, logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the loss [] of logits against labels, whose losses are multiplied by weights."""


class Runner(Protocol):
    """A model for inference, NumPy in and NumPy out; `PackedInference` is the base of the three."""

    backend: str
    head: Head

    def __init__(self, model: Any) -> None: ...

    @classmethod
    def load(cls, head: Head, source: str | Path, **kwargs: Any) -> Self:
        """Load a checkpoint for inference; see `load_inference`."""

    @classmethod
    def accelerators(cls) -> list[Device]:
        """Return the devices of the framework other than the CPU."""

    @property
    def device(self) -> Device:
        """The device of the model."""

    def move(self, device: Device) -> None:
        """Move the model to a device; see `Inference.move`."""

    def run(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs of the model, called with these arguments."""

    def run_ragged(self, texts: Ragged, selected: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Return the outputs of the model for texts without padding; see `Inference.run_ragged`."""

    def pack(self, lengths: np.ndarray) -> Packing:
        """Return the packing of texts with these lengths [B] that is best for the framework."""

    @classmethod
    def packing(cls, lengths: np.ndarray, config: DistilBertConfig) -> Packing:
        """Return the packing of texts with these lengths [B] that is best for the framework and a configuration."""

    def run_packed(self, rows: dict[str, np.ndarray]) -> np.ndarray:
        """Return the outputs of packed rows, the arguments of `Model.packed_outputs`."""


class Engine(Protocol):
    """A model in training; `distilbert_core.training.engine.Engine` is the base of the three.

    Attributes:
        sizes: How the sizes of packed batches are rounded up.
    """

    sizes: Sizes

    @classmethod
    def init_distributed(cls) -> dict[str, Any]:
        """Join the other processes of the run, and return the keywords of `from_pretrained` for its device."""

    def step(self, batch: dict[str, np.ndarray], step: int) -> dict[str, float]:
        """Take a step and return the losses before it by name."""

    def state(self) -> dict[str, np.ndarray]:
        """Return parameters, moments of the optimizer and random state by name."""

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from a result of `state`."""


class Losses(Protocol):
    """The formulas of the losses: functions of the module `losses`. Each returns a tensor [] in at least float32."""

    def cross_entropy(
        self, logits: Tensor, labels: Tensor, name: str = "labels", weights: Tensor | None = None
    ) -> Tensor:
        """Return the mean cross-entropy of classes; labels of -100 do not count."""

    def mean_squared_error(self, predictions: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the mean squared error."""

    def binary_cross_entropy(self, logits: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the mean cross-entropy of labels that are 0 or 1 each."""

    def sequence_classification_loss(
        self, config: DistilBertConfig, logits: Tensor, labels: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        """Return the loss that `config.problem_type` names."""

    def question_answering_loss(
        self,
        start_logits: Tensor,
        end_logits: Tensor,
        start_positions: Tensor | None,
        end_positions: Tensor | None,
        weights: Any = None,
    ) -> Any:
        """Return the mean of the cross-entropies of start and end, or None if neither position is given."""

    def distillation_loss(
        self, student_logits: Tensor, teacher_logits: Tensor, temperature: float = 2.0, mask: Tensor | None = None
    ) -> Tensor:
        """Return the divergence of the student's distribution from the teacher's, both softened."""

    def cosine_loss(self, student_hidden: Tensor, teacher_hidden: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return 1 minus the mean cosine of hidden states."""

    def hidden_loss(self, student_hidden: Tensor, teacher_hidden: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the squared error of hidden states, relative to the variance of the teacher's."""

    def cosine_similarities(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the cosine similarity [M, N] of each row of a matrix [M, D] with each row of another one [N, D]."""

    def logits_squared_error(
        self, student_logits: Tensor, teacher_logits: Tensor, mask: Tensor | None = None
    ) -> Tensor:
        """Return the mean squared difference of logits."""


@dataclass(frozen=True)
class Registration:
    """The facts about a backend that the core knows without importing it.

    Attributes:
        name: Short name: 'pt'.
        title: Name of the framework for people: 'PyTorch'.
        package: The package of the backend: 'distilbert_pt'.
        requires: Modules that must be installed.
        class_prefix: How the names of its models begin, before `Head.value`.
        layout: Names and layout of its parameters.
    """

    name: str
    title: str
    package: str
    requires: tuple[str, ...]
    class_prefix: str
    layout: Layout

    @property
    def install_command(self) -> str:
        """The command that installs this backend."""
        return f'pip install "distilbert[{self.name}]"'

    @property
    def missing(self) -> list[str]:
        """The required modules that are not installed."""
        return [module for module in self.requires if importlib.util.find_spec(module) is None]


class Backend(ABC):
    """A backend. `runner`, `engine` and `losses` are imported when they are first used.

    Args:
        registration: Its row of `BACKENDS`.
    """

    def __init__(self, registration: Registration):
        self.registration = registration
        self.name = registration.name
        self.title = registration.title
        self.package = registration.package
        self.layout = registration.layout

    @abstractmethod
    def model_class(self, head: Head) -> type[Model]:
        """Return the class of the models with a head."""

    @property
    @abstractmethod
    def runner(self) -> type[Runner]:
        """The class of models for inference."""

    @property
    @abstractmethod
    def engine(self) -> type[Engine]:
        """The class of models in training."""

    @property
    @abstractmethod
    def losses(self) -> Losses:
        """The module of losses."""

    @abstractmethod
    def to_tensor(self, array: np.ndarray) -> Tensor:
        """Return a tensor of the framework with the values of a NumPy array."""

    @abstractmethod
    def on_cpu(self) -> AbstractContextManager[Callable[[np.ndarray], Tensor]]:
        """Return a context for inference on the CPU in any dtype; it yields a function from array to tensor."""
