"""Inference in Keras: NumPy arrays in, NumPy arrays out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.inference import CHUNK_TOKENS, PackedInference
from distilbert_core.model.inputs import check_range
from distilbert_core.model.packing import Packing
from distilbert_tf.attention import blocks_at_any_length


class BackendInference(PackedInference):
    """Inference in Keras: several texts in a packed row, in a graph that is traced once for all shapes."""

    backend = "tf"

    def __init__(self, model: Any):
        super().__init__(model)
        self._trace()

    @property
    def device(self) -> str:
        """Device of the model, such as 'CPU:0'."""
        return _short_name(self.model.variables[0].value.device)

    def _is_on(self, device: Any) -> bool:
        return _short_name(device) == self.device

    @classmethod
    def accelerators(cls) -> list[str]:
        """Return the names of the GPUs."""
        return [_short_name(device.name) for device in tf.config.list_logical_devices("GPU")]

    def _trace(self) -> None:
        self._variables = self.model.variables
        # One graph for all batch sizes and lengths; a multiple-choice model must know the number of choices.
        relaxed = not self.head.has_choices
        self._run = tf.function(
            lambda arrays: dict(self.model(arrays, training=False)), autograph=False, reduce_retracing=relaxed
        )
        self._run_packed = tf.function(lambda rows: self.model.packed_outputs(**rows), autograph=False)

    def _trace_again_if_changed(self) -> None:
        """Trace again if the layers have other variables, as after resizing or pruning the model."""
        now = self.model.variables
        if len(now) != len(self._variables) or any(a is not b for a, b in zip(now, self._variables, strict=True)):
            self._trace()

    @classmethod
    def packing(cls, lengths: np.ndarray, config: DistilBertConfig) -> Packing:
        """Return a packing into rows of the cheapest length."""
        return Packing.of_cheapest_length(lengths, config.dim)

    def run(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs of the model, called with these arguments."""
        self._trace_again_if_changed()
        tensors = {name: tf.convert_to_tensor(array) for name, array in arrays.items()}
        with blocks_at_any_length():
            return {name: value.numpy() for name, value in self._run(tensors).items()}

    def run_packed(self, rows: dict[str, np.ndarray]) -> np.ndarray:
        """Return the outputs of packed rows, the arguments of the model's `packed_outputs`."""
        self._trace_again_if_changed()
        ids = rows["input_ids"]
        check_range("input_ids", int(ids.min()), int(ids.max()), self.config.vocab_size, "vocab_size")
        arguments: dict[str, np.ndarray | None] = {"output_tokens": None, **rows}
        if (rows["segment_ids"] == 1).all():  # one text in each row, without empty slots: no mask is needed
            arguments["segment_ids"] = None
        on_gpu = bool(tf.config.list_logical_devices("GPU"))
        count = 1 if on_gpu else min(max(round(ids.size / CHUNK_TOKENS), 1), len(ids))
        chunks = [
            {name: None if array is None else array[some] for name, array in arguments.items()}
            for some in np.array_split(np.arange(len(ids)), count)
        ]
        return np.concatenate([call_traced(self._run_packed, chunk).numpy() for chunk in chunks])


def _short_name(device: str) -> str:
    """'/job:localhost/replica:0/task:0/device:CPU:0' and 'cpu' -> 'CPU:0'."""
    name = device.rpartition("/")[2].upper().removeprefix("DEVICE:")
    return name if ":" in name else f"{name}:0"


def call_traced(function: Any, *arguments: Mapping[str, np.ndarray | None]) -> Any:
    """Call a tf.function of dicts of arrays, traced once for all shapes."""
    tensors = [
        {name: None if array is None else tf.convert_to_tensor(array) for name, array in arrays.items()}
        for arrays in arguments
    ]
    shapes = [
        {name: None if x is None else tf.TensorSpec([None] * x.ndim, x.dtype) for name, x in of_one.items()}
        for of_one in tensors
    ]
    return function.get_concrete_function(*shapes)(*tensors)
