"""NumPy in, NumPy out."""

from __future__ import annotations

import numpy as np
import torch

from distilbert_core.inference import Inference
from distilbert_pt.pretrained import to_array, to_tensor


class BackendInference(Inference):
    """Inference in PyTorch."""

    backend = "pt"

    @torch.inference_mode()
    def __call__(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Return the model's outputs for its inputs, all by name."""
        tensors = {name: to_tensor(array).to(self.model.device) for name, array in arrays.items()}
        return {name: to_array(value) for name, value in self.model(**tensors).items()}
