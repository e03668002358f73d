"""Files of this project's Keras models: `model.save_weights('x.weights.h5')` and `model.save('x.keras')`.

They are read and written without Keras. Keras stores the variables of a layer in a group together with the name of the
layer. The path of the group follows from the order in which Keras walks through a model. Reading uses the names,
writing the paths.
"""

from __future__ import annotations

import io
import json
import os
import re
import reprlib
import struct
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distilbert_core.errors import CheckpointError, shortened
from distilbert_core.files.json_files import parse_object
from distilbert_core.files.limits import check_limit
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.layouts import LAYOUTS
from distilbert_core.model.parameters import Kind, Parameter
from weight_conversion.formats.base import Files, Format, Tensors, damaged
from weight_conversion.formats.hdf5 import VARIABLES, open_datasets, write_datasets
from weight_conversion.names import is_top_module
from weight_conversion.weights import NUMPY_DTYPES, LazyTensor, Weights

WEIGHTS = "model.weights.h5"  # also inside a .keras file
MODEL_CONFIG = "config.json"  # inside a .keras file: the description of the model
METADATA = "metadata.json"
ENCRYPTED = 1  # flag of a member
KERAS_VERSION = "3.10.0"  # the first version that this project supports

HEADER = struct.Struct("<26xHH")  # header of an entry in an archive: lengths of its name and of its extra field

# Keras walks through the attributes of a model in alphabetical order. One of them is `layers`, the list of all layers:
# it is the group of a layer whose attribute comes later, which there has the name of its class.
LAYERS = "layers"
BASE_GROUPS = {"transformer": "layers/transformer", "layer_0": "layer/transformer_block"}
CLASSES = {Kind.KERNEL: "dense", Kind.NORM_SCALE: "layer_norm"}
PROJECTOR = "vocab_projector"
BLOCK_NAME = re.compile(r"\blayer[/_](\d+)\b")  # a layer of the Transformer, in a stored name and in its own name


def keras_name(parameter: Parameter, head: Head) -> str:
    """Return the names of the layers down to a parameter and of the parameter itself, joined by '/'."""
    modules, leaf = LAYOUTS["keras"].path(parameter)
    return "/".join([*modules, leaf])


# -- reading ----------------------------------------------------------------------------------------------------


def open_weights(path: Path) -> dict[str, LazyTensor]:
    """Return the arrays of a .weights.h5 file by the names of their layers."""
    return _by_layer(*open_datasets(path))


def open_model(path: Path) -> dict[str, LazyTensor]:
    """Return the arrays of a .keras file by the names of their layers."""
    try:
        with zipfile.ZipFile(path) as archive:
            entry = _member(archive, WEIGHTS)
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise ValueError(f"its {WEIGHTS} is compressed, which Keras does not do")
            with archive.open(entry) as content:  # reading an entry checks its checksum
                while content.read(1 << 20):
                    pass
            content_start = _content_start(path, entry)
    except Exception as error:  # damaged archives raise zlib.error, struct.error ...
        raise damaged(path, "a .keras file", error) from error
    return _by_layer(*open_datasets(path, _Part(path, content_start, entry.file_size)))


def read_config(path: Path) -> DistilBertConfig:
    """Return the configuration inside a .keras file.

    Raises:
        CheckpointError: The file is damaged, or holds another model than those of this project.
    """
    model = _read_model_config(path)
    architecture = model["registered_name"].removeprefix("distilbert>TF")
    return DistilBertConfig.from_dict({**model["config"]["config"], "architectures": [architecture]})


def unread(path: Path) -> list[str]:
    """Return notes on the settings of a .keras file that are dropped."""
    model, notes = _read_model_config(path), []
    compiled = [name for name, value in (model.get("compile_config") or {}).items() if value is not None]
    if compiled:
        notes.append(f"The compile settings of the model were dropped: {', '.join(compiled)}.")
    others = {name: value for name, value in model["config"].items() if value and name not in ("config", "name")}
    policy = policy_name(others.pop("dtype", None))
    if policy is not None and policy not in NUMPY_DTYPES:
        others["dtype"] = policy
    if others:
        settings = ", ".join(f"{name}={reprlib.repr(value)}" for name, value in others.items())
        notes.append(f"Settings of the Keras model that were dropped: {settings}.")
    return notes


def policy_name(stored: Any) -> str | None:
    """Return the name of a dtype policy, such as 'mixed_float16', from its description by Keras."""
    if isinstance(stored, dict):
        config = stored.get("config")
        stored = config.get("name") if isinstance(config, dict) and "name" in config else stored.get("class_name")
    return None if stored is None else str(stored)


def _read_model_config(path: Path) -> dict[str, Any]:
    """Return the description of the model in a .keras file."""
    try:
        with zipfile.ZipFile(path) as archive:
            entry = _member(archive, MODEL_CONFIG)
            check_limit("member_bytes", entry.file_size, f"its {MODEL_CONFIG}", ValueError)
            with archive.open(entry) as content:  # never more than the size above, whatever it unpacks to
                text = content.read(entry.file_size)
            model = parse_object(MODEL_CONFIG, text)
        name = str(model["registered_name"])
        fields = model["config"]["config"] if name.startswith("distilbert>") else None
    except Exception as error:
        raise damaged(path, "a .keras file", error) from error
    if not isinstance(fields, dict):
        raise CheckpointError(f"{path} must hold a model of distilbert_tf, got {shortened(name)}.")
    return model


def _member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """Return the only member of an archive with a name."""
    check_limit("archive_members", len(archive.filelist), "it", ValueError)
    entries = [entry for entry in archive.filelist if entry.filename == name]
    if len(entries) != 1:
        raise ValueError(f"it has {name} {len(entries)} times")
    if entries[0].flag_bits & ENCRYPTED:
        raise ValueError(f"its {name} is encrypted")
    return entries[0]


def is_weights(path: Path) -> bool:
    """Return whether an HDF5 file is a weight file of Keras 3, which requires this suffix."""
    return path.name.endswith(".weights.h5")


def _by_layer(datasets: dict[str, LazyTensor], names: dict[str, str]) -> dict[str, LazyTensor]:
    tensors = {}
    for where, tensor in datasets.items():
        name = _name_in_model(where, names, len(tensor.shape))
        tensors[where if name is None or name in tensors else name] = tensor
    return tensors


def _name_in_model(where: str, names: dict[str, str], axes: int) -> str | None:
    """Return the names of the layers down to a variable and of the variable, or None if it is not of a model."""
    group, _, variable = where.rpartition(f"/{VARIABLES}/")
    parts = group.split("/")
    groups = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    layers = BLOCK_NAME.sub(r"layer/\1", "/".join(names[group] for group in groups if group in names)).split("/")
    if not is_top_module(layers[0]) or group not in names:
        return None
    module = layers[-1]
    if module.endswith("_embeddings"):
        leaf = "embeddings"
    elif module.lower().endswith("norm") or module.endswith("layer_norm"):
        leaf = "gamma" if variable == "0" else "beta"
    else:  # after a change of the vocabulary, the kernel of the projector comes after its bias
        leaf = "kernel" if axes == 2 else "bias"
    return "/".join([*layers, leaf])


class _Part(io.RawIOBase):
    """A part of a file, as a file."""

    def __init__(self, path: Path, start: int, size: int):
        self.file, self.start, self.size, self.position = path.open("rb", buffering=0), start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        self.position = base + offset
        return self.position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")[: max(0, self.size - self.position)]
        self.file.seek(self.start + self.position)
        count = self.file.readinto(view) or 0
        self.position += count
        return count

    def close(self) -> None:
        self.file.close()
        super().close()


def _content_start(path: Path, entry: zipfile.ZipInfo) -> int:
    """Return the offset of the content of an entry: after its header, its name and its extra field."""
    with path.open("rb") as file:
        file.seek(entry.header_offset)
        name_length, extra_length = HEADER.unpack(file.read(HEADER.size))
    return entry.header_offset + HEADER.size + name_length + extra_length


# -- writing ----------------------------------------------------------------------------------------------------


def write_weights(path: Path, tensors: Tensors, head: Head) -> None:
    """Write a file for `load_weights` of this project's models."""
    names = {"": head.keras_name}
    groups = _groups(head)
    variables: dict[str, LazyTensor] = {}
    for name, tensor in tensors.items():
        group = ""
        for layer in BLOCK_NAME.sub(r"layer_\1", name.rpartition("/")[0]).split("/"):
            group = f"{group}/{_group(layer, groups)}".lstrip("/")
            names[group] = layer
        index = Counter(path.rpartition("/")[0] for path in variables)[f"{group}/{VARIABLES}"]
        variables[f"{group}/{VARIABLES}/{index}"] = tensor
    write_datasets(path, variables, names)


def _groups(head: Head) -> dict[str, str]:
    """Return the groups of the layers whose group has another name than the layer."""
    groups, counts = dict(BASE_GROUPS), Counter[str]()
    for parameter in head.layers(DistilBertConfig()):
        if parameter.kind in CLASSES:
            layer = parameter.name.rpartition(".")[0]
            name = PROJECTOR if parameter.axes[0] == "vocab" else CLASSES[parameter.kind]
            if layer > LAYERS:
                groups[layer] = f"{LAYERS}/{name}_{counts[name]}" if counts[name] else f"{LAYERS}/{name}"
            counts[name] += 1
    return groups


def _group(layer: str, groups: Mapping[str, str]) -> str:
    if BLOCK_NAME.fullmatch(layer) and layer != "layer_0":  # the first has no index
        return layer.replace("layer", groups["layer_0"])
    return groups.get(layer, layer)


def layout_files(files: Files, weights: Weights, tensors: Tensors) -> Files:
    """Return the files of a checkpoint with a .keras file for `keras.saving.load_model`."""
    return files | {MODEL.file: lambda path: _write_model(path, weights, tensors)}


def _write_model(path: Path, weights: Weights, tensors: Tensors) -> None:
    inner = path.with_name(f".{path.name}.{WEIGHTS}")
    try:
        write_weights(inner, tensors, weights.head)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(METADATA, json.dumps({"keras_version": KERAS_VERSION, "date_saved": ""}))
            archive.writestr(MODEL_CONFIG, json.dumps(_model_config(weights, tensors)))
            archive.write(inner, WEIGHTS)
    finally:
        inner.unlink(missing_ok=True)


def _model_config(weights: Weights, tensors: Tensors) -> dict[str, Any]:
    """Return the description of a model for Keras."""
    name = f"TF{weights.head.architecture}"
    dtype = next(iter(tensors.values())).dtype
    return {
        "module": "distilbert_tf.model" if weights.head is Head.BASE else "distilbert_tf.heads",
        "class_name": name,
        "config": {
            "config": json.loads(weights.config.to_json_string()),
            "name": weights.head.keras_name,
            "dtype": {
                "module": "keras",
                "class_name": "DTypePolicy",
                "config": {"name": dtype},
                "registered_name": None,
            },
        },
        "registered_name": f"distilbert>{name}",
        "compile_config": {},
    }


MODEL = Format(
    name="keras",
    title="Keras' .keras file of this project's model",
    file="model.keras",
    layout=LAYOUTS["keras"],
    stored_name=keras_name,
    open=open_model,
    split=False,
    read_config=read_config,
    unread=unread,
    layout_files=layout_files,
)
WEIGHTS_ONLY = Format(
    name="keras-weights",
    title="Keras' .weights.h5 file of this project's model",
    file=WEIGHTS,
    layout=LAYOUTS["keras"],
    stored_name=keras_name,
    open=open_weights,
    write=write_weights,
    split=False,
    matches=is_weights,
)
