"""What the formats in HDF5 files share, above all those of Keras 3: a group per layer, variables as vars/0, vars/1, ...

A file may come from anywhere: what it links to outside itself, or holds compressed, is not read.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from weight_conversion.formats.base import damaged, require
from weight_conversion.weights import NUMPY_DTYPES, LazyTensor

BFLOAT16 = np.dtype("V2")
VARIABLES = "vars"  # the group inside a layer's that holds its variables
DEEPEST = 32  # levels of groups; DistilBERT has 9


def open_datasets(path: Path, file: io.RawIOBase | None = None) -> tuple[dict[str, LazyTensor], dict[str, str]]:
    """Open a file.

    Args:
        path: The file, for messages; what is read unless `file` is given.
        file: What to read in its place.

    Returns:
        Each array by where it is ('classifier/vars/0'), and the name of each layer that has one, by its group.

    Raises:
        CheckpointError: It is no such file or damaged, or there is no h5py.
    """
    h5py = require("h5py", "convert", path.name)
    try:
        root = h5py.File(file or path, "r")
        found = dict(_datasets(root, "", h5py))
        names = {
            where.rpartition("/")[0]: str(group.attrs["name"])
            for where, group in found.items()
            if isinstance(group, h5py.Group) and "name" in group.attrs
        }
        datasets = {where: dataset for where, dataset in found.items() if isinstance(dataset, h5py.Dataset)}
        return {where: tensor_of(dataset, path) for where, dataset in datasets.items()}, names
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError, TypeError ... on damaged files
        raise damaged(path, "an HDF5 weight file", error) from error


def _datasets(group: Any, where: str, h5py: Any) -> Iterator[tuple[str, Any]]:
    """Yield the groups of variables below a group, and what is in them, by path."""
    if where.count("/") > DEEPEST:
        raise ValueError(f"its groups are more than {DEEPEST} levels deep")
    for name in group:
        inner = f"{where}/{name}" if where else name
        member = member_of(group, name)
        if isinstance(member, h5py.Group):
            if name == VARIABLES:
                yield inner, member
            yield from _datasets(member, inner, h5py)
        elif isinstance(member, h5py.Dataset):
            yield inner, member


def member_of(group: Any, path: str) -> Any:
    """Return what is at a path below a group, by links that cannot leave the file or go in a circle."""
    h5py = require("h5py", "convert", path)
    for part in path.split("/"):
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"{group.name.rstrip('/')}/{part} is not stored in the file itself")
        group = group[part]
    return group


def tensor_of(dataset: Any, path: Path) -> LazyTensor:
    """Return a dataset as a tensor, read when it is asked for.

    Raises:
        ValueError: The file does not hold all of its values as they are (then a small file would need much memory),
            or they are no numbers of IEEE: a type is stored as the positions of its bits, which may be damaged.
    """
    h5py = require("h5py", "convert", path.name)
    types = (h5py.h5t.IEEE_F16LE, h5py.h5t.IEEE_F32LE, h5py.h5t.IEEE_F64LE)
    if dataset.dtype.kind == "f" and not any(dataset.id.get_type().equal(known) for known in types):
        raise ValueError(f"{dataset.name} is of an unknown type of numbers")
    if dataset.shape is None or dataset.external or dataset.is_virtual:
        raise ValueError(f"{dataset.name} is not stored in the file itself")
    if dataset.id.get_storage_size() < dataset.nbytes:
        raise ValueError(f"{dataset.name} is compressed, or not all of it is there")
    # HDF5 has no bfloat16: Keras stores two bytes of no kind, and says what they are.
    is_bfloat16 = dataset.dtype == BFLOAT16 and dataset.attrs.get("dtype") == "bfloat16"
    dtype = "bfloat16" if is_bfloat16 else dataset.dtype.name
    return LazyTensor(dataset.shape, dtype, partial(_read, dataset, path), f"{path}: {dataset.name}")


def _read(dataset: Any, path: Path) -> np.ndarray:
    try:
        array = dataset[...]
    except Exception as error:
        raise damaged(path, "an HDF5 weight file", error) from error
    return array.view(NUMPY_DTYPES["bfloat16"]) if array.dtype == BFLOAT16 else array


def write_datasets(path: Path, tensors: Mapping[str, LazyTensor], names: Mapping[str, str]) -> None:
    """Write a file.

    Args:
        path: The file.
        tensors: Each array by where it is to be; read when its turn comes.
        names: Name of each layer by its group; '' is the model's.
    """
    with new_file(path) as file:
        for group, name in names.items():
            file.create_group(f"{group}/{VARIABLES}").attrs["name"] = name
        for where, tensor in tensors.items():
            array = np.ascontiguousarray(tensor.read()).reshape(tensor.shape)
            if tensor.dtype == "bfloat16":
                dataset = file.create_dataset(where, data=array.view(BFLOAT16))
                dataset.attrs["dtype"] = "bfloat16"
            else:
                file.create_dataset(where, data=array)


@contextmanager
def new_file(path: Path) -> Iterator[Any]:
    """Open a new file; an error of writing to it is raised at the end."""
    h5py = require("h5py", "convert", path.name)
    sink = _Sink(path, "w+")
    with sink, h5py.File(sink, "w") as file:
        yield file
    if sink.error is not None:
        raise sink.error


class _Sink(io.FileIO):
    """A file that keeps the error of a write instead of raising it, as the HDF5 library crashes on a full disk."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of the data, if nothing has failed so far."""
        rest = memoryview(data).cast("B")
        try:
            while rest and self.error is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = error
        return memoryview(data).nbytes

    def truncate(self, size: int | None = None) -> int:
        """Set the length of the file, if nothing has failed so far."""
        try:
            if self.error is None:
                super().truncate(size)
        except OSError as error:
            self.error = error
        return size or 0
