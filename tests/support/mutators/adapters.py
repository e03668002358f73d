"""Hostile adapters of peft."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from support.mutators.base import (
    UNCHANGED,
    Edit,
    Mutator,
    Rng,
    edit_json,
    file_links,
    flip_bytes,
    nested,
    set_json,
    truncate,
    write_source,
)
from support.mutators.safetensors import on_header

CONFIG, FILE, BASE = "adapter_config.json", "adapter_model.safetensors", "base"
MODULE = "base_model.model.distilbert.transformer.layer.0.attention.q_lin"


def write_adapter(folder: Path) -> None:
    """Write an adapter with its base below it."""
    folder.mkdir()
    write_source(folder / BASE, "pt")
    config = {"peft_type": "LORA", "base_model_name_or_path": BASE, "r": 2, "lora_alpha": 4, "task_type": "SEQ_CLS"}
    (folder / CONFIG).write_text(json.dumps(config))
    arrays(lambda tensors: tensors)(np.random.default_rng(0), folder)


def arrays(change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> Edit:
    """Return an edit of the arrays of the adapter, which also gives the base its path."""

    def edit(rng: Rng, folder: Path) -> None:
        tensors = {
            f"{MODULE}.lora_A.weight": np.ones((2, 12), np.float32),
            f"{MODULE}.lora_B.weight": np.ones((12, 2), np.float32),
        }
        save_file(change(tensors), folder / FILE)

    return _with_base(edit)


def _with_base(edit: Edit) -> Edit:
    """Return an edit after which the base is named by its path, as peft names it."""

    def edit_and_name(rng: Rng, folder: Path) -> Path | None:
        config = json.loads((folder / CONFIG).read_text())
        config["base_model_name_or_path"] = str(folder / BASE)
        (folder / CONFIG).write_text(json.dumps(config))
        return edit(rng, folder)

    return edit_and_name


def _random_setting(rng: Rng, folder: Path) -> None:
    """Change a setting. The base stays: whatever it names is read by intention, and the named edits have the others."""
    _with_base(edit_json(CONFIG))(rng, folder)
    try:
        config = json.loads((folder / CONFIG).read_text())
    except (ValueError, RecursionError):
        return
    if isinstance(config, dict) and isinstance(config.get("base_model_name_or_path"), str):
        set_json(CONFIG, base_model_name_or_path=str(folder / BASE))(rng, folder)


def setting(**fields: Any) -> Edit:
    """Return an edit of settings of the adapter."""
    return _with_base(set_json(CONFIG, **fields))


def replaced(name: str, *shape: int, dtype: Any = np.float32) -> Edit:
    """Return an edit of an array."""
    return arrays(lambda tensors: {**tensors, f"{MODULE}.{name}": np.ones(shape, dtype)})


def _named(name: str) -> Edit:
    return arrays(lambda tensors: {**tensors, name: np.ones(3, np.float32)})


def _of_itself(rng: Rng, folder: Path) -> None:
    set_json(CONFIG, base_model_name_or_path=str(folder))(rng, folder)


NAMED: dict[str, Edit] = {
    UNCHANGED: setting(),
    "of itself": _of_itself,
    "a base that is a file": setting(base_model_name_or_path="/etc/passwd"),
    "a base that is a list": setting(base_model_name_or_path=["x"]),
    "a base with a NUL": setting(base_model_name_or_path="/x\0y"),
    "a surrogate as base": setting(base_model_name_or_path="\ud800"),
    "a base of 5,000 characters": setting(base_model_name_or_path="/" + "a" * 5000),
    "a user as base": setting(base_model_name_or_path="~nobody-here/x"),
    "a revision that is a list": setting(revision=[1]),
    "no rank": setting(r=0),
    "an infinite alpha": setting(lora_alpha=float("inf")),
    "an alpha of 10^400": setting(lora_alpha=10**400),
    "an alpha that is a list": setting(lora_alpha=[1]),
    "a pattern that is a list": setting(alpha_pattern=[1]),
    "a pattern that never ends": setting(alpha_pattern={"(.*.*)*(.*.*)*(.*.*)*x": 1}),
    "a pattern of 2^30": setting(alpha_pattern={"((((a{1000}){1000}){1000}){1000})": 1}),
    "a pattern that is no pattern": setting(alpha_pattern={"(": 1}),
    "a pattern that begins anew": setting(alpha_pattern={"q_lin)|(": 8}),
    "100,000 patterns": setting(alpha_pattern={f"a{n}": 1 for n in range(100_000)}),
    "code": setting(auto_mapping={"base_model_class": "os.system"}, peft_type="__import__('os')"),
    "a Lambda": setting(init_lora_weights="lambda: 1"),
    "deep settings": setting(custom=nested(300)),
    "a long type": setting(peft_type="x" * 5000),
    "long settings": setting(use_dora="x" * 5000),
    "another name of a module": _named("base_model.model.x.lora_A.weight"),
    "a name that never ends": _named("base_model.model." + ".lora_A" * 20_000),
    "no name": _named(""),
    "an unknown part": _named("base_model.model.lora_magnitude_vector"),
    "A of rank 0": arrays(lambda tensors: {n: x[:0] if "_A" in n else x[:, :0] for n, x in tensors.items()}),
    "A without axes": replaced("lora_A.weight"),
    "B without axes": replaced("lora_B.weight"),
    "A of three axes": replaced("lora_A.weight", 2, 12, 1),
    "B of another rank": replaced("lora_B.weight", 12, 3),
    "A of integers": replaced("lora_A.weight", 2, 12, dtype=np.int32),
    "a wide A": replaced("lora_A.weight", 2, 100_000),
    "no B": arrays(lambda tensors: {n: x for n, x in tensors.items() if "_A" in n}),
    "a bias": replaced("lora_B.bias", 3),
    "10^6 labels": arrays(lambda tensors: {**tensors, "base_model.model.classifier.weight": np.ones((10**6, 1), "f2")}),
    "a classifier of 12 labels": arrays(
        lambda tensors: {**tensors, "base_model.model.classifier.weight": np.ones((12, 12), "f4")}
    ),
    **{name: _with_base(edit) for name, edit in file_links(CONFIG).items()},
    **{name: _with_base(edit) for name, edit in file_links(FILE).items()},
}
NAMED = {name: edit for name, edit in NAMED.items() if name != f"{CONFIG} is a pipe"}


def _random_entry(rng: Rng, header: dict[str, Any], data: bytes) -> tuple[Any, bytes]:
    names = list(header)
    name = names[rng.integers(len(names))]
    shapes: tuple[Any, ...] = ([24], [24, 1], [1, 24], [2, 2, 6], [0], [], [2**62])
    new = f"{MODULE}.{('lora_embedding_A', 'lora_A.bias', 'lora_C.weight', 'weight', 'x')[rng.integers(5)]}"
    entry = {**header[name], "shape": shapes[rng.integers(len(shapes))]}
    return {(new if rng.integers(2) else name): entry, **{n: header[n] for n in names if n != name}}, data


MUTATORS = (
    Mutator(
        "adapter",
        write_adapter,
        NAMED,
        {
            "settings": _random_setting,
            "entry": _with_base(on_header(_random_entry)),
            "cut": _with_base(truncate(FILE)),
            "bytes": _with_base(flip_bytes(FILE, 600)),
        },
    ),
)
