"""NumPy in, NumPy out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from distilbert_core.model.inference import BLOCK_TOKENS, PackedInference
from distilbert_core.model.packing import Packing, few_sizes, pack
from distilbert_pt.prepacking import Prepacking
from distilbert_pt.pretrained import DistilBertPreTrainedModel
from distilbert_pt.tensors import to_array, to_tensor

# Of packed rows and their outputs on a CPU: 8, 16, ... 264, 272, ... 1024, 1056, ..., 3 % more at most from 256 on.
SIZES = {"steps": 32, "least": 8}


class BackendInference(PackedInference):
    """Inference in PyTorch: a batch is one packed row, and attention runs over its segments, so nothing is padded."""

    backend = "pt"

    def __init__(self, model: DistilBertPreTrainedModel):
        super().__init__(model)
        self.prepacking = Prepacking(model)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    def move(self, device: Any) -> None:
        """Move the model to a device; see `Inference.move`."""
        self.model.to(self.find_device(device))

    @classmethod
    def accelerators(cls) -> list[torch.device]:
        """Return the devices of PyTorch other than the CPU."""
        kind = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return [] if kind is None else [torch.device(kind.type, i) for i in range(torch.accelerator.device_count())]

    def pack(self, mask: np.ndarray) -> Packing:
        """Return all real tokens in one row; see `PackedInference.pack`."""
        return pack(mask)

    def run(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs of the model, called as it is."""
        with self._inference():
            return {name: to_array(value) for name, value in self.model(**self._tensors(arrays)).items()}

    def run_packed(self, rows: dict[str, np.ndarray]) -> np.ndarray:
        """Return the outputs of packed rows; see `PackedInference.run_packed`."""
        one_row_on_cpu = self.model.device.type == "cpu" and len(rows["input_ids"]) == 1
        parts = blocks(rows, BLOCK_TOKENS) if one_row_on_cpu else [rows]
        outputs = []
        with self._inference(), self.prepacking.in_use(self.model.device):
            for part in parts:
                wanted = part.get("output_tokens", part["input_ids"]).shape[1]
                arguments = self._tensors(padded(part) if one_row_on_cpu else part)
                outputs.append(to_array(self.model.packed_outputs(**arguments))[:, :wanted])
        return np.concatenate(outputs, axis=1)

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


def blocks(row: dict[str, np.ndarray], tokens: int) -> Iterator[dict[str, np.ndarray]]:
    """Split a packed row between its texts into parts of about so many tokens.

    Args:
        row: Arguments of `PackedInference.run_packed`, of one packed row.
        tokens: How long a part should be.

    Example:
        >>> import numpy as np
        >>> from distilbert_pt.inference import blocks
        >>> row = {"segment_ids": np.array([[1, 1, 1, 2, 2, 3, 3, 4]]), "output_tokens": np.array([[0, 3, 7]])}
        >>> [part["segment_ids"].tolist() for part in blocks(row, tokens=4)]
        [[[1, 1, 1, 2, 2]], [[3, 3, 4]]]
        >>> [part["output_tokens"].tolist() for part in blocks(row, tokens=4)]
        [[[0, 3]], [[2]]]
    """
    row = dict(row)
    places = row.pop("output_tokens", None)
    length = row["segment_ids"].shape[1]
    count = max(round(length / tokens), 1)
    ends = np.append(np.flatnonzero(np.diff(row["segment_ids"][0])) + 1, length)  # of the texts
    cuts = np.unique(ends[np.searchsorted(ends, np.arange(1, count + 1) * length / count)])
    for start, stop in pairwise(np.append(0, cuts).tolist()):
        part = {name: array[:, start:stop] for name, array in row.items()}
        if places is not None:
            part["output_tokens"] = places[:, (places[0] >= start) & (places[0] < stop)] - start
            if not part["output_tokens"].size:
                continue  # nobody asked for anything here
        yield part


def padded(row: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a packed row whose numbers of tokens and of wanted ones are rounded up to `SIZES`.

    oneDNN makes a program for each number of rows of a product. What is added is a segment of its own, at the end.
    """
    tokens = row["segment_ids"].shape[1]
    size = few_sizes(tokens, **SIZES)
    longer = {name: np.zeros((1, size), array.dtype) for name, array in row.items()}
    places = row.get("output_tokens")
    if places is not None:
        longer["output_tokens"] = np.full((1, few_sizes(places.shape[1], **SIZES)), size - 1, places.dtype)
    for name, array in row.items():
        longer[name][:, : array.shape[1]] = array
    return longer
