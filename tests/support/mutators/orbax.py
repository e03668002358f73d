"""Hostile Orbax checkpoints: the description of the tree, and the files of TensorStore."""

from __future__ import annotations

import bz2
import json
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from support.mutators.base import (
    OUTSIDE,
    Edit,
    Mutator,
    Rng,
    edit_json,
    file_links,
    flip_bytes,
    link,
    nested,
    overwrite_integer,
    set_json,
    truncate,
    write_bytes,
    write_source,
)

TREE, MANIFEST = "orbax/_METADATA", "orbax/manifest.ocdbt"
BIAS = "distilbert.embeddings.LayerNorm.bias.value"


def tree(change: Callable[[Rng, dict[str, Any]], Any]) -> Edit:
    """Return an edit of the description of the tree."""

    def edit(rng: Rng, folder: Path) -> None:
        content = json.loads((folder / TREE).read_text())
        changed = change(rng, content)
        (folder / TREE).write_text(json.dumps(content if changed is None else changed))

    return edit


def key(value: Any) -> Edit:
    """Return an edit of the path of the first array."""

    def change(rng: Rng, content: dict[str, Any]) -> None:
        entry = next(iter(content["tree_metadata"].values()))
        entry["key_metadata"] = [{"key": value, "key_type": 2}]

    return tree(change)


def _many(rng: Rng, content: dict[str, Any]) -> None:
    entry = next(iter(content["tree_metadata"].values()))
    content["tree_metadata"] |= {f"x{number}": entry for number in range(100_000)}


def _repeated(rng: Rng, content: dict[str, Any]) -> None:
    entry = next(iter(content["tree_metadata"].values()))
    content["tree_metadata"] |= {f"x{number}": entry for number in range(5000)}


def zarr(data: bytes = bytes(48), **fields: Any) -> Edit:
    """Return an edit that stores the arrays as plain files of zarr, with other metadata."""

    def edit(rng: Rng, folder: Path) -> None:
        content = json.loads((folder / TREE).read_text())
        content["use_ocdbt"] = content["use_zarr3"] = False
        (folder / TREE).write_text(json.dumps(content))
        for entry in content["tree_metadata"].values():
            array = folder / "orbax" / ".".join(str(key["key"]) for key in entry["key_metadata"])
            array.mkdir()
            metadata = {"zarr_format": 2, "shape": [12], "chunks": [12], "dtype": "<f4", "order": "C", "filters": None}
            metadata |= {"compressor": None, "fill_value": 0.0, "dimension_separator": ".", **fields}
            (array / ".zarray").write_text(json.dumps(metadata))
            (array / "0").write_bytes(data)

    return edit


def zarr3(**fields: Any) -> Edit:
    """Return an edit that stores an array as plain files of zarr 3, with other metadata."""

    def edit(rng: Rng, folder: Path) -> None:
        content = json.loads((folder / TREE).read_text())
        content |= {"use_ocdbt": False, "use_zarr3": True}
        (folder / TREE).write_text(json.dumps(content))
        for entry in content["tree_metadata"].values():
            array = folder / "orbax" / ".".join(str(key["key"]) for key in entry["key_metadata"])
            (array / "c").mkdir(parents=True)
            metadata: dict[str, Any] = {"zarr_format": 3, "node_type": "array", "shape": [12], "data_type": "float32"}
            grid = {"name": "regular", "configuration": {"chunk_shape": [12]}}
            encoding = {"name": "default", "configuration": {"separator": "/"}}
            codecs = [{"name": "bytes", "configuration": {"endian": "little"}}]
            metadata |= {"chunk_grid": grid, "chunk_key_encoding": encoding, "fill_value": 0.0, "codecs": codecs}
            (array / "zarr.json").write_text(json.dumps({**metadata, **fields}))
            (array / "c/0").write_bytes(bytes(48))

    return edit


def _data_files(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "orbax").rglob("*") if path.is_file() and path.suffix != ".json")


def _some_file(change: Callable[[str], Edit]) -> Edit:
    """Return an edit of one of the files of TensorStore."""

    def edit(rng: Rng, folder: Path) -> None:
        files = _data_files(folder)
        name = files[rng.integers(len(files))].relative_to(folder).as_posix()
        if (folder / name).stat().st_size:
            change(name)(rng, folder)

    return edit


def _data_is_a_link(rng: Rng, folder: Path) -> None:
    data = next(path for path in _data_files(folder) if path.parent.name == "d")
    link(data.relative_to(folder).as_posix(), f"{'../' * 3}{OUTSIDE}/decoy.raw")(rng, folder)


def _folder_is_a_link(rng: Rng, folder: Path) -> None:
    import shutil

    shutil.rmtree(folder / "orbax/d")
    (folder / "orbax/d").symlink_to(f"../../{OUTSIDE}")


NAMED: dict[str, Edit] = {
    "no tree": set_json(TREE, tree_metadata={}),
    "a tree that is a list": set_json(TREE, tree_metadata=[]),
    "a tree of 100,000 lists": write_bytes(TREE, b"[" * 100_000),
    "a tree of blanks": write_bytes(TREE, b" " * 20_000_000),
    "deep metadata": set_json(TREE, custom=nested(300)),
    "100,000 arrays": tree(_many),
    "an array 5,000 times": tree(_repeated),
    "an array above": key(f"../../{OUTSIDE}/decoy"),
    "an absolute array": key("/etc"),
    "a URL": key("http://127.0.0.1:9/x"),
    "a key with a NUL": key("\0"),
    "a surrogate as key": key("\ud800"),
    "a key that is a list": key(nested(50)),
    "an empty key": key(""),
    "a key of 5,000 characters": key("a" * 5000),
    "a key of a query": key("x?kvstore=file:///etc/passwd"),
    "no OCDBT": set_json(TREE, use_ocdbt=False),
    "OCDBT as text": set_json(TREE, use_ocdbt="file:///etc"),
    "zarr 3": set_json(TREE, use_zarr3=True),
    "zarr": zarr(),
    "a shape of 2^62": zarr(shape=[2**62], chunks=[2**20]),
    "a shape of 2^40 that was never written": zarr(shape=[2**40], chunks=[2**20]),
    "a chunk of 2^40": zarr(shape=[2**40], chunks=[2**40]),
    "chunks of 1": zarr(shape=[2**26], chunks=[1]),
    "a shape that overflows": zarr(shape=[2**40, 2**40], chunks=[1, 1]),
    "32 axes": zarr(shape=[1] * 32, chunks=[1] * 32),
    "objects": zarr(dtype="|O"),
    "records": zarr(dtype=[["a", "<f4"], ["b", "<f4"]]),
    "texts of 2^31": zarr(dtype="|S2147483647"),
    "an unknown compressor": zarr(compressor={"id": "evil"}),
    "blosc": zarr(compressor={"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1}),
    "zstd": zarr(compressor={"id": "zstd", "level": 1}, shape=[2**28], chunks=[2**28]),
    "a bomb of zlib": zarr(zlib.compress(bytes(2**28)), compressor={"id": "zlib", "level": 9}),
    "a bomb of bz2": zarr(bz2.compress(bytes(2**26)), compressor={"id": "bz2", "level": 9}),
    "a filter": zarr(filters=[{"id": "pickle"}]),
    "zarr 3 in files": zarr3(),
    "zarr 3 of 2^40": zarr3(shape=[2**40]),
    "zarr 3 with a shard": zarr3(codecs=[{"name": "sharding_indexed", "configuration": {"chunk_shape": [1]}}]),
    "zarr 3 with gzip": zarr3(codecs=[{"name": "bytes"}, {"name": "gzip", "configuration": {"level": 5}}]),
    "no manifest": lambda rng, folder: (folder / MANIFEST).unlink(),
    "an empty manifest": write_bytes(MANIFEST, b""),
    "data behind a link": _data_is_a_link,
    "a folder behind a link": _folder_is_a_link,
    "10^9 layers": set_json("config.json", n_layers=10**9),
    **file_links(TREE),
    **{name: edit for name, edit in file_links(MANIFEST).items() if "a link" in name or "absolute" in name},
}
MUTATORS = (
    Mutator(
        "orbax",
        partial(write_source, to="orbax"),
        NAMED,
        {
            "tree": edit_json(TREE),
            "cut": _some_file(truncate),
            "bytes": _some_file(flip_bytes),
            "integer": _some_file(overwrite_integer),
        },
    ),
)
