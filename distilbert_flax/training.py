"""Fine-tuning: a step of AdamW on a batch, NumPy in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array

from distilbert_core.parameters import Head
from distilbert_core.training.batches import Batch, Sizes
from distilbert_core.training.recipe import DECAYED, Recipe
from distilbert_core.training.trainer import Trainer, mean_losses, step_seed
from distilbert_flax.inference import next_power, output_count
from distilbert_flax.losses import question_answering_loss
from distilbert_flax.pretrained import LAYOUT


def quarter_steps(count: int) -> int:
    """Return the first of 1 to 8, 10, 12, 14, 16, 20, 24 ... that is not below `count`: at most a quarter more."""
    step = 1 << max((count - 1).bit_length() - 3, 0)
    return -(-count // step) * step


class BackendTrainer(Trainer):
    """Training in JAX, which compiles each shape of a batch: all sizes are rounded up, so that there are few."""

    backend = "flax"
    mixed: ClassVar = {"dtype": "bfloat16", "param_dtype": "float32"}
    sizes = Sizes(rows=quarter_steps, outputs=output_count, labels=next_power, tokens=next_power)

    def __init__(self, model: Any, recipe: Recipe, rates: np.ndarray):
        super().__init__(model, recipe, rates)
        self.optimizer = nnx.Optimizer(model, adamw(recipe, rates), wrt=nnx.Param)

    def packed_step(self, parts: Sequence[Batch], number: int) -> dict[str, float]:
        """Take a step and return the losses before it; see `Trainer.packed_step`."""
        key = jax.random.key(step_seed(self.recipe.seed, number))
        if len(parts) == 1:
            return mean_losses([_step(self.model, self.optimizer, parts[0], key)])
        total, losses = None, []
        for part, part_key in zip(parts, jax.random.split(key, len(parts)), strict=True):
            total, of_part = _add_gradients(self.model, total, part, part_key)
            losses.append(of_part)
        _apply_mean(self.model, self.optimizer, total, len(parts))
        return mean_losses(losses)

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


Losses = dict[str, Array]  # by name, 'loss' being what is minimised


@partial(nnx.jit, donate_argnames=("model", "optimizer"))
def _step(model: Any, optimizer: nnx.Optimizer, batch: dict[str, Array], key: Array) -> Losses:
    gradients, losses = _gradients(model, batch, key)
    optimizer.update(model, gradients)
    return losses


@partial(nnx.jit, donate_argnames="total")
def _add_gradients(
    model: Any, total: nnx.State | None, batch: dict[str, Array], key: Array
) -> tuple[nnx.State, Losses]:
    gradients, losses = _gradients(model, batch, key)
    return gradients if total is None else jax.tree.map(jnp.add, total, gradients), losses


@partial(nnx.jit, donate_argnames=("model", "optimizer", "total"), static_argnames="parts")
def _apply_mean(model: Any, optimizer: nnx.Optimizer, total: nnx.State, parts: int) -> None:
    optimizer.update(model, jax.tree.map(lambda gradient: gradient / parts, total))


def _gradients(model: Any, batch: dict[str, Array], key: Array) -> tuple[nnx.State, Losses]:
    def losses_of(model: Any) -> tuple[Array, Losses]:
        losses = {"loss": training_loss(model, batch, key)}
        return losses["loss"], losses

    (_, losses), gradients = nnx.value_and_grad(losses_of, has_aux=True)(model)
    return gradients, losses


def training_loss(model: Any, batch: dict[str, Array], key: Array) -> Array:
    """Return the task's loss of what `pack_batch` returned."""
    rows = {name: batch.get(name) for name in ("input_ids", "position_ids", "segment_ids", "output_tokens")}
    outputs = model.packed_outputs(**rows, train=True, rngs=key)  # [R, S, ...]
    outputs = outputs.reshape(-1, outputs.shape[-1])[batch["order"]]  # [B, L], [M, L], or [B, T, 2]
    if model.head is Head.QUESTION_ANSWERING:  # padding is no place for an answer
        scores = jnp.where(batch["attention_mask"][..., None], outputs, -jnp.inf)
        start, end = jnp.moveaxis(scores, -1, 0)  # [B, T] each
        loss: Any = question_answering_loss(start, end, batch["start_positions"], batch["end_positions"])
        return loss
    if model.head is Head.MULTIPLE_CHOICE:
        outputs = outputs.reshape(len(batch["labels"]), -1)  # [B, C]
    return model.task_loss(outputs, batch["labels"])


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
