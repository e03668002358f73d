"""ONNX files that keep tensors in other files: a runtime would read any file that they name."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from distilbert_core.errors import CheckpointError
from distilbert_core.files.boundary import reads
from distilbert_core.files.limits import check_limit

# Message of ONNX -> its fields with messages that may hold tensors. The numbers are those of onnx.proto.
MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "tensor": {},
}
EXTERNAL_FIELDS = {13, 14}  # of a tensor: its other file, and whether it has one
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types of protobuf


@reads("an ONNX file")
def refuse_external_data(path: Path) -> None:
    """Raise CheckpointError if an ONNX file has a tensor in another file, or is damaged.

    The files of this package hold all of their tensors.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        pending = [("model", 0, len(content), 0)]
        count = 0
        while pending:
            message, start, end, level = pending.pop()
            check_limit("onnx_levels", level, str(path))
            for field, kind, first, last, value in _fields(content, start, end):
                count += 1
                check_limit("onnx_fields", count, str(path))
                if message == "tensor" and field in EXTERNAL_FIELDS and (kind == BYTES or value):
                    raise CheckpointError(
                        f"{path} keeps tensors in other files, which are not read: save it in one file, with "
                        "onnx.save(onnx.load(PATH), NEW)."
                    )
                if field in MESSAGES[message] and kind == BYTES:
                    pending.append((MESSAGES[message][field], first, last, level + 1))


def _fields(content: mmap.mmap, position: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield number, wire type, first and last position, and value if it is an integer, of the fields of a message."""
    while position < end:
        tag, position = _integer(content, position)
        kind, size, value = tag & 7, 0, 0
        if kind == VARINT:
            value, position = _integer(content, position)
        elif kind == BYTES:
            size, position = _integer(content, position)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"byte {position} has the unknown wire type {kind}")
        if position + size > end:
            raise ValueError(f"a field ends at byte {position + size}, after its message")
        yield tag >> 3, kind, position, position + size, value
        position += size


def _integer(content: mmap.mmap, position: int) -> tuple[int, int]:
    """Return the integer of variable length at a position, and the position after it."""
    value = 0
    for index in range(10):
        byte = content[position + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, position + index + 1
    raise ValueError(f"byte {position} begins an integer of more than 10 bytes")
