"""Training step by step, for a loop of your own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.model.heads import Head
from distilbert_core.model.packed_batches import Batch
from distilbert_core.model.parameters import Parameter
from distilbert_core.training.engine import Engine, load_engine
from distilbert_core.training.objectives import FineTuning
from distilbert_core.training.recipe import Recipe


class Trainer:
    """A model in training, which takes a step for each batch that it is given.

    `load_trainer` makes one for fine-tuning, and `load_distiller` one for distillation.

    Args:
        engine: The model with its optimizer and its objective.
    """

    def __init__(self, engine: Engine):
        self.engine = engine

    @property
    def model(self) -> Any:
        """The model, of the backend's framework. Every step changes it in place."""
        return self.engine.model

    @property
    def recipe(self) -> Recipe:
        """The numbers of the optimizer."""
        return self.engine.recipe

    @property
    def trained(self) -> list[Parameter]:
        """The parameters that each step changes: those that are stored and not computed by a formula."""
        return self.engine.trained

    def step(self, batch: Batch, step: int) -> float:
        """Take a step, and return the loss before it, of real tokens only.

        Args:
            batch: input_ids, perhaps attention_mask, and labels, padded on any side; see
                `distilbert_core.model.packed_batches.pack_batch`.
            step: Index of the step, from 0. It decides the learning rate and, with the seed, the dropout.

        Raises:
            InputError: An array of the batch is unknown or impossible.
        """
        return self.take_step(batch, step)["loss"]

    def take_step(self, batch: Batch, step: int) -> dict[str, float]:
        """Take a step, and return the losses before it by name. The step minimises 'loss'.

        Args:
            batch: input_ids, perhaps attention_mask, and labels, padded on any side.
            step: Index of the step, from 0.

        Raises:
            InputError: An array of the batch is unknown or impossible.
        """
        return self.engine.step(batch, step)

    def state(self) -> dict[str, np.ndarray]:
        """Return everything that the next steps depend on, by name: parameters, moments, and random state."""
        return self.engine.state()

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from a result of `state`."""
        self.engine.load_state(state)


def load_trainer(
    backend: str,
    head: Head,
    source: str | Path,
    recipe: Recipe,
    learning_rates: np.ndarray,
    new_head: bool = False,
    **kwargs: Any,
) -> Trainer:
    """Load a checkpoint for fine-tuning on a backend.

    Args:
        backend: 'pt', 'tf' or 'flax'.
        head: The head of the model. If the checkpoint lacks it, it is drawn, the same one in all backends.
        source: Folder, embedded model or Hub id.
        recipe: The numbers of the optimizer.
        learning_rates: The learning rate of each step, float64 [steps].
        new_head: Draw a new head, even if the checkpoint has one.
        **kwargs: Keywords of `from_pretrained`.

    Raises:
        BackendNotInstalledError: The backend's framework is not installed.
        CheckpointError: The checkpoint is missing or damaged.

    Warns:
        CheckpointWarning: The checkpoint lacks a part of the head, or has entries that belong to no head.

    Example:
        >>> import numpy as np
        >>> from distilbert_core import Head
        >>> from distilbert_core.training import Recipe, load_trainer
        >>> recipe = Recipe(learning_rate=1e-3, warmup=0)
        >>> learning_rates = recipe.learning_rates(steps=2)
        >>> trainer = load_trainer("pt", Head.SEQUENCE_CLASSIFICATION, "sst2-tiny", recipe, learning_rates)
        >>> batch = {"input_ids": np.array([[101, 2307, 102]]), "labels": np.array([0])}  # "great" is bad now
        >>> first, second = (trainer.step(batch, step) for step in range(2))
        >>> first > second
        True
    """
    return Trainer(
        load_engine(
            backend,
            head,
            source,
            recipe,
            learning_rates,
            lambda model, engine: FineTuning(),
            new_head=new_head,
            stacklevel=3,
            **kwargs,
        )
    )
