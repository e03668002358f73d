"""The error of a checkpoint that cannot be opened; `tests/models/test_any_checkpoint.py` opens the others."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from distilbert_core import CheckpointError, Head
from distilbert_core.files.checkpoint import Checkpoint, save_checkpoint
from distilbert_core.files.hub import WEIGHT_SUFFIXES
from distilbert_core.files.selection import Selection
from support.checkpoints import random_arrays, save_random, small_config, write_adapter
from weight_conversion.formats import FORMATS

HEAD = Head.SEQUENCE_CLASSIFICATION
CONFIG = small_config()

REFUSED = {
    "model.ckpt.index": r"a TensorFlow checkpoint.*not read\. .*model\.load_weights\(PATH\).*save_pretrained",
    "saved_model.pb": r"a SavedModel.*give the folder that has",
    "model.gguf": r"a GGUF file.*Take the checkpoint that it was made from",
    "model.tflite": r"a LiteRT graph",
    "model.pt2": r"a program of torch\.export.*Take the checkpoint",
    "rust_model.ot": r"a file of rust-bert",
    "model.pkl": r"a pickle, which can run any code.*torch.save",
    "notes.txt": r"has no weights: none of model.safetensors, pytorch_model.bin, ",
}


@pytest.mark.parametrize("name", REFUSED)
def test_unreadable_files_give_a_reason(name: str, tmp_path: Path) -> None:
    CONFIG.save_pretrained(tmp_path)
    (tmp_path / name).write_bytes(b"x")
    sources = [tmp_path]
    if name != "notes.txt":
        sources.append(tmp_path / name)
    if name.endswith(".index"):
        sources.append(tmp_path / "model.ckpt")  # as TensorFlow calls it, without an end
    for source in sources:
        with pytest.raises(CheckpointError, match=REFUSED[name]):
            Checkpoint(source)
    (tmp_path / "notes.md").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"notes.md is not a weight file: its name must end in one of .s"):
        Checkpoint(tmp_path / "notes.md")


def test_several_files_without_a_choice(tmp_path: Path) -> None:
    arrays = random_arrays(CONFIG, HEAD)
    for name in ("one.safetensors", "two.safetensors"):
        save_file(arrays, tmp_path / name)
    with pytest.raises(CheckpointError, match=r"several weight files: one.safetensors, two.safetensors. Give the path"):
        Checkpoint(tmp_path)
    assert Checkpoint(tmp_path / "two.safetensors").entries.keys() == arrays.keys()


def test_two_models_in_one_file_are_an_error(tmp_path: Path) -> None:
    arrays = random_arrays(CONFIG, HEAD)
    save_file(
        {f"{model}.{name}": arrays[name] for name in arrays for model in ("student", "teacher")},
        tmp_path / "a.safetensors",
    )
    with pytest.raises(
        CheckpointError, match=r"teacher\..* and .*student\..* are both classifier|student\..* and .*teacher\."
    ):
        Checkpoint(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    ("module", "name", "extra"),
    [
        ("h5py", "tf_model.h5", "convert"),
        ("h5py", "model.keras", "convert"),
        ("msgpack", "flax_model.msgpack", "convert"),
        ("torch", "pytorch_model.bin", "pt"),
        ("torch", "last.ckpt", "pt"),
        ("tensorstore", "_METADATA", "flax"),
    ],
)
def test_a_missing_library_is_named_with_its_command(
    module: str, name: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "model.keras":
        import zipfile

        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("model.weights.h5", b"")
    else:
        (tmp_path / name).write_text('{"tree_metadata": {}}')
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(CheckpointError, match=rf'pip install "distilbert\[{extra}\]"'):
        Checkpoint(tmp_path)


# -- adapters of peft ---------------------------------------------------------------------------------------------

A, B = (f"distilbert.transformer.layer.0.ffn.lin1.lora_{name}.weight" for name in "AB")
LOW_RANK = {A: np.ones((2, 12)), B: np.ones((20, 2))}
REFUSED_ADAPTERS: list[tuple[dict[str, np.ndarray], dict[str, Any], str]] = [
    (LOW_RANK, {"peft_type": "IA3"}, r"peft_type 'LORA', got 'IA3'\. Merge it with peft"),
    (LOW_RANK, {"use_dora": True}, r"more than low-rank updates: use_dora=True\. Merge it"),
    (LOW_RANK, {"init_lora_weights": "pissa"}, r"more than low-rank updates: init_lora_weights='pissa'"),
    (LOW_RANK, {"base_model_name_or_path": None}, r"must name its base, a folder or a Hub id"),
    (LOW_RANK, {"base_model_name_or_path": "./gone"}, r"base cannot be opened: The folder \./gone does not exist"),
    (LOW_RANK, {"lora_alpha": "much"}, r"invalid lora_alpha"),
    (LOW_RANK | {"a.lora_magnitude": np.ones(2)}, {}, r"a\.lora_magnitude, which is not of a low-rank update"),
    ({A: LOW_RANK[A]}, {}, r"nothing to update at distilbert.transformer.layer.0.ffn.lin1"),
    ({A: np.ones((2, 11)), B: LOW_RANK[B]}, {}, r"does not fit .*: an update of shapes \(20, 2\) and \(2, 11\)"),
]


@pytest.mark.parametrize(("arrays", "settings", "message"), REFUSED_ADAPTERS)
def test_adapters_that_are_refused(
    arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any], message: str, tmp_path: Path
) -> None:
    save_random(tmp_path / "base", CONFIG, Head.BASE)
    write_adapter(tmp_path / "adapter", tmp_path / "base", arrays, **settings)
    with pytest.raises(CheckpointError, match=message):
        Checkpoint(tmp_path / "adapter")


def test_an_adapter_without_weights_and_one_on_itself(tmp_path: Path) -> None:
    config = {"peft_type": "LORA", "base_model_name_or_path": str(tmp_path), "r": 2, "lora_alpha": 6}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"has adapter_config.json, and none of adapter_model.safetensors"):
        Checkpoint(tmp_path)
    save_file(LOW_RANK, tmp_path / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match=r"is an adapter of an adapter, and so on"):
        Checkpoint(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"adapter_config.json is not valid JSON"):
        Checkpoint(tmp_path)


# -- variants -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["5GB", 3000])
def test_variants_are_files_of_their_own(tmp_path: Path, size: int | str) -> None:
    plain, half = random_arrays(CONFIG, HEAD, 1), random_arrays(CONFIG, HEAD, 2, "float16")
    save_checkpoint(tmp_path, plain, {}, "5GB")
    for _ in range(2):  # the second time over the first
        save_checkpoint(tmp_path, half, {}, size, "fp16")
    names = {path.name for path in tmp_path.iterdir()} - {"model.safetensors", "model.safetensors.index.fp16.json"}
    assert names == (
        {"model.fp16.safetensors"}
        if size == "5GB"
        else {f"model.fp16-{number:05d}-of-{len(names):05d}.safetensors" for number in range(1, len(names) + 1)}
    )
    for variant, arrays in ((None, plain), ("fp16", half)):
        checkpoint = Checkpoint(tmp_path, selection=Selection(variant))
        for name, array in arrays.items():
            np.testing.assert_array_equal(checkpoint.read(name), array)
    with pytest.raises(
        CheckpointError, match=r"has no weights: none of model.bf16.safetensors, pytorch_model.bf16.bin"
    ):
        Checkpoint(tmp_path, selection=Selection("bf16"))


def test_every_weight_file_has_a_known_end() -> None:
    found = {suffix for format in FORMATS.values() for suffix in (format.suffix, *format.suffixes) if suffix}
    assert found == set(WEIGHT_SUFFIXES)


def test_shards_of_a_variant_are_not_taken_for_several_checkpoints(tmp_path: Path) -> None:
    arrays = random_arrays(CONFIG, Head.BASE)
    files = {"config.json": CONFIG.to_json_string().encode()}
    save_checkpoint(tmp_path, arrays, files, max_shard_size=3000, variant="fp16")
    with pytest.raises(CheckpointError, match=r" has shards of a variant only: give variant='fp16'\.$"):
        Checkpoint(tmp_path)
    assert Checkpoint(tmp_path, selection=Selection("fp16")).entries.keys() == arrays.keys()


def test_a_file_of_several_models_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    state = {name: torch.tensor(array) for name, array in random_arrays(CONFIG, Head.BASE).items()}
    torch.save({"model": state, "ema": state}, tmp_path / "both.pt")
    with pytest.raises(CheckpointError, match=r"it holds several state dicts, model, ema: save the one you want"):
        Checkpoint(tmp_path / "both.pt")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "tf_model.h5"])
def test_a_pointer_of_git_lfs_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 1\n")
    with pytest.raises(CheckpointError, match=rf"{name} is a pointer of Git LFS .* run `git lfs pull`"):
        Checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("selection", "where", "message"),
    [
        (Selection(variant="fp16"), {}, "is a file: leave out variant and subfolder"),
        (Selection(), {"subfolder": "x"}, "is a file: leave out variant and subfolder"),
        (Selection(use_safetensors=False), {}, "is a file that use_safetensors=False leaves out"),
    ],
)
def test_a_file_is_not_guessed_among_others(
    tmp_path: Path, selection: Selection, where: dict[str, str], message: str
) -> None:
    save_random(tmp_path, CONFIG, Head.BASE)
    with pytest.raises(CheckpointError, match=message):
        Checkpoint(tmp_path / "model.safetensors", selection=selection, **where)
    assert Checkpoint(tmp_path / "model.safetensors", selection=Selection(use_safetensors=True)).entries
