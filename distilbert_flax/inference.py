"""NumPy in, NumPy out."""

from __future__ import annotations

from typing import Any

import numpy as np
from flax import nnx

from distilbert_core.inference import TOKEN_HEADS, Inference


class BackendInference(Inference):
    """Inference in JAX, compiled once for each shape of its inputs.

    Rows and tokens are padded up to one of a few sizes, so that batches of all shapes need few compilations; the
    outputs are cut back to what was given. Each row needs a token that is not padding.
    """

    backend = "flax"

    def __init__(self, model: Any):
        super().__init__(model)
        self._run = nnx.jit(lambda model, arrays: model(**arrays))

    def __call__(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Return the model's outputs for its inputs, all by name."""
        if not arrays.keys() <= {"input_ids", "attention_mask"}:
            return {name: np.asarray(value) for name, value in self._run(self.model, arrays).items()}
        ids = arrays["input_ids"]  # [B, T], or [B, C, T] for multiple choice
        rows, tokens = ids.shape[0], ids.shape[-1]
        mask = arrays.get("attention_mask", np.ones_like(ids))
        sizes = [(0, next_size(rows) - rows), *[(0, 0)] * (ids.ndim - 2), (0, self._padded_length(tokens) - tokens)]
        padded = {"input_ids": np.pad(ids, sizes), "attention_mask": np.pad(mask, sizes)}
        real = np.s_[:rows, :tokens] if self.head in TOKEN_HEADS else np.s_[:rows]
        return {name: np.asarray(value)[real] for name, value in self._run(self.model, padded).items()}

    def _padded_length(self, tokens: int) -> int:
        longest = self.config.max_position_embeddings
        return tokens if tokens > longest else min(max(next_size(tokens), 16), longest)


def next_size(count: int) -> int:
    """Return the first of 1, 2, 3, 4, 6, 8, 12, 16, 24 ... that is not below `count`: at most a half more.

    Example:
        >>> from distilbert_flax.inference import next_size
        >>> [next_size(count) for count in (1, 5, 12, 13, 300)]
        [1, 6, 12, 16, 384]
    """
    power = 1 << max(count - 1, 0).bit_length()
    return power * 3 // 4 if count <= power * 3 // 4 else power
