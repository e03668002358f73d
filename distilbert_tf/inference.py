"""NumPy in, NumPy out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from distilbert_core.inference import Inference
from distilbert_core.inputs import check_range
from distilbert_core.packing import Packing, cheapest_length, pack

ROW_LENGTHS = (128, 256)  # of packed rows, beside that of the longest text


class BackendInference(Inference):
    """Inference in Keras: several texts in a packed row, in a graph that is traced once for all shapes."""

    backend = "tf"

    def __init__(self, model: Any):
        super().__init__(model)
        self._trace()

    def _trace(self) -> None:
        self._variables = self.model.variables
        self._run = tf.function(
            lambda arrays: dict(self.model(arrays, training=False)), autograph=False, reduce_retracing=True
        )
        self._run_packed = tf.function(lambda rows: self.model.packed_outputs(**rows), autograph=False)

    def _trace_anew_if_changed(self) -> None:
        """Trace again where layers have other variables than then: those of a model that was resized or pruned."""
        now = self.model.variables
        if len(now) != len(self._variables) or any(a is not b for a, b in zip(now, self._variables, strict=True)):
            self._trace()

    def pack(self, mask: np.ndarray) -> Packing:
        """Return rows of the length that costs least; see `Inference.pack`."""
        lengths = mask.sum(axis=1).tolist()
        return pack(mask, cheapest_length(lengths, (max(lengths), *ROW_LENGTHS), self.config.dim))

    def run(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs of the model, called as it is."""
        self._trace_anew_if_changed()
        tensors = {name: tf.convert_to_tensor(array) for name, array in arrays.items()}
        return {name: value.numpy() for name, value in self._run(tensors).items()}

    def run_packed(self, packing: Packing, ids: np.ndarray, output_tokens: np.ndarray | None = None) -> np.ndarray:
        """Return the outputs of packed rows; see `Inference.run_packed`."""
        self._trace_anew_if_changed()
        check_range("input_ids", int(ids.min()), int(ids.max()), self.config.vocab_size, "vocab_size")
        one_text_each = (packing.segment_ids == 1).all()  # nobody is to be kept apart: no mask
        rows = {
            "input_ids": ids,
            "position_ids": packing.position_ids,
            "segment_ids": None if one_text_each else packing.segment_ids,
            "output_tokens": output_tokens,
        }
        return call_traced(self._run_packed, rows).numpy()


def call_traced(function: Any, arrays: Mapping[str, np.ndarray | None]) -> tf.Tensor:
    """Call a tf.function of a dict of arrays, traced once for all shapes."""
    tensors = {name: None if array is None else tf.convert_to_tensor(array) for name, array in arrays.items()}
    shapes = {name: None if x is None else tf.TensorSpec([None] * x.ndim, x.dtype) for name, x in tensors.items()}
    return function.get_concrete_function(shapes)(tensors)
