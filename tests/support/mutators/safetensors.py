"""Hostile safetensors files and indexes of shards."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from support.mutators.base import (
    HOSTILE,
    OUTSIDE,
    Edit,
    Mutator,
    Rng,
    edit_json,
    file_links,
    flip_bytes,
    link,
    mutated,
    mutated_text,
    nested,
    truncate,
    write_bytes,
    write_source,
)

FILE, INDEX = "model.safetensors", "model.safetensors.index.json"
NAME = "distilbert.embeddings.LayerNorm.bias"  # [12]
OTHER = "distilbert.embeddings.LayerNorm.weight"


def split(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header and the data of a file."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join(header: Any, data: bytes) -> bytes:
    """Return a file of a header, an object or a text, and data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def on_header(change: Callable[[Rng, dict[str, Any], bytes], tuple[Any, bytes]]) -> Edit:
    """Return an edit of the header and the data."""

    def edit(rng: Rng, folder: Path) -> None:
        file = next(iter(sorted(folder.glob("*.safetensors"))))
        file.write_bytes(join(*change(rng, *split(file.read_bytes()))))

    return edit


def entry(name: str = NAME, **fields: Any) -> Edit:
    """Return an edit of an entry of the header."""
    return on_header(lambda rng, header, data: ({**header, name: {**header[name], **fields}}, data))


def _cut(place: Callable[[int, int], int]) -> Edit:
    """Return an edit that cuts the file at a place: (end of the header, end of the file) -> bytes."""

    def edit(rng: Rng, folder: Path) -> None:
        content = (folder / FILE).read_bytes()
        (folder / FILE).write_bytes(content[: place(8 + int.from_bytes(content[:8], "little"), len(content))])

    return edit


def _length(value: int) -> Edit:
    def edit(rng: Rng, folder: Path) -> None:
        content = (folder / FILE).read_bytes()
        (folder / FILE).write_bytes(value.to_bytes(8, "little") + content[8:])

    return edit


def _twice(rng: Rng, header: dict[str, Any], data: bytes) -> tuple[Any, bytes]:
    text = json.dumps(header)[:-1] + f', "{NAME}": {json.dumps(header[OTHER])}}}'
    return text.encode(), data


def _many(rng: Rng, header: dict[str, Any], data: bytes) -> tuple[Any, bytes]:
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [len(data), len(data)]}
    return {**header, **{f"x{number}": empty for number in range(100_000)}}, data


def _random_entry(rng: Rng, header: dict[str, Any], data: bytes) -> tuple[Any, bytes]:
    names = [name for name in header if name != "__metadata__"]
    name = names[rng.integers(len(names))]
    field = ("dtype", "shape", "data_offsets")[rng.integers(3)]
    values = {
        "dtype": ("F64", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "F4", "C64", "", "f32", "\ud800"),
        "shape": ([], [2**62, 4], [2**32, 2**32], [0], [-12], [12.0], [1] * 100, [1] * 100_000, [12, 0], ["12"]),
        "data_offsets": ([0, 48], [48, 0], [0, 2**63], [len(data), len(data)], [0], [0, 48, 96], [-48, 0], [0.0, 48.0]),
    }[field]
    value = HOSTILE[rng.integers(len(HOSTILE))] if rng.integers(3) == 0 else values[rng.integers(len(values))]
    return {**header, name: {**header[name], field: value}}, data


def _mutated_header(rng: Rng, header: dict[str, Any], data: bytes) -> tuple[Any, bytes]:
    return (mutated(rng, header) if rng.integers(2) else mutated_text(rng, json.dumps(header).encode())), data


def _linked_module(rng: Rng, folder: Path) -> None:
    (folder / "modules.json").write_text('[{"path": "1_Pooling"}]')
    (folder / "1_Pooling").symlink_to(f"../{OUTSIDE}")


NAMED: dict[str, Edit] = {
    "only a length": _cut(lambda header, end: 8),
    "half a length": _cut(lambda header, end: 5),
    "half a header": _cut(lambda header, end: header // 2),
    "only a header": _cut(lambda header, end: header),
    "one byte is missing": _cut(lambda header, end: end - 1),
    "the header has no bytes": _length(0),
    "the header has 2^62 bytes": _length(2**62),
    "the header has 2^64-1 bytes": _length(2**64 - 1),
    "the header is longer than the file": _length(10_000_000),
    "bytes after the end": on_header(lambda rng, header, data: (header, data + b"x" * 100)),
    "the header is a list": on_header(lambda rng, header, data: ([], data)),
    "the header is blank": on_header(lambda rng, header, data: (b" " * 1_000_000, data)),
    "deep lists": on_header(lambda rng, header, data: (b'{"a":' + b"[" * 500_000, data)),
    "deep maps": on_header(lambda rng, header, data: ({**header, "a": nested(400, dict)}, data)),
    "deep metadata": on_header(lambda rng, header, data: ({**header, "__metadata__": nested(100, dict)}, data)),
    "metadata of numbers": on_header(lambda rng, header, data: ({**header, "__metadata__": {"format": 5}}, data)),
    "long metadata": on_header(lambda rng, header, data: ({**header, "__metadata__": {"format": "x" * 10**6}}, data)),
    "many metadata": on_header(
        lambda rng, header, data: ({**header, "__metadata__": {f"{n}": "" for n in range(50_000)}}, data)
    ),
    "a name twice": on_header(_twice),
    "100,000 empty tensors": on_header(_many),
    "a surrogate as name": on_header(lambda rng, header, data: ({**header, "\ud800": header[NAME]}, data)),
    "shape of 2^62": entry(shape=[2**62]),
    "shape that overflows": entry(shape=[2**62, 2**62, 4]),
    "shape of zeros and 2^62": entry(shape=[0, 2**62]),
    "another tensor's bytes": entry(data_offsets=[0, 48]),
    "backwards": entry(data_offsets=[96, 48]),
    "integers": entry(dtype="I32"),
    "8-bit floats": entry(dtype="F8_E4M3", shape=[48]),
    "a dtype that nobody has": entry(dtype="F5"),
    "a link to all files": link("x", "/"),
    "a link to the folder above": link("x", ".."),
    "modules above": write_bytes("modules.json", b'[{"path": "../outside"}]'),
    "modules behind a link": _linked_module,
    "modules nested": write_bytes("modules.json", b"[" * 100_000),
    "10^5 modules": write_bytes("modules.json", b'[{"path": "."}' + b', {"path": "x"}' * 100_000 + b"]"),
    **file_links(FILE),
    **file_links("config.json"),
    **file_links("vocab.txt"),
}
PLAIN = Mutator(
    "safetensors",
    partial(write_source, to="pt"),
    NAMED,
    {
        "entry": on_header(_random_entry),
        "header": on_header(_mutated_header),
        "cut": truncate(FILE),
        "bytes": flip_bytes(FILE),
    },
)


def _weight_map(change: Callable[[Rng, dict[str, Any]], Any]) -> Edit:
    def edit(rng: Rng, folder: Path) -> None:
        index = json.loads((folder / INDEX).read_text())
        index["weight_map"] = change(rng, index["weight_map"])
        (folder / INDEX).write_text(json.dumps(index))

    return edit


def _moved(file: Any) -> Edit:
    return _weight_map(lambda rng, weight_map: {**weight_map, NAME: file})


INDEX_NAMED: dict[str, Edit] = {
    "a shard above": _moved("../outside/model.safetensors"),
    "an absolute shard": _moved("/etc/passwd"),
    "a shard with a NUL": _moved("model\0.safetensors"),
    "a surrogate as shard": _moved("\ud800.safetensors"),
    "a long name of a shard": _moved("a" * 5000),
    "a shard that is a folder": _moved("."),
    "the index as shard": _moved(INDEX),
    "the configuration as shard": _moved("config.json"),
    "100,000 shards": _weight_map(lambda rng, names: {f"x{n}": f"{n}.safetensors" for n in range(100_000)}),
    "one shard for all": _weight_map(lambda rng, names: dict.fromkeys(names, min(names.values()))),
    "names in another order": _weight_map(
        lambda rng, names: dict(zip(names, rng.permutation(list(names.values())).tolist(), strict=True))
    ),
    "an index of 20 MB of blanks": write_bytes(INDEX, b" " * 20_000_000),
    **file_links(INDEX),
}
SHARDS = Mutator(
    "shards",
    partial(write_source, to="pt", max_shard_size="5KB"),
    INDEX_NAMED,
    {"index": edit_json(INDEX), "entry": on_header(_random_entry), "header": on_header(_mutated_header)},
)
MUTATORS = (PLAIN, SHARDS)
