"""tf_model.h5: what Transformers' TensorFlow models saved, a group for each layer with the names that are in it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.errors import CheckpointError
from distilbert_core.parameters import BODY, Head
from weight_conversion.formats.base import Format, Tensors, damaged, require
from weight_conversion.formats.hdf5 import new_file
from weight_conversion.names import tensorflow_name
from weight_conversion.weights import Tensor

MODEL_NAMES = {  # head -> what Keras calls a model of that class
    Head.NONE: "tf_distil_bert_model",
    Head.MASKED_LM: "tf_distil_bert_for_masked_lm",
    Head.SEQUENCE_CLASSIFICATION: "tf_distil_bert_for_sequence_classification",
    Head.MULTIPLE_CHOICE: "tf_distil_bert_for_multiple_choice",
    Head.TOKEN_CLASSIFICATION: "tf_distil_bert_for_token_classification",
    Head.QUESTION_ANSWERING: "tf_distil_bert_for_question_answering",
}
PROJECTOR = "vocab_projector"  # where it is tied, its group holds the embeddings once more
ROWS = 1024  # compared at a time


def open_file(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, by the names that Keras gave them."""
    h5py = require("h5py", "convert", path.name)

    found: dict[str, Tensor] = {}
    datasets: dict[str, Any] = {}
    try:
        for name, dataset in _datasets(h5py.File(path, "r"), h5py):
            if name in found and not _equal(datasets[name], dataset):
                raise ValueError(f"it holds {name} twice, with different values")
            datasets.setdefault(name, dataset)
            read = partial(_read, dataset, path)
            found.setdefault(name, Tensor(dataset.shape, dataset.dtype.name, read, f"{path}: {dataset.name}"))
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError, TypeError ... on damaged files
        raise damaged(path, "HDF5 weight", error) from error
    return found


def _datasets(file: Any, h5py: Any) -> Iterator[tuple[str, Any]]:
    if "layer_names" not in file.attrs:
        raise ValueError("it has no layer_names, so it is none of Keras' weight files")
    for layer in _texts(file.attrs["layer_names"]):
        group = _inside(file, layer, h5py)
        if isinstance(group, h5py.Dataset):  # a shard has no groups
            _check_stored(group, h5py)
            yield layer, group
            continue
        for name in _texts(group.attrs["weight_names"]):
            dataset = _inside(group, name, h5py)
            if not isinstance(dataset, h5py.Dataset):
                raise TypeError(f"{name} is no dataset")
            _check_stored(dataset, h5py)
            yield name, dataset


def _inside(group: Any, path: str, h5py: Any) -> Any:
    """Return what is at a path below a group, by links that cannot leave the file or go in a circle."""
    for part in path.split("/"):
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"{path} is not stored in the file itself")
        group = group[part]
    return group


def _check_stored(dataset: Any, h5py: Any) -> None:
    """Raise an error unless the file holds all values of a dataset as they are: then a small file needs little memory.

    A type is stored as a list of the positions of its bits, which may be damaged too; then it is no type of IEEE.
    """
    types = (h5py.h5t.IEEE_F16LE, h5py.h5t.IEEE_F32LE, h5py.h5t.IEEE_F64LE)
    if dataset.dtype.kind == "f" and not any(dataset.id.get_type().equal(known) for known in types):
        raise ValueError(f"{dataset.name} is of an unknown type of numbers")
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"{dataset.name} is not stored in the file itself")
    if dataset.id.get_storage_size() < dataset.nbytes:
        raise ValueError(f"{dataset.name} is compressed, or not all of it is there")


def _equal(first: Any, second: Any) -> bool:
    """Return whether two datasets have the same bits, without holding both in memory."""
    if first == second:  # one dataset under two names
        return True
    if not first.shape or (first.shape, first.dtype) != (second.shape, second.dtype):
        return False
    rows = range(0, first.shape[0], ROWS)
    return all(first[row : row + ROWS].tobytes() == second[row : row + ROWS].tobytes() for row in rows)


def _texts(names: Any) -> list[str]:
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _read(dataset: Any, path: Path) -> np.ndarray:
    try:
        return dataset[...]
    except Exception as error:
        raise damaged(path, "HDF5 weight", error) from error


def write_file(path: Path, tensors: Tensors, head: Head) -> None:
    """Write a file that Transformers' TensorFlow models load.

    Raises:
        CheckpointError: A tensor is of bfloat16, which HDF5 does not know.
    """
    _check_dtypes(path, tensors)
    model = MODEL_NAMES[head]
    layers: dict[str, list[str]] = {}
    for name in tensors:
        layers.setdefault(name.split("/")[1], []).append(name)
    with new_file(path) as file:
        file.attrs["layer_names"] = np.array([layer.encode() for layer in layers])
        file.attrs["backend"] = b"tensorflow"
        for layer, names in layers.items():
            group = file.create_group(layer)
            for name in names:
                group.create_dataset(name, data=tensors[name].read())
            if layer == PROJECTOR and not any(name.endswith("kernel:0") for name in names):
                shared = [name for name in tensors if name.startswith(f"{model}/{BODY}/embeddings/")]
                for name in shared:
                    group[name] = file[f"{BODY}/{name}"]  # a link
                names = [*names, *shared]
            group.attrs["weight_names"] = np.array([name.encode() for name in names])


def _check_dtypes(path: Path, tensors: Tensors) -> None:
    if any(tensor.dtype == "bfloat16" for tensor in tensors.values()):
        raise CheckpointError(
            f"{path.name} cannot hold bfloat16; convert with dtype='float32', which keeps every value."
        )


def write_shard(path: Path, tensors: Tensors, head: Head) -> None:
    """Write a shard, whose names lack that of the model and stand in one list; see `write_file`."""
    _check_dtypes(path, tensors)
    names = [name.partition("/")[2] for name in tensors]
    with new_file(path) as file:
        for name, tensor in zip(names, tensors.values(), strict=True):
            file.create_dataset(name, data=tensor.read())
        file.attrs["layer_names"] = np.array([name.encode() for name in names])


FORMAT = Format(
    "h5",
    "tf_model.h5",
    "tf_model.h5",
    lambda parameter, head: f"{MODEL_NAMES[head]}/{tensorflow_name(parameter, head)}",
    open_file,
    write_file,
    write_shard,
    recognise=lambda path: not path.name.endswith(".weights.h5"),  # which is Keras' own
)
