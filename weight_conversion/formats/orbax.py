"""Orbax checkpoints of `nnx.state(model)` for the NNX models of this project.

Reading uses TensorStore, on which Orbax is built, and needs no JAX. A written checkpoint holds the parameters, but no
random state: restore it into `nnx.state(model, nnx.Not(nnx.RngState))`.
"""

from __future__ import annotations

import math
import os
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.errors import CheckpointError, shortened
from distilbert_core.files.json_files import parse_object, read_content
from distilbert_core.files.limits import check_limit
from distilbert_core.files.links import refuse_link
from distilbert_core.model.config import CONFIG_FILE, DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.layouts import LAYOUTS
from weight_conversion.formats.base import Format, Tensors, damaged, require
from weight_conversion.names import flax_name, is_of_optimizer
from weight_conversion.weights import LazyTensor

FOLDER = "orbax"  # beside config.json
METADATA = "_METADATA"  # the description of the tree
MANIFEST = "manifest.ocdbt"  # the file that TensorStore opens
VALUE = "value"  # the name of the array in an NNX variable
STEP = re.compile(r"(?:.*[_-])?(\d+)")  # name of the folder of a step: a number, with or without a prefix
NAME = re.compile(r"[^/\\\0?#\ud800-\udfff]{1,200}")  # a part of the path of an array
UNPACKED, SPARE = 4, 100_000_000  # most bytes of an array: a multiple of the size of the files, and more
LEVELS = 3  # folders that may hold config.json: the item, its step, the manager
WORDS = "word_embeddings"  # a module of every model
RANDOM = "rngs"  # the random state


def open_checkpoint(path: Path) -> dict[str, LazyTensor]:
    """Return the arrays of the checkpoint whose tree is described at `path`, by their paths joined by '/'.

    Raises:
        CheckpointError: The checkpoint is damaged or incomplete, or TensorStore is not installed.
    """
    tensorstore = require("tensorstore", "flax", "an Orbax checkpoint")
    tensors = {}
    try:
        metadata = _read_tree(path)
        check_limit("tensors", len(metadata["tree_metadata"]), str(path))
        most = UNPACKED * _refuse_links(path.parent) + SPARE
        if metadata.get("use_ocdbt", False) and not path.with_name(MANIFEST).is_file():
            raise ValueError(f"{MANIFEST} is missing; all files of a checkpoint are needed, in a local folder")
        for entry in metadata["tree_metadata"].values():
            keys = [str(key["key"]) for key in entry["key_metadata"]]
            if RANDOM in keys:
                continue
            if any(not key or not NAME.fullmatch(key) for key in keys) or keys[0].startswith("."):
                raise ValueError(f"{shortened(keys)} is not the path of an array")
            array = tensorstore.open(_spec(path.parent, keys, metadata), open=True, read=True).result()
            _check_size(array, most, "/".join(keys))
            name = "/".join(keys).removesuffix(f"/{VALUE}")
            read = partial(_read, array, path)
            tensors[name] = LazyTensor(tuple(array.shape), array.dtype.name, read, f"{path.parent}: {name}")
    except Exception as error:  # TensorStore raises ValueError, RuntimeError ... on damaged files
        raise damaged(path, "an Orbax file", error) from error
    return tensors


def _read_tree(path: Path) -> dict[str, Any]:
    """Return the description of a tree."""
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file.")
    refuse_link(path, path.parent)
    return parse_object(path, read_content(path, "the description of an Orbax checkpoint", "member_bytes"))


def _refuse_links(folder: Path) -> int:
    """Return the bytes of the files below a folder.

    Raises:
        CheckpointError: A link leads out of the folder, or there are too many files.
    """
    size = count = 0
    for where, folders, files in os.walk(folder):
        count += len(files) + len(folders)
        check_limit("checkpoint_files", count, str(folder))
        for name in (*folders, *files):
            refuse_link(Path(where, name), folder)
            size += os.stat(os.path.join(where, name)).st_size
    return size


def _check_size(array: Any, most: int, name: str) -> None:
    """Raise ValueError if an array, or a chunk of it, is so large that the files cannot hold it.

    Chunks are compressed, and a chunk that is not stored is filled with zeros.
    """
    check_limit("axes", array.rank, shortened(name), ValueError)
    chunk = array.chunk_layout.read_chunk.shape or array.shape
    chunks = math.prod(-(-size // max(part, 1)) for size, part in zip(array.shape, chunk, strict=True))
    check_limit("chunks", chunks, shortened(name), ValueError)
    if array.dtype.numpy_dtype.itemsize * max(math.prod(array.shape), math.prod(chunk)) > most:
        raise ValueError(f"{shortened(name)} has the shape {array.shape}, more than the files can hold")


def _spec(folder: Path, keys: list[str], metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the specification with which TensorStore opens an array."""
    name = ".".join(keys)
    base = {"driver": "file", "path": f"{folder.resolve()}/"}
    if metadata.get("use_ocdbt", False):
        store = {"driver": "ocdbt", "base": base, "path": f"{name}/"}
    else:
        store = {"driver": "file", "path": f"{folder.resolve()}/{name}/"}
    driver = "zarr3" if metadata.get("use_zarr3") else "zarr"
    # If Orbax has stored zeros too, a missing chunk is an error, not zeros.
    complete = metadata.get("store_array_data_equal_to_fill_value", False)
    return {"driver": driver, "kvstore": store, "fill_missing_data_reads": not complete}


def _read(array: Any, path: Path) -> np.ndarray:
    try:
        return array.read().result()
    except Exception as error:
        raise damaged(path, "an Orbax file", error) from error


def read_config(path: Path) -> DistilBertConfig:
    """Return the configuration from the folder of a checkpoint, of its step, or of its manager.

    Raises:
        CheckpointError: There is no configuration, or it is damaged.
    """
    # A CheckpointManager writes FOLDER/STEP/ITEM.
    candidates = [folder / CONFIG_FILE for folder in (path.parent, *list(path.parents)[1:LEVELS])]
    config = next((file for file in candidates if file.is_file()), None)
    if config is None:
        raise CheckpointError(
            f"{path.parent} needs the model's {CONFIG_FILE} in it or beside it: model.config.save_pretrained(folder)."
        )
    return DistilBertConfig.from_json_file(config)


def find(folder: Path) -> Path | None:
    """Return the tree of a model below a folder: of a step, or of the newest step that a CheckpointManager wrote.

    Raises:
        CheckpointError: A step has several trees, and not exactly one of them is a model.
    """
    items = sorted(folder.glob(f"*/{METADATA}"))
    steps = {item.parent for item in items} or {item.parent.parent for item in folder.glob(f"*/*/{METADATA}")}
    numbers = {int(number[1]): step for step in steps if (number := STEP.fullmatch(step.name))}
    if len(numbers) == len(steps) > 0:
        newest = numbers[max(numbers)]
        return newest / METADATA if items else find(newest)
    models = [item for item in items if _has_model(item)]
    if len(items) > 1 and len(models) != 1:
        names = ", ".join(str(item.parent) for item in models or items)
        raise CheckpointError(f"{folder} has several checkpoints: {names}. Give the path of one of them.")
    return next(iter(models or items), None)


def _has_model(path: Path) -> bool:
    """Return whether a tree has the word embeddings of a model; moments of an optimizer do not count."""
    try:
        entries = _read_tree(path)["tree_metadata"].values()
        names = ["/".join(str(key["key"]) for key in entry["key_metadata"]) for entry in entries]
    except (CheckpointError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return any(WORDS in name and not is_of_optimizer(name) for name in names)


def unread(path: Path) -> list[str]:
    """Return a note if the checkpoint has a random state, which is dropped."""
    entries = _read_tree(path)["tree_metadata"].values()
    if any(str(key["key"]) == RANDOM for entry in entries for key in entry["key_metadata"]):
        return [f"The random state ({RANDOM}) was dropped: it is not a parameter."]
    return []


def write_checkpoint(path: Path, tensors: Tensors, head: Head) -> None:
    """Write a checkpoint as a folder. Orbax needs all arrays at once, and copies them."""
    orbax = require("orbax.checkpoint", "flax", "an Orbax checkpoint")
    tree: dict[str, Any] = {}
    for name, tensor in tensors.items():
        *modules, leaf = name.split("/")
        node = tree
        for module in modules:
            node = node.setdefault(module, {})
        node[leaf] = {VALUE: np.ascontiguousarray(tensor.read())}
    with orbax.Checkpointer(orbax.StandardCheckpointHandler()) as checkpointer:  # synchronous
        checkpointer.save(path.absolute(), tree)


FORMAT = Format(
    name="orbax",
    title="Orbax checkpoint of this project's NNX state",
    file=FOLDER,
    layout=LAYOUTS["flax"],
    stored_name=flax_name,
    open=open_checkpoint,
    write=write_checkpoint,
    split=False,
    aliases=(f"{FOLDER}/{METADATA}", METADATA),
    find=find,
    read_config=read_config,
    unread=unread,
    whole_folder=True,
)
