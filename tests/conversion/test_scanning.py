"""`distilbert scan`: which folders are listed, what is said of them, and that the printed commands work."""

from __future__ import annotations

import json
import shlex
import shutil

import pytest

from distilbert_cli import main
from distilbert_core import CheckpointError, DistilBertConfig, Head
from support.checkpoints import save_random, small_config
from weight_conversion import convert
from weight_conversion.scanning import scan

CKPT = ("model.ckpt.index", "model.ckpt.data-00000-of-00001")
CASES = {  # files -> formats, or None if the folder is not listed; a part of the reason, if it is not converted
    ("config.json", "pytorch_model.bin"): (("bin",), ""),
    ("config.json", "pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"): (("bin",), ""),
    ("config.json", "tf_model.h5", "flax_model.msgpack"): (("h5", "msgpack"), ""),
    ("config.json", "tf_model.h5", *CKPT): (("h5", "ckpt"), ""),
    ("config.json", *CKPT): (("ckpt",), "It is a TensorFlow checkpoint, whose variables have no names"),
    ("tf_model.h5",): (("h5",), "It has no config.json: add that of the model"),
    ("config.json", "tf_model.h5", "model.safetensors"): (None, ""),
    ("config.json", "training_args.bin", "optimizer.pt", "vocab.txt"): (None, ""),
    ("notes.txt",): (None, ""),
}


@pytest.mark.parametrize("names", CASES, ids=" ".join)
def test_a_folder(tmp_path, names):
    formats, reason = CASES[names]
    folder = tmp_path / "deep/er"
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        (folder / name).write_bytes(b"x" * number)
    if "config.json" in names:
        (folder / "config.json").write_text('{"model_type": "distilbert"}')
    found = list(scan(tmp_path))
    if formats is None:
        assert found == []
        return
    [found] = found
    assert (found.folder, found.formats) == (folder, formats)
    weights = [name for name in names if name not in ("config.json", "pytorch_model.bin.index.json")]
    assert sorted(found.files) == sorted(weights)
    assert found.size == sum(number for number, name in enumerate(names) if name in weights)
    assert reason in found.reason
    assert (found.command is None) is bool(reason)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ('{"model_type": "roberta"}', "Its architecture is roberta; only distilbert and bert are converted"),
        ("{}", "Its architecture is None"),
        ("{", "config.json is not valid JSON"),
    ],
)
def test_what_cannot_be_converted(tmp_path, config, reason):
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "tf_model.h5").touch()
    [found] = scan(tmp_path)
    assert reason in found.reason
    assert found.command is None


def test_the_printed_commands_convert(tmp_path, capsys, monkeypatch):
    """A name with a space, and the links of the Hub's cache, which gets no folder of ours."""
    monkeypatch.chdir(tmp_path)
    save_random(tmp_path / "new", small_config(), Head.MASKED_LM)
    convert(tmp_path / "new", tmp_path / "old models/tf", to="h5")
    snapshot = tmp_path / "hub/models--a--b/snapshots/0"
    blobs = snapshot.parents[1] / "blobs"
    for parent in (snapshot, blobs):
        parent.mkdir(parents=True)
    for number, file in enumerate((tmp_path / "old models/tf").iterdir()):
        shutil.copy(file, blobs / f"{number:040}")
        (snapshot / file.name).symlink_to(f"../../blobs/{number:040}")
    assert main(["scan", str(tmp_path), "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["folder"] for record in records] == [str(snapshot), str(tmp_path / "old models/tf")]
    for record in records:
        program, *words = shlex.split(record["what to do"])
        assert program == "distilbert"
        assert main(words) == 0
        assert DistilBertConfig.from_pretrained(words[2]).dim == small_config().dim
    assert {path.name for path in tmp_path.iterdir()} == {"new", "old models", "hub", "b-0-pt"}
    with pytest.raises(CheckpointError, match="must be a folder to scan"):
        list(scan(tmp_path / "absent"))


@pytest.mark.parametrize(
    ("folder", "scanned", "words"),
    [
        (".", ".", [".", "{}-pt"]),
        ("-o", ".", ["./-o", "./-o-pt"]),
        ("a.b", "a.b", ["a.b", "a.b-pt"]),
    ],
)
def test_the_paths_of_a_command(tmp_path, monkeypatch, folder, scanned, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / folder / "config.json").write_text('{"model_type": "distilbert"}')
    (tmp_path / folder / "tf_model.h5").touch()
    [found] = scan(scanned)
    assert shlex.split(found.command) == [
        "distilbert",
        "convert",
        *(word.format(tmp_path) for word in words),
        "--to",
        "pt",
    ]
