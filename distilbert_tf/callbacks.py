"""A callback for `fit`."""

from __future__ import annotations

from typing import Any

import keras


class ResumeDropout(keras.callbacks.Callback):
    """Lets dropout go on where an interrupted run stopped; goes after `BackupAndRestore`, which forgets it.

    Each dropout draws from its seed and the number of its draws, one per step of the optimizer. So the model must be
    made after the same `keras.utils.set_random_seed` in both runs, and the data must come in the same order.

    Example:
        >>> import keras
        >>> from distilbert_tf.callbacks import ResumeDropout
        >>> callbacks = [keras.callbacks.BackupAndRestore("backup"), ResumeDropout()]
    """

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Set the number of draws to that of the optimizer's steps."""
        optimizer = self.model.optimizer
        steps = int(optimizer.iterations) * (optimizer.gradient_accumulation_steps or 1)
        for variable in self.model.non_trainable_variables:
            if variable.name == "seed_generator_state":
                seed = int(variable.value[0])
                variable.assign([seed, steps])
