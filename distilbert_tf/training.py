"""Fine-tuning: a step of AdamW on a batch, NumPy in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from distilbert_core.model.heads import Head
from distilbert_core.training.batches import Batch
from distilbert_core.training.distillation.trainer import PROJECTION, Distiller, weighted_losses
from distilbert_core.training.recipe import Recipe
from distilbert_core.training.trainer import NOTHING, Trainer, mean_losses, step_seed
from distilbert_tf import losses
from distilbert_tf.inference import call_traced
from distilbert_tf.pretrained import LAYOUT


@cache
def all_gpus() -> tf.distribute.Strategy:
    """Return the strategy of one process that computes on all its GPUs; the default one if there are not several."""
    several = len(tf.config.list_logical_devices("GPU")) > 1
    return tf.distribute.MirroredStrategy() if several else tf.distribute.get_strategy()


def current_strategy() -> tf.distribute.Strategy:
    """Return the strategy of the scope that this is called in, or else that of all GPUs."""
    return tf.distribute.get_strategy() if tf.distribute.has_strategy() else all_gpus()


class BackendTrainer(Trainer):
    """Training in Keras, traced once for all lengths of a batch; on all GPUs, or those of the strategy in scope."""

    backend = "tf"
    mixed: ClassVar = {"dtype": "mixed_bfloat16"}

    def __init__(self, model: Any, recipe: Recipe, rates: np.ndarray, extra: Mapping[str, np.ndarray] = NOTHING):
        super().__init__(model, recipe, rates)
        self.strategy = current_strategy()
        self.replicas = self.strategy.num_replicas_in_sync
        with self.strategy.scope():
            self.extra = {
                name: keras.Variable(array, dtype=array.dtype.name, name=name) for name, array in extra.items()
            }
            self.variables = {p.name: getattr(*LAYOUT.find(model, p)) for p in self.trained} | self.extra
            self.optimizer = AdamW(
                RateTable(rates),
                weight_decay=recipe.weight_decay,
                beta_1=recipe.beta1,
                beta_2=recipe.beta2,
                epsilon=recipe.epsilon,
                global_clipnorm=recipe.max_grad_norm,
            )
            undecayed = [self.variables[p.name] for p in self.trained if not recipe.decays(p)]
            self.optimizer.exclude_from_weight_decay([*undecayed, *self.extra.values()])
            self.optimizer.build(list(self.variables.values()))
        generators = [v for v in model.non_trainable_variables if v.name == "seed_generator_state"]  # of dropout
        for number, variable in enumerate(generators):
            variable.assign((step_seed(recipe.seed, number), 0))
        self._gradients = tf.function(self._mean_gradients, autograph=False)
        self._step = tf.function(self._step_on, autograph=False)
        self._apply = tf.function(self._apply_gradients, autograph=False)

    @classmethod
    def load_model(cls, *args: Any, **kwargs: Any) -> Any:
        """Load a model onto the devices that train it; see `Trainer.load_model`."""
        with current_strategy().scope():
            return super().load_model(*args, **kwargs)

    def packed_step(self, parts: Sequence[Batch], number: int) -> dict[str, float]:
        """Take a step and return the losses before it; see `Trainer.packed_step`."""
        if len(parts) == self.replicas:
            return mean_losses([call_traced(self._step, *parts)])
        total: Any = None
        values = []
        for first in range(0, len(parts), self.replicas):  # each device takes one of these parts
            gradients, of_parts = call_traced(self._gradients, *parts[first : first + self.replicas])
            total = gradients if total is None else [sum_ + more for sum_, more in zip(total, gradients, strict=True)]
            values.append(of_parts)
        self._apply([gradient / len(values) for gradient in total])
        return mean_losses(values)

    def batch_losses(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Return the losses of a batch by name, 'loss' being what is minimised."""
        return {"loss": training_loss(self.model, batch)}

    def _mean_gradients(self, *parts: dict[str, tf.Tensor]) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """Return means over parts, of which each device has one."""

        def of_one() -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
            number = tf.get_static_value(tf.distribute.get_replica_context().replica_id_in_sync_group)
            with tf.GradientTape() as tape:
                values = self.batch_losses(parts[number])
            variables = [variable.value for variable in self.variables.values()]
            return tape.gradient(values["loss"], variables, unconnected_gradients="zero"), values

        of_all = self.strategy.run(of_one)
        return tf.nest.map_structure(lambda value: self.strategy.reduce("MEAN", value, axis=None), of_all)

    def _step_on(self, *parts: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        gradients, values = self._mean_gradients(*parts)
        self._apply_gradients(gradients)
        return values

    def _apply_gradients(self, gradients: Sequence[tf.Tensor]) -> None:
        self.strategy.run(lambda: self.optimizer.apply(gradients, list(self.variables.values())))

    def state(self) -> dict[str, np.ndarray]:
        """Return parameters, moments, and the state of dropout's generators."""
        return {name: variable.numpy() for name, variable in self._variables().items()}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what `state` returned."""
        for name, variable in self._variables().items():
            variable.assign(state[name])

    def _variables(self) -> dict[str, keras.Variable]:
        others = {
            "optimizer": self.optimizer.variables,
            "model": self.model.non_trainable_variables,
        }
        numbered = {f"{part}.{i}": v for part, listed in others.items() for i, v in enumerate(listed)}
        return {**self.variables, **numbered}


class BackendDistiller(Distiller, BackendTrainer):
    """Distillation in Keras."""

    def teach(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Return what the teacher says; see `Distiller.teach`."""
        hidden, logits = call_traced(self._teach, batch)
        return {"teacher_hidden": hidden, "teacher_logits": logits}

    @cached_property
    def _teach(self) -> Any:
        assert self.teacher is not None
        model = self.teacher.model
        return tf.function(lambda batch: hidden_and_logits(model, batch, training=False), autograph=False)

    def batch_losses(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Return the weighted sum and its terms; see `BackendTrainer.batch_losses`."""
        hidden, logits = hidden_and_logits(self.model, batch, training=True)
        if PROJECTION in self.extra:
            projection = self.extra[PROJECTION]
            hidden = ops.cast(hidden, projection.dtype) @ projection.value  # [M, D] -> [M, E]
        return weighted_losses(losses, self.recipe, hidden, logits, batch)


def hidden_and_logits(model: Any, batch: dict[str, tf.Tensor], training: bool) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the hidden states [M, D] and logits [K, V] of what `pack_comparison` returned."""
    rows = {name: batch[name] for name in ("input_ids", "position_ids", "segment_ids")}
    hidden = model.distilbert.packed_outputs(**rows, training=training)  # [R, C, D]
    hidden = tf.gather(tf.reshape(hidden, (-1, model.config.dim)), batch["tokens"])  # [M, D]
    logits = model.head_logits(tf.gather(hidden, batch["predicted"])[:, None], training)
    return hidden, tf.reshape(logits, (-1, logits.shape[-1]))  # [K, V]


def training_loss(model: Any, batch: dict[str, tf.Tensor]) -> tf.Tensor:
    """Return the task's loss of what `pack_batch` returned."""
    weights = batch.get("sample_weight")
    rows = {name: batch.get(name) for name in ("input_ids", "position_ids", "segment_ids", "output_tokens")}
    outputs = model.packed_outputs(**rows, training=True)  # [R, S, L]
    outputs = tf.gather(tf.reshape(outputs, (-1, outputs.shape[-1])), batch["order"])  # [B, L], [M, L], or [B, T, 2]
    if model.head is Head.QUESTION_ANSWERING:  # padding is no place for an answer
        real = batch["attention_mask"][..., None]
        start, end = tf.unstack(tf.where(real, outputs, -np.inf), axis=-1)
        positions = batch["start_positions"], batch["end_positions"]
        return losses.question_answering_loss(start, end, *positions, weights)
    if model.head is Head.MULTIPLE_CHOICE:
        outputs = tf.reshape(outputs, (tf.size(batch["labels"]), -1))  # [B, C]
    return model.task_loss(outputs, batch["labels"], weights)


@keras.saving.register_keras_serializable("distilbert")
class RateTable(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of each step, from a table."""

    def __init__(self, rates: np.ndarray):
        # A tensor: Keras asks for the rate once for each variable, and a graph would hold an array as often.
        self.rates = tf.constant(np.asarray(rates, np.float64))

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Return the rate of a step, float64."""
        return tf.gather(self.rates, ops.cast(step, "int32"))

    def get_config(self) -> dict[str, Any]:
        """Return the table as a list."""
        return {"rates": self.rates.numpy().tolist()}


@keras.saving.register_keras_serializable("distilbert")
class AdamW(keras.optimizers.AdamW):
    """AdamW with epsilon where PyTorch and optax have it: added to the root of the corrected mean of squares.

    Keras adds it before the correction, which makes the first steps other ones. Gradients are the same on all devices,
    so that they are clipped by the norm of their mean: Keras would add up clipped ones.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        return grads_and_vars

    def update_step(self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor) -> None:
        """Move a variable by one step of Adam; weight decay has been applied."""
        dtype = variable.dtype
        rate, gradient = tf.cast(learning_rate, dtype), tf.cast(gradient, dtype)
        beta1, beta2, epsilon = (tf.constant(number, dtype) for number in (self.beta_1, self.beta_2, self.epsilon))
        number = tf.cast(self.iterations + 1, dtype)
        power1, power2 = beta1**number, beta2**number
        index = self._get_variable_index(variable)
        mean, square = (moments[index].value for moments in (self._momentums, self._velocities))
        # One pass over memory for all of it. The operation adds epsilon to the root before it is corrected.
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=mean.handle,
            v=square.handle,
            beta1_power=power1,
            beta2_power=power2,
            lr=rate,
            beta1=beta1,
            beta2=beta2,
            epsilon=epsilon * tf.sqrt(1 - power2),
            grad=gradient,
        )
