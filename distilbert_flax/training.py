"""Fine-tuning: a step of AdamW on a batch, NumPy in."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array

from distilbert_core.parameters import Head
from distilbert_core.training.batches import Batch
from distilbert_core.training.recipe import DECAYED, Recipe
from distilbert_core.training.trainer import Trainer, step_seed
from distilbert_flax.inference import next_size
from distilbert_flax.losses import question_answering_loss
from distilbert_flax.pretrained import LAYOUT


class BackendTrainer(Trainer):
    """Training in JAX, compiled once for each length of a batch; lengths are rounded up, so that there are few."""

    backend = "flax"

    def __init__(self, model: Any, recipe: Recipe, rates: np.ndarray):
        super().__init__(model, recipe, rates)
        self.optimizer = nnx.Optimizer(model, adamw(recipe, rates), wrt=nnx.Param)

    def padded_length(self, tokens: int) -> int:
        """Return one of a few lengths."""
        return min(max(next_size(tokens), 16), self.model.config.max_position_embeddings)

    def step(self, batch: Batch, number: int) -> float:
        """Take a step and return the loss before it; see `Trainer.step`."""
        key = jax.random.key(step_seed(self.recipe.seed, number))
        return float(_step(self.model, self.optimizer, batch, key))

    def state(self) -> dict[str, np.ndarray]:
        """Return parameters and moments; dropout follows from the number of a step."""
        return {name: np.asarray(variable[...]) for name, variable in self._variables().items()}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what `state` returned."""
        for name, variable in self._variables().items():
            variable[...] = jnp.asarray(state[name])

    def _variables(self) -> dict[str, nnx.Variable]:
        parts = {"model": nnx.state(self.model, nnx.Param), "optimizer": nnx.state(self.optimizer, nnx.OptState)}
        return {
            ".".join(map(str, (part, *path))): variable
            for part, state in parts.items()
            for path, variable in nnx.to_flat_state(state)
        }


@partial(nnx.jit, donate_argnames=("model", "optimizer"))
def _step(model: Any, optimizer: nnx.Optimizer, batch: Batch, key: Array) -> Array:
    loss, gradients = nnx.value_and_grad(training_loss)(model, batch, key)
    optimizer.update(model, gradients)
    return loss


def training_loss(model: Any, inputs: dict[str, Array], key: Array) -> Array:
    """Return the task's loss over real tokens: padding is no place for an answer."""
    if model.head is not Head.QUESTION_ANSWERING:
        return model(**inputs, train=True, rngs=key).loss
    inputs = dict(inputs)
    positions = (inputs.pop("start_positions"), inputs.pop("end_positions"))
    output = model(**inputs, train=True, rngs=key)
    real = inputs["attention_mask"] != 0
    start, end = (jnp.where(real, scores, -jnp.inf) for scores in (output.start_logits, output.end_logits))
    loss: Any = question_answering_loss(start, end, *positions)
    return loss


def adamw(recipe: Recipe, rates: np.ndarray) -> optax.GradientTransformation:
    """Return the optimizer of a recipe: clipping, then Adam, then decoupled weight decay of matrices."""
    table = jnp.asarray(rates)
    leaves = {LAYOUT.leaf[kind] for kind in DECAYED}
    return optax.chain(
        optax.clip_by_global_norm(recipe.max_grad_norm),
        optax.adamw(
            lambda count: table[count],
            recipe.beta1,
            recipe.beta2,
            recipe.epsilon,
            weight_decay=recipe.weight_decay,
            mask=lambda parameters: nnx.map_state(lambda path, _: path[-1] in leaves, parameters),
        ),
    )
