"""flax_model.msgpack of Transformers' Flax models: nested maps whose leaves are arrays in an extension type.

Opening a file scans it once for the offsets of the arrays. Each array is read on demand.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from distilbert_core.files.limits import check_limit
from distilbert_core.model.heads import Head
from distilbert_core.model.layouts import LAYOUTS
from weight_conversion.formats.base import Format, Tensors, damaged, read_array, require
from weight_conversion.names import flax_name
from weight_conversion.weights import NUMPY_DTYPES, LazyTensor

NDARRAY = 1  # Flax's extension type of an array: (shape, name of the dtype, bytes), itself msgpack
CHUNKED = "__msgpack_chunked_array__"  # marks a map that is one large array in chunks
EXTENSIONS = {0xC7: 1, 0xC8: 2, 0xC9: 4}  # code of an extension -> bytes of its length
SHORT_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}  # code of an extension -> its length
BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4}  # code of a byte string -> bytes of its length
WINDOW = 512  # bytes that are always enough for a name, or for the shape and dtype of an array

Keys = tuple[str, ...]


def open_file(path: Path) -> dict[str, LazyTensor]:
    """Return the arrays of a file by their paths, joined by '/'."""
    require("msgpack", "convert", path.name)
    try:
        with path.open("rb") as file:
            cursor = _Cursor(file)
            leaves: dict[Keys, Any] = {}
            for keys, leaf in _leaves(cursor, (), path):
                leaves[keys] = leaf
                check_limit("tensors", len(leaves), "it", ValueError)
            if cursor.position != cursor.size:
                raise ValueError(f"{cursor.size - cursor.position} bytes follow its end")
        return _join_chunks(leaves)
    except Exception as error:  # msgpack raises its own errors, ValueError, struct.error ... on damaged files
        raise damaged(path, "a msgpack weight file", error) from error


class _Cursor:
    """A position in a file that advances over one small object after the other. Large objects are skipped unread."""

    def __init__(self, file: BinaryIO):
        self.file, self.position = file, 0
        self.size = os.fstat(file.fileno()).st_size

    def peek(self, count: int) -> bytes:
        """Return the next bytes, fewer at the end of the file."""
        self.file.seek(self.position)
        return self.file.read(count)

    def integer(self, count: int) -> int:
        """Read a big-endian integer."""
        content = self.peek(count)
        self.skip(count)
        return int.from_bytes(content, "big")

    def skip(self, count: int) -> None:
        """Advance by a number of bytes, but not beyond the end."""
        if self.position + count > self.size:
            raise ValueError(f"it ends before byte {self.position + count}")
        self.position += count

    def unpack(self, method: str = "unpack") -> Any:
        """Read the next object, or with another method of the unpacker only the length of a map or an array."""
        import msgpack

        unpacker = msgpack.Unpacker(raw=False, max_buffer_size=WINDOW)
        unpacker.feed(self.peek(WINDOW))
        try:
            unpacked = getattr(unpacker, method)()
        except msgpack.OutOfData:
            raise ValueError(f"no name, shape or number of at most {WINDOW} bytes at {self.position}") from None
        self.position += unpacker.tell()
        return unpacked


def _leaves(cursor: _Cursor, keys: Keys, path: Path) -> Iterator[tuple[Keys, Any]]:
    """Yield the leaves of the next map by path: arrays as tensors, and the numbers that belong to chunks."""
    check_limit("msgpack_levels", len(keys), "it", ValueError)
    names = set()
    count = cursor.unpack("read_map_header")
    check_limit("tensors", count, "a map", ValueError)
    for _ in range(count):
        name = cursor.unpack()
        if not isinstance(name, str) or "/" in name or name in names:
            raise ValueError(f"{'/'.join(keys)!r} has an invalid or repeated key: {name!r}")
        names.add(name)
        inner = (*keys, name)
        code = next(iter(cursor.peek(1)), 0xC0)
        if code >> 4 == 0x8 or code in (0xDE, 0xDF):  # a map
            yield from _leaves(cursor, inner, path)
        elif code in EXTENSIONS or code in SHORT_EXTENSIONS:
            yield inner, _array(cursor, path, "/".join(inner))
        else:
            yield inner, cursor.unpack()


def _array(cursor: _Cursor, path: Path, name: str) -> LazyTensor:
    """Read the header of the next array."""
    code = cursor.integer(1)
    length = SHORT_EXTENSIONS.get(code) or cursor.integer(EXTENSIONS[code])
    kind = cursor.integer(1)
    end = cursor.position + length
    if kind != NDARRAY or cursor.unpack("read_array_header") != 3:
        raise ValueError(f"{name} is not an array")
    shape, dtype = tuple(cursor.unpack()), cursor.unpack()
    if dtype not in NUMPY_DTYPES or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError(f"{name} has shape {shape!r} and dtype {dtype!r}")
    count = cursor.integer(BYTES[cursor.integer(1)])
    if count != math.prod(shape) * NUMPY_DTYPES[dtype].itemsize or cursor.position + count != end:
        raise ValueError(f"{name} has {count} bytes, which does not fit its shape {shape} and dtype {dtype}")
    offset = cursor.position
    cursor.skip(count)
    return LazyTensor(shape, dtype, partial(read_array, path, dtype, shape, offset), f"{path}: {name}")


def _join_chunks(leaves: dict[Keys, Any]) -> dict[str, LazyTensor]:
    """Return all arrays by their joined paths, with chunked arrays in one piece."""
    arrays = {}
    pieces: dict[Keys, dict[Keys, Any]] = {path[:-1]: {} for path in leaves if path[-1] == CHUNKED}
    for path, value in leaves.items():
        whole = next((start for start in pieces if path[: len(start)] == start), None)
        if whole is not None:
            pieces[whole][path[len(whole) :]] = value
        elif isinstance(value, LazyTensor):
            arrays["/".join(path)] = value
        else:
            raise ValueError(f"{'/'.join(path)!r} is not an array")
    for path, parts in pieces.items():
        shape = tuple(parts["shape", str(axis)] for axis in range(sum(part[0] == "shape" for part in parts)))
        chunks = [parts["chunks", str(index)] for index in range(sum(part[0] == "chunks" for part in parts))]
        if sum(math.prod(chunk.shape) for chunk in chunks) != math.prod(shape):
            raise ValueError(f"{'/'.join(path)!r} does not have the shape {shape} in its chunks")
        if len({chunk.dtype for chunk in chunks}) != 1:
            raise ValueError(f"{'/'.join(path)!r} has chunks of several dtypes")
        arrays["/".join(path)] = LazyTensor(
            shape, chunks[0].dtype, partial(_concatenate, chunks, shape), chunks[0].where
        )
    return arrays


def _concatenate(chunks: list[LazyTensor], shape: tuple[int, ...]) -> np.ndarray:
    return np.concatenate([chunk.read().reshape(-1) for chunk in chunks]).reshape(shape)


# -- writing ----------------------------------------------------------------------------------------------------


def write_file(path: Path, tensors: Tensors, head: Head) -> None:
    """Write a file, one array after the other."""
    require("msgpack", "convert", path.name)
    tree: dict[str, Any] = {}
    for name, tensor in tensors.items():
        *modules, leaf = name.split("/")
        node = tree
        for module in modules:
            node = node.setdefault(module, {})
        node[leaf] = tensor
    with path.open("wb") as file:
        for part in _pack(tree):
            file.write(part)


def _pack(node: dict[str, Any]) -> Iterator[bytes | memoryview]:
    import msgpack

    packer = msgpack.Packer()
    yield packer.pack_map_header(len(node))
    for name, value in node.items():
        yield packer.pack(name)
        if isinstance(value, dict):
            yield from _pack(value)
            continue
        start = packer.pack_array_header(3) + packer.pack(value.shape) + packer.pack(value.dtype)
        start += struct.pack(">BI", 0xC6, value.nbytes)  # a byte string with a length of 4 bytes
        yield struct.pack(">BIb", 0xC9, len(start) + value.nbytes, NDARRAY) + start
        yield np.ascontiguousarray(value.read()).reshape(-1).view(np.uint8).data


FORMAT = Format(
    name="msgpack",
    title="flax_model.msgpack",
    file="flax_model.msgpack",
    layout=LAYOUTS["flax"],
    stored_name=flax_name,
    open=open_file,
    write=write_file,
)
