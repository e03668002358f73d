"""NumPy in, NumPy out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from distilbert_core.inference import Inference
from distilbert_core.packing import Packing, pack
from distilbert_pt.pretrained import to_array, to_tensor


class BackendInference(Inference):
    """Inference in PyTorch: a batch is one packed row, and attention runs over its segments, so nothing is padded."""

    backend = "pt"

    def pack(self, mask: np.ndarray) -> Packing:
        """Return all real tokens in one row; see `Inference.pack`."""
        return pack(mask)

    def run(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs of the model, called as it is."""
        with self._inference():
            return {name: to_array(value) for name, value in self.model(**self._tensors(arrays)).items()}

    def run_packed(self, packing: Packing, ids: np.ndarray, output_tokens: np.ndarray | None = None) -> np.ndarray:
        """Return the outputs of packed rows; see `Inference.run_packed`."""
        rows = {"input_ids": ids, "position_ids": packing.position_ids, "segment_ids": packing.segment_ids}
        if output_tokens is not None:
            rows["output_tokens"] = output_tokens
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
