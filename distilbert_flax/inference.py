"""NumPy in, NumPy out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from distilbert_core.model.inference import BLOCK_TOKENS, PackedInference
from distilbert_core.model.packing import Packing, cheapest_length, pack
from distilbert_flax.model import check_values
from distilbert_flax.pretrained import find_device

SHORT, LONG = (16, 32, 64), (128, 256, 512)  # lengths of packed rows; where a text is longer, the next power of two
FEW = 256  # tokens of a batch that may be packed into short rows


class BackendInference(PackedInference):
    """Inference in JAX, which compiles each shape of its inputs: few, for batches of all shapes.

    Packed rows have one of a few lengths, and are computed in groups of 1, 2, 4, 8 ... rows.
    """

    backend = "flax"

    @property
    def device(self) -> Any:
        """Where the model is: a device, or all of a mesh."""
        devices = jax.tree.leaves(self.model)[0].devices()
        return next(iter(devices)) if len(devices) == 1 else devices

    def _is_on(self, device: Any) -> bool:
        return bool(find_device(device) == self.device)

    @classmethod
    def accelerators(cls) -> list[Any]:
        """Return the devices of JAX if they are not the CPU."""
        return [] if jax.default_backend() == "cpu" else jax.devices()

    def pack(self, mask: np.ndarray) -> Packing:
        """Return the real tokens in rows of one of a few lengths; see `PackedInference.pack`."""
        lengths = mask.sum(axis=1).tolist()
        return pack(mask, cheapest_length(lengths, row_lengths(lengths), self.config.dim))

    def run(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs of the model, called as it is."""
        return {name: np.array(value) for name, value in _run(self.model, arrays).items()}

    def run_packed(self, rows: dict[str, np.ndarray]) -> np.ndarray:
        """Return the outputs of packed rows; see `PackedInference.run_packed`."""
        ids = rows["input_ids"]
        check_values("input_ids", ids, self.config.vocab_size, "vocab_size")
        wanted = ids.shape[1]
        if "output_tokens" in rows:
            wanted = rows["output_tokens"].shape[1]
            more = min(output_count(wanted), ids.shape[1]) - wanted
            rows = {**rows, "output_tokens": np.pad(rows["output_tokens"], [(0, 0), (0, more)], mode="edge")}
        most = max(BLOCK_TOKENS // ids.shape[1], 1) if jax.default_backend() == "cpu" else len(ids)
        # All are started before any is waited for.
        outputs = [
            _run_packed(self.model, {name: array[group] for name, array in rows.items()})
            for group in groups(len(ids), most)
        ]
        return np.concatenate([np.asarray(output) for output in outputs])[:, :wanted]


# A model is a pytree: so given to `jax.jit`, all of what it is now is seen, and in a fifth of the time of `nnx.jit`,
# which would also write back what a call changes.
@jax.jit
def _run(model: Any, arrays: dict[str, jax.Array]) -> Any:
    return model(**arrays)


@jax.jit
def _run_packed(model: Any, rows: dict[str, jax.Array]) -> jax.Array:
    return model.packed_outputs(**rows, train=False)


def row_lengths(lengths: list[int]) -> list[int]:
    """Return the lengths of packed rows C to choose from.

    Args:
        lengths: Real tokens of each row.

    Example:
        >>> from distilbert_flax.inference import row_lengths
        >>> row_lengths([20] * 32), row_lengths([30] * 3), row_lengths([600])
        ([128, 256, 512], [32, 64, 128, 256, 512], [1024])
    """
    longest = max(lengths)
    known = (*SHORT, *LONG) if sum(lengths) <= FEW else LONG
    return [columns for columns in known if columns >= longest] or [next_power(longest)]


def output_count(wanted: int) -> int:
    """Return one of a few numbers S of outputs of a row that is not below `wanted`.

    Example:
        >>> from distilbert_flax.inference import output_count
        >>> [output_count(wanted) for wanted in (1, 2, 9, 33)]
        [1, 8, 16, 64]
    """
    return 1 if wanted == 1 else max(next_power(wanted), 8)


def next_power(count: int) -> int:
    """Return the first power of two that is not below `count`, which is at least 1."""
    return 1 << (count - 1).bit_length()


def groups(rows: int, most: int) -> Iterator[slice]:
    """Split rows into as few powers of two as there can be, the largest first, and none above `most`.

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
