"""Optimizers: a fast AdamW, and that of Transformers' Keras scripts with warm-up and a falling learning rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from distilbert_core.errors import InputError


@keras.saving.register_keras_serializable("distilbert")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises from 0, and then follows another schedule.

    Args:
        initial_learning_rate: The rate at the end of the rise.
        decay_schedule_fn: Schedule of the steps after the rise, which are counted from 0.
        warmup_steps: Number of steps of the rise.
        power: 1 for a straight line; the fraction of the rate is the fraction of the steps to this power.
        name: A name.

    Example:
        >>> from distilbert_tf.optimization import WarmUp
        >>> rates = WarmUp(1.0, lambda step: 1.0 - 0.1 * step, warmup_steps=2)
        >>> [round(float(rates(step)), 3) for step in range(4)]
        [0.0, 0.5, 1.0, 0.9]
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_schedule_fn: Callable[[Any], Any],
        warmup_steps: int,
        power: float = 1.0,
        name: str | None = None,
    ):
        super().__init__()
        self.initial_learning_rate = initial_learning_rate
        self.decay_schedule_fn = decay_schedule_fn
        self.warmup_steps = warmup_steps
        self.power = power
        self.name = name

    def __call__(self, step: Any) -> tf.Tensor:
        """Return the rate of a step."""
        done = ops.cast(step, "float32") / self.warmup_steps
        rising = self.initial_learning_rate * ops.power(done, self.power)
        after = self.decay_schedule_fn(ops.maximum(ops.cast(step, "float32") - self.warmup_steps, 0.0))
        return ops.where(done < 1, rising, after)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_schedule_fn": keras.saving.serialize_keras_object(self.decay_schedule_fn),
            "warmup_steps": self.warmup_steps,
            "power": self.power,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WarmUp:
        """Make a schedule from the result of `get_config`."""
        decay = keras.saving.deserialize_keras_object(config["decay_schedule_fn"])
        return cls(**{**config, "decay_schedule_fn": decay})


@keras.saving.register_keras_serializable("distilbert")
class AdamW(keras.optimizers.AdamW):
    """AdamW as PyTorch and optax compute it, in one pass over the memory of each variable.

    Epsilon is added to the root of the corrected mean of squares. Keras adds it before the correction, which changes
    the first steps.

    Args:
        *args: Arguments of `keras.optimizers.AdamW`: learning_rate, weight_decay, beta_1, beta_2, epsilon.
        **kwargs: Its keywords.

    Raises:
        InputError: `amsgrad` is on, which this update does not have.

    Example:
        >>> import keras
        >>> from distilbert_tf import AdamW
        >>> weight = keras.Variable([1.0])
        >>> AdamW(0.1, weight_decay=0.0, epsilon=0.0).apply([keras.ops.ones(1)], [weight])
        >>> round(float(weight[0]), 6)  # the first step is the learning rate
        0.9
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.amsgrad:
            raise InputError("AdamW has no amsgrad: leave it out, or use keras.optimizers.AdamW.")

    def update_step(self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor) -> None:
        """Move a variable by one step of Adam; weight decay has been applied."""
        dtype = variable.dtype
        rate, gradient = tf.cast(learning_rate, dtype), tf.cast(tf.convert_to_tensor(gradient), dtype)
        beta1, beta2, epsilon = (tf.constant(x, dtype) for x in (self.beta_1, self.beta_2, self.epsilon))
        step = tf.cast(self.iterations + 1, dtype)
        power1, power2 = beta1**step, beta2**step
        index = self._get_variable_index(variable)
        mean, square = (moments[index].value for moments in (self._momentums, self._velocities))
        # One pass over memory. The operation adds epsilon to the root before the correction.
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


@keras.saving.register_keras_serializable("distilbert")
class AdamWeightDecay(keras.optimizers.AdamW):
    """Keras' AdamW, with weight decay for the variables whose paths match.

    Args:
        learning_rate: A number or a schedule.
        beta_1: Decay of the mean of gradients.
        beta_2: Decay of the mean of their squares.
        epsilon: Added to the root of that mean.
        amsgrad: Use the largest mean so far.
        weight_decay_rate: A step shrinks a variable by this rate times the learning rate.
        include_in_weight_decay: Parts of paths of variables that always decay.
        exclude_from_weight_decay: Parts of paths of variables that do not decay.
        name: A name.
        **kwargs: Other arguments of `keras.optimizers.AdamW`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        weight_decay_rate: float = 0.0,
        include_in_weight_decay: Sequence[str] | None = None,
        exclude_from_weight_decay: Sequence[str] | None = None,
        name: str = "AdamWeightDecay",
        **kwargs: Any,
    ):
        kwargs.pop("weight_decay", None)  # Keras' configurations have the rate under this name too
        super().__init__(
            learning_rate, weight_decay_rate, beta_1, beta_2, epsilon, amsgrad=amsgrad, name=name, **kwargs
        )
        self._included = list(include_in_weight_decay or ())
        self._excluded = list(exclude_from_weight_decay or ())

    def build(self, variables: Any) -> None:
        """Make the variables of the optimizer for the trained variables."""

        def has(parts: list[str], variable: Any) -> bool:
            return any(part in variable.path for part in parts)

        if not self.built:
            excluded = [v for v in variables if has(self._excluded, v) and not has(self._included, v)]
            self.exclude_from_weight_decay(var_list=excluded)
        super().build(variables)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {
            **super().get_config(),
            "weight_decay_rate": self.weight_decay,
            "include_in_weight_decay": self._included,
            "exclude_from_weight_decay": self._excluded,
        }


def create_optimizer(
    init_lr: float,
    num_train_steps: int,
    num_warmup_steps: int,
    min_lr_ratio: float = 0.0,
    adam_beta1: float = 0.9,
    adam_beta2: float = 0.999,
    adam_epsilon: float = 1e-8,
    adam_clipnorm: float | None = None,
    adam_global_clipnorm: float | None = None,
    weight_decay_rate: float = 0.0,
    power: float = 1.0,
    include_in_weight_decay: Sequence[str] | None = None,
) -> tuple[AdamWeightDecay, Any]:
    """Return Adam with weight decay, and its schedule: the learning rate rises, and then falls to the last step.

    Scales and shifts of LayerNorm and biases do not decay.

    Args:
        init_lr: The rate after the rise.
        num_train_steps: Number of all steps.
        num_warmup_steps: Number of steps of the rise.
        min_lr_ratio: The last rate is this times `init_lr`.
        adam_beta1: Decay of the mean of gradients.
        adam_beta2: Decay of the mean of their squares.
        adam_epsilon: Added to the root of that mean.
        adam_clipnorm: Largest norm of the gradient of a variable.
        adam_global_clipnorm: Largest norm of all gradients together.
        weight_decay_rate: A step shrinks a parameter by this times the learning rate.
        power: 1 for a straight line.
        include_in_weight_decay: Parts of paths of variables that decay in any case.

    Example:
        >>> from distilbert_tf import create_optimizer
        >>> optimizer, rates = create_optimizer(1e-4, num_train_steps=30, num_warmup_steps=10, weight_decay_rate=0.01)
        >>> [f"{float(rates(step)):.0e}" for step in (0, 5, 10, 20, 30)]
        ['0e+00', '5e-05', '1e-04', '5e-05', '0e+00']
    """
    rates: Any = keras.optimizers.schedules.PolynomialDecay(
        init_lr, num_train_steps - num_warmup_steps, init_lr * min_lr_ratio, power
    )
    if num_warmup_steps:
        rates = WarmUp(init_lr, rates, num_warmup_steps)
    optimizer = AdamWeightDecay(
        rates,
        adam_beta1,
        adam_beta2,
        adam_epsilon,
        weight_decay_rate=weight_decay_rate,
        clipnorm=adam_clipnorm,
        global_clipnorm=adam_global_clipnorm,
        include_in_weight_decay=include_in_weight_decay,
        exclude_from_weight_decay=["LayerNorm", "layer_norm", "bias"],
    )
    return optimizer, rates
