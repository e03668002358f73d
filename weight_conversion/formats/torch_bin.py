"""pytorch_model.bin: what torch.save makes of a state dict. Read with weights_only, so that no code in it is run."""

from __future__ import annotations

import pickle
import pickletools
import re
import zipfile
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from distilbert_core.errors import CheckpointError
from distilbert_core.parameters import Head
from weight_conversion.formats.base import Format, Tensors, damaged
from weight_conversion.weights import DTYPES, Tensor

# What the pickle of a state dict calls. PyTorch's weights_only allows more, such as a bytearray of any length.
GLOBALS = ("collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter")
STORAGE = re.compile(r"torch \w+Storage")
FORBIDDEN = ("STACK_GLOBAL", "INST", "OBJ", "EXT1", "EXT2", "EXT4")  # other ways to call; torch.save uses none
PROTOCOL = 2
LONGEST_PICKLE = 10_000_000  # operations and characters; that of DistilBERT base has 12 thousand
LEGACY_PICKLES = 5  # of files before PyTorch 1.6: magic number, version, system, state dict, keys
CHUNK = 2**20  # bytes read at a time


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise CheckpointError(
            'pytorch_model.bin can only be read and written with PyTorch; install it with pip install "distilbert[pt]"'
        ) from error
    return torch


def open_file(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, mapped into memory where it was written since PyTorch 1.6."""
    torch = _torch()
    try:
        zipped = zipfile.is_zipfile(path)
        (_check_zip if zipped else _check_legacy)(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
        if not isinstance(state, dict):
            raise ValueError(f"it holds a {type(state).__name__}, no tensors by name")
        size = path.stat().st_size
        for name, value in state.items():
            if not isinstance(name, str) or not isinstance(value, torch.Tensor):
                raise ValueError(f"{name!r} is no tensor that has a name")
            if value.numel() * value.element_size() > size:
                raise ValueError(f"{name} has the shape {tuple(value.shape)}, more than the file can hold")
    except pickle.UnpicklingError:  # its text recommends to run what the file contains
        reason = ValueError("PyTorch does not read it with weights_only=True")
        raise damaged(path, "PyTorch weight", reason) from None
    except Exception as error:  # unpickling raises whatever the bytes lead to
        raise damaged(path, "PyTorch weight", error) from error
    found = {}
    for name, value in state.items():
        dtype = str(value.dtype).removeprefix("torch.")
        found[name] = Tensor(tuple(value.shape), dtype, partial(_array, value), f"{path}: {name}")
    return found


def _check_zip(path: Path) -> None:
    """Raise an error unless all is stored as it is and undamaged, and the pickle is that of a state dict."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        if len({entry.filename for entry in entries}) != len(entries):
            raise ValueError("it holds two files of one name")
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                raise ValueError(f"{entry.filename} is compressed")
            if entry.filename.endswith("data.pkl"):
                with archive.open(entry) as file:
                    _check_pickle(file)
            with archive.open(entry) as file:
                while file.read(CHUNK):  # raises an error where the checksum is wrong
                    pass


def _check_legacy(path: Path) -> None:
    with path.open("rb") as file:
        for _ in range(LEGACY_PICKLES):
            _check_pickle(file)


def _check_pickle(file: IO[bytes]) -> None:
    """Raise an error if a pickle, which is looked at and not run, holds anything that a state dict does not need."""
    size = 0
    for operation, value, _ in pickletools.genops(file):
        argument = str(value)
        size += 1 + len(argument)
        if size > LONGEST_PICKLE:
            raise ValueError(f"its pickle has more than {LONGEST_PICKLE} operations")
        if operation.name == "GLOBAL" and not (argument in GLOBALS or STORAGE.fullmatch(argument)):
            raise ValueError(f"it would call {argument.replace(' ', '.')}")
        if operation.name in FORBIDDEN or (operation.name == "PROTO" and value != PROTOCOL):
            raise ValueError(f"its pickle has {operation.name} {argument}, which no state dict has")


def _array(value: Any) -> np.ndarray:
    torch = _torch()
    value = value.detach()
    if value.dtype is torch.bfloat16:  # NumPy has it from another library, which PyTorch does not know
        return value.contiguous().view(torch.uint8).numpy().view(DTYPES["bfloat16"]).reshape(value.shape)
    return value.numpy()


def write_file(path: Path, tensors: Tensors, head: Head) -> None:
    """Write a state dict, whose memory has to be whole for torch.save."""
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
    "bin",
    "pytorch_model.bin",
    "pytorch_model.bin",
    lambda parameter, head: parameter.name,
    open_file,
    write_file,
    modules=True,
)
