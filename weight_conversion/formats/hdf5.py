"""HDF5 files, above all of Keras 3: a group per layer, with its variables as vars/0, vars/1, ...

Files are not trusted: links to other files and compressed datasets are refused.
"""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.files.limits import check_limit
from weight_conversion.formats.base import damaged, require
from weight_conversion.formats.hdf5_texts import ATTRIBUTES, Longest, text_check
from weight_conversion.weights import NUMPY_DTYPES, LazyTensor

BFLOAT16 = np.dtype("V2")
VARIABLES = "vars"  # the group with the variables of a layer


def open_datasets(path: Path, file: io.RawIOBase | None = None) -> tuple[dict[str, LazyTensor], dict[str, str]]:
    """Open a file.

    Args:
        path: The file; only for messages if `file` is given.
        file: An open file to read instead.

    Returns:
        The arrays by path ('classifier/vars/0'), and the names of the layers by the path of their group.

    Raises:
        CheckpointError: The file is damaged or not an HDF5 file, or h5py is not installed.
    """
    h5py = require("h5py", "convert", path.name)
    try:
        longest = text_check(path)
        root = h5py.File(file or path, "r")
        members = dict(_members(root, h5py))
        names = {
            where.rpartition("/")[0]: str(attribute(group, "name", longest))
            for where, group in members.items()
            if isinstance(group, h5py.Group) and "name" in group.attrs
        }
        datasets = {where: dataset for where, dataset in members.items() if isinstance(dataset, h5py.Dataset)}
        return {where: tensor_of(dataset, path, longest) for where, dataset in datasets.items()}, names
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError, TypeError ... on damaged files
        raise damaged(path, "an HDF5 weight file", error) from error


def _members(root: Any, h5py: Any) -> Iterator[tuple[str, Any]]:
    """Yield all datasets and groups of variables of a file, by path.

    Raises:
        ValueError: A group has two paths, so that the number of paths has no limit, or there are too many groups.
    """
    groups, first = [("", root)], {root.id: "/"}
    copies: Counter[Any] = Counter()
    count = datasets = 0
    while groups:
        where, group = groups.pop()
        check_limit("hdf5_levels", where.count("/"), "the file", ValueError)
        for name in group:
            count += 1
            check_limit("hdf5_members", count, "the file", ValueError)
            inner = f"{where}/{name}" if where else name
            member = member_of(group, name)
            if isinstance(member, h5py.Group):
                if first.setdefault(member.id, inner) != inner:
                    raise ValueError(f"the group {inner} is the group {first[member.id]} again")
                if name == VARIABLES:
                    yield inner, member
                groups.append((inner, member))
            elif isinstance(member, h5py.Dataset):
                copies[member.id] += 1
                datasets += 1
                check_limit("hdf5_copies", copies[member.id], f"{inner} of the file", ValueError)
                check_limit("tensors", datasets, "the file", ValueError)
                yield inner, member


def attribute(item: Any, name: str, longest: Longest) -> Any:
    """Return an attribute of a group or a file.

    Args:
        item: The group or the file.
        name: Name of the attribute, one of `ATTRIBUTES`.
        longest: `text_check` of the file. Texts of any length can all point at its longest text.

    Raises:
        ValueError: It is longer than any list of names.
    """
    assert name in ATTRIBUTES, name  # else its texts were not checked
    h5py = require("h5py", "convert", name)
    stored = item.attrs.get_id(name)
    count = math.prod(stored.shape or ())
    check_limit("hdf5_names", count * stored.dtype.itemsize, f"the attribute {name} of {item.name}", ValueError)
    if (texts := h5py.check_string_dtype(stored.dtype)) and texts.length is None:
        check_limit("hdf5_texts", count * longest(), f"the attribute {name} of {item.name}", ValueError)
    return item.attrs[name]


def member_of(group: Any, path: str) -> Any:
    """Return the member at a path below a group. Only hard links are followed, which stay inside the file."""
    h5py = require("h5py", "convert", path)
    for part in path.split("/"):
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"{group.name.rstrip('/')}/{part} is not stored in the file itself")
        group = group[part]
    return group


def tensor_of(dataset: Any, path: Path, longest: Longest) -> LazyTensor:
    """Return a dataset as a tensor that is read on demand.

    Args:
        dataset: The dataset.
        path: The file.
        longest: `text_check` of the file.

    Raises:
        ValueError: The file does not hold all values uncompressed, so that a small file could need much memory; or the
            values are not IEEE numbers. HDF5 stores a type as the positions of its bits, which may be damaged.
    """
    h5py = require("h5py", "convert", path.name)
    types = (h5py.h5t.IEEE_F16LE, h5py.h5t.IEEE_F32LE, h5py.h5t.IEEE_F64LE)
    if dataset.dtype.kind == "f" and not any(dataset.id.get_type().equal(known) for known in types):
        raise ValueError(f"{dataset.name} has an unknown number type")
    if dataset.shape is None or dataset.external or dataset.is_virtual:
        raise ValueError(f"{dataset.name} is not stored in the file itself")
    if dataset.id.get_storage_size() < dataset.nbytes:
        raise ValueError(f"{dataset.name} is compressed or incomplete")
    if dataset.nbytes > path.stat().st_size:
        raise ValueError(f"{dataset.name} has {dataset.nbytes} bytes, more than the file")
    # HDF5 has no bfloat16: Keras stores two opaque bytes and an attribute.
    is_bfloat16 = (
        dataset.dtype == BFLOAT16 and "dtype" in dataset.attrs and attribute(dataset, "dtype", longest) == "bfloat16"
    )
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
        tensors: The arrays by path; one is read after the other.
        names: Names of the layers by the path of their group; '' stands for the model.
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
    """Create a file. A write error is raised when the file is closed."""
    h5py = require("h5py", "convert", path.name)
    sink = _Sink(path, "w+")
    with sink, h5py.File(sink, "w") as file:
        yield file
    if sink.error is not None:
        raise sink.error


class _Sink(io.FileIO):
    """A file that stores a write error instead of raising it: the HDF5 library crashes when the disk is full."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all data, unless a write has failed."""
        rest = memoryview(data).cast("B")
        try:
            while rest and self.error is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = error
        return memoryview(data).nbytes

    def truncate(self, size: int | None = None) -> int:
        """Set the size of the file, unless a write has failed."""
        try:
            if self.error is None:
                super().truncate(size)
        except OSError as error:
            self.error = error
        return size or 0
