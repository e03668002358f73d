"""Damaged copies of a checkpoint; a conversion must give a clear error or the same values."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core import Head
from distilbert_core.errors import DistilBertError
from distilbert_core.files.checkpoint import save_checkpoint
from support.checkpoints import random_arrays, small_config
from weight_conversion import convert, open_weights

HEAD = Head.SEQUENCE_CLASSIFICATION


def make_source(folder: Path, to: str) -> dict[str, np.ndarray]:
    """Write a small checkpoint in a format and return its arrays."""
    config = small_config(architectures=[HEAD.architecture])
    arrays = random_arrays(config, HEAD, dtype="float32")
    save_checkpoint(folder / "pt", arrays, {"config.json": config.to_json_string().encode()})
    convert(folder / "pt", folder / "source", to)
    return arrays


def damaged_copies(content: bytes, count: int, seed: int) -> Iterator[tuple[bytes, int]]:
    """Yield damaged contents of a file, each with the number of bytes that were changed in place (0: truncated).

    Half of the damage is in the first or the last 4 KB, where most formats have their index.
    """
    rng = np.random.default_rng(seed)
    for number in range(count):
        if number % 4 == 0:
            yield content[: rng.integers(len(content))], 0
            continue
        damaged = np.frombuffer(content, np.uint8).copy()
        places = (damaged, damaged[:4096], damaged[-4096:])
        region = places[rng.integers(len(places))]
        start, length = rng.integers(len(region)), int(rng.integers(1, 9))
        piece = region[start : start + length]
        match number % 4:
            case 1:
                piece[:1] ^= np.uint8(1 << rng.integers(8))
            case 2:
                piece[:] = rng.integers(0, 256, len(piece))
            case 3:
                piece[:] = rng.choice([0, 255])
        yield damaged.tobytes(), len(piece)


def check_outcome(
    source: Path, folder: Path, arrays: dict[str, np.ndarray], changed: int, has_addresses: bool = False
) -> str:
    """Convert a damaged checkpoint; return 'error' or 'load', or raise AssertionError if the outcome is not allowed.

    Args:
        source: The damaged checkpoint.
        folder: An empty folder, which is empty afterwards.
        arrays: The values before the damage.
        changed: How many bytes may differ from these: no format but the zip of PyTorch has checksums.
        has_addresses: Whether the file says of each array where it begins, as HDF5 does: then all of one may differ.
    """
    destination = folder / "destination"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about values that became infinite
        try:
            weights = convert(source, destination, "pt")
        except DistilBertError as error:
            problem = str(error)
        else:
            problem = None
    if problem is not None:
        assert list(folder.iterdir()) == [], "something was left behind"
        assert str(source) in problem, f"the message does not name the file: {problem}"
        return "error"
    found = {name: tensor.read() for name, tensor in open_weights(destination).tensors.items()}
    assert found.keys() == arrays.keys() or weights.notes, "parameters were lost without a word"
    differing = [
        int((np.frombuffer(found[name].tobytes(), np.uint8) != np.frombuffer(arrays[name].tobytes(), np.uint8)).sum())
        for name in found
        if name in arrays
    ]
    moved = has_addresses and np.count_nonzero(differing) == 1
    assert sum(differing) <= changed or moved, f"{sum(differing)} bytes differ after damage to {changed}"
    shutil.rmtree(destination)
    return "load"


# -- attacks ----------------------------------------------------------------------------------------------------
# Each takes the source folder and changes its weight file; the message of the expected error is beside it.


def rewritten_header(change: Callable[[dict[str, Any], bytes], tuple[Any, bytes]]) -> Callable[[Path], None]:
    """Return an attack on the header of model.safetensors and on the bytes after it."""

    def attack(source: Path) -> None:
        file = source / "model.safetensors"
        content = file.read_bytes()
        length = int.from_bytes(content[:8], "little")
        header, data = change(json.loads(content[8 : 8 + length]), content[8 + length :])
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        file.write_bytes(len(text).to_bytes(8, "little") + text + data)

    return attack


def _without(name: str) -> Callable[[dict[str, Any], bytes], tuple[Any, bytes]]:
    def change(header: dict[str, Any], data: bytes) -> tuple[Any, bytes]:
        start, end = header.pop(name)["data_offsets"]
        for entry in header.values():
            if "data_offsets" in entry and entry["data_offsets"][0] >= end:
                entry["data_offsets"] = [offset - (end - start) for offset in entry["data_offsets"]]
        return header, data[:start] + data[end:]

    return change


def _changed(name: str, **fields: Any) -> Callable[[dict[str, Any], bytes], tuple[Any, bytes]]:
    return lambda header, data: ({**header, name: {**header[name], **fields}}, data)


def _twice(header: dict[str, Any], data: bytes) -> tuple[Any, bytes]:
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [len(data), len(data) + 4]}
    text = json.dumps(header)[:-1] + f', "{NAME}": {json.dumps(entry)}}}'
    return text.encode(), data + b"\0\0\0\0"


NAME = "distilbert.embeddings.LayerNorm.bias"
SAFETENSORS_ATTACKS = {
    "absurd header": (lambda source: (source / "model.safetensors").write_bytes(b"\xff" * 7 + b"\x7f{}"), "header has"),
    "negative header": (lambda source: (source / "model.safetensors").write_bytes(b"\xff" * 8 + b"{}"), "header has"),
    "empty": (lambda source: (source / "model.safetensors").write_bytes(b""), "damaged"),
    "text": (lambda source: (source / "model.safetensors").write_bytes(b"version https://git-lfs"), "damaged"),
    "nested": (rewritten_header(lambda header, data: (b'{"a":' * 9999 + b"1" + b"}" * 9999, data)), "damaged"),
    "missing": (rewritten_header(_without(NAME)), f"lacks 1 of the parameters .*{NAME}"),
    "twice": (rewritten_header(_twice), "damaged"),
    "other shape": (rewritten_header(_changed(NAME, shape=[3, 4])), r"\(3, 4\) stored, \(12,\) expected"),
    "huge shape": (rewritten_header(_changed(NAME, shape=[2**40])), "damaged"),
    "overflowing shape": (rewritten_header(_changed(NAME, shape=[2**62, 2**62])), "damaged"),
    "integers": (rewritten_header(_changed(NAME, dtype="I32")), "must be of a floating dtype, got I32"),
    "outside": (rewritten_header(_changed(NAME, data_offsets=[2**40, 2**40 + 48])), "damaged"),
    "overlapping": (rewritten_header(_changed(NAME, data_offsets=[0, 48])), "damaged"),
}


def edited_h5(edit: Callable[[Any, Any], None]) -> Callable[[Path], None]:
    """Return an attack on the group of the base model in tf_model.h5; `edit` gets it and the name of a dataset."""

    def attack(source: Path) -> None:
        import h5py

        (source / "outside.h5").unlink(missing_ok=True)
        with h5py.File(source / "outside.h5", "w") as file:
            file["data"] = np.zeros(12, np.float32)
        (source / "outside.raw").write_bytes(bytes(48))
        with h5py.File(source / "tf_model.h5", "r+") as file:
            group = file["distilbert"]
            name = next(name.decode() for name in group.attrs["weight_names"] if b"embeddings/LayerNorm/beta" in name)
            edit(group, name)

    return attack


def _relinked(link: Callable[[str], Any]) -> Callable[[Any, Any], None]:
    def edit(group: Any, name: str) -> None:
        del group[name]
        group[name] = link(f"/distilbert/{name}")

    return edit


def _soft(path: str) -> Any:
    import h5py

    return h5py.SoftLink(path)


def _external(path: str) -> Any:
    import h5py

    return h5py.ExternalLink("outside.h5", "data")


def _recreated(**options: Any) -> Callable[[Any, Any], None]:
    def edit(group: Any, name: str) -> None:
        del group[name]
        group.create_dataset(name, **options)

    return edit


def _virtual(group: Any, name: str) -> None:
    import h5py

    layout = h5py.VirtualLayout(shape=(12,), dtype="float32")
    layout[:] = h5py.VirtualSource("outside.h5", "data", shape=(12,))
    del group[name]
    group.create_virtual_dataset(name, layout)


def _second_copy(group: Any, name: str) -> None:
    other = group.parent.create_group("other")
    other[name] = np.zeros(12, np.float32)
    other.attrs["weight_names"] = np.array([name.encode()])
    group.parent.attrs["layer_names"] = np.append(group.parent.attrs["layer_names"], b"other")


H5_ATTACKS = {
    "empty": (lambda source: (source / "tf_model.h5").write_bytes(b""), "damaged"),
    "text": (lambda source: (source / "tf_model.h5").write_bytes(b"version https://git-lfs"), "damaged"),
    "no list of layers": (edited_h5(lambda group, name: group.parent.attrs.pop("layer_names")), "no layer_names"),
    "no list of names": (edited_h5(lambda group, name: group.attrs.pop("weight_names")), "damaged"),
    "missing": (edited_h5(lambda group, name: group.pop(name)), "damaged.*beta:0 is not stored in the file"),
    "circle of links": (edited_h5(_relinked(_soft)), "is not stored in the file itself"),
    "external link": (edited_h5(_relinked(_external)), "is not stored in the file itself"),
    "external data": (
        edited_h5(_recreated(shape=(12,), dtype="float32", external=[("outside.raw", 0, 48)])),
        "is not stored in the file itself",
    ),
    "virtual": (edited_h5(_virtual), "is not stored in the file itself"),
    "group for a dataset": (
        edited_h5(lambda group, name: (group.pop(name), group.create_group(name))),
        "is not a dataset",
    ),
    "twice": (edited_h5(_second_copy), "twice, with different values"),
    "other shape": (edited_h5(_recreated(data=np.ones((3, 4), np.float32))), r"\(3, 4\) stored, \(12,\) expected"),
    "other byte order": (edited_h5(_recreated(data=np.ones(12, ">f4"))), "has an unknown number type"),
    "integers": (edited_h5(_recreated(data=np.ones(12, np.int32))), "must be of a floating dtype, got int32"),
    "texts": (edited_h5(_recreated(data=[b"a"] * 12)), "must be of a floating dtype"),
    "bomb": (edited_h5(_recreated(shape=(2**40,), dtype="float32", chunks=(2**20,))), "compressed or incomplete"),
    "zip bomb": (
        edited_h5(_recreated(data=np.zeros(2**22, np.float32), compression="gzip")),
        "compressed or incomplete",
    ),
}


def _packed(content: bytes) -> Callable[[Path], None]:
    return lambda source: (source / "flax_model.msgpack").write_bytes(content)  # type: ignore[return-value]


def _edited_tree(edit: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def attack(source: Path) -> None:
        import msgpack

        file = source / "flax_model.msgpack"
        tree = msgpack.unpackb(file.read_bytes(), ext_hook=msgpack.ExtType, strict_map_key=False)
        edit(tree)
        file.write_bytes(msgpack.packb(tree))

    return attack


def _leaf(*parts: Any) -> Callable[[dict[str, Any]], None]:
    def edit(tree: dict[str, Any]) -> None:
        import msgpack

        tree["distilbert"]["embeddings"]["LayerNorm"]["bias"] = msgpack.ExtType(1, msgpack.packb(parts))

    return edit


def _chunked(tree: dict[str, Any]) -> None:
    norm = tree["distilbert"]["embeddings"]["LayerNorm"]
    norm["bias"] = {"__msgpack_chunked_array__": True, "shape": {"0": 2**40}, "chunks": {"0": norm["bias"]}}


MSGPACK_ATTACKS = {
    "empty": (_packed(b""), "damaged"),
    "text": (_packed(b"version https://git-lfs"), "damaged"),
    "a number": (_packed(b"\x01"), "damaged"),
    "long map": (_packed(b"\xdf\xff\xff\xff\xff"), "a map has 4294967295 tensors"),
    "long array": (_packed(b"\x81\xa1a\xdd\xff\xff\xff\xff"), "damaged"),
    "long text": (_packed(b"\x81\xdb\xff\xff\xff\xffa"), "damaged"),
    "long bytes": (_packed(b"\x81\xa1a\xc6\xff\xff\xff\xffa"), "damaged"),
    "long extension": (_packed(b"\x81\xa1a\xc9\xff\xff\xff\xff\x01"), "damaged"),
    "deep maps": (_packed(b"\x81\xa1a" * 100_000 + b"\x80"), "17 levels of maps, at most 16"),
    "deep arrays": (_packed(b"\x81\xa1a" + b"\x91" * 1_000_000), "damaged"),
    "many maps": (_packed(b"\xde\xff\xff" * 300_000), "damaged"),
    "twice": (_packed(b"\x82\xa1a\x80\xa1a\x80"), "repeated key: 'a'"),
    "number as name": (_packed(b"\x81\x01\x80"), "invalid or repeated key: 1"),
    "rest": (lambda source: _packed((source / "flax_model.msgpack").read_bytes() + b"x")(source), "1 bytes follow"),
    "missing": (_edited_tree(lambda tree: tree["distilbert"]["embeddings"].pop("LayerNorm")), "lacks 2 of the param"),
    "no array": (_edited_tree(lambda tree: tree.update(classifier="text")), "'classifier' is not an array"),
    "other shape": (_edited_tree(_leaf([3, 4], "float32", bytes(48))), r"\(3, 4\) stored, \(12,\) expected"),
    "huge shape": (_edited_tree(_leaf([2**40], "float32", bytes(48))), "has 48 bytes, which does not fit its shape"),
    "negative shape": (_edited_tree(_leaf([-3, -4], "float32", bytes(48))), "has shape"),
    "integers": (_edited_tree(_leaf([12], "int32", bytes(48))), "has shape .* and dtype 'int32'"),
    "two parts": (_edited_tree(_leaf([12], "float32")), "is not an array"),
    "no bytes": (_edited_tree(_leaf([12], "float32", [1] * 12)), "damaged"),
    "pieces of another size": (_edited_tree(_chunked), "does not have the shape"),
    "slash": (_edited_tree(lambda tree: tree.update({"distilbert/x": {}})), "invalid or repeated key"),
}


def _index(weight_map: Any) -> Callable[[Path], None]:
    def attack(source: Path) -> None:
        (source / "model.safetensors").rename(source.parent / "elsewhere.safetensors")
        text = weight_map if isinstance(weight_map, str) else json.dumps({"weight_map": weight_map})
        (source / "model.safetensors.index.json").write_text(text)

    return attack


def _config(**fields: Any) -> Callable[[Path], None]:
    def attack(source: Path) -> None:
        file = source / "config.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))

    return attack


FOLDER_ATTACKS = {  # on the files beside model.safetensors
    "outside": (
        _index({NAME: "../elsewhere.safetensors"}),
        "not a valid index of shards .*is not the name of a file beside it",
    ),
    "parent": (_index({NAME: ".."}), "has no file"),
    "absolute": (_index({NAME: "/etc/passwd"}), "not a valid index of shards"),
    "absent shard": (_index({NAME: "model-00001-of-00001.safetensors"}), "model-00001-of-00001"),
    "no shards": (_index({}), "it lists no shards"),
    "numbers": (_index({NAME: 5}), "not a valid index of shards"),
    "no map": (_index([]), "not a valid index of shards"),
    "no JSON": (_index("{"), "not a valid index of shards"),
    "nested index": (_index("[" * 100_000), "not a valid index of shards"),
    "nested config": (lambda source: (source / "config.json").write_text("[" * 100_000), "is not valid JSON"),
    "many layers": (_config(n_layers=10**9), "n_layers must be at most 1000, got 1000000000"),
    "layers": (_config(n_layers=900), "n_layers is 900, but the weight files hold"),
    "very wide": (_config(dim=10**12, n_heads=10**12), "n_heads must be at most 1024"),
    "wide": (_config(dim=60_000), "cannot hold the model of its configuration: the model has"),
    "very large vocabulary": (_config(vocab_size=10**12), "vocab_size must be at most"),
    "large vocabulary": (_config(vocab_size=1_000), r"\(47, 12\) stored, \(1000, 12\) expected"),
    "many layers of BERT": (_config(model_type="bert", num_hidden_layers=10**9), "layers"),
    "many positions": (
        _config(max_position_embeddings=2**20, sinusoidal_pos_embds=True),
        "the model has 12[0-9]* parameters, but the weight files have",
    ),
    "another model": (_config(model_type="gpt2"), "must have model_type"),
    "many labels": (_config(num_labels=10**9), "num_labels must be at most 131072, got 1000000000"),
    "impossible": (_config(dim=-1), "dim must be a positive integer"),
}
ATTACKS = [
    (to, name, attack, message)
    for to, attacks in (
        ("pt", SAFETENSORS_ATTACKS | FOLDER_ATTACKS),
        ("h5", H5_ATTACKS),
        ("msgpack", MSGPACK_ATTACKS),
    )
    for name, (attack, message) in attacks.items()
]
