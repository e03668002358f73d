"""Inference in JAX: NumPy arrays in, NumPy arrays out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.inference import CHUNK_TOKENS, PackedInference
from distilbert_core.model.packing import Packing, cheapest_length
from distilbert_flax.pretrained import find_device
from distilbert_flax.tensors import check_values

SHORT, LONG = (16, 32, 64), (128, 256, 512)  # lengths of packed rows; a longer text gets the next power of two
FEW = 256  # tokens of a batch, at most, to choose from the short rows too


class BackendInference(PackedInference):
    """Inference in JAX. JAX compiles a program for each shape, so batches of all shapes are brought into few shapes.

    Packed rows have one of a few lengths, and are computed in groups of 1, 2, 4, 8 ... rows.
    """

    backend = "flax"

    @property
    def device(self) -> Any:
        """Device of the model, or all devices of its mesh."""
        devices = jax.tree.leaves(self.model)[0].devices()
        return next(iter(devices)) if len(devices) == 1 else devices

    def _is_on(self, device: Any) -> bool:
        return bool(find_device(device) == self.device)

    @classmethod
    def accelerators(cls) -> list[Any]:
        """Return the devices of JAX other than the CPU."""
        return [] if jax.default_backend() == "cpu" else jax.devices()

    @classmethod
    def packing(cls, lengths: np.ndarray, config: DistilBertConfig) -> Packing:
        """Return a packing into rows of one of a few lengths."""
        sizes = lengths.tolist()
        return Packing.from_lengths(lengths, cheapest_length(sizes, row_lengths(sizes), config.dim))

    def run(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs of the model, called with these arguments."""
        return {name: np.array(value) for name, value in _run(self.model, arrays).items()}

    def run_packed(self, rows: dict[str, np.ndarray]) -> np.ndarray:
        """Return the outputs of packed rows, the arguments of the model's `packed_outputs`."""
        ids = rows["input_ids"]
        check_values("input_ids", ids, self.config.vocab_size, "vocab_size")
        count = ids.shape[1]
        if "output_tokens" in rows:
            count = rows["output_tokens"].shape[1]
            more = min(output_count(count), ids.shape[1]) - count
            rows = {**rows, "output_tokens": np.pad(rows["output_tokens"], [(0, 0), (0, more)], mode="edge")}
        most = max(CHUNK_TOKENS // ids.shape[1], 1) if jax.default_backend() == "cpu" else len(ids)
        # Start all groups before waiting for the first.
        outputs = [
            _run_packed(self.model, {name: array[group] for name, array in rows.items()})
            for group in groups(len(ids), most)
        ]
        return np.concatenate([np.asarray(output) for output in outputs])[:, :count]


# The model is a pytree argument, so jit sees its current state, in a fifth of the time of `nnx.jit`, which would also
# write changes back.
@jax.jit
def _run(model: Any, arrays: dict[str, jax.Array]) -> Any:
    return model(**arrays)


@jax.jit
def _run_packed(model: Any, rows: dict[str, jax.Array]) -> jax.Array:
    return model.packed_outputs(**rows, train=False)


def row_lengths(lengths: list[int]) -> list[int]:
    """Return the lengths of packed rows C to choose from.

    Args:
        lengths: Number of tokens of each text.

    Example:
        >>> from distilbert_flax.inference import row_lengths
        >>> row_lengths([20] * 32), row_lengths([30] * 3), row_lengths([600])
        ([128, 256, 512], [32, 64, 128, 256, 512], [1024])
    """
    longest = max(lengths)
    known = (*SHORT, *LONG) if sum(lengths) <= FEW else LONG
    return [columns for columns in known if columns >= longest] or [next_power(longest)]


def output_count(count: int) -> int:
    """Round the number of outputs of a row up to 1, 8, 16, 32, ...

    Example:
        >>> from distilbert_flax.inference import output_count
        >>> [output_count(count) for count in (1, 2, 9, 33)]
        [1, 8, 16, 64]
    """
    return 1 if count == 1 else max(next_power(count), 8)


def next_power(count: int) -> int:
    """Return the smallest power of two that is at least `count`, which is at least 1."""
    return 1 << (count - 1).bit_length()


def groups(rows: int, most: int) -> Iterator[slice]:
    """Split rows into as few powers of two as possible, the largest first, none above `most`.

    Example:
        >>> from distilbert_flax.inference import groups
        >>> [(group.start, group.stop) for group in groups(13, most=8)]
        [(0, 8), (8, 12), (12, 13)]
    """
    start = 0
    while start < rows:
        stop = start + (1 << min(rows - start, most).bit_length() - 1)
        yield slice(start, stop)
        start = stop
