"""The canonical form of a checkpoint, through which every conversion passes: parameters by name, read one at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Self

import ml_dtypes
import numpy as np

from distilbert_core.errors import CheckpointError
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head

READ_AHEAD = 3  # tensors that are read before they are needed
NUMPY_DTYPES = {  # name -> dtype of NumPy
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
MOST_POSITIONS = 1_000_000  # a sinusoidal table is computed, so no file limits its size


@dataclass(frozen=True)
class LazyTensor:
    """An array in a file that is read on demand.

    Attributes:
        shape: Its shape.
        dtype: Name of its dtype: 'float32', 'bfloat16', ...
        read: Reads and returns the array.
        where: File and stored name, for messages.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]
    where: str

    @classmethod
    def of(cls, array: np.ndarray, where: str) -> Self:
        """Return an array in memory as a tensor."""
        return cls(array.shape, array.dtype.name, partial(np.asarray, array), where)

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return math.prod(self.shape) * NUMPY_DTYPES[self.dtype].itemsize

    @property
    def T(self) -> Self:  # noqa: N802  the name that NumPy uses
        """The tensor with its axes reversed."""
        return replace(self, shape=self.shape[::-1], read=lambda: self.read().T)

    def astype(self, dtype: str) -> Self:
        """Return the tensor in another dtype."""
        if dtype == self.dtype:
            return self
        return replace(self, dtype=dtype, read=lambda: cast(self.read(), dtype))


Tensor = LazyTensor  # another name


def cast(array: np.ndarray, dtype: str) -> np.ndarray:
    """Return an array in another dtype; values that are too large become infinite, values that are too small 0."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return array.astype(NUMPY_DTYPES[dtype])


def read_ahead(
    tensors: Mapping[str, LazyTensor], pool: Executor, prepare: Callable[[np.ndarray], np.ndarray]
) -> dict[str, LazyTensor]:
    """Return tensors that other threads read while the previous ones are written.

    Args:
        tensors: Tensors, roughly in the order in which they will be read.
        pool: The threads.
        prepare: Function that the threads also apply to each array.
    """
    sources = list(tensors.values())
    coming: dict[int, Future[np.ndarray]] = {}
    taken: set[int] = set()

    def read(index: int) -> np.ndarray:
        for later in range(index, min(index + 1 + READ_AHEAD, len(sources))):
            if later not in coming and (later == index or later not in taken):
                coming[later] = pool.submit(_read, sources[later], prepare)
        taken.add(index)
        return coming.pop(index).result()

    return {name: replace(tensor, read=partial(read, index)) for index, (name, tensor) in enumerate(tensors.items())}


def _read(tensor: LazyTensor, prepare: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return prepare(tensor.read())


@dataclass
class Weights:
    """A checkpoint in canonical form.

    Attributes:
        config: Its configuration.
        head: Its head.
        tensors: Every stored parameter by canonical name, in the order and the shapes of the parameter table.
        name: Source as the caller gave it, for messages.
        format: Name of its format.
        source: Folder or Hub id that it was read from.
        folder: The local folder; None if the source is on the Hub or a single file of a folder.
        paths: The files that it was read from.
        state: State of these files before the first read; see `file_state`.
        sidecars: Content of the files that are copied into every format, by name: tokenizer files and the model card.
        notes: Everything that was dropped, added or changed, one sentence each.
    """

    config: DistilBertConfig
    head: Head
    tensors: Mapping[str, LazyTensor]
    name: str = ""
    format: str = ""
    source: str | Path = ""
    folder: Path | None = None
    paths: list[Path] = field(default_factory=list)
    state: list[tuple[int, ...]] = field(default_factory=list)
    sidecars: dict[str, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def dtypes(self) -> list[str]:
        """The dtypes of its tensors."""
        return sorted({tensor.dtype for tensor in self.tensors.values()})


def first_dtype(tensors: Mapping[str, LazyTensor]) -> str:
    """Return the dtype of the first tensor, which stands for all where only one can be named."""
    return next(iter(tensors.values())).dtype


def file_state(paths: list[Path]) -> list[tuple[int, ...]]:
    """Return inode, size and time of change of each file, or an empty tuple for a file that does not exist."""
    states: list[tuple[int, ...]] = []
    for path in paths:
        try:
            status = path.stat()
            states.append((status.st_ino, status.st_size, status.st_mtime_ns))
        except FileNotFoundError:
            states.append(())
    return states


def check_sizes(config: DistilBertConfig, shapes: Mapping[str, tuple[int, ...]], source: str) -> None:
    """Raise CheckpointError if a damaged configuration would lead to tables larger than memory."""
    largest = max((size for shape in shapes.values() for size in shape), default=0)
    for name, most in (("n_layers", len(shapes)), ("dim", largest), ("max_position_embeddings", MOST_POSITIONS)):
        if getattr(config, name) > most:
            raise CheckpointError(f"{source} does not fit its configuration: it has no {getattr(config, name)} {name}.")
