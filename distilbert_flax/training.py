"""Fine-tuning: a step of AdamW on a batch, NumPy in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from distilbert_core.errors import InputError
from distilbert_core.model.heads import Head
from distilbert_core.model.packing import bucket_size
from distilbert_core.training.batches import Batch, Sizes
from distilbert_core.training.distillation.recipe import DistillationRecipe
from distilbert_core.training.distillation.trainer import PROJECTION, Distiller, weighted_losses
from distilbert_core.training.recipe import DECAYED, Recipe
from distilbert_core.training.trainer import NOTHING, Trainer, mean_losses, step_seed
from distilbert_flax import losses
from distilbert_flax.inference import next_power, output_count
from distilbert_flax.pretrained import LAYOUT
from distilbert_flax.sharding import DATA_PARALLEL, place, shard

ROWS = ("input_ids", "position_ids", "segment_ids", "output_tokens")
quarter_steps = partial(bucket_size, steps=4)  # 1 to 8, 10, 12, 14, 16, 20, 24 ...: at most a quarter more


class BackendTrainer(Trainer):
    """Training in JAX, which compiles each shape of a batch: all sizes are rounded up, so that there are few."""

    backend = "flax"
    mixed: ClassVar = {"dtype": "bfloat16", "param_dtype": "float32"}
    sizes = Sizes(quarter_steps, outputs=output_count, labels=next_power, tokens=next_power, compared=quarter_steps)

    def __init__(self, model: Any, recipe: Recipe, rates: np.ndarray, extra: Mapping[str, np.ndarray] = NOTHING):
        super().__init__(model, recipe, rates)
        self.trained_modules = Trained(model, extra)
        self.extra = self.trained_modules.extra
        self.optimizer = nnx.Optimizer(self.trained_modules, adamw(recipe, rates), wrt=nnx.Param)
        self.rank = jax.process_index()
        self.mesh: Mesh | None = None
        if jax.device_count() > 1:  # each computes a share of the packed rows
            devices = jax.device_count()
            self.mesh = Mesh(np.array(jax.devices()), ("data",))
            self.sizes = replace(self.sizes, rows=lambda count: -(-quarter_steps(count) // devices) * devices)
            shard((self.trained_modules, self.optimizer), self.mesh, DATA_PARALLEL)

    def place(self, batch: Batch) -> Any:
        """Return the packed rows divided among all devices, and the rest on each; see `Trainer.place`."""
        if self.mesh is None:
            return batch
        rows, rest = NamedSharding(self.mesh, PartitionSpec("data")), NamedSharding(self.mesh, PartitionSpec())
        return {name: place(array, rows if name in ROWS else rest) for name, array in batch.items()}

    @property
    def loss_function(self) -> LossFunction:
        """From all that is trained, a batch and a key to the losses by name, 'loss' being what is minimised."""
        return finetuning_losses

    def packed_step(self, parts: Sequence[Batch], number: int) -> dict[str, float]:
        """Take a step and return the losses before it; see `Trainer.packed_step`."""
        # With these keys a step compiles in two thirds of the time that threefry's take.
        key = jax.random.key(step_seed(self.recipe.seed, number), impl="rbg")
        graph, parameters, rest = nnx.split(self.trained_modules, nnx.Param, ...)
        total, values = None, []
        for part, part_key in zip(parts, jax.random.split(key, len(parts)), strict=True):
            gradients, of_part = _gradients(self.loss_function, graph, parameters, rest, part, part_key)
            total = gradients if total is None else _add(total, gradients)
            values.append(of_part)
        _apply_mean(self.trained_modules, self.optimizer, total, len(parts))
        return mean_losses(values)

    def state(self) -> dict[str, np.ndarray]:
        """Return parameters and moments; dropout follows from the number of a step."""
        return {name: np.asarray(variable[...]) for name, variable in self._variables().items()}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what `state` returned."""
        for name, variable in self._variables().items():
            variable[...] = jnp.asarray(state[name])

    def _variables(self) -> dict[str, nnx.Variable]:
        trained, optimizer = nnx.state(self.trained_modules, nnx.Param), nnx.state(self.optimizer, nnx.OptState)
        parts = {"trained": trained, "optimizer": optimizer}
        return {
            ".".join(map(str, (part, *path))): variable
            for part, state in parts.items()
            for path, variable in nnx.to_flat_state(state)
        }


Losses = dict[str, Array]  # by name, 'loss' being what is minimised
LossFunction = Callable[["Trained", dict[str, Array], Array], Losses]


class Trained(nnx.Module):
    """A model, and arrays that are trained beside it."""

    def __init__(self, model: Any, extra: Mapping[str, np.ndarray]):
        self.model = model
        self.extra = nnx.Dict({name: nnx.Param(jnp.asarray(array)) for name, array in extra.items()})


# The three parts of a step are compiled apart: only the first depends on the shape of a batch.
@partial(jax.jit, static_argnames=("loss_function", "graph"))
def _gradients(
    loss_function: LossFunction,
    graph: nnx.GraphDef[Trained],
    parameters: nnx.State,
    rest: nnx.State,
    batch: dict[str, Array],
    key: Array,
) -> tuple[nnx.State, Losses]:
    def loss_of(parameters: nnx.State) -> tuple[Array, Losses]:
        values = loss_function(nnx.merge(graph, parameters, rest), batch, key)
        return values["loss"], values

    (_, values), gradients = jax.value_and_grad(loss_of, has_aux=True)(parameters)
    return gradients, values


@partial(jax.jit, donate_argnums=0)
def _add(total: nnx.State, gradients: nnx.State) -> nnx.State:
    return jax.tree.map(jnp.add, total, gradients)


@partial(nnx.jit, static_argnames="parts", donate_argnames=("trained", "optimizer", "total"))
def _apply_mean(trained: Trained, optimizer: nnx.Optimizer, total: nnx.State, parts: int) -> None:
    optimizer.update(trained, jax.tree.map(lambda gradient: gradient / parts, total))


def finetuning_losses(trained: Trained, batch: dict[str, Array], key: Array) -> Losses:
    """Return the task's loss; see `BackendTrainer.loss_function`."""
    return {"loss": training_loss(trained.model, batch, key)}


class BackendDistiller(Distiller, BackendTrainer):
    """Distillation in JAX."""

    @classmethod
    def of(cls, *args: Any, **kwargs: Any) -> Self:
        """Return a student in training, its teacher on the same devices; see `Distiller.of`."""
        distiller = super().of(*args, **kwargs)
        if distiller.cache is not None and jax.process_count() > 1:
            raise InputError(f"A cache is for one process, got {jax.process_count()}: leave it out.")
        if distiller.mesh is not None and distiller.teacher is not None:
            shard(distiller.teacher.model, distiller.mesh, DATA_PARALLEL)
        return distiller

    @property
    def loss_function(self) -> LossFunction:
        """The weighted sum and its terms; see `BackendTrainer.loss_function`."""
        return DistillationLosses(self.recipe)

    def teach(self, batch: Batch) -> dict[str, Array]:
        """Return what the teacher says; see `Distiller.teach`."""
        assert self.teacher is not None
        hidden, logits = _teach(self.teacher.model, batch)
        return {"teacher_hidden": hidden, "teacher_logits": logits}


@dataclass(frozen=True)
class DistillationLosses:
    """The losses of a recipe; equal for equal recipes, so that they are compiled once."""

    recipe: DistillationRecipe

    def __call__(self, trained: Trained, batch: dict[str, Array], key: Array) -> Losses:
        """Return the weighted sum and its terms."""
        hidden, logits = hidden_and_logits(trained.model, batch, train=True, rngs=key)
        if PROJECTION in trained.extra:
            hidden = hidden @ trained.extra[PROJECTION][...]  # [M, D] -> [M, E]
        return weighted_losses(losses, self.recipe, hidden, logits, batch)


def hidden_and_logits(
    model: Any, batch: dict[str, Array], train: bool = False, rngs: Array | None = None
) -> tuple[Array, Array]:
    """Return the hidden states [M, D] and logits [K, V] of what `pack_comparison` returned."""
    _, mode = model._for_call(None, train, None, rngs, None)
    rows = {name: batch[name] for name in ("input_ids", "position_ids", "segment_ids")}
    hidden = model.distilbert.packed_outputs(**rows, train=train, rngs=mode["rngs"])  # [R, C, D]
    hidden = hidden.reshape(-1, hidden.shape[-1])[batch["tokens"]]  # [M, D]
    logits = model.head_logits(hidden[batch["predicted"]][:, None], mode)
    return hidden, logits.reshape(-1, logits.shape[-1])  # [K, V]


_teach = jax.jit(hidden_and_logits)


def training_loss(model: Any, batch: dict[str, Array], key: Array) -> Array:
    """Return the task's loss of what `pack_batch` returned."""
    weights = batch.get("sample_weight")
    rows = {name: batch.get(name) for name in ("input_ids", "position_ids", "segment_ids", "output_tokens")}
    outputs = model.packed_outputs(**rows, train=True, rngs=key)  # [R, S, ...]
    outputs = outputs.reshape(-1, outputs.shape[-1])[batch["order"]]  # [B, L], [M, L], or [B, T, 2]
    if model.head is Head.QUESTION_ANSWERING:  # padding is no place for an answer
        scores = jnp.where(batch["attention_mask"][..., None], outputs, -jnp.inf)
        start, end = jnp.moveaxis(scores, -1, 0)  # [B, T] each
        positions = batch["start_positions"], batch["end_positions"]
        loss: Any = losses.question_answering_loss(start, end, *positions, weights)
        return loss
    if model.head is Head.MULTIPLE_CHOICE:
        outputs = outputs.reshape(len(batch["labels"]), -1)  # [B, C]
    return model.task_loss(outputs, batch["labels"], weights)


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
