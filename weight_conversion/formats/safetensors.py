"""safetensors files with the names of PyTorch, TensorFlow or Flax.

The library checks files. Reading and writing are done here, one tensor after the other: the library maps a file into
memory to read it, and needs all tensors at once to write them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.files.checkpoint import SAFETENSORS_CODES, SAFETENSORS_DTYPES, check_header
from distilbert_core.files.limits import check_limit
from distilbert_core.model.heads import Head
from distilbert_core.model.layouts import LAYOUTS, Layout
from distilbert_core.model.parameters import Parameter
from weight_conversion.formats.base import Format, Tensors, damaged, read_array
from weight_conversion.names import canonical_name, flax_name, tensorflow_name
from weight_conversion.weights import LazyTensor

ALIGNMENT = 8  # bytes, of the end of the header


def open_file(path: Path) -> dict[str, LazyTensor]:
    """Return the tensors of a file."""
    header, _, start = _header(path)
    tensors = {}
    for name, entry in header.items():
        shape, dtype = tuple(entry["shape"]), SAFETENSORS_DTYPES.get(entry["dtype"], entry["dtype"])
        read = partial(read_array, path, dtype, shape, start + entry["data_offsets"][0])
        tensors[name] = LazyTensor(shape, dtype, read, f"{path}: {name}")
    return tensors


def file_kind(path: Path) -> str:
    """Return the format that the metadata of a file name, or 'pt' without metadata."""
    _, metadata, _ = _header(path)
    return metadata.get("format", "pt")


def unread(path: Path) -> list[str]:
    """Return a note on the metadata of a file that are dropped."""
    others = sorted(_header(path)[1].keys() - {"format"})
    return [f"Metadata of {path.name} were dropped: {', '.join(others)}."] if others else []


def _header(path: Path) -> tuple[dict[str, Any], dict[str, str], int]:
    """Return the entries of the header, its metadata, and the offset of the data."""
    from safetensors import SafetensorError, safe_open

    try:
        size = check_header(path)
        with path.open("rb") as file, safe_open(path, framework="np"):  # checks that the entries fit and fill the file
            file.seek(8)
            header = json.loads(file.read(size))
    except (SafetensorError, ValueError, OSError) as error:
        raise damaged(path, "a safetensors file", error) from error
    check_limit("tensors", len(header), str(path))
    metadata = header.pop("__metadata__", None) or {}
    return header, metadata, 8 + size


def write_file(path: Path, tensors: Tensors, head: Head, kind: str) -> None:
    """Write a file. Its metadata name the framework whose names it has."""
    header: dict[str, object] = {"__metadata__": {"format": kind}}
    start = 0
    for name, tensor in tensors.items():
        end = start + tensor.nbytes
        header[name] = {"dtype": SAFETENSORS_CODES[tensor.dtype], "shape": tensor.shape, "data_offsets": (start, end)}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            file.write(np.ascontiguousarray(tensor.read()).view(np.uint8).data)


def _format(
    name: str, title: str, layout: Layout | None, stored_name: Callable[[Parameter, Head], str], modules: bool = False
) -> Format:
    return Format(
        name=name,
        title=f"safetensors, {title}",
        file="model.safetensors",
        layout=layout,
        stored_name=stored_name,
        open=open_file,
        write=partial(write_file, kind=name),
        matches=lambda path: file_kind(path) == name,
        unread=unread,
        modules=modules,
    )


def _flax_name(parameter: Parameter, head: Head) -> str:
    return flax_name(parameter, head).replace("/", ".")


PT = _format("pt", "PyTorch's names: the Hub's own", None, canonical_name, modules=True)
TF = _format("tf", "TensorFlow's names", LAYOUTS["keras"], tensorflow_name)
FLAX = _format("flax", "Flax's names", LAYOUTS["flax"], _flax_name)
