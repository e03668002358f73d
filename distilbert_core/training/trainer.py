"""What a backend's training engine does: one step at a time, NumPy in, and a state that can be saved."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from distilbert_core.errors import CheckpointWarning, InputError
from distilbert_core.model.backends import backend_class, load_backend
from distilbert_core.model.heads import Head
from distilbert_core.model.inference import PackedInference, warn_of_unused
from distilbert_core.model.parameters import Parameter, initial_array
from distilbert_core.training.batches import Batch, Sizes, pack_batch, split_batch
from distilbert_core.training.recipe import Recipe

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Trainer:
    """A model in training. Each backend has its own, in its module `training`.

    Args:
        model: A model of the backend, which is trained in place.
        recipe: The numbers of the optimizer.
        rates: Learning rate of each step, float64 [steps].
        extra: Arrays to train beside the model, by name, without weight decay.
    """

    backend: ClassVar[str]
    sizes: Sizes = Sizes()
    rank = 0  # number of this process; the first writes the files
    world_size = 1  # processes that the parts of a batch are divided among
    replicas = 1  # devices of this process that take a part each, at once
    mixed: ClassVar[Mapping[str, str]]  # keywords of `from_pretrained` for computation in bfloat16

    def __init__(self, model: Any, recipe: Recipe, rates: np.ndarray, extra: Mapping[str, np.ndarray] = NOTHING):
        self.model = model
        self.recipe = recipe
        self.rates = rates
        inference = importlib.import_module(f"{load_backend(self.backend).__name__}.inference")
        self.inference: PackedInference = inference.BackendInference(model)

    @classmethod
    def load_model(cls, head: Head, source: str | Path, recipe: Recipe, new_head: bool = False, **kwargs: Any) -> Any:
        """Load the model of a checkpoint for training; see `load_trainer`."""
        kwargs = {**cls.join(), **kwargs}
        if recipe.dropout is not None:
            fields = {"dropout", "attention_dropout", *(row.dropout for row in Head if row.dropout)}
            kwargs |= dict.fromkeys(sorted(fields), recipe.dropout)
        kwargs |= cls.mixed if recipe.dtype == "bfloat16" else dict.fromkeys(("dtype", "torch_dtype"), recipe.dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CheckpointWarning)  # a new head is what fine-tuning begins with; see below
            model, info = backend_class(cls.backend, head).from_pretrained(
                source, output_loading_info=True, ignore_mismatched_sizes=new_head, **kwargs
            )
        warn_of_unused(model, source, info["unexpected_keys"], stacklevel=5)
        of_head = [parameter for parameter in model.parameter_table if parameter.of_head and parameter.tied_to is None]
        drawn = [parameter for parameter in of_head if new_head or parameter.name in info["missing_keys"]]
        if 0 < len(drawn) < len(of_head):
            names = ", ".join(parameter.name for parameter in drawn)
            warnings.warn(
                f"{source} lacks a part of its head, which is drawn: {names}.", CheckpointWarning, stacklevel=4
            )
        for parameter in drawn:
            new = initial_array(parameter, model.config, recipe.seed)
            model._set_array(parameter, new.astype(recipe.stored_dtype))
        return model

    @classmethod
    def join(cls) -> dict[str, Any]:
        """Wait for other processes that share each step, and return keywords of `from_pretrained`: where models go."""
        return {}

    @property
    def trained(self) -> list[Parameter]:
        """The parameters that have values of their own and are trained."""
        return [p for p in self.model.parameter_table if p.tied_to is None and not p.computed]

    def step(self, batch: Batch, number: int) -> float:
        """Take a step and return the loss before it, of real tokens only.

        Args:
            batch: input_ids, perhaps attention_mask, and labels, padded on any side; see `pack_batch`.
            number: Number of the step, from 0: it decides the learning rate and, with the seed, the dropout.
        """
        return self.take_step(batch, number)["loss"]

    def take_step(self, batch: Batch, number: int) -> dict[str, float]:
        """Take a step and return the losses before it by name, 'loss' being what is minimised; see `step`."""
        first = number * self.recipe.accumulate
        return self.packed_step([self.prepared(part, first + i) for i, part in self.own_parts(batch)], number)

    def own_parts(self, batch: Batch) -> list[tuple[int, Batch]]:
        """Return the parts of a batch that this process computes, with their numbers among those of all processes.

        Raises:
            InputError: There are fewer rows than parts.
        """
        devices = self.world_size * self.replicas
        count = self.recipe.accumulate * devices
        parts = split_batch(batch, count)
        if len(parts) < count:
            raise InputError(
                f"A batch of {len(parts)} rows cannot be divided into {count} parts: {self.recipe.accumulate} "
                f"(accumulate) for each of {devices} device(s). Give a larger batch_size."
            )
        return [*enumerate(parts)][self.rank % self.world_size :: self.world_size]

    def packed(self, batch: Batch) -> Batch:
        """Return a batch as packed rows, with all that the loss needs."""
        return pack_batch(batch, self.model.head, self.inference.pack, self.sizes)

    def prepared(self, part: Batch, number: int) -> Batch:
        """Return a part of a batch as `packed_step` takes it; `number` is that of the part in the whole run."""
        return self.place(self.packed(part))

    def place(self, batch: Batch) -> Batch:
        """Return what `packed` returned, laid out over devices if the framework wants that."""
        return batch

    def packed_step(self, parts: Sequence[Batch], number: int) -> dict[str, float]:
        """Take a step along the mean gradient of the parts of all processes; return their mean losses by name.

        Args:
            parts: What `prepared` returned for each part of this process.
            number: Number of the step, from 0.
        """
        raise NotImplementedError

    def state(self) -> dict[str, np.ndarray]:
        """Return all that the next steps depend on, by name: parameters, moments of the optimizer, random state."""
        raise NotImplementedError

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what `state` returned."""
        raise NotImplementedError


def mean_losses(losses: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each loss over the parts of a batch."""
    return {name: fmean(float(part[name]) for part in losses) for name in losses[0]}


def step_seed(seed: int, number: int, rank: int = 0) -> int:
    """Return a seed for dropout, in [0, 2**32): that of one step in one process, or of one layer for all steps."""
    return int(np.random.SeedSequence([seed, number, rank] if rank else [seed, number]).generate_state(1)[0])


def load_trainer(
    backend: str,
    head: Head,
    source: str | Path,
    recipe: Recipe,
    rates: np.ndarray,
    new_head: bool = False,
    **kwargs: Any,
) -> Trainer:
    """Load a checkpoint for training on a backend.

    Args:
        backend: 'pt', 'tf' or 'flax'.
        head: What the model predicts. A head that the checkpoint lacks is drawn, the same in all backends.
        source: Folder, embedded model or Hub id.
        recipe: The numbers of the optimizer.
        rates: Learning rate of each step, float64 [steps].
        new_head: Draw the head anew though the checkpoint may have one.
        **kwargs: Keywords of `from_pretrained`.

    Raises:
        BackendNotInstalledError: The backend's framework is not installed.
        CheckpointError: There is no such checkpoint, or it is damaged.

    Warns:
        CheckpointWarning: The checkpoint lacks a part of the head, or holds entries of no head, which are not used.

    Example:
        >>> import numpy as np
        >>> from distilbert_core import Head
        >>> from distilbert_core.training import Recipe, load_trainer
        >>> recipe = Recipe(learning_rate=1e-3, warmup=0)
        >>> rates = recipe.learning_rates(2)
        >>> trainer = load_trainer("pt", Head.SEQUENCE_CLASSIFICATION, "sst2-tiny", recipe, rates)
        >>> batch = {"input_ids": np.array([[101, 2307, 102]]), "labels": np.array([0])}  # "great" is bad now
        >>> first, second = (trainer.step(batch, number) for number in range(2))
        >>> first > second
        True
    """
    trainer = importlib.import_module(f"{load_backend(backend).__name__}.training").BackendTrainer
    return trainer(trainer.load_model(head, source, recipe, new_head, **kwargs), recipe, rates)
