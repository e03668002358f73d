"""Hostile presets of KerasHub."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from support.mutators.archives import LAMBDA
from support.mutators.base import (
    HOSTILE,
    Edit,
    Mutator,
    Rng,
    edit_json,
    file_links,
    flip_bytes,
    nested,
    overwrite_integer,
    truncate,
    write_bytes,
    write_source,
)
from support.mutators.hdf5 import CHANGES, edited

WEIGHTS, TASK_WEIGHTS, VOCABULARY = "model.weights.h5", "task.weights.h5", "assets/tokenizer/vocabulary.txt"
JSON = ("config.json", "task.json", "metadata.json", "tokenizer.json", "preprocessor.json")


def setting(file: str, **fields: Any) -> Edit:
    """Return an edit of the settings of an object that Keras described."""

    def edit(rng: Rng, folder: Path) -> None:
        content = json.loads((folder / file).read_text())
        content["config"] |= fields
        (folder / file).write_text(json.dumps(content))

    return edit


def kept(**fields: Any) -> Edit:
    """Return an edit of the fields of our configuration in metadata.json."""

    def edit(rng: Rng, folder: Path) -> None:
        content = json.loads((folder / "metadata.json").read_text())
        content["distilbert_config"] |= fields
        (folder / "metadata.json").write_text(json.dumps(content))

    return edit


def _random_setting(rng: Rng, folder: Path) -> None:
    file = JSON[rng.integers(len(JSON))]
    content = json.loads((folder / file).read_text())
    fields = content["distilbert_config"] if file == "metadata.json" else content["config"]
    names = list(fields)
    fields[names[rng.integers(len(names))]] = HOSTILE[rng.integers(len(HOSTILE))]
    (folder / file).write_text(json.dumps(content))


def _random_json(rng: Rng, folder: Path) -> None:
    edit_json(JSON[rng.integers(len(JSON))])(rng, folder)


def _without(name: str) -> Edit:
    return lambda rng, folder: (folder / name).unlink()


NAMED: dict[str, Edit] = {
    "10^9 layers": setting("config.json", num_layers=10**9),
    "10^6 layers": setting("config.json", num_layers=10**6),
    "-1 layers": setting("config.json", num_layers=-1),
    "layers as text": setting("config.json", num_layers="2"),
    "10^9 heads": setting("config.json", num_heads=10**9),
    "0 heads": setting("config.json", num_heads=0),
    "a width of 10^12": setting("config.json", hidden_dim=10**12, num_heads=10**12),
    "10^12 tokens": setting("config.json", vocabulary_size=10**12),
    "10^12 classes": setting("task.json", num_classes=10**12),
    "classes as list": setting("task.json", num_classes=[1]),
    "an infinite dropout": setting("config.json", dropout=float("inf")),
    "a Lambda as activation": setting("task.json", activation=LAMBDA),
    "a Lambda as backbone": setting("task.json", backbone=LAMBDA),
    "a deep setting": setting("config.json", custom=nested(300)),
    "10^6 labels": kept(id2label={str(n): f"L{n}" for n in range(300_000)}),
    "labels that are not texts": kept(id2label={"0": [1], "1": {}}),
    "an infinite label": kept(label2id={"a": float("inf")}),
    "a field called self": kept(self=1),
    "code as activation": kept(activation="__import__('os').system"),
    "a sequence of 10^30 tokens": setting("preprocessor.json", sequence_length=10**30),
    "a vocabulary elsewhere": setting("tokenizer.json", vocabulary="../outside/decoy.txt"),
    "an unknown token that is a list": setting("tokenizer.json", oov_token=[1]),
    "a surrogate as unknown token": setting("tokenizer.json", oov_token="\ud800"),
    "a binary vocabulary": write_bytes(VOCABULARY, b"\xff\xfe\0" * 1000),
    "a long vocabulary": write_bytes(VOCABULARY, b"a\n" * 5_000_000),
    "no weights of the task": _without(TASK_WEIGHTS),
    "no description of the task": _without("task.json"),
    **{f"{file}: 100,000 lists": write_bytes(file, b"[" * 100_000) for file in JSON},
    **{f"{file}: a list": write_bytes(file, b"[]") for file in JSON},
    **{f"{file}: not UTF-8": write_bytes(file, b'{"a": "\xff"}') for file in JSON},
    **{f"{file}: 30 MB of blanks": write_bytes(file, b" " * 30_000_000) for file in JSON[:2]},
    "lattice in the task": edited(TASK_WEIGHTS, CHANGES["lattice of groups"]),
    **file_links("config.json"),
    **file_links(TASK_WEIGHTS),
    **{title: edit for title, edit in file_links(VOCABULARY).items() if "device" in title or "absolute" in title},
}
KERASHUB = Mutator(
    "kerashub",
    partial(write_source, to="kerashub"),
    NAMED,
    {
        "setting": _random_setting,
        "json": _random_json,
        "cut": truncate(WEIGHTS),
        "bytes": flip_bytes(TASK_WEIGHTS),
        "integer": overwrite_integer(WEIGHTS),
    },
)
MUTATORS = (KERASHUB,)
