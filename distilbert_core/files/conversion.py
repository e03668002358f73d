"""The only place where the core uses the package `weight_conversion`, which is above it: by name, on the first call.

`Conversion` describes the functions that the core needs; mypy compares those in `weight_conversion.entry` with it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import numpy as np

from distilbert_core.files.selection import Selection

ENTRY = "weight_conversion.entry"
Tokenizer = TypeVar("Tokenizer")


class StoredTensor(Protocol):
    """A tensor in a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape."""

    @property
    def dtype(self) -> str:
        """Name of the dtype, such as 'float32'."""

    @property
    def read(self) -> Callable[[], np.ndarray]:
        """Function that reads the tensor."""

    @property
    def where(self) -> str:
        """Its file and its name there."""


class StoredConfig(Protocol):
    """A configuration in a file."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields."""


class OpenedCheckpoint(Protocol):
    """A checkpoint of any format, whose tensors are read one at a time."""

    @property
    def folder(self) -> str | Path:
        """The folder or the Hub id of the files beside the weights."""

    @property
    def paths(self) -> Sequence[Path]:
        """Its files."""

    @property
    def config(self) -> Callable[[], StoredConfig | None]:
        """Function that reads the configuration; it returns None if config.json holds it."""

    def tensors(self) -> Mapping[str, StoredTensor]:
        """Return the tensors of the model by canonical name."""

    def dropped(self) -> list[str]:
        """Return descriptions of the contents that no model can load."""


class Conversion(Protocol):
    """Reads and writes checkpoints of other formats."""

    def open_checkpoint(
        self, source: str | Path, selection: Selection | None = None, **hub_options: Any
    ) -> OpenedCheckpoint:
        """Open a checkpoint of any format."""

    def canonical_arrays(self, arrays: Mapping[str, Any], /) -> dict[str, Any]:
        """Return a caller's arrays by canonical name."""

    def open_tokenizer(
        self, cls: type[Tokenizer], source: str | Path, hub_options: Mapping[str, Any], options: Mapping[str, Any], /
    ) -> Tokenizer:
        """Return the tokenizer of a checkpoint of another format."""

    def save_native(
        self,
        folder: str | Path,
        framework: str,
        config: Any,
        head: Any,
        arrays: Mapping[str, np.ndarray],
        max_shard_size: int | str,
        variant: str | None = None,
        checksum: bool = False,
        /,
    ) -> None:
        """Write a checkpoint in the own format of a framework."""


def load_conversion() -> Conversion:
    """Return the functions of the conversion."""
    return cast(Conversion, importlib.import_module(ENTRY))
