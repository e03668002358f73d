"""NumPy in, NumPy out."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from distilbert_core.inference import Inference


class BackendInference(Inference):
    """Inference in Keras, traced once for all shapes of its inputs."""

    backend = "tf"

    def __init__(self, model: Any):
        super().__init__(model)
        self._run = tf.function(lambda arrays: dict(self.model(arrays, training=False)), reduce_retracing=True)

    def __call__(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Return the model's outputs for its inputs, all by name."""
        tensors = {name: tf.convert_to_tensor(array) for name, array in arrays.items()}
        return {name: value.numpy() for name, value in self._run(tensors).items()}
