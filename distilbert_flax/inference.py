"""NumPy in, NumPy out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from distilbert_core.inference import Inference
from distilbert_core.parameters import Head


class BackendInference(Inference):
    """Inference in JAX, compiled once for each shape of its inputs."""

    backend = "flax"

    def __init__(self, head: Head, source: str | Path, **kwargs: Any):
        super().__init__(head, source, **kwargs)
        self._run = nnx.jit(lambda model, arrays: model(**arrays))

    def __call__(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Return the model's outputs for its inputs, all by name."""
        return {name: np.asarray(value) for name, value in self._run(self.model, arrays).items()}
