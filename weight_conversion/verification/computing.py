"""The hidden states and outputs of a checkpoint on one backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.model.backends import backend_class, get_backend
from distilbert_core.model.heads import Head


def compute(
    backend: str, head: Head, folder: Path, dtype: str, inputs: Mapping[str, np.ndarray], attentions: bool = False
) -> dict[str, np.ndarray]:
    """Return every hidden state and every output of a model on the CPU, by name, in float64.

    Values of tokens are returned for real tokens only. At padding, rounding errors grow from layer to layer (measured:
    25 times as large as elsewhere), and the values are never used.

    Args:
        backend: 'pt', 'tf' or 'flax'.
        head: Head of the model.
        folder: Folder with the checkpoint as safetensors.
        dtype: Dtype of the computation.
        inputs: int64 arrays by name.
        attentions: Also return the attention probabilities of every layer.

    Returns:
        Hidden states [real tokens, D], attentions [real tokens, N, T], outputs of tokens [real tokens, ...], and of
        texts [B, ...].
    """
    model_class = backend_class(backend, head)
    options = {"output_hidden_states": True, "output_attentions": attentions, "return_dict": True}
    with get_backend(backend).on_cpu() as to_tensor:
        model = model_class.from_pretrained(folder, dtype=dtype, device="cpu", **options)
        outputs = model(**{name: to_tensor(array) for name, array in inputs.items()})
        arrays = {name: np.asarray(value, np.float64) for name, value in _in_order(outputs)}
    mask = inputs["attention_mask"].reshape(-1, inputs["attention_mask"].shape[-1]).astype(bool)  # [B, T] or [B*C, T]
    return {name: _real_tokens(name, array, mask, head) for name, array in arrays.items()}


def _real_tokens(name: str, array: np.ndarray, mask: np.ndarray, head: Head) -> np.ndarray:
    if name.startswith("attentions."):
        return array.swapaxes(1, 2)[mask]  # [B, N, T, T] -> [B, T, N, T]
    return array[mask] if name.startswith("hidden_states.") or head.reads_tokens else array


def _in_order(outputs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the layers, which are stored in tuples, and then the outputs."""
    layers = {name: value for name, value in outputs.items() if isinstance(value, tuple)}
    for name, parts in layers.items():
        yield from ((f"{name}.{number}", part) for number, part in enumerate(parts))
    yield from ((name, value) for name, value in outputs.items() if name not in layers)
