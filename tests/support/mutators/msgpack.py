"""Hostile flax_model.msgpack."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgpack

from support.mutators.base import (
    Edit,
    Mutator,
    Rng,
    file_links,
    flip_bytes,
    hostile,
    nested,
    overwrite_integer,
    truncate,
    write_bytes,
    write_source,
)

FILE = "flax_model.msgpack"
NORM = ("distilbert", "embeddings", "LayerNorm")


def packed(content: bytes) -> Edit:
    """Return an edit that writes the bytes as the file."""
    return write_bytes(FILE, content)


def tree(change: Callable[[Rng, dict[str, Any]], Any]) -> Edit:
    """Return an edit of the tree, in which arrays are extensions."""

    def edit(rng: Rng, folder: Path) -> None:
        file = folder / FILE
        stored = msgpack.unpackb(file.read_bytes(), ext_hook=msgpack.ExtType, strict_map_key=False)
        changed = change(rng, stored)
        file.write_bytes(msgpack.packb(stored if changed is None else changed))

    return edit


def leaf(value: Any) -> Edit:
    """Return an edit that replaces an array of 12 values."""

    def change(rng: Rng, stored: dict[str, Any]) -> None:
        stored["distilbert"]["embeddings"]["LayerNorm"]["bias"] = value

    return tree(change)


def array(*parts: Any) -> Edit:
    """Return an edit that replaces the parts of an array."""
    return leaf(msgpack.ExtType(1, msgpack.packb(parts)))


def _random_leaf(rng: Rng, stored: dict[str, Any]) -> None:
    node = stored
    while True:
        name = list(node)[rng.integers(len(node))]
        if not isinstance(node[name], dict) or rng.integers(8) == 0:
            break
        node = node[name]
    dtypes = ("float32", "float16", "bfloat16", "float64", "int32", "bool", "complex64", "object", "V8", "|O", "<f4")
    shapes = ([12], [3, 4], [2**62, 4], [-12], [12, 0], [0], [], [2**32, 2**32], [12.0], ["12"], [1] * 60, None, 12)
    size = int(rng.choice([0, 4, 47, 48, 49, 1000]))
    parts: list[Any] = [shapes[rng.integers(len(shapes))], dtypes[rng.integers(len(dtypes))], bytes(size)]
    match rng.integers(8):
        case 0:
            del node[name]
        case 1:
            value = hostile(rng)
            node[name] = value if not isinstance(value, int) or abs(value) < 2**63 else "x"
            if value == "\ud800":
                node[name] = b"\xed\xa0\x80"
        case 2:
            node[f"{name}/x"] = node.pop(name)
        case 3:
            chunks = {str(index): node[name] for index in range(3)}
            node[name] = {"__msgpack_chunked_array__": True, "shape": {"0": 36}, "chunks": chunks}
        case 4:
            node[name] = msgpack.ExtType(int(rng.integers(128)), msgpack.packb(parts))
        case 5:
            node[name] = msgpack.ExtType(1, msgpack.packb(parts[: rng.integers(4)]))
        case _:
            node[name] = msgpack.ExtType(1, msgpack.packb(parts))


def _chunked(shape: dict[str, Any], count: int = 1) -> Callable[[Rng, dict[str, Any]], None]:
    def change(rng: Rng, stored: dict[str, Any]) -> None:
        norm = stored["distilbert"]["embeddings"]["LayerNorm"]
        chunks = {str(index): norm["bias"] for index in range(count)}
        norm["bias"] = {"__msgpack_chunked_array__": True, "shape": shape, "chunks": chunks}

    return change


NAMED: dict[str, Edit] = {
    "a number": packed(b"\x01"),
    "nothing": packed(b"\xc0"),
    "an empty map": packed(b"\x80"),
    "a map of 2^32 entries": packed(b"\xdf\xff\xff\xff\xff"),
    "an array of 2^32 entries": packed(b"\x81\xa1a\xdd\xff\xff\xff\xff"),
    "a text of 4 GB": packed(b"\x81\xdb\xff\xff\xff\xffa"),
    "bytes of 4 GB": packed(b"\x81\xa1a\xc6\xff\xff\xff\xffa"),
    "an extension of 4 GB": packed(b"\x81\xa1a\xc9\xff\xff\xff\xff\x01"),
    "100,000 maps in each other": packed(b"\x81\xa1a" * 100_000 + b"\x80"),
    "1,000,000 arrays in each other": packed(b"\x81\xa1a" + b"\x91" * 1_000_000),
    "maps that never end": packed(b"\xde\xff\xff" * 300_000),
    "a million empty maps": packed(b"\x81\xa1a\xdf\x00\x0f\x42\x40" + b"\xa1a\x80" * 10_000),
    "a timestamp": leaf(msgpack.Timestamp(1, 1)),
    "an unknown extension": leaf(msgpack.ExtType(77, b"x" * 48)),
    "Flax's extension of a complex number": leaf(msgpack.ExtType(2, msgpack.packb((1.0, 2.0)))),
    "Flax's extension of a scalar": leaf(msgpack.ExtType(3, msgpack.packb(([], "float32", bytes(4))))),
    "an extension in an extension": leaf(msgpack.ExtType(1, msgpack.packb(msgpack.ExtType(1, b"x")))),
    "deep lists": leaf(nested(200)),
    "deep maps": leaf(nested(200, dict)),
    "a shape of 2^62": array([2**62], "float32", bytes(48)),
    "a shape that overflows": array([2**62, 2**62, 4], "float32", bytes(48)),
    "a shape of 100,000 axes": array([1] * 100_000, "float32", bytes(4)),
    "a shape of 60 axes": array([1] * 59 + [12], "float32", bytes(48)),
    "a negative shape": array([-3, -4], "float32", bytes(48)),
    "objects": array([12], "object", bytes(96)),
    "a dtype that is code": array([12], "__import__('os').system('true')", bytes(48)),
    "a dtype of 10,000 characters": array([12], "f" * 10_000, bytes(48)),
    "chunks of another shape": tree(_chunked({"0": 2**40})),
    "chunks of a shape that is text": tree(_chunked({"0": "12"})),
    "chunks of a shape with a gap": tree(_chunked({"1": 12})),
    "no chunks": tree(_chunked({"0": 0}, 0)),
    "many chunks": tree(_chunked({"0": 12 * 50}, 50)),
    "a name that is no text": packed(msgpack.packb({1: {}, b"\xff": {}})),
    "a name twice": packed(b"\x82\xa1a\x80\xa1a\x80"),
    "a name that is not UTF-8": packed(b"\x81\xa2\xff\xfe\x80"),
    "a name of 60,000 characters": packed(msgpack.packb({"a" * 60_000: {}})),
    **file_links(FILE),
}
MUTATORS = (
    Mutator(
        "msgpack",
        partial(write_source, to="msgpack"),
        NAMED,
        {
            "leaf": tree(_random_leaf),
            "cut": truncate(FILE),
            "bytes": flip_bytes(FILE),
            "integer": overwrite_integer(FILE),
        },
    ),
)
