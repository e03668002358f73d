"""The training engine: a model and its optimizer, which take one step of an objective at a time.

`Engine` has what all backends share: it loads a model for training, divides a batch into micro-batches, and asks the
objective for their arrays. Each backend derives one class, `BackendEngine`, in its module `training`; it computes the
gradients and moves the parameters.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar, cast

import numpy as np

from distilbert_core.errors import CheckpointWarning, InputError
from distilbert_core.model.backends import backend_class, get_backend
from distilbert_core.model.forking import start
from distilbert_core.model.heads import Head
from distilbert_core.model.inference import PackedInference, warn_of_unused
from distilbert_core.model.packed_batches import Batch, Sizes
from distilbert_core.model.parameters import Parameter, initial_array
from distilbert_core.training.batches import split_batch
from distilbert_core.training.objectives import Function, Objective
from distilbert_core.training.recipe import Recipe


@dataclass(frozen=True)
class Division:
    """How the rows of a batch are divided among processes and devices.

    Attributes:
        rank: Index of this process. Process 0 writes the files.
        processes: Number of processes that share each step.
        replicas: Devices of this process that compute a micro-batch each at the same time.
        by_rows: Whether the devices of all processes share each micro-batch, instead of computing one each.
    """

    rank: int = 0
    processes: int = 1
    replicas: int = 1
    by_rows: bool = False

    @property
    def micro_batches(self) -> int:
        """How many micro-batches are computed at the same time."""
        return 1 if self.by_rows else self.processes * self.replicas

    def own(self, micro_batches: Sequence[Batch]) -> list[tuple[int, Batch]]:
        """Return the micro-batches that this process computes, each with its index."""
        indexed = [*enumerate(micro_batches)]
        return indexed if self.by_rows else indexed[self.rank :: self.processes]


class Engine(ABC):
    """A model in training on one backend.

    Args:
        model: A model of the backend. It is trained in place.
        recipe: The numbers of the optimizer.
        learning_rates: The learning rate of each step, float64 [steps].
        objective: Gives the loss of a step, and the arrays that it needs.

    Attributes:
        inference: The model for inference, at any time with its current parameters.
        division: How a batch is divided among processes and devices.
        sizes: How the sizes of packed batches are rounded up.
    """

    backend: ClassVar[str]
    bfloat16_options: ClassVar[Mapping[str, str]]  # keywords of `from_pretrained` for computation in bfloat16
    shards: ClassVar[bool] = False  # whether it can divide the parameters among processes
    sizes: Sizes = Sizes()

    def __init__(self, model: Any, recipe: Recipe, learning_rates: np.ndarray, objective: Objective):
        self.model = model
        self.recipe = recipe
        self.learning_rates = learning_rates
        self.objective = objective
        self.division = self.find_division()
        self.inference = cast(PackedInference, get_backend(self.backend).runner(model))

    # -- before there is an engine ------------------------------------------------------------------------------

    @classmethod
    def init_distributed(cls) -> dict[str, Any]:
        """Join the other processes of the run, if there are any.

        Returns:
            Keywords of `from_pretrained`: the device on which this process computes.
        """
        return {}

    @classmethod
    def scope(cls) -> AbstractContextManager[Any]:
        """Return the context in which the models of a run are made, on the devices that compute them."""
        return nullcontext()

    @classmethod
    def find_division(cls) -> Division:
        """Return how batches are divided among the processes and devices of this run."""
        return Division()

    @classmethod
    def load_model(
        cls, head: Head, source: str | Path, recipe: Recipe, new_head: bool = False, stacklevel: int = 2, **kwargs: Any
    ) -> Any:
        """Load the model of a checkpoint for training; see `load_engine`.

        Args:
            head: The head of the model.
            source: Folder, embedded model or Hub id.
            recipe: Its dtype, dropout, seed and gradient_checkpointing decide how the model is loaded.
            new_head: Draw a new head, even if the checkpoint has one.
            stacklevel: Of warnings, counted from here.
            **kwargs: Keywords of `from_pretrained`.

        Raises:
            InputError: The backend cannot divide the parameters as the recipe says.
        """
        if recipe.shard and not cls.shards:
            raise InputError(f"shard must be left out with backend {cls.backend!r}: only 'pt' divides the parameters.")
        kwargs = {**cls.init_distributed(), **kwargs}
        if recipe.dropout is not None:
            fields = {"dropout", "attention_dropout", *(row.dropout for row in Head if row.dropout)}
            kwargs |= dict.fromkeys(sorted(fields), recipe.dropout)
        if recipe.dtype == "bfloat16":
            kwargs |= cls.bfloat16_options
        else:
            kwargs |= {"dtype": recipe.dtype, "torch_dtype": recipe.dtype}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CheckpointWarning)  # fine-tuning usually begins with a new head; see below
            model, info = backend_class(cls.backend, head).from_pretrained(
                source, output_loading_info=True, ignore_mismatched_sizes=new_head, **kwargs
            )
        warn_of_unused(model, source, info["unexpected_keys"], stacklevel=stacklevel + 1)
        of_head = [parameter for parameter in model.parameter_table if parameter.of_head and parameter.tied_to is None]
        drawn = [parameter for parameter in of_head if new_head or parameter.name in info["missing_keys"]]
        if 0 < len(drawn) < len(of_head):
            names = ", ".join(parameter.name for parameter in drawn)
            warnings.warn(
                f"{source} lacks a part of its head, which is drawn: {names}.", CheckpointWarning, stacklevel=stacklevel
            )
        for parameter in drawn:
            array = initial_array(parameter, model.config, recipe.seed)
            model._set_array(parameter, array.astype(recipe.stored_dtype))
        if recipe.gradient_checkpointing:
            model.gradient_checkpointing_enable()
        return model

    # -- a step -------------------------------------------------------------------------------------------------

    def step(self, batch: Batch, step: int) -> dict[str, float]:
        """Take a step of the objective.

        Args:
            batch: The rows of the step: input_ids, perhaps attention_mask, and the labels that the objective needs.
            step: Index of the step, from 0. It decides the learning rate and, with the seed, the dropout.

        Returns:
            The losses before the step by name, means over the micro-batches. The step minimises 'loss'.

        Raises:
            InputError: The batch has fewer rows than there are micro-batches.
        """
        start(self.backend)
        first, at_once = step * self.recipe.accumulate, self.division.replicas
        own = [(first + index, part) for index, part in self.division.own(self._split(batch))]
        prepared = [self._prepare(dict(own[start : start + at_once])) for start in range(0, len(own), at_once)]
        return self._take_step([*chain(*prepared)], step)

    def _split(self, batch: Batch) -> list[Batch]:
        """Return the micro-batches of all processes."""
        devices = self.division.micro_batches
        count = self.recipe.accumulate * devices
        micro_batches = split_batch(batch, count)
        if len(micro_batches) < count:
            raise InputError(
                f"A batch of {len(micro_batches)} rows cannot be divided into {count} parts: {self.recipe.accumulate} "
                f"(accumulate) for each of {devices} device(s). Give a larger batch_size."
            )
        return micro_batches

    def _prepare(self, micro_batches: Mapping[int, Batch]) -> list[Batch]:
        """Return the arrays that the losses of micro-batches need; their indices count those of the run."""
        packed = {
            index: self._place(self.objective.pack(rows, self.model.head, self.inference.pack, self.sizes))
            for index, rows in micro_batches.items()
        }
        return self.objective.complete(packed, self.compute)

    def _place(self, batch: Batch) -> Batch:
        """Return a packed micro-batch, divided among devices where the framework computes it on several."""
        return batch

    @property
    def trained(self) -> list[Parameter]:
        """The parameters that are stored and not computed by a formula."""
        return [p for p in self.model.parameter_table if p.tied_to is None and not p.computed]

    # -- the part of a backend ----------------------------------------------------------------------------------

    @abstractmethod
    def _take_step(self, micro_batches: Sequence[Batch], step: int) -> dict[str, float]:
        """Take a step along the mean gradient of the micro-batches of all processes, and return their mean losses."""

    @abstractmethod
    def compute(self, model: Any, function: Function, batches: Sequence[Batch]) -> list[dict[str, Any]]:
        """Evaluate a function of a model and packed micro-batches: in inference mode and without gradients.

        Args:
            model: A model of the backend, such as one of the objective's `frozen` models.
            function: Takes a view of the model and the arrays as tensors, and returns tensors by name. It is traced or
                compiled once for each function.
            batches: Arrays by name: a micro-batch for each replica, or fewer.
        """

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """Return everything that the next steps depend on, by name: parameters, moments, and random state."""

    @abstractmethod
    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace parameters, moments and random state by those that `state` returned."""


def load_engine(
    backend: str,
    head: Head,
    source: str | Path,
    recipe: Recipe,
    learning_rates: np.ndarray,
    objective: Callable[[Any, type[Engine]], Objective],
    new_head: bool = False,
    stacklevel: int = 2,
    **kwargs: Any,
) -> Engine:
    """Load a checkpoint for training on a backend.

    Args:
        backend: 'pt', 'tf' or 'flax'.
        head: The head of the model. If the checkpoint lacks it, it is drawn, the same one in all backends.
        source: Folder, embedded model or Hub id.
        recipe: The numbers of the optimizer.
        learning_rates: The learning rate of each step, float64 [steps].
        objective: Makes the objective, given the model and the class of the engine.
        new_head: Draw a new head, even if the checkpoint has one.
        stacklevel: Of warnings, counted from here.
        **kwargs: Keywords of `from_pretrained`.

    Raises:
        BackendNotInstalledError: The backend's framework is not installed.
        CheckpointError: The checkpoint is missing or damaged.

    Warns:
        CheckpointWarning: The checkpoint lacks a part of the head, or has entries that belong to no head.
    """
    engine = cast(type[Engine], get_backend(backend).engine)
    with engine.scope():
        model = engine.load_model(head, source, recipe, new_head, stacklevel=stacklevel + 1, **kwargs)
        return engine(model, recipe, learning_rates, objective(model, engine))


def mean_losses(losses: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each loss over micro-batches."""
    return {name: fmean(float(of_one[name]) for of_one in losses) for name in losses[0]}


def step_seed(seed: int, index: int, rank: int = 0) -> int:
    """Return a seed for dropout, in [0, 2**32).

    Args:
        seed: The seed of the run.
        index: Index of the step; or of the layer, where a layer keeps its generator over all steps.
        rank: Index of the process.
    """
    return int(np.random.SeedSequence([seed, index, rank] if rank else [seed, index]).generate_state(1)[0])
