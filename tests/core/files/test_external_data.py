"""ONNX files with tensors in other files are refused, wherever the tensors are."""

from __future__ import annotations

from pathlib import Path

import pytest

from distilbert_core.errors import CheckpointError
from distilbert_core.files.external_data import refuse_external_data


def field(number: int, content: bytes | int) -> bytes:
    """A field of protobuf: a small integer, or fewer than 128 bytes."""
    if isinstance(content, int):
        return bytes([number << 3, content])  # for numbers below 16
    tag = number << 3 | 2
    return (bytes([tag]) if tag < 128 else bytes([tag & 0x7F | 0x80, tag >> 7])) + bytes([len(content)]) + content


LOCATION = field(13, field(1, b"location") + field(2, b"../secret"))
OUTSIDE = field(8, b"weight") + LOCATION
INSIDE = field(8, b"weight") + field(9, b"1234") + field(14, 0)
PLACES = {
    "initializer": lambda tensor: field(7, field(5, tensor)),
    "sparse initializer": lambda tensor: field(7, field(15, field(1, tensor))),
    "attribute": lambda tensor: field(7, field(1, field(5, field(5, tensor)))),
    "attributes": lambda tensor: field(7, field(1, field(5, field(10, tensor)))),
    "graph in an attribute": lambda tensor: field(7, field(1, field(5, field(6, field(5, tensor))))),
    "function": lambda tensor: field(25, field(7, field(5, field(5, tensor)))),
    "training": lambda tensor: field(20, field(1, field(5, tensor))),
    "second graph": lambda tensor: field(7, b"") + field(7, field(5, tensor)),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_tensor_in_another_file(place: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(field(1, 8) + PLACES[place](INSIDE))
    refuse_external_data(path)
    for tensor in (OUTSIDE, field(8, b"weight") + field(14, 1)):
        path.write_bytes(field(1, 8) + PLACES[place](tensor))
        with pytest.raises(CheckpointError, match=r"model\.onnx keeps tensors in other files"):
            refuse_external_data(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an ONNX file"),
        (b"\x3a\x7f", "after its message"),
        (b"\xff" * 20, "more than 10 bytes"),
        (b"\x0b", "unknown wire type"),
        (b"\x3a", "an ONNX file"),
    ],
)
def test_a_damaged_file(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        refuse_external_data(tmp_path / "model.onnx")
