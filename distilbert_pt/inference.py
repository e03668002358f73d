"""NumPy in, NumPy out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from distilbert_core.inference import PackedInference
from distilbert_core.packing import Packing, pack
from distilbert_pt.pretrained import to_array, to_tensor


class BackendInference(PackedInference):
    """Inference in PyTorch: a batch is one packed row, and attention runs over its segments, so nothing is padded."""

    backend = "pt"

    def pack(self, mask: np.ndarray) -> Packing:
        """Return all real tokens in one row; see `PackedInference.pack`."""
        return pack(mask)

    def run(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs of the model, called as it is."""
        with self._inference():
            return {name: to_array(value) for name, value in self.model(**self._tensors(arrays)).items()}

    def run_packed(self, rows: dict[str, np.ndarray]) -> np.ndarray:
        """Return the outputs of packed rows; see `PackedInference.run_packed`."""
        with self._inference():
            return to_array(self.model.packed_outputs(**self._tensors(rows)))

    @contextmanager
    def _inference(self) -> Iterator[None]:
        """Within this, nothing is recorded for gradients, and nothing is dropped, whatever mode the model is in."""
        training = self.model.training
        if training:
            self.model.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            if training:
                self.model.train()

    def _tensors(self, arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
        return {name: to_tensor(array).to(self.model.device) for name, array in arrays.items()}
