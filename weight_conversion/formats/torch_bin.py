"""Files of torch.save with a state dict, or a dict that holds one: pytorch_model.bin, .pth, .pt and .ckpt.

They are read with weights_only, so that no code in them is run.
"""

from __future__ import annotations

import pickle
import pickletools
import re
import zipfile
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from distilbert_core.errors import listed, shortened
from distilbert_core.files.limits import check_limit
from distilbert_core.model.heads import Head
from weight_conversion.formats.base import Format, Tensors, damaged, require
from weight_conversion.names import canonical_name
from weight_conversion.weights import NUMPY_DTYPES, LazyTensor

# The calls in the pickle of a state dict. PyTorch's weights_only allows more, such as a bytearray of any length.
GLOBALS = ("collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter")
# Further calls in training states, as Lightning saves them. The objects hold settings; they are dropped, not run.
HOLDERS = re.compile(
    r"argparse Namespace|pathlib \w*Path|(?:lightning|lightning_fabric|pytorch_lightning)(?:\.\w+)* AttributeDict"
)
NESTED = (
    "state_dict",
    "model_state_dict",
    "model",
    "module",
)  # keys of the state dict in a training state
EMBEDDING_SUFFIX = "word_embeddings.weight"  # end of a name in every state dict of a DistilBERT
STORAGE = re.compile(r"torch \w+Storage")
FORBIDDEN = ("STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4")  # other ways to call, which torch.save never uses
PROTOCOL = 2
TRUSTED = (
    "If you trust it, load it with the program that wrote it, and save the weights alone: "
    "torch.save(model.state_dict(), 'pytorch_model.bin')"
)
LEGACY_PICKLES = 5  # pickles before PyTorch 1.6: magic number, version, system, state dict, keys
CHUNK = 2**20  # bytes read at a time


def _torch(file: str = "pytorch_model.bin") -> Any:
    return require("torch", "pt", file)


def open_file(path: Path) -> dict[str, LazyTensor]:
    """Return the tensors of a file. Files since PyTorch 1.6 are memory-mapped."""
    torch = _torch(path.name)
    try:
        zipped = zipfile.is_zipfile(path)
        state, _ = _state_dict(_load(path, (_check_zip if zipped else _check_legacy)(path), zipped))
        size = path.stat().st_size
        for name, value in state.items():
            if not isinstance(name, str) or not isinstance(value, torch.Tensor):
                raise ValueError(f"{name!r} is not a tensor with a name")
            if value.numel() * value.element_size() > size:
                raise ValueError(f"{name} has the shape {tuple(value.shape)}, more than the file can hold")
    except pickle.UnpicklingError:  # its message recommends to run the content of the file
        reason = ValueError("PyTorch does not read it with weights_only=True")
        raise damaged(path, "a PyTorch weight file", reason) from None
    except Exception as error:  # unpickling damaged bytes can raise any error
        raise damaged(path, "a PyTorch weight file", error) from error
    tensors = {}
    for name, value in state.items():
        dtype = str(value.dtype).removeprefix("torch.")
        tensors[name] = LazyTensor(tuple(value.shape), dtype, partial(_array, value), f"{path}: {name}")
    return tensors


def unread(path: Path) -> list[str]:
    """Return a note on the content of a file beside the weights, which is dropped."""
    zipped = zipfile.is_zipfile(path)
    _, others = _state_dict(_load(path, _holders(path) if zipped else set(), zipped))
    return [f"Of {path.name} only the weights were read, and not: {listed(others)}."] if others else []


def _load(path: Path, holders: set[str], zipped: bool) -> Any:
    """Return the object in a checked file; objects with settings become empty."""
    torch = _torch(path.name)
    empty = [(type("Empty", (_Empty,), {}), name.replace(" ", ".")) for name in sorted(holders)]
    with torch.serialization.safe_globals(empty):
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)


class _Empty(dict[str, Any]):
    """Replaces an object with settings: it accepts all arguments and keeps nothing."""

    def __new__(cls, *args: Any) -> _Empty:
        return super().__new__(cls)

    def __init__(self, *args: Any):
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        pass


def _state_dict(loaded: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the state dict in an object, and the names of the other entries."""
    torch = _torch()
    if not isinstance(loaded, dict):
        raise ValueError(f"it holds a {type(loaded).__name__}, not tensors by name")
    inner = {name: value for name, value in loaded.items() if isinstance(value, dict)}
    candidates = [name for name, value in inner.items() if any(str(key).endswith(EMBEDDING_SUFFIX) for key in value)]
    if len(candidates) > 1:
        raise ValueError(
            f"it holds several state dicts, {listed([str(name) for name in candidates])}: save the one you want"
        )
    if not candidates and any(isinstance(value, torch.Tensor) for value in loaded.values()):
        return loaded, []
    nested = next((name for name in (*candidates, *NESTED) if name in inner), None)
    return (loaded, []) if nested is None else (loaded[nested], [str(name) for name in loaded if name != nested])


def _check_zip(path: Path) -> set[str]:
    """Check that an archive is uncompressed and undamaged, and that its pickle holds a state dict.

    Return the names of the objects with settings in it.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        check_limit("archive_members", len(entries), "it", ValueError)
        if len({entry.filename for entry in entries}) != len(entries):
            raise ValueError("it holds two files with the same name")
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise ValueError(f"{entry.filename} is compressed")
        holders = _holders(path)
        for entry in entries:
            with archive.open(entry) as file:
                while file.read(CHUNK):  # raises an error if the checksum is wrong
                    pass
    return holders


def _holders(path: Path) -> set[str]:
    """Check the pickles of an archive, and return the names of the objects with settings in them."""
    with zipfile.ZipFile(path) as archive:
        holders = set()
        for entry in archive.infolist():
            if entry.filename.endswith("data.pkl"):
                with archive.open(entry) as file:
                    holders |= _check_pickle(file)
    return holders


def _check_legacy(path: Path) -> set[str]:
    with path.open("rb") as file:
        return set().union(*(_check_pickle(file) for _ in range(LEGACY_PICKLES)))


def _check_pickle(file: IO[bytes]) -> set[str]:
    """Check, without running it, that a pickle holds nothing that a state dict does not need.

    Return the names of the objects with settings in it.
    """
    size, holders = 0, set()
    for operation, value, _ in pickletools.genops(file):
        argument = str(value)
        size += 1 + len(argument)
        check_limit("pickle_size", size, "it", ValueError)
        if operation.name == "GLOBAL" and HOLDERS.fullmatch(argument):
            holders.add(argument)
        elif operation.name == "GLOBAL" and not (argument in GLOBALS or STORAGE.fullmatch(argument)):
            raise ValueError(f"it would call {shortened(argument.replace(' ', '.'))[1:-1]}. {TRUSTED}")
        if operation.name in FORBIDDEN or (operation.name == "PROTO" and value != PROTOCOL):
            raise ValueError(
                f"its pickle has {operation.name} {shortened(argument)[1:-1]}, which a state dict never has. {TRUSTED}"
            )
    return holders


def _array(value: Any) -> np.ndarray:
    torch = _torch()
    value = value.detach()
    if value.dtype is torch.bfloat16:  # PyTorch does not know the bfloat16 of ml_dtypes
        return value.contiguous().view(torch.uint8).numpy().view(NUMPY_DTYPES["bfloat16"]).reshape(value.shape)
    return value.numpy()


def write_file(path: Path, tensors: Tensors, head: Head) -> None:
    """Write a state dict. torch.save needs all tensors at once."""
    torch = _torch()
    state = {}
    for name, tensor in tensors.items():
        array = np.ascontiguousarray(tensor.read())
        if not array.flags.writeable:
            array = array.copy()
        value = torch.from_numpy(array.reshape(-1).view(np.uint8)).view(getattr(torch, tensor.dtype))
        state[name] = value.reshape(tensor.shape)
    torch.save(state, path)


FORMAT = Format(
    name="bin",
    title="pytorch_model.bin",
    file="pytorch_model.bin",
    stored_name=canonical_name,
    open=open_file,
    write=write_file,
    suffixes=(".pth", ".pt", ".ckpt"),
    unread=unread,
    modules=True,
)
