"""The files beside the weights: which are copied, and which are reported as left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from distilbert_core.errors import CheckpointError
from support.converted import WITHOUT_FRAMEWORK, files_of, write_files
from weight_conversion import convert, reading, sidecars, weight_files

MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize/", "type": "sentence_transformers.models.Normalize"},
    {"idx": 3, "name": "3", "path": "3_Dense", "type": "sentence_transformers.models.Dense"},
]
SENTENCE_FILES = {
    "modules.json": json.dumps(MODULES).encode(),
    "config_sentence_transformers.json": b'{"similarity_fn_name": "cosine"}',
    "sentence_bert_config.json": b'{"max_seq_length": 21}',
    "1_Pooling/config.json": b'{"pooling_mode_mean_tokens": true}',
    "3_Dense/config.json": b'{"in_features": 12}',
    "3_Dense/pytorch_model.bin": b"is copied, and never opened",
}


@pytest.mark.parametrize("to", WITHOUT_FRAMEWORK)
def test_modules_of_sentence_transformers(source: Path, tmp_path: Path, to: str) -> None:
    write_files(source, SENTENCE_FILES)
    (source / "2_Normalize").mkdir()
    notes = convert(source, tmp_path / "new", to).notes
    if to == "pt":
        assert notes == []
        assert {name: files_of(tmp_path / "new")[name] for name in SENTENCE_FILES} == SENTENCE_FILES
    else:
        assert notes == [
            "Left behind: 1_Pooling/, 3_Dense/, config_sentence_transformers.json, modules.json, "
            "sentence_bert_config.json."
        ]
        assert not files_of(tmp_path / "new").keys() & SENTENCE_FILES.keys()


@pytest.mark.parametrize("to", ["pt", "msgpack"])
def test_modules_on_the_hub(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str) -> None:
    """Only files that are asked for by name are there."""
    write_files(source, SENTENCE_FILES)

    def fetch(repository: str, name: str, **where: Any) -> Path | None:
        assert (repository, where) == ("someone/sentences", {"revision": "v2"})
        return source / name if (source / name).is_file() else None

    for module in (sidecars, reading, weight_files):
        monkeypatch.setattr(module, "find_file", fetch)
    monkeypatch.setattr(weight_files, "resolve_file", fetch)
    notes = convert("someone/sentences", tmp_path / "new", to, revision="v2").notes
    if to == "pt":
        assert notes == []
        assert {name: files_of(tmp_path / "new")[name] for name in SENTENCE_FILES} == SENTENCE_FILES
    else:
        assert notes == [f"Left behind: {', '.join(SENTENCE_FILES)}."]


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([{"path": "../other"}], r"modules\.json must name folders below its own, got '\.\./other'\."),
        ([{"path": "a/../../other"}], r"must name folders below its own, got 'a/\.\./\.\./other'\."),
        ([{"path": "/etc"}], r"must name folders below its own, got '/etc'\."),
        ([{"path": "C:\\other"}], "must name folders below its own, got"),
        ([{"path": "..\\other"}], "must name folders below its own, got"),
        ([{"path": "a\0b"}], "must name folders below its own, got"),
        ([{"path": 5}], r"modules\.json is not a valid list of modules \(TypeError"),
        ([{"name": "0"}], r"modules\.json is not a valid list of modules \(it lacks .path"),
        ({"path": "1_Pooling"}, r"modules\.json is not a valid list of modules \(TypeError"),
        (5, r"modules\.json is not a valid list of modules \(TypeError"),
    ],
)
def test_modules_outside_the_folder_are_refused(source: Path, tmp_path: Path, modules: Any, message: str) -> None:
    (source / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(CheckpointError, match=message):
        convert(source, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_module_that_changes_during_conversion_is_an_error(source: Path, tmp_path: Path) -> None:
    write_files(source, SENTENCE_FILES)
    with pytest.raises(CheckpointError, match="source was changed while it was read; nothing was written"):
        convert(source, tmp_path / "new", progress=lambda _: (source / "1_Pooling/config.json").write_bytes(b"{}"))
    assert not (tmp_path / "new").exists()


def test_other_files_of_a_folder_are_reported(source: Path, tmp_path: Path) -> None:
    files = ("tf_model.h5", "onnx/model.onnx", "onnx/more/notes.txt", "optimizer.pt", "training/state.json")
    write_files(source, dict.fromkeys((*files, "vocab.txt", ".gitattributes", ".git/HEAD"), b""))
    (source / "empty").mkdir()
    expected = ["Left behind: onnx/, optimizer.pt, tf_model.h5, training/."]
    assert convert(source, tmp_path / "new").notes == expected
    assert convert(source, source / "new", "tf").notes == expected
    assert convert(source, source / "new", "flax", force=True).notes == expected
    assert convert(source / "model.safetensors", tmp_path / "chosen").notes == []  # one file is what was asked for
    write_files(source, {f"{number}.txt": b"" for number in range(9)})
    assert convert(source, tmp_path / "newer").notes == [
        "Left behind: 0.txt, 1.txt, 2.txt, 3.txt, 4.txt, 5.txt, 6.txt, 7.txt and 6 more."
    ]


@pytest.mark.parametrize("shard_size", ["5GB", "2KB"])
@pytest.mark.parametrize("format", WITHOUT_FRAMEWORK)
def test_nothing_of_a_whole_checkpoint_is_left_behind(
    source: Path, tmp_path: Path, format: str, shard_size: str
) -> None:
    write_files(source, {"README.md": b"# A model", "tokenizer_config.json": b"{}"})
    convert(source, tmp_path / "old", format, max_shard_size=shard_size)
    assert convert(tmp_path / "old", tmp_path / "new").notes == []
    assert (tmp_path / "new/README.md").read_bytes() == b"# A model"
