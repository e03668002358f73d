"""What the formats of exported models share: they are graphs, which are written by a framework and never read."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.errors import CheckpointError
from distilbert_core.model.backends import backend_class, load_backend
from distilbert_core.model.config import CONFIG_FILE
from weight_conversion.formats.base import Files, Format, Graph, Tensors, Writer
from weight_conversion.formats.safetensors import PT, write_file
from weight_conversion.refusals import refuse
from weight_conversion.weights import NUMPY_DTYPES, LazyTensor, Weights

PADDED_INPUTS = ("input_ids", "attention_mask")


@contextmanager
def checkpoint_folder(weights: Weights, tensors: Tensors) -> Iterator[Path]:
    """Context manager: a temporary folder with a checkpoint that every backend reads.

    Args:
        weights: The checkpoint.
        tensors: Its tensors by stored name.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / CONFIG_FILE).write_bytes(weights.config.to_json_string().encode())
        write_file(Path(folder) / PT.file, tensors, weights.head, PT.name)
        yield Path(folder)


def load_model(backend: str, weights: Weights, tensors: Tensors, dtype: str, **options: Any) -> Any:
    """Return a model of a backend.

    Args:
        backend: 'pt', 'tf' or 'flax'.
        weights: The checkpoint.
        tensors: Its tensors by stored name.
        dtype: Dtype of the computation; 'auto' is the dtype of the weights.
        **options: Further keywords of `from_pretrained`.

    Raises:
        BackendNotInstalledError: The framework is not installed.
    """
    load_backend(backend)
    with checkpoint_folder(weights, tensors) as folder:
        return backend_class(backend, weights.head).from_pretrained(folder, dtype=dtype, **options)


def written_together(names: Sequence[str], write: Callable[[Path], None]) -> dict[str, Writer]:
    """Return files that one function writes.

    Args:
        names: Names of the files.
        write: Writes all of them into a folder.
    """
    first, *others = names

    def write_all(path: Path) -> None:
        write(path.parents[first.count("/")])

    def check(path: Path) -> None:
        if not path.is_file():
            raise CheckpointError(f"The exporter did not write {path.name}.")

    return {first: write_all, **dict.fromkeys(others, check)}


def padded_axes(has_choices: bool) -> tuple[str, ...]:
    """Return the names of the axes of `PADDED_INPUTS`, all of any size."""
    return ("batch", "choices", "tokens") if has_choices else ("batch", "tokens")


def unwritten(files: Mapping[str, bytes], weights: Weights, dtype: str | None = None) -> list[str]:
    """Return a note on tensors that lose precision: a graph has one dtype, by default that of the first tensor."""
    dtype = dtype or next(iter(weights.tensors.values())).dtype
    wider = [name for name in weights.dtypes if not np.can_cast(NUMPY_DTYPES[name], NUMPY_DTYPES[dtype])]
    return [f"The graph is {dtype}: tensors of {', '.join(wider)} were rounded to it."] if wider else []


def exported_format(
    name: str,
    title: str,
    layout_files: Callable[..., Files],
    graphs: tuple[Graph, ...],
    dtype: str | None = None,
    **fields: Any,
) -> Format:
    """Return the row of a format that is a graph: it is written, but not read.

    Args:
        name: Name of the format.
        title: Description for people.
        layout_files: Returns the files of a checkpoint.
        graphs: Its graphs; the file of the first one is the file of the format.
        dtype: Dtype of the graph, if it has the same for all checkpoints.
        **fields: Further fields of `Format`.
    """
    return Format(
        name=name,
        title=title,
        file=graphs[0].file,
        stored_name=PT.stored_name,
        open=partial(_not_read, title),
        split=False,
        layout_files=layout_files,
        graphs=graphs,
        **{"unwritten": partial(unwritten, dtype=dtype), **fields},
    )


def _not_read(title: str, path: Path) -> dict[str, LazyTensor]:
    refuse(path)
    raise CheckpointError(
        f"{path} cannot be read: {title} files are only written. Convert the checkpoint it was made from."
    )
