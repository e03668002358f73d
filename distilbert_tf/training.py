"""Training in Keras: a step of AdamW on a batch of NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from distilbert_core.errors import InputError
from distilbert_core.model import contract
from distilbert_core.model.outputs import PLAIN_OUTPUTS
from distilbert_core.model.packed_batches import Batch
from distilbert_core.training.engine import Division, Engine, mean_losses, step_seed
from distilbert_core.training.objectives import Function, Objective, View
from distilbert_core.training.recipe import Recipe
from distilbert_tf import losses
from distilbert_tf.inference import call_traced
from distilbert_tf.optimization import AdamW
from distilbert_tf.pretrained import LAYOUT
from distilbert_tf.tensors import upcast


@cache
def all_devices() -> tf.distribute.Strategy:
    """Return the strategy of all processes that TF_CONFIG names, or of all GPUs of this one, or the default one.

    Raises:
        InputError: TF_CONFIG names several processes, and TensorFlow has computed before it joined them.
    """
    if sum(map(len, tf.distribute.cluster_resolver.TFConfigClusterResolver().cluster_spec().as_dict().values())) > 1:
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        except RuntimeError as error:
            raise InputError(
                "TF_CONFIG names several processes, which TensorFlow must join before it computes anything: begin the "
                "program with strategy = tf.distribute.MultiWorkerMirroredStrategy(), and train in strategy.scope()."
            ) from error
    several = len(tf.config.list_logical_devices("GPU")) > 1
    return tf.distribute.MirroredStrategy() if several else tf.distribute.get_strategy()


def current_strategy() -> tf.distribute.Strategy:
    """Return the strategy in whose scope this is called, otherwise that of all devices.

    Raises:
        InputError: The strategy cannot train here.
    """
    strategy = tf.distribute.get_strategy() if tf.distribute.has_strategy() else all_devices()
    if isinstance(strategy, tf.distribute.experimental.ParameterServerStrategy):
        raise InputError(
            "ParameterServerStrategy is asynchronous: a step does not have the gradients of all devices. Train under "
            "MirroredStrategy, or in several processes under MultiWorkerMirroredStrategy."
        )
    return strategy


class ModelView(View):
    """A model of this backend, as the loss of an objective sees it."""

    losses: ClassVar[contract.Losses] = losses
    model: Any  # its methods also take the mode of dropout

    def __init__(self, model: Any, extra: Mapping[str, tf.Tensor], training: bool):
        super().__init__(model, extra)
        self._training = training

    def outputs(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return the outputs [..., L] at `indices`."""
        rows = {name: batch.get(name) for name in ("input_ids", "position_ids", "segment_ids", "output_tokens")}
        outputs = self.model.packed_outputs(**rows, training=self._training)  # [R, S, ...]
        return tf.gather(tf.reshape(outputs, (-1, outputs.shape[-1])), batch["indices"])

    def hidden(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Return the hidden states [M, D] at `tokens`."""
        rows = {name: batch[name] for name in ("input_ids", "position_ids", "segment_ids")}
        hidden = self.model.base_model.packed_outputs(**rows, training=self._training)  # [R, C, D]
        return tf.gather(tf.reshape(hidden, (-1, self.model.config.dim)), batch["tokens"])

    def hidden_states(self, batch: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, ...]:
        """Return the hidden states [M, D] at `tokens`: of the embeddings, then of each block."""
        rows = {name: batch[name] for name in ("position_ids", "segment_ids")}
        options = {**PLAIN_OUTPUTS, "output_hidden_states": True, "training": self._training}
        states = self.model.base_model(batch["input_ids"], **rows, **options).hidden_states  # [R, C, D] each
        return tuple(tf.gather(tf.reshape(x, (-1, self.model.config.dim)), batch["tokens"]) for x in states)

    def logits(self, hidden: tf.Tensor) -> tf.Tensor:
        """[K, D] -> [K, L]."""
        logits = self.model.head_logits(hidden[:, None], self._training)
        return tf.reshape(logits, (-1, logits.shape[-1]))

    def take(self, values: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        """Return the values at some indices of the first axis."""
        return tf.gather(values, indices)

    def where(self, condition: tf.Tensor, values: tf.Tensor, other: float) -> tf.Tensor:
        """Return the values where a condition holds, and a number elsewhere."""
        return tf.where(condition, values, other)

    def relations(self, values: tf.Tensor, heads: int) -> tf.Tensor:
        """[B, T, A] -> [B, heads, T, T]."""
        shape = tf.shape(values)  # sizes of a cached teacher are not known while tracing
        parts = tf.reshape(upcast(values), (shape[0], shape[1], heads, -1))  # [B, T, heads, A / heads]
        return tf.einsum("bqnh,bknh->bnqk", parts, parts) / tf.sqrt(tf.cast(tf.shape(parts)[-1], parts.dtype))

    def project(self, values: tf.Tensor, name: str) -> tf.Tensor:
        """[M, D] -> [M, E]."""
        projection = self.extra[name]
        return tf.cast(values, projection.dtype) @ projection


class BackendEngine(Engine):
    """Training in Keras, traced once for all lengths of a batch.

    It computes on all GPUs and processes, or on the devices of the strategy in scope.
    """

    backend = "tf"
    bfloat16_options: ClassVar = {"dtype": "mixed_bfloat16"}

    def __init__(self, model: Any, recipe: Recipe, learning_rates: np.ndarray, objective: Objective):
        super().__init__(model, recipe, learning_rates, objective)
        self._strategy = current_strategy()
        with self._strategy.scope():
            self.extra = {
                name: keras.Variable(array, dtype=array.dtype.name, name=name)
                for name, array in objective.extra.items()
            }
            self._variables = {p.name: getattr(*LAYOUT.find(model, p)) for p in self.trained} | self.extra
            self._optimizer = AdamWOfMeans(
                RateTable(learning_rates),
                weight_decay=recipe.weight_decay,
                beta_1=recipe.beta1,
                beta_2=recipe.beta2,
                epsilon=recipe.epsilon,
                global_clipnorm=recipe.max_grad_norm,
            )
            undecayed = [self._variables[p.name] for p in self.trained if not recipe.decays(p)]
            self._optimizer.exclude_from_weight_decay([*undecayed, *self.extra.values()])
            self._optimizer.build(list(self._variables.values()))
        self._seed_dropout(continued=False)
        self._gradients = tf.function(self._mean_gradients, autograph=False)
        self._step = tf.function(self._step_on, autograph=False)
        self._apply = tf.function(self._apply_gradients, autograph=False)
        self._computations: dict[Any, Any] = {}  # traced functions by model and function

    def _seed_dropout(self, continued: bool) -> None:
        """Seed the generators of dropout, differently in each process; at their number of draws if a run continues."""
        generators = [v for v in self.model.non_trainable_variables if v.name == "seed_generator_state"]
        for index, variable in enumerate(generators):
            count = variable.numpy()[1] if continued else 0
            variable.assign((step_seed(self.recipe.seed, index, self.division.rank), count))

    @classmethod
    def scope(cls) -> AbstractContextManager[Any]:
        """Return the scope of the strategy: each device gets a copy of the variables that are made in it."""
        scope: AbstractContextManager[Any] = current_strategy().scope()
        return scope

    @classmethod
    def find_division(cls) -> Division:
        """Return the processes of the strategy, and the replicas in this one: one for each of its devices."""
        strategy = current_strategy()
        if strategy.num_replicas_in_sync == 1:
            return Division()
        replicas = len(strategy.extended.worker_devices)  # of this process
        processes = strategy.num_replicas_in_sync // replicas
        if processes == 1:
            return Division(replicas=replicas)
        task = strategy.cluster_resolver
        before = "chief" in task.cluster_spec().jobs and task.task_type != "chief"  # the chief is process 0
        return Division(task.task_id + before, processes, replicas)

    def compute(self, model: Any, function: Function, batches: Sequence[Batch]) -> list[dict[str, tf.Tensor]]:
        """Evaluate a function of a model and packed micro-batches, in inference mode and without gradients."""
        key = id(model), function
        if key not in self._computations:
            view = ModelView(model, {}, training=False)
            self._computations[key] = tf.function(
                lambda *batches: self._on_each(batches, lambda batch: function(view, batch)), autograph=False
            )
        results = call_traced(self._computations[key], *batches)
        on_each = {name: self._strategy.experimental_local_results(value) for name, value in results.items()}
        return [{name: values[index] for name, values in on_each.items()} for index in range(len(batches))]

    def _on_each(self, batches: Sequence[dict[str, tf.Tensor]], function: Callable[[Any], Any]) -> Any:
        """Call a function of a micro-batch on each replica of this process; the first ones again if there are fewer."""

        def on_one_device() -> Any:
            replica = tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group)
            return function(batches[replica % self.division.replicas % len(batches)])

        return self._strategy.run(on_one_device)

    def _take_step(self, micro_batches: Sequence[Batch], step: int) -> dict[str, float]:
        replicas = self.division.replicas
        if len(micro_batches) == replicas:
            return mean_losses([call_traced(self._step, *micro_batches)])
        total: Any = None
        values = []
        for first in range(0, len(micro_batches), replicas):  # each device computes one of these
            gradients, losses = call_traced(self._gradients, *micro_batches[first : first + replicas])
            total = gradients if total is None else [old + new for old, new in zip(total, gradients, strict=True)]
            values.append(losses)
        self._apply([gradient / len(values) for gradient in total])
        return mean_losses(values)

    def _mean_gradients(self, *micro_batches: dict[str, tf.Tensor]) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """Return the mean gradients and losses of micro-batches, one for each device, over all processes."""

        def gradients(micro_batch: dict[str, tf.Tensor]) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
            with tf.GradientTape() as tape:
                extra = {name: variable.value for name, variable in self.extra.items()}
                values = self.objective.loss(ModelView(self.model, extra, training=True), micro_batch)
            variables = [variable.value for variable in self._variables.values()]
            return tape.gradient(values["loss"], variables, unconnected_gradients="zero"), values

        on_all = self._on_each(micro_batches, gradients)
        return tf.nest.map_structure(lambda value: self._strategy.reduce("MEAN", value, axis=None), on_all)

    def _step_on(self, *micro_batches: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        gradients, values = self._mean_gradients(*micro_batches)
        self._apply_gradients(gradients)
        return values

    def _apply_gradients(self, gradients: Sequence[tf.Tensor]) -> None:
        self._strategy.run(lambda: self._optimizer.apply(gradients, list(self._variables.values())))

    def state(self) -> dict[str, np.ndarray]:
        """Return parameters, moments, and the state of the generators of dropout."""
        return {name: variable.numpy() for name, variable in self._stored().items()}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Replace parameters, moments, and the state of the generators of dropout."""
        for name, variable in self._stored().items():
            variable.assign(state[name])
        if self.division.rank:  # the state is that of process 0
            self._seed_dropout(continued=True)

    def _stored(self) -> dict[str, keras.Variable]:
        """Return all variables that the next steps depend on, by their names in the state."""
        others = {"optimizer": self._optimizer.variables, "model": self.model.non_trainable_variables}
        return self._variables | {
            f"{owner}.{i}": x for owner, variables in others.items() for i, x in enumerate(variables)
        }


@keras.saving.register_keras_serializable("distilbert")
class RateTable(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of each step, from a table."""

    def __init__(self, rates: np.ndarray):
        # A tensor: Keras reads the rate once for each variable, and the graph would hold a copy of an array each time.
        self.rates = tf.constant(np.asarray(rates, np.float64))

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Return the rate of a step, float64."""
        return tf.gather(self.rates, ops.cast(step, "int32"))

    def get_config(self) -> dict[str, Any]:
        """Return the table as a list."""
        return {"rates": self.rates.numpy().tolist()}


class AdamWOfMeans(AdamW):
    """AdamW for gradients that are already the means over all devices, so they are clipped by the norm of the mean.

    Keras would clip first and sum afterwards.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        return grads_and_vars
