"""tf_model.h5 of Transformers' TensorFlow models: a group per layer, with a list of the names in it.

`model.save('x.h5')` of Keras writes the same groups and the settings of the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.errors import CheckpointError, shortened
from distilbert_core.files.json_files import parse_object
from distilbert_core.files.limits import check_limit
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.layouts import LAYOUTS
from distilbert_core.model.parameters import BASE_MODEL, Parameter
from weight_conversion.formats.base import Format, Tensors, damaged, require
from weight_conversion.formats.hdf5 import attribute, member_of, new_file, tensor_of
from weight_conversion.formats.hdf5_texts import Longest, text_check
from weight_conversion.names import tensorflow_name
from weight_conversion.weights import LazyTensor

WHOLE_MODEL, MODEL_CONFIG = (
    "model_weights",
    "model_config",
)  # parts of a model that Keras saved as a whole
CLASS_PREFIX = "TFDistilBert"
PROJECTOR = "vocab_projector"  # if it is tied, its group holds the embeddings a second time
ROWS_AT_ONCE = 1024  # rows that are compared at a time


def open_file(path: Path) -> dict[str, LazyTensor]:
    """Return the tensors of a file by the names that Keras gave them."""
    h5py = require("h5py", "convert", path.name)

    tensors: dict[str, LazyTensor] = {}
    datasets: dict[str, Any] = {}
    copies: Counter[str] = Counter()
    try:
        longest = text_check(path)
        file = h5py.File(path, "r")
        whole = MODEL_CONFIG in file.attrs and WHOLE_MODEL in file
        for name, dataset in _datasets(member_of(file, WHOLE_MODEL) if whole else file, h5py, longest):
            copies[name] += 1
            check_limit("hdf5_copies", copies[name], f"{path}: {shortened(name)}")
            if name in tensors and not _equal(datasets[name], dataset):
                raise ValueError(f"it holds {name} twice, with different values")
            datasets.setdefault(name, dataset)
            tensors.setdefault(name, tensor_of(dataset, path, longest))
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError, TypeError ... on damaged files
        raise damaged(path, "an HDF5 weight file", error) from error
    return tensors


def read_config(path: Path) -> DistilBertConfig | None:
    """Return the configuration in a file of `model.save('x.h5')` of this project; None for other files."""
    h5py = require("h5py", "convert", path.name)
    try:
        with h5py.File(path, "r") as file:
            if MODEL_CONFIG not in file.attrs:
                return None
            text = attribute(file, MODEL_CONFIG, text_check(path))
        model = parse_object(path, text)
        name, fields = str(model.get("class_name", "")), model.get("config")
        fields = fields.get("config") if isinstance(fields, dict) else None
    except Exception as error:
        raise damaged(path, "an HDF5 weight file", error) from error
    if not name.startswith(CLASS_PREFIX) or not isinstance(fields, dict):
        return None
    return DistilBertConfig.from_dict({**fields, "architectures": [name.removeprefix("TF")]})


def _datasets(file: Any, h5py: Any, longest: Longest) -> Iterator[tuple[str, Any]]:
    """Yield the datasets that the lists of a file name, then all other datasets by their paths."""
    listed = set()
    for name, dataset in _listed_datasets(file, h5py, longest):
        listed.add(dataset.id)
        yield name, dataset
    others: dict[str, Any] = {}
    count = 0

    def visit(path: str, item: Any) -> None:  # each object once, however many links it has
        nonlocal count
        count += 1
        check_limit("hdf5_members", count, "the file", ValueError)
        check_limit("hdf5_levels", path.count("/"), "the file", ValueError)
        if isinstance(item, h5py.Dataset):
            others[path] = item

    file.visititems(visit)
    yield from ((path, dataset) for path, dataset in others.items() if dataset.id not in listed)


def _listed_datasets(file: Any, h5py: Any, longest: Longest) -> Iterator[tuple[str, Any]]:
    if "layer_names" not in file.attrs:
        raise ValueError("it has no layer_names, so it is not a weight file of Keras")
    layers = _texts(attribute(file, "layer_names", longest))
    if len(set(layers)) != len(layers):
        raise ValueError("its layer_names list a layer twice")
    for layer in layers:
        group = member_of(file, layer)
        if isinstance(group, h5py.Dataset):  # a shard has no groups
            yield layer, group
            continue
        for name in _texts(attribute(group, "weight_names", longest)):
            dataset = member_of(group, name)
            if not isinstance(dataset, h5py.Dataset):
                raise TypeError(f"{name} is not a dataset")
            yield name, dataset


def _equal(first: Any, second: Any) -> bool:
    """Return whether two datasets have the same bits, reading a few rows at a time."""
    if first == second:  # one dataset under two names
        return True
    if not first.shape or (first.shape, first.dtype) != (second.shape, second.dtype):
        return False
    rows = range(0, first.shape[0], ROWS_AT_ONCE)
    return all(first[row : row + ROWS_AT_ONCE].tobytes() == second[row : row + ROWS_AT_ONCE].tobytes() for row in rows)


def _texts(names: Any) -> list[str]:
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def write_file(path: Path, tensors: Tensors, head: Head) -> None:
    """Write a file for Transformers' TensorFlow models.

    Raises:
        CheckpointError: A tensor has the dtype bfloat16, which HDF5 lacks.
    """
    _check_dtypes(path, tensors)
    model = head.keras_name
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
                shared = [name for name in tensors if name.startswith(f"{model}/{BASE_MODEL}/embeddings/")]
                for name in shared:
                    group[name] = file[f"{BASE_MODEL}/{name}"]  # a link
                names = [*names, *shared]
            group.attrs["weight_names"] = np.array([name.encode() for name in names])


def _check_dtypes(path: Path, tensors: Tensors) -> None:
    if any(tensor.dtype == "bfloat16" for tensor in tensors.values()):
        raise CheckpointError(
            f"{path.name} cannot hold bfloat16; convert with dtype='float32', which keeps every value."
        )


def write_shard(path: Path, tensors: Tensors, head: Head) -> None:
    """Write a shard. Its names lack the name of the model and form one list."""
    _check_dtypes(path, tensors)
    names = [name.partition("/")[2] for name in tensors]
    with new_file(path) as file:
        for name, tensor in zip(names, tensors.values(), strict=True):
            file.create_dataset(name, data=tensor.read())
        file.attrs["layer_names"] = np.array([name.encode() for name in names])


def stored_name(parameter: Parameter, head: Head) -> str:
    """Return the name of a parameter below the name of its model."""
    return f"{head.keras_name}/{tensorflow_name(parameter, head)}"


FORMAT = Format(
    name="h5",
    title="tf_model.h5",
    file="tf_model.h5",
    layout=LAYOUTS["keras"],
    stored_name=stored_name,
    open=open_file,
    write=write_file,
    write_shard=write_shard,
    read_config=read_config,
    matches=lambda path: not path.name.endswith(".weights.h5"),  # the files of Keras 3
)
