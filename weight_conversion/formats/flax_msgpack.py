"""flax_model.msgpack: what Transformers' Flax models saved. Nested maps whose leaves are arrays in an extension type.

The file is searched once for where its arrays are, and each is read when it is asked for.
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

from distilbert_core.model.heads import Head
from distilbert_core.model.layouts import LAYOUTS
from weight_conversion.formats.base import Format, Tensors, damaged, read_array, require
from weight_conversion.names import flax_name
from weight_conversion.weights import NUMPY_DTYPES, LazyTensor

NDARRAY = 1  # Flax's extension type of an array: (shape, name of the dtype, bytes), itself msgpack
CHUNKED = "__msgpack_chunked_array__"  # says that a map is one large array in pieces
EXTENSIONS = {0xC7: 1, 0xC8: 2, 0xC9: 4}  # code of an extension -> bytes of its length
SHORT_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}  # code of an extension -> its length
BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4}  # code of bytes -> bytes of their length
DEEPEST = 16  # levels of maps; DistilBERT has 7
MOST = 100_000  # entries; DistilBERT base has 104
WINDOW = 512  # bytes that hold a name, or an array's shape and dtype, with room to spare

Keys = tuple[str, ...]


def open_file(path: Path) -> dict[str, LazyTensor]:
    """Return the arrays of a file by their paths joined with '/'."""
    require("msgpack", "convert", path.name)
    try:
        with path.open("rb") as file:
            cursor = _Cursor(file)
            leaves: dict[Keys, Any] = {}
            for keys, leaf in _leaves(cursor, (), path):
                leaves[keys] = leaf
                if len(leaves) > MOST:
                    raise ValueError(f"it has more than {MOST} entries")
            if cursor.position != cursor.size:
                raise ValueError(f"{cursor.size - cursor.position} bytes follow its end")
        return _join_chunks(leaves)
    except Exception as error:  # msgpack raises its own errors, ValueError, struct.error ... on damaged files
        raise damaged(path, "a msgpack weight file", error) from error


class _Cursor:
    """A position in a file, which moves on over one small object after the other; what is large is skipped unread."""

    def __init__(self, file: BinaryIO):
        self.file, self.position = file, 0
        self.size = os.fstat(file.fileno()).st_size

    def peek(self, count: int) -> bytes:
        """Return the bytes that come next, or as many as there are."""
        self.file.seek(self.position)
        return self.file.read(count)

    def integer(self, count: int) -> int:
        """Return the big-endian integer that comes next."""
        found = self.peek(count)
        self.skip(count)
        return int.from_bytes(found, "big")

    def skip(self, count: int) -> None:
        """Move on, but not beyond the end."""
        if self.position + count > self.size:
            raise ValueError(f"it ends before byte {self.position + count}")
        self.position += count

    def unpack(self, what: str = "unpack") -> Any:
        """Return the object that comes next, or with `what` only the length of a map or an array."""
        import msgpack

        unpacker = msgpack.Unpacker(raw=False, max_buffer_size=WINDOW)
        unpacker.feed(self.peek(WINDOW))
        try:
            found = getattr(unpacker, what)()
        except msgpack.OutOfData:
            raise ValueError(f"no name, shape or number of at most {WINDOW} bytes at {self.position}") from None
        self.position += unpacker.tell()
        return found


def _leaves(cursor: _Cursor, keys: Keys, path: Path) -> Iterator[tuple[Keys, Any]]:
    """Yield what the map that comes next holds: arrays as tensors, and the few numbers that go with large ones."""
    if len(keys) > DEEPEST:
        raise ValueError(f"its maps are more than {DEEPEST} levels deep")
    names = set()
    count = cursor.unpack("read_map_header")
    if count > MOST:
        raise ValueError(f"a map has {count} entries, more than {MOST}")
    for _ in range(count):
        name = cursor.unpack()
        if not isinstance(name, str) or "/" in name or name in names:
            raise ValueError(f"{'/'.join(keys)!r} has a key that is no name, or is there twice: {name!r}")
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
    """Return the array that comes next."""
    code = cursor.integer(1)
    length = SHORT_EXTENSIONS.get(code) or cursor.integer(EXTENSIONS[code])
    kind = cursor.integer(1)
    end = cursor.position + length
    if kind != NDARRAY or cursor.unpack("read_array_header") != 3:
        raise ValueError(f"{name} is no array")
    shape, dtype = tuple(cursor.unpack()), cursor.unpack()
    if dtype not in NUMPY_DTYPES or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError(f"{name} has shape {shape!r} and dtype {dtype!r}")
    count = cursor.integer(BYTES[cursor.integer(1)])
    if count != math.prod(shape) * NUMPY_DTYPES[dtype].itemsize or cursor.position + count != end:
        raise ValueError(f"{name} has {count} bytes, which its shape {shape} and dtype {dtype} do not have")
    offset = cursor.position
    cursor.skip(count)
    return LazyTensor(shape, dtype, partial(read_array, path, dtype, shape, offset), f"{path}: {name}")


def _join_chunks(leaves: dict[Keys, Any]) -> dict[str, LazyTensor]:
    """Return all arrays by their joined paths, those in pieces as one."""
    found = {}
    pieces: dict[Keys, dict[Keys, Any]] = {path[:-1]: {} for path in leaves if path[-1] == CHUNKED}
    for path, value in leaves.items():
        whole = next((start for start in pieces if path[: len(start)] == start), None)
        if whole is not None:
            pieces[whole][path[len(whole) :]] = value
        elif isinstance(value, LazyTensor):
            found["/".join(path)] = value
        else:
            raise ValueError(f"{'/'.join(path)!r} is no array")
    for path, parts in pieces.items():
        shape = tuple(parts["shape", str(axis)] for axis in range(sum(part[0] == "shape" for part in parts)))
        chunks = [parts["chunks", str(index)] for index in range(sum(part[0] == "chunks" for part in parts))]
        if sum(math.prod(chunk.shape) for chunk in chunks) != math.prod(shape):
            raise ValueError(f"{'/'.join(path)!r} does not have the shape {shape} in its pieces")
        if len({chunk.dtype for chunk in chunks}) != 1:
            raise ValueError(f"{'/'.join(path)!r} has pieces of several dtypes")
        found["/".join(path)] = LazyTensor(
            shape, chunks[0].dtype, partial(_concatenate, chunks, shape), chunks[0].where
        )
    return found


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
        start += struct.pack(">BI", 0xC6, value.nbytes)  # bytes with a length of 4 bytes
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
