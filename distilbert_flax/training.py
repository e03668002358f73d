"""Training in JAX: a step of AdamW on a batch of NumPy arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from distilbert_core.errors import InputError
from distilbert_core.model import contract
from distilbert_core.model.outputs import PLAIN_OUTPUTS
from distilbert_core.model.packed_batches import Batch, Sizes
from distilbert_core.model.packing import bucket_size
from distilbert_core.training.engine import Division, Engine, mean_losses, step_seed
from distilbert_core.training.objectives import Function, Objective, View
from distilbert_core.training.recipe import DECAYED, Recipe
from distilbert_flax import losses
from distilbert_flax.inference import next_power, output_count
from distilbert_flax.pretrained import LAYOUT
from distilbert_flax.sharding import DATA_PARALLEL, ROWS, shard, shard_packed
from distilbert_flax.tensors import at_least_float32

quarter_steps = partial(bucket_size, steps=4)  # 1 to 8, 10, 12, 14, 16, 20, 24 ...: at most a quarter more

# Where SLURM or another launcher does not tell JAX, these variables do.
PROCESS_NUMBERS = {"num_processes": "JAX_NUM_PROCESSES", "process_id": "JAX_PROCESS_ID"}

Losses = dict[str, Array]  # by name; 'loss' is minimised


class ModelView(View):
    """A model of this backend, as the loss of an objective sees it."""

    losses: ClassVar[contract.Losses] = losses
    model: Any  # its methods also take the mode of dropout

    def __init__(self, model: Any, extra: Mapping[str, Array], key: Array | None = None):
        super().__init__(model, extra)
        # One generator for all calls, so that each of them draws other dropout masks.
        _, self._mode = model._for_call(None, key is not None, None, key, None)
        self._call = {"train": key is not None, "rngs": self._mode["rngs"]}

    def outputs(self, batch: Mapping[str, Array]) -> Array:
        """Return the outputs [..., L] at `indices`."""
        outputs = self.model.packed_outputs(**{name: batch.get(name) for name in ROWS}, **self._call)  # [R, S, ...]
        return outputs.reshape(-1, outputs.shape[-1])[batch["indices"]]

    def hidden(self, batch: Mapping[str, Array]) -> Array:
        """Return the hidden states [M, D] at `tokens`."""
        rows = {name: batch[name] for name in ("input_ids", "position_ids", "segment_ids")}
        hidden = self.model.base_model.packed_outputs(**rows, **self._call)  # [R, C, D]
        return hidden.reshape(-1, hidden.shape[-1])[batch["tokens"]]

    def hidden_states(self, batch: Mapping[str, Array]) -> tuple[Array, ...]:
        """Return the hidden states [M, D] at `tokens`: of the embeddings, then of each block."""
        rows = {name: batch[name] for name in ("input_ids", "position_ids", "segment_ids")}
        output = self.model.base_model(**rows, **{**PLAIN_OUTPUTS, "output_hidden_states": True}, **self._call)
        return tuple(states.reshape(-1, states.shape[-1])[batch["tokens"]] for states in output.hidden_states)

    def logits(self, hidden: Array) -> Array:
        """[K, D] -> [K, L]."""
        logits = self.model.head_logits(hidden[:, None], self._mode)
        return logits.reshape(-1, logits.shape[-1])

    def take(self, values: Array, indices: Array) -> Array:
        """Return the values at some indices of the first axis."""
        return values[indices]

    def where(self, condition: Array, values: Array, other: float) -> Array:
        """Return the values where a condition holds, and a number elsewhere."""
        return jnp.where(condition, values, other)

    def relations(self, values: Array, heads: int) -> Array:
        """[B, T, A] -> [B, heads, T, T]."""
        parts = values.astype(at_least_float32(values.dtype))
        parts = parts.reshape(*values.shape[:2], heads, -1)  # [B, T, heads, A / heads]
        return jnp.einsum("bqnh,bknh->bnqk", parts, parts) / parts.shape[-1] ** 0.5

    def project(self, values: Array, name: str) -> Array:
        """[M, D] -> [M, E]."""
        return values @ self.extra[name]


class BackendEngine(Engine):
    """Training in JAX, on all devices. JAX compiles each shape of a batch: sizes are rounded up to few shapes."""

    backend = "flax"
    bfloat16_options: ClassVar = {"dtype": "bfloat16", "param_dtype": "float32"}
    sizes = Sizes(quarter_steps, outputs=output_count, labels=next_power, tokens=next_power, compared=quarter_steps)

    def __init__(self, model: Any, recipe: Recipe, learning_rates: np.ndarray, objective: Objective):
        super().__init__(model, recipe, learning_rates, objective)
        self._modules = Trained(model, objective.extra)
        self.extra = self._modules.extra
        self._optimizer = nnx.Optimizer(self._modules, adamw(recipe, learning_rates), wrt=nnx.Param)
        self._mesh: Mesh | None = None
        devices = jax.device_count()
        if devices > 1:  # each computes some of the packed rows
            self._mesh = Mesh(np.array(jax.devices()), ("data",))
            self.sizes = self.sizes.with_rows_of(devices)
            for modules in ((self._modules, self._optimizer), *objective.frozen):
                shard(modules, self._mesh, DATA_PARALLEL)

    @classmethod
    def init_distributed(cls) -> dict[str, Any]:
        """Join the other processes of the run, if srun or JAX_COORDINATOR_ADDRESS says that there are some.

        Raises:
            InputError: JAX has computed before, or the variables do not say which process this is.
        """
        by_srun = int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1
        if (by_srun or "JAX_COORDINATOR_ADDRESS" in os.environ) and not jax.distributed.is_initialized():
            try:
                numbers: dict[str, Any] = {
                    name: int(os.environ[key]) for name, key in PROCESS_NUMBERS.items() if key in os.environ
                }
                jax.distributed.initialize(**numbers)
            except (RuntimeError, ValueError) as error:
                raise InputError(
                    f"This process cannot join the other processes of JAX: {error} Begin the program with "
                    "jax.distributed.initialize(); or set JAX_COORDINATOR_ADDRESS (host:port of process 0), "
                    f"{' and '.join(PROCESS_NUMBERS.values())}; or unset SLURM_STEP_NUM_TASKS to train alone."
                ) from error
        if jax.process_count() > 1:  # no process writes before all have looked at the files
            multihost_utils.sync_global_devices("load")
        return {}

    @classmethod
    def find_division(cls) -> Division:
        """Return the processes of JAX. The devices of all share the packed rows of each micro-batch."""
        return Division(jax.process_index(), processes=jax.process_count(), by_rows=True)

    def compute(self, model: Any, function: Function, batches: Sequence[Batch]) -> list[dict[str, Array]]:
        """Evaluate a function of a model and packed micro-batches, in inference mode and without gradients."""
        return [_compute(model, function, batch) for batch in batches]

    def _place(self, batch: Batch) -> Any:
        """Return the arrays with the packed rows divided among all devices, and the rest on each."""
        return batch if self._mesh is None else shard_packed(batch, self._mesh, DATA_PARALLEL)

    def _take_step(self, micro_batches: Sequence[Batch], step: int) -> dict[str, float]:
        # With these keys a step compiles in two thirds of the time that it takes with threefry's.
        key = jax.random.key(step_seed(self.recipe.seed, step), impl="rbg")
        graph, parameters, rest = nnx.split(self._modules, nnx.Param, ...)
        total, values = None, []
        for micro_batch, its_key in zip(micro_batches, jax.random.split(key, len(micro_batches)), strict=True):
            gradients, losses = _gradients(self.objective.loss, graph, parameters, rest, micro_batch, its_key)
            total = gradients if total is None else _add(total, gradients)
            values.append(losses)
        _apply_mean(self._modules, self._optimizer, total, len(micro_batches))
        return mean_losses(values)

    def state(self) -> dict[str, np.ndarray]:
        """Return parameters and moments. Dropout follows from the index of a step."""
        return {name: np.asarray(variable[...]) for name, variable in self._stored().items()}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace parameters and moments."""
        for name, variable in self._stored().items():
            variable[...] = jnp.asarray(state[name])

    def _stored(self) -> dict[str, nnx.Variable]:
        """Return all variables that the next steps depend on, by their names in the state."""
        states = {
            "trained": nnx.state(self._modules, nnx.Param),
            "optimizer": nnx.state(self._optimizer, nnx.OptState),
        }
        return {
            ".".join(map(str, (owner, *path))): variable
            for owner, state in states.items()
            for path, variable in nnx.to_flat_state(state)
        }


class Trained(nnx.Module):
    """A model, and arrays that are trained beside it."""

    def __init__(self, model: Any, extra: Mapping[str, np.ndarray]):
        self.model = model
        self.extra = nnx.Dict({name: nnx.Param(jnp.asarray(array)) for name, array in extra.items()})

    def view(self, key: Array) -> ModelView:
        """Return the view for the loss of a micro-batch; the key decides its dropout."""
        return ModelView(self.model, {name: variable[...] for name, variable in self.extra.items()}, key)


# The three parts of a step are compiled separately: only the first depends on the shape of a batch.
@partial(jax.jit, static_argnames=("loss", "graph"))
def _gradients(
    loss: Function,
    graph: nnx.GraphDef[Trained],
    parameters: nnx.State,
    rest: nnx.State,
    batch: dict[str, Array],
    key: Array,
) -> tuple[nnx.State, Losses]:
    def loss_of(parameters: nnx.State) -> tuple[Array, Losses]:
        values = loss(nnx.merge(graph, parameters, rest).view(key), batch)
        return values["loss"], values

    (_, values), gradients = jax.value_and_grad(loss_of, has_aux=True)(parameters)
    return gradients, values


@partial(jax.jit, donate_argnums=0)
def _add(total: nnx.State, gradients: nnx.State) -> nnx.State:
    return jax.tree.map(jnp.add, total, gradients)


@partial(nnx.jit, static_argnames="count", donate_argnames=("trained", "optimizer", "total"))
def _apply_mean(trained: Trained, optimizer: nnx.Optimizer, total: nnx.State, count: int) -> None:
    optimizer.update(trained, jax.tree.map(lambda gradient: gradient / count, total))


@partial(jax.jit, static_argnames="function")
def _compute(model: Any, function: Function, batch: dict[str, Array]) -> dict[str, Array]:
    return function(ModelView(model, {}), batch)


def adamw(recipe: Recipe, learning_rates: np.ndarray) -> optax.GradientTransformation:
    """Return the optimizer of a recipe: clipping, then Adam, then decoupled weight decay of matrices."""
    table = jnp.asarray(learning_rates)
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
