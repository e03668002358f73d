"""Hostile .keras files: archives, and the description of the model in them."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from support.mutators.base import (
    Edit,
    Mutator,
    Rng,
    file_links,
    flip_bytes,
    mutated,
    mutated_text,
    nested,
    overwrite_integer,
    truncate,
    write_source,
)

FILE, CONFIG, WEIGHTS, METADATA = "model.keras", "config.json", "model.weights.h5", "metadata.json"
Members = dict[str, bytes]
LAMBDA = {  # Keras runs this code when it loads the layer with safe_mode=False
    "module": "keras.layers",
    "class_name": "Lambda",
    "config": {
        "name": "lambda",
        "function": {"class_name": "__lambda__", "config": {"code": "4wEAAAAA", "defaults": None}},
    },
    "registered_name": None,
}
RUNS = ({"module": "os", "class_name": "system"}, {"module": "builtins", "class_name": "eval"})


def members(folder: Path) -> Members:
    """Return the contents of the archive by name."""
    with zipfile.ZipFile(folder / FILE) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewritten(change: Callable[[Rng, Members], Members], **options: Any) -> Edit:
    """Return an edit that writes the archive again, with other members or other options of `ZipFile`."""

    def edit(rng: Rng, folder: Path) -> None:
        changed = change(rng, members(folder))
        with zipfile.ZipFile(folder / FILE, "w", **options) as archive:
            for name, content in changed.items():
                archive.writestr(name, content)

    return edit


def _same(rng: Rng, contents: Members) -> Members:
    return contents


def config(change: Callable[[Rng, dict[str, Any]], Any]) -> Edit:
    """Return an edit of the description of the model."""

    def on_members(rng: Rng, contents: Members) -> Members:
        changed = change(rng, json.loads(contents[CONFIG]))
        return {**contents, CONFIG: changed if isinstance(changed, bytes) else json.dumps(changed).encode()}

    return rewritten(on_members)


def fields(**values: Any) -> Edit:
    """Return an edit of fields of DistilBERT's configuration."""

    def change(rng: Rng, model: dict[str, Any]) -> Any:
        model["config"]["config"] |= values
        return model

    return config(change)


def on_directory(change: Callable[[bytearray, int], None], member: str = WEIGHTS) -> Edit:
    """Return an edit of the entry of a member in the central directory: (bytes of the archive, start of the entry)."""

    def edit(rng: Rng, folder: Path) -> None:
        content = bytearray((folder / FILE).read_bytes())
        start = content.rindex(member.encode()) - 46
        assert content[start : start + 4] == b"PK\1\2"
        change(content, start)
        (folder / FILE).write_bytes(bytes(content))

    return edit


def _set(offset: int, form: str, value: int) -> Callable[[bytearray, int], None]:
    return lambda content, start: struct.pack_into(form, content, start + offset, value)


def _bomb(name: str, size: int, kind: int) -> Edit:
    """Return an edit that adds a member of zeros, which is small when it is compressed."""

    def edit(rng: Rng, folder: Path) -> None:
        contents = members(folder)
        with zipfile.ZipFile(folder / FILE, "w", zipfile.ZIP_STORED) as archive:
            for other, content in contents.items():
                if other != name:
                    archive.writestr(other, content)
            info = zipfile.ZipInfo(name)
            info.compress_type = kind
            with archive.open(info, "w", force_zip64=True) as file:
                for _ in range(size // 2**20):
                    file.write(b" " * 2**20)

    return edit


def _twice(rng: Rng, folder: Path) -> None:
    contents = members(folder)
    import warnings

    with warnings.catch_warnings(), zipfile.ZipFile(folder / FILE, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr(CONFIG, contents[CONFIG].replace(b"TFDistilBert", b"TFOther"))
        archive.writestr(WEIGHTS, contents[WEIGHTS][:5000])


def _random_config(rng: Rng, model: dict[str, Any]) -> Any:
    return mutated(rng, model) if rng.integers(4) else mutated_text(rng, json.dumps(model).encode())


def _random_directory(rng: Rng, folder: Path) -> None:
    content = bytearray((folder / FILE).read_bytes())
    starts = [index for index in range(len(content)) if content[index : index + 2] == b"PK"]
    start = starts[rng.integers(len(starts))] + int(rng.integers(4, 46))
    size = (1, 2, 4)[rng.integers(3)]
    value = (0, 1, 99, 255, 2**15, 2**31, 2**32 - 1)[rng.integers(7)] % 256**size
    content[start : start + size] = value.to_bytes(size, "little")
    (folder / FILE).write_bytes(bytes(content))


def _with_model(**entries: Any) -> Edit:
    return config(lambda rng, model: {**model, **entries})


NAMED: dict[str, Edit] = {
    "encrypted weights": on_directory(_set(8, "<H", 1)),
    "an encrypted configuration": on_directory(_set(8, "<H", 1), CONFIG),
    "strong encryption": on_directory(_set(8, "<H", 0x41)),
    "patched data": on_directory(_set(8, "<H", 0x20), CONFIG),
    "deflated": rewritten(_same, compression=zipfile.ZIP_DEFLATED),
    "bzip2": rewritten(_same, compression=zipfile.ZIP_BZIP2),
    "lzma": rewritten(_same, compression=zipfile.ZIP_LZMA),
    "an unknown compression": on_directory(_set(10, "<H", 99)),
    "an unknown compression of the configuration": on_directory(_set(10, "<H", 99), CONFIG),
    "a configuration that is said to be deflated": on_directory(_set(10, "<H", 8), CONFIG),
    "a configuration that is said to be lzma": on_directory(_set(10, "<H", 14), CONFIG),
    "a wrong checksum": on_directory(_set(16, "<I", 0)),
    "a member of 4 GB": on_directory(_set(24, "<I", 2**32 - 2)),
    "a member of 0 bytes": on_directory(_set(24, "<I", 0)),
    "a member beyond the end": on_directory(_set(42, "<I", 2**31)),
    "a member inside another": on_directory(_set(42, "<I", 0)),
    "a long name of a member": on_directory(_set(28, "<H", 2**16 - 1)),
    "a bomb as configuration": _bomb(CONFIG, 2**28, zipfile.ZIP_DEFLATED),
    "a bomb of lzma as configuration": _bomb(CONFIG, 2**26, zipfile.ZIP_LZMA),
    "a bomb as weights": _bomb(WEIGHTS, 2**28, zipfile.ZIP_DEFLATED),
    "a bomb beside": _bomb("assets/vocab.txt", 2**28, zipfile.ZIP_DEFLATED),
    "members twice": _twice,
    "a member above": rewritten(lambda rng, contents: {"../outside/slip.txt": b"x", **contents}),
    "an absolute member": rewritten(lambda rng, contents: {"/tmp/slip.txt": b"x", **contents}),
    "20,000 members": rewritten(lambda rng, contents: {**contents, **{f"m{n}": b"" for n in range(20_000)}}),
    "no members": rewritten(lambda rng, contents: {}),
    "no weights": rewritten(lambda rng, contents: {CONFIG: contents[CONFIG]}),
    "no configuration": rewritten(lambda rng, contents: {WEIGHTS: contents[WEIGHTS]}),
    "weights that are not HDF5": rewritten(lambda rng, contents: {**contents, WEIGHTS: b"x" * 5000}),
    "an archive as weights": rewritten(lambda rng, contents: {**contents, WEIGHTS: b"PK\5\6" + bytes(18)}),
    "a deep configuration": config(lambda rng, model: b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "deep fields": fields(custom=nested(200)),
    "a Lambda": config(lambda rng, model: LAMBDA),
    "a Lambda inside": _with_model(config={"layers": [LAMBDA], "name": "x"}),
    "code in the compile settings": _with_model(compile_config={"optimizer": LAMBDA, "loss": RUNS[0]}),
    "code in the build settings": _with_model(build_config={"input_shape": RUNS[1]}),
    "a module of the system": _with_model(**RUNS[0]),
    "an unknown registered name": _with_model(registered_name="evil>Model"),
    "a registered name of ours for another class": _with_model(registered_name="distilbert>os.system"),
    "a registered name that is a list": _with_model(registered_name=[1]),
    "a dtype policy that is code": config(
        lambda rng, model: {**model, "config": {**model["config"], "dtype": RUNS[0]}}
    ),
    "10^9 layers": fields(n_layers=10**9),
    "10^12 labels": fields(num_labels=10**12, id2label=None, label2id=None),
    "a field called self": fields(self=1),
    "code as activation": fields(activation="__import__('os').system"),
    "auto_map": fields(auto_map={"AutoModel": "evil--modeling.Model"}, trust_remote_code=True),
    **file_links(FILE),
}
KERAS = Mutator(
    "keras",
    partial(write_source, to="keras"),
    NAMED,
    {
        "config": config(_random_config),
        "directory": _random_directory,
        "cut": truncate(FILE),
        "bytes": flip_bytes(FILE),
        "integer": overwrite_integer(FILE),
    },
)
MUTATORS = (KERAS,)
