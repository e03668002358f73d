"""Hostile HDF5 files: tf_model.h5 of Transformers and model.weights.h5 of Keras 3."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from support.mutators.base import (
    OUTSIDE,
    Edit,
    Mutator,
    Rng,
    file_links,
    flip_bytes,
    overwrite_integer,
    truncate,
    write_source,
)

DECOY = f"../{OUTSIDE}/decoy"


def edited(name: str, change: Callable[[Rng, Any, str], object]) -> Edit:
    """Return an edit of an HDF5 file: (random numbers, file, path of a dataset with 12 values)."""

    def edit(rng: Rng, folder: Path) -> None:
        with h5py.File(folder / name, "r+", libver="latest") as file:
            change(rng, file, _norm(file))

    return edit


def _members(file: Any) -> list[str]:
    names: list[str] = []
    file.visit(names.append)
    return names


def _norm(file: Any) -> str:
    paths = [name for name in _members(file) if isinstance(file[name], h5py.Dataset) and file[name].shape == (12,)]
    return min(paths)


def recreated(**options: Any) -> Callable[[Rng, Any, str], None]:
    """Return a change that replaces the dataset."""

    def change(rng: Rng, file: Any, name: str) -> None:
        del file[name]
        file.create_dataset(name, **options)

    return change


def linked(link: Callable[[Any, str], Any]) -> Callable[[Rng, Any, str], None]:
    """Return a change that replaces the dataset by a link: (file, path) -> link."""

    def change(rng: Rng, file: Any, name: str) -> None:
        target = link(file, name)
        del file[name]
        file[name] = target

    return change


def _virtual(rng: Rng, file: Any, name: str) -> None:
    layout = h5py.VirtualLayout(shape=(12,), dtype="float32")
    layout[:] = h5py.VirtualSource(f"{DECOY}.h5", "data", shape=(12,))
    del file[name]
    file.create_virtual_dataset(name, layout)


def _virtual_of_itself(rng: Rng, file: Any, name: str) -> None:
    layout = h5py.VirtualLayout(shape=(12,), dtype="float32")
    layout[:] = h5py.VirtualSource(".", name, shape=(12,))
    del file[name]
    file.create_virtual_dataset(name, layout)


def _lattice(rng: Rng, file: Any, name: str) -> None:
    """Make 25 groups, each of which holds the next one under ten names: 10^25 paths in a small file."""
    group = file[name].parent
    for level in range(25):
        below = group.create_group("0" if level else "lattice")
        for number in range(1, 10):
            group[str(number) if level else f"lattice{number}"] = below
        group = below


def _circle(rng: Rng, file: Any, name: str) -> None:
    group = file[name].parent
    group["circle"] = group
    group["root"] = file["/"]


def _deep(rng: Rng, file: Any, name: str) -> None:
    file.create_group("/".join(["a"] * 5000))


def _many_groups(rng: Rng, file: Any, name: str) -> None:
    for number in range(12_000):
        file.create_group(f"g{number}")


def _many_links(rng: Rng, file: Any, name: str) -> None:
    for number in range(12_000):
        file[f"l{number}"] = file[name]


def attribute(name: str, value: Any) -> Callable[[Rng, Any, str], None]:
    """Return a change that sets an attribute of all groups that have it, or of the root."""

    def change(rng: Rng, file: Any, path: str) -> None:
        groups = [file[name] for name in ["/", *_members(file)] if isinstance(file[name], h5py.Group)]
        for group in [group for group in groups if name in group.attrs] or [file]:
            group.attrs[name] = value() if callable(value) else value

    return change


def _repeated_lists(rng: Rng, file: Any, name: str) -> None:
    if "layer_names" in file.attrs:
        group = file[file.attrs["layer_names"][0]]
        file.attrs["layer_names"] = np.array([group.name.strip("/").encode()] * 5000)
        group.attrs["weight_names"] = np.array([bytes(group.attrs["weight_names"][0])] * 500)


def _strings_bomb(rng: Rng, file: Any, name: str) -> None:
    """Set attributes of many long texts: a file can store one text, at which all of them point."""
    text = "a" * 6000
    for group_name in ("layer_names", "weight_names", "name", "model_config"):
        file.attrs.create(group_name, [text] * 4000, dtype=h5py.string_dtype())


def _compound(rng: Rng, file: Any, name: str) -> None:
    del file[name]
    file[name] = np.zeros(12, np.dtype([("a", "f4"), ("b", "f4")]))


def _filled(rng: Rng, file: Any, name: str) -> None:
    del file[name]
    file.create_dataset(name, shape=(2**34,), dtype="float32", fillvalue=1.0)


def _random_object(rng: Rng, file: Any, name: str) -> None:
    names = _members(file)
    name = names[rng.integers(len(names))]
    match rng.integers(9):
        case 0:
            del file[name]
        case 1:
            del file[name]
            file[name] = h5py.SoftLink("/" + names[rng.integers(len(names))])
        case 2:
            del file[name]
            file[name] = h5py.ExternalLink(f"{DECOY}.h5", "/")
        case 3:
            del file[name]
            file.create_dataset(name, data=np.zeros(rng.integers(0, 4, rng.integers(1, 5)), rng.choice(["f2", "f4"])))
        case 4:
            del file[name]
            shape = (2**20,)
            file.create_dataset(name, data=np.zeros(shape, "f4"), chunks=shape, compression="gzip", shuffle=True)
        case 5:
            file[f"{name}-again"] = file[name]
        case 6:
            parent = file[name].parent
            parent[f"up{rng.integers(9)}"] = file[names[rng.integers(len(names))]]
        case 7:
            file.move(name, f"{name}-moved")
        case 8:
            del file[name]
            file.create_group(f"{name}/vars/0")


def _random_attribute(rng: Rng, file: Any, name: str) -> None:
    objects = [file[name] for name in ["/", *_members(file)]]
    holders = [item for item in objects if len(item.attrs)]
    item = holders[rng.integers(len(holders))]
    name = list(item.attrs)[rng.integers(len(item.attrs))]
    values: list[Any] = [
        *("", "a" * 50_000, b"\xff\xfe", 5, -1.5, np.zeros((3, 3)), np.zeros(0), [b"a", b"a"], [1, 2], ["x", "y"]),
        *([b"../x"], [b"/"], [b""], [b"."], [b"distilbert"], [b"\xff"], np.zeros(7000, "f8"), h5py.Empty("f4")),
        *(item.ref, np.array([item.ref] * 3, h5py.ref_dtype), "{", "[" * 30_000, '{"class_name": 5}', '{"config": []}'),
        *('{"class_name": "TFDistilBertModel", "config": {"config": {"n_layers": 1000000000}}}', [b"a" * 60_000]),
    ]
    del item.attrs[name]
    with suppress(ValueError, OSError):  # h5py cannot write some; then the attribute is missing
        item.attrs[name] = values[rng.integers(len(values))]


def _model_config(text: str) -> Callable[[Rng, Any, str], None]:
    def change(rng: Rng, file: Any, name: str) -> None:
        file.attrs["model_config"] = text

    return change


def _integers(rng: Rng, file: Any, name: str) -> None:
    del file[name]
    file[name] = np.arange(12)


CHANGES: dict[str, Callable[[Rng, Any, str], object]] = {
    "external link": linked(lambda file, name: h5py.ExternalLink(f"{DECOY}.h5", "/data")),
    "external link to a device": linked(lambda file, name: h5py.ExternalLink("/dev/zero", "/data")),
    "soft link to itself": linked(lambda file, name: h5py.SoftLink(f"/{name}")),
    "soft link to nothing": linked(lambda file, name: h5py.SoftLink("/nothing")),
    "hard link to the group": linked(lambda file, name: file[name].parent),
    "hard link to the file": linked(lambda file, name: file["/"]),
    "circle of groups": _circle,
    "lattice of groups": _lattice,
    "5,000 levels": _deep,
    "12,000 groups": _many_groups,
    "12,000 links": _many_links,
    "external data": recreated(shape=(12,), dtype="float32", external=[(f"{DECOY}.raw", 0, 48)]),
    "external data of a device": recreated(shape=(2**40,), dtype="float32", external=[("/dev/zero", 0, 2**42)]),
    "virtual data": _virtual,
    "virtual data of itself": _virtual_of_itself,
    "data that was never written": recreated(shape=(2**34,), dtype="float32"),
    "a value for data that was never written": _filled,
    "chunks that were never written": recreated(shape=(2**40,), dtype="float32", chunks=(2**20,)),
    "gzip bomb": recreated(data=np.zeros(2**23, np.float32), compression="gzip", chunks=(2**23,)),
    "lzf bomb": recreated(data=np.zeros(2**22, np.float32), compression="lzf"),
    "scale and offset": recreated(data=np.zeros(12, np.int32), scaleoffset=4),
    "no values": recreated(shape=(0,), dtype="float32"),
    "no dataspace": recreated(data=h5py.Empty("float32")),
    "a number": recreated(data=np.float32(1)),
    "32 axes": recreated(data=np.zeros((1,) * 32, np.float32)),
    "unlimited axes": recreated(shape=(12,), maxshape=(None,), dtype="float32"),
    "texts": recreated(data=["a"] * 12),
    "bytes": recreated(data=[b"a"] * 12),
    "references": recreated(shape=(12,), dtype=h5py.ref_dtype),
    "lists": recreated(shape=(12,), dtype=h5py.vlen_dtype(np.float32)),
    "big-endian": recreated(data=np.zeros(12, ">f4")),
    "long doubles": recreated(data=np.zeros(12, np.longdouble)),
    "complex numbers": recreated(data=np.zeros(12, np.complex64)),
    "opaque bytes": recreated(data=np.zeros(12, "V2")),
    "an enumeration": recreated(data=np.zeros(12, np.int8), dtype=h5py.enum_dtype({"A": 0})),
    "records": _compound,
    "integers": _integers,
    "lists of names that repeat": _repeated_lists,
    "many long names": _strings_bomb,
    "names that are numbers": attribute("layer_names", np.arange(5)),
    "names that lead out": attribute("layer_names", lambda: np.array([b"../x", b"/", b""])),
    "60,000 names": attribute("weight_names", lambda: np.array([b"x"] * 60_000)),
    "a name that is a table": attribute("name", np.zeros((3, 3))),
    "a name of 60,000 characters": attribute("name", "a" * 60_000),
    "deep configuration": _model_config('{"a":' * 9000 + "1" + "}" * 9000),
    "configuration of a Lambda": _model_config('{"class_name": "Lambda", "config": {"function": "import os"}}'),
    "10^9 layers": _model_config('{"class_name": "TFDistilBertModel", "config": {"config": {"n_layers": 1000000000}}}'),
    "10^6 labels": _model_config(
        '{"class_name": "TFDistilBertModel", "config": {"config": {"num_labels": 1000000000000}}}'
    ),
}


def endless_heap(name: str) -> Edit:
    """Return an edit after which the free space of a heap of texts has no size; HDF5 reads it for ever."""

    def edit(rng: Rng, folder: Path) -> None:
        with h5py.File(folder / name, "r+") as file:
            file.attrs["name"] = "a text of any length"
        content = bytearray((folder / name).read_bytes())
        position = content.index(b"GCOL") + 16
        while content[position] or content[position + 1]:
            position += 16 + -(-int.from_bytes(content[position + 8 : position + 16], "little") // 8) * 8
        content[position + 8 : position + 16] = bytes(8)
        (folder / name).write_bytes(bytes(content))

    return edit


def long_text(name: str) -> Edit:
    """Return an edit after which an attribute states a text of 3 GB; HDF5 fills as much memory with zeros."""

    def edit(rng: Rng, folder: Path) -> None:
        with h5py.File(folder / name, "r+") as file:
            group = next(iter(file.values()))
            group.require_group("x/vars").attrs["name"] = "q" * 77
        content = (folder / name).read_bytes()
        stated = (77).to_bytes(4, "little")
        assert content.count(stated) >= 1
        (folder / name).write_bytes(content.replace(stated, (3 << 30).to_bytes(4, "little")))

    return edit


def _mutator(name: str, to: str, file: str) -> Mutator:
    return Mutator(
        name,
        partial(write_source, to=to),
        {title: edited(file, change) for title, change in CHANGES.items()}
        | {"a heap without end": endless_heap(file), "a long text": long_text(file)}
        | file_links(file),
        {
            "object": edited(file, _random_object),
            "attribute": edited(file, _random_attribute),
            "cut": truncate(file),
            "bytes": flip_bytes(file),
            "integer": overwrite_integer(file),
        },
    )


MUTATORS = (_mutator("h5", "h5", "tf_model.h5"), _mutator("weights.h5", "keras-weights", "model.weights.h5"))
