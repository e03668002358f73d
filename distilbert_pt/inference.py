"""Inference in PyTorch: NumPy arrays in, NumPy arrays out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from distilbert_core.errors import InputError
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.inference import CHUNK_TOKENS, MOST_TOKENS, PackedInference, token_budget
from distilbert_core.model.inputs import check_range
from distilbert_core.model.packing import Packing, bucket_size
from distilbert_pt import few_tokens
from distilbert_pt.prepacking import Prepacking
from distilbert_pt.pretrained import DistilBertPreTrainedModel
from distilbert_pt.tensors import ON_HOST, to_array, to_device, to_tensor

# Bucket sizes of packed rows and their outputs on a CPU: 8, 16, ... 264, 272, ... 1024, 1056, ...; from 256 on, at most
# 3 % is padding.
BUCKETS = {"steps": 32, "multiple": 8}

# Of compiled blocks on a GPU: 128, 256, ... 2048, 2304, ...; the added tokens are in segments of at most GPU_SEGMENT.
GPU_BUCKETS, GPU_SEGMENT = {"steps": 8, "multiple": 128}, 128


class BackendInference(PackedInference):
    """Inference in PyTorch: all texts are in one packed row, and attention runs over its segments without a mask."""

    backend = "pt"

    def __init__(self, model: DistilBertPreTrainedModel):
        super().__init__(model)
        self.prepacking = Prepacking(model)
        self.compiled = False

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return self.model.device

    def move(self, device: Any) -> None:
        """Move the model to a device: a name, a `torch.device`, or a number as for `find_device`."""
        self.model.to(self.find_device(device))

    @classmethod
    def accelerators(cls) -> list[torch.device]:
        """Return the devices of PyTorch other than the CPU."""
        kind = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return [] if kind is None else [torch.device(kind.type, i) for i in range(torch.accelerator.device_count())]

    @classmethod
    def packing(cls, lengths: np.ndarray, config: DistilBertConfig) -> Packing:
        """Return a packing of all texts in one row."""
        return Packing.from_lengths(lengths)

    def run(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs of the model, called with these arguments."""
        with self._inference():
            return {name: to_array(value) for name, value in self.model(**self._tensors(arrays)).items()}

    def run_packed(self, rows: dict[str, np.ndarray]) -> np.ndarray:
        """Return the outputs of packed rows, the arguments of the model's `packed_outputs`."""
        if self.model.device.type != "cpu":
            return self._run_on_accelerator(rows)
        one_row = len(rows["input_ids"]) == 1
        outputs = []
        with self._inference(), self.prepacking.in_use(self.model.device):
            for chunk in chunks(rows, CHUNK_TOKENS) if one_row else [rows]:
                count = chunk.get("output_tokens", chunk["input_ids"]).shape[1]
                filled = fill_bucket(chunk) if one_row and not is_short_text(chunk) else chunk
                arguments = self._tensors(filled)
                outputs.append(to_array(self.model.packed_outputs(**arguments))[:, :count])
        return np.concatenate(outputs, axis=1)

    def compile(self, **options: Any) -> None:
        """Compile the blocks of a model on a GPU in place, and bring packed rows into few shapes from now on.

        Args:
            **options: Options of `torch.compile`. `mode="reduce-overhead"` records each shape as a CUDA graph.

        Raises:
            InputError: The model is on the CPU, where attention runs segment by segment: each batch would be compiled.
        """
        if self.model.device.type == "cpu":
            raise InputError("compile is for models on a GPU, and this model is on the CPU; move it first.")
        for block in self.model.base_model.transformer.layer:
            block.compile(**options)
        self.compiled = True

    def _run_on_accelerator(self, rows: dict[str, np.ndarray]) -> np.ndarray:
        """Return the outputs of packed rows; everything is started before the first result is waited for."""
        config = self.config
        for name, size in (("input_ids", config.vocab_size), ("position_ids", config.max_position_embeddings)):
            limit = "vocab_size" if name == "input_ids" else "max_position_embeddings"
            check_range(name, int(rows[name].min()), int(rows[name].max()), size, limit)
        outputs = []
        with self._inference():
            for chunk in chunks(rows, gpu_tokens(self.model)) if len(rows["input_ids"]) == 1 else [rows]:
                count = chunk.get("output_tokens", chunk["input_ids"]).shape[1]
                filled = fill_bucket(chunk, GPU_BUCKETS, GPU_SEGMENT) if self.compiled else chunk
                outputs.append(self.model.packed_outputs(**self._tensors(filled, ON_HOST))[:, :count])
            return np.concatenate([to_array(output) for output in outputs], axis=1)

    @contextmanager
    def _inference(self) -> Iterator[None]:
        """Context manager: disable gradients, and dropout even if the model is in training mode."""
        training = self.model.training
        if training:
            self.model.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            if training:
                self.model.train()

    def _tensors(self, arrays: dict[str, np.ndarray], on_host: Collection[str] = ()) -> dict[str, torch.Tensor]:
        device, tensors = self.model.device, {name: to_tensor(array) for name, array in arrays.items()}
        return {name: x if name in on_host else to_device(x, device) for name, x in tensors.items()}


def gpu_tokens(model: DistilBertPreTrainedModel) -> int:
    """Return the number of tokens of packed rows to compute at a time on the device of a model, not the CPU."""
    if model.device.type != "cuda":
        return MOST_TOKENS
    memory = torch.cuda.get_device_properties(model.device).total_memory
    return token_budget(memory, model.config, model.dtype.itemsize)


def is_short_text(row: dict[str, np.ndarray]) -> bool:
    """Return whether a packed row [1, C] is one text that `few_tokens` computes, which needs no filling."""
    segments = row["segment_ids"][0]
    return len(segments) <= few_tokens.MOST_TOKENS and bool((segments == segments[0]).all())


def chunks(row: dict[str, np.ndarray], tokens: int) -> Iterator[dict[str, np.ndarray]]:
    """Split a packed row between its texts into chunks of about the same size. Chunks without outputs are left out.

    Args:
        row: Arguments of the model's `packed_outputs`, with R = 1.
        tokens: Approximate number of tokens of a chunk.

    Example:
        >>> import numpy as np
        >>> from distilbert_pt.inference import chunks
        >>> row = {"segment_ids": np.array([[1, 1, 1, 2, 2, 3, 3, 4]]), "output_tokens": np.array([[0, 3, 7]])}
        >>> [chunk["segment_ids"].tolist() for chunk in chunks(row, tokens=4)]
        [[[1, 1, 1, 2, 2]], [[3, 3, 4]]]
        >>> [chunk["output_tokens"].tolist() for chunk in chunks(row, tokens=4)]
        [[[0, 3]], [[2]]]
    """
    row = dict(row)
    output_tokens = row.pop("output_tokens", None)
    length = row["segment_ids"].shape[1]
    count = max(round(length / tokens), 1)
    ends = np.append(np.flatnonzero(np.diff(row["segment_ids"][0])) + 1, length)  # of the texts
    bounds = np.unique(ends[np.searchsorted(ends, np.arange(1, count + 1) * length / count)])
    for start, stop in pairwise(np.append(0, bounds).tolist()):
        chunk = {name: array[:, start:stop] for name, array in row.items()}
        if output_tokens is not None:
            inside = (output_tokens[0] >= start) & (output_tokens[0] < stop)
            if not inside.any():
                continue
            chunk["output_tokens"] = output_tokens[:, inside] - start
        yield chunk


def fill_bucket(
    row: dict[str, np.ndarray], buckets: Mapping[str, int] = BUCKETS, longest: int | None = None
) -> dict[str, np.ndarray]:
    """Return a packed row with its numbers of tokens and of output tokens rounded up to bucket sizes.

    oneDNN compiles a kernel for each matrix shape, so there should be few shapes. The added tokens are a segment of
    their own at the end of the row.

    Args:
        row: Arguments of the model's `packed_outputs`, with R = 1.
        buckets: Arguments of `bucket_size`.
        longest: Number of tokens of a segment of added tokens, at most; None: any number.

    Example:
        >>> import numpy as np
        >>> from distilbert_pt.inference import fill_bucket
        >>> row = {"segment_ids": np.array([[1, 1, 1]]), "output_tokens": np.array([[0]])}
        >>> {name: array.tolist() for name, array in fill_bucket(row, {"steps": 1, "multiple": 8}, longest=2).items()}
        {'segment_ids': [[1, 1, 1, 0, 0, -1, -1, 0]], 'output_tokens': [[0, 7, 7, 7, 7, 7, 7, 7]]}
    """
    real = row["segment_ids"].shape[1]
    size = bucket_size(real, **buckets)
    filled = {name: np.zeros((1, size), array.dtype) for name, array in row.items()}
    if longest is not None:
        filled["segment_ids"][0, real:] = -(np.arange(size - real) // longest % 2)
    output_tokens = row.get("output_tokens")
    if output_tokens is not None:
        count = bucket_size(output_tokens.shape[1], **buckets)
        filled["output_tokens"] = np.full((1, count), size - 1, output_tokens.dtype)
    for name, array in row.items():
        filled[name][:, : array.shape[1]] = array
    return filled
