"""The canonical form that every format passes through: the parameters of a model, by name, read one at a time."""

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

AHEAD = 3  # tensors that are read before their turn
NUMPY_DTYPES = {  # name -> NumPy's
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
MOST_POSITIONS = 1_000_000  # a table that is made by its formula has no file that bounds it


@dataclass(frozen=True)
class LazyTensor:
    """An array in a file that is not read before it is asked for.

    Attributes:
        shape: Its shape.
        dtype: Name of its dtype: 'float32', 'bfloat16', ...
        read: Returns it.
        where: File and name it has there, for messages.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], np.ndarray]
    where: str

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return math.prod(self.shape) * NUMPY_DTYPES[self.dtype].itemsize

    @property
    def T(self) -> Self:  # noqa: N802  as NumPy calls it
        """The same with its axes swapped."""
        return replace(self, shape=self.shape[::-1], read=lambda: self.read().T)

    def astype(self, dtype: str) -> Self:
        """Return the same in another dtype."""
        if dtype == self.dtype:
            return self
        return replace(self, dtype=dtype, read=lambda: cast(self.read(), dtype))


Tensor = LazyTensor  # an earlier name


def cast(array: np.ndarray, dtype: str) -> np.ndarray:
    """Return an array in another dtype; what is too large for it becomes infinite, what is too small 0."""
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return array.astype(NUMPY_DTYPES[dtype])


def read_ahead(
    tensors: Mapping[str, LazyTensor], pool: Executor, arrange: Callable[[np.ndarray], np.ndarray]
) -> dict[str, LazyTensor]:
    """Return the same tensors, of which the next are read by other threads while one is written.

    Args:
        tensors: In the order in which they will be read, more or less.
        pool: Threads.
        arrange: What these also do with an array.
    """
    sources = list(tensors.values())
    coming: dict[int, Future[np.ndarray]] = {}
    taken: set[int] = set()

    def read(index: int) -> np.ndarray:
        for later in range(index, min(index + 1 + AHEAD, len(sources))):
            if later not in coming and (later == index or later not in taken):
                coming[later] = pool.submit(_read, sources[later], arrange)
        taken.add(index)
        return coming.pop(index).result()

    return {name: replace(tensor, read=partial(read, index)) for index, (name, tensor) in enumerate(tensors.items())}


def _read(tensor: LazyTensor, arrange: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return arrange(tensor.read())


@dataclass
class Weights:
    """A checkpoint in canonical form.

    Attributes:
        config: Configuration.
        head: What stands on the body.
        tensors: Every parameter that is stored, by canonical name, in the order and the shapes of the parameter table.
        format: Name of the format it was read from.
        source: The folder or Hub id it was read from.
        folder: The local folder that it is; None if it is on the Hub, or if one file of a folder was chosen.
        paths: The files it was read from.
        state: What these files were like before anything was read; see `file_state`.
        sidecars: Content of the files that travel along to any format: of the tokenizer, and the model card.
        notes: What was dropped, added or changed on the way, one sentence each.
    """

    config: DistilBertConfig
    head: Head
    tensors: Mapping[str, LazyTensor]
    format: str = ""
    source: str | Path = ""
    folder: Path | None = None
    paths: list[Path] = field(default_factory=list)
    state: list[tuple[int, ...]] = field(default_factory=list)
    sidecars: dict[str, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def dtypes(self) -> list[str]:
        """The dtypes that occur."""
        return sorted({tensor.dtype for tensor in self.tensors.values()})


def file_state(paths: list[Path]) -> list[tuple[int, ...]]:
    """Return what changes when one of the files does, or goes."""
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
