"""The commands `convert`, `verify` and `diff`: their arguments, output, files, and errors."""

from __future__ import annotations

import json
import re
import shlex

import ml_dtypes
import numpy as np
import pytest

from distilbert_cli import main
from distilbert_cli.commands import COMMANDS
from distilbert_core import DEFAULT_MODEL
from distilbert_core.files.checkpoint import Checkpoint
from support.checkpoints import random_arrays, save_random, small_config
from support.paths import ROOT
from support.verifications import (
    ERRORS,
    HALVES,
    HEAD,
    LAYERS,
    NAME,
    ORIGINAL,
    SOURCE,
    add_a_half,
    largest,
    verification,
    write_changed,
)
from weight_conversion import FORMATS, open_weights, reading

DOCUMENTED = re.findall(
    r"^(distilbert .*)$",
    (ROOT / "docs" / "conversion.md").read_text(encoding="utf-8"),
    re.M,
)


@pytest.fixture
def checkpoint(tmp_path):
    """A folder with a random checkpoint in float32."""
    save_random(tmp_path / "a", small_config(), HEAD, dtype="float32")
    return tmp_path / "a"


@pytest.mark.parametrize("line", DOCUMENTED)
def test_documented_command_lines_are_understood(line):
    _, name, *words = shlex.split(line)
    COMMANDS[name].make_context(name, words)  # raises for an unknown option


# -- convert -------------------------------------------------------------------------------------------------


def test_convert(checkpoint, tmp_path, capsys):
    assert main(["convert", str(checkpoint), str(tmp_path / "b"), "--to", "flax"]) == 0
    captured = capsys.readouterr()
    count = sum(array.size for array in random_arrays(small_config(), HEAD).values())
    title = FORMATS["flax"].title
    line = f"{tmp_path / 'b'}: {title}, DistilBertForTokenClassification, {count:,} parameters in float32.\n"
    assert captured.out == line
    assert captured.err == ""
    assert open_weights(tmp_path / "b").format == "flax"


def test_convert_with_options(checkpoint, tmp_path, capsys):
    options = ["--dtype", "bfloat16", "--head", "DistilBertModel", "--shard-size", "2KB"]
    assert main(["convert", str(checkpoint), str(tmp_path / "b"), "--to", "pt", *options]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("distilbert: note: Dropped, as DistilBertModel has no such parameters: classifier.")
    assert "DistilBertModel, 3,232 parameters in bfloat16" in captured.out
    written = Checkpoint(tmp_path / "b")
    assert len({entry.path for entry in written.entries.values()}) > 1
    expected = random_arrays(small_config(), HEAD, dtype="float32")
    for name in written.entries:
        np.testing.assert_array_equal(written.read(name), expected[f"distilbert.{name}"].astype(ml_dtypes.bfloat16))


def test_what_is_left_behind_and_removed_is_printed(checkpoint, tmp_path, capsys):
    (checkpoint / "optimizer.pt").write_bytes(b"")
    destination = tmp_path / "b"
    assert main(["convert", str(checkpoint), str(destination), "--to", "h5"]) == 0
    assert capsys.readouterr().err == "distilbert: note: Left behind: optimizer.pt.\n"
    assert main(["convert", str(checkpoint), str(destination), "--force"]) == 0
    assert capsys.readouterr().err == (
        f"distilbert: note: Left behind: optimizer.pt.\ndistilbert: note: Removed from {destination}: tf_model.h5.\n"
    )


def test_nothing_is_overwritten_without_force(checkpoint, tmp_path, capsys):
    destination = tmp_path / "b"
    destination.mkdir()
    (destination / "precious.txt").write_text("mine")
    words = ["convert", str(checkpoint), str(destination), "--to", "pt"]
    assert main(words) == 1
    assert "exists already; give force=True (--force)" in capsys.readouterr().err
    assert [path.name for path in destination.iterdir()] == ["precious.txt"]
    assert main([*words, "--force"]) == 0
    assert (destination / "precious.txt").read_text() == "mine"
    assert (destination / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["convert", "a"], "Missing argument 'DESTINATION'"),
        (["convert", "a", "b", "--to", "gguf"], "'gguf' is not one of 'pt'"),
        (["convert", "a", "b", "--to", "pt", "--dtype", "int8"], "'int8' is not one of 'float64'"),
        (["convert", "a", "b", "--to", "pt", "--head", "BertModel"], "'BertModel' is not one of 'DistilBertModel'"),
        (["verify"], "Missing argument 'CHECKPOINT...'"),
        (["verify", "a", "--backend", "mxnet"], "'mxnet' is not one of 'pt', 'tf', 'flax'"),
        (["diff", "a"], "Missing argument 'B'"),
    ],
)
def test_wrong_usage(words, message, capsys):
    assert main(words) == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "words", [["convert", "./none", "b", "--to", "pt"], ["verify", "./none"], ["diff", "./none", "b"]]
)
def test_a_checkpoint_that_does_not_exist(words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("weight_conversion.verification.verifying._backends", lambda names: ["pt"])
    assert main(words) == 1
    captured = capsys.readouterr()
    assert captured.err == "distilbert: error: The folder ./none does not exist.\n"
    assert captured.out == ""
    assert not list(tmp_path.iterdir())


def test_a_wrong_value_in_the_result_is_found(checkpoint, tmp_path, monkeypatch, capsys):
    """A conversion that wrote another value, which one that works cannot be made to do."""
    changed = write_changed(tmp_path / "b", lambda arrays: np.negative(arrays[NAME], out=arrays[NAME]))
    monkeypatch.setattr("weight_conversion.converting.convert", lambda source, *args, **kwargs: open_weights(source))
    assert main(["convert", str(checkpoint), str(changed), "--to", "pt", "--verify"]) == 1
    assert capsys.readouterr().err.endswith(f"b differs from {checkpoint} in {NAME}; convert it again.\n")


# -- diff ----------------------------------------------------------------------------------------------------


def put_nan(arrays):
    arrays[NAME][0] = np.nan


def test_the_command_prints_the_differences(checkpoint, tmp_path, capsys):
    other = write_changed(tmp_path / "b", add_a_half)
    assert main(["diff", str(checkpoint), str(checkpoint)]) == 0
    assert capsys.readouterr().out == f"{len(ORIGINAL)} tensors are equal: {checkpoint} and {checkpoint}\n"

    assert main(["diff", str(checkpoint), str(other)]) == 1
    row, summary = capsys.readouterr().out.splitlines()
    ratio = HALVES.max() / largest(ORIGINAL)
    assert row.split("\t") == [NAME, "values", "(20,)", "float32", "3", f"{HALVES.max():.1e}", f"{ratio:.1e}"]
    assert summary == f"1 of {len(ORIGINAL)} tensors differ: {checkpoint} and {other}"

    assert main(["diff", str(checkpoint), str(other), "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    [tensor] = record.pop("tensors")
    assert record == {"equal": False, "compared": len(ORIGINAL)}
    assert tensor == {
        "tensor": NAME,
        "kind": "values",
        "shapes": [[20], [20]],
        "dtypes": ["float32", "float32"],
        "differing": 3,
        "absolute": HALVES.max(),
        "relative": ratio,
    }


def test_nan_in_json(checkpoint, tmp_path, capsys):
    assert main(["diff", str(checkpoint), str(write_changed(tmp_path / "b", put_nan)), "--json"]) == 1
    [tensor] = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["tensors"]
    assert (tensor["absolute"], tensor["relative"]) == ("nan", "nan")


def test_convert_and_verify_opens_each_checkpoint_once(checkpoint, tmp_path, monkeypatch, capsys):
    opened, verified = [], []

    def open_checkpoint(source, *args, **kwargs):
        opened.append(str(source))
        return original(source, *args, **kwargs)

    original = reading.open_checkpoint
    monkeypatch.setattr(reading, "open_checkpoint", open_checkpoint)
    monkeypatch.setattr(
        "weight_conversion.verification.verifying.verify",
        lambda sources, *args, **kwargs: verified.extend(sources) or verification(),
    )
    assert main(["convert", str(checkpoint), str(tmp_path / "b"), "--to", "h5", "--verify"]) == 0
    assert opened == [weights.name for weights in verified] == [str(checkpoint), str(tmp_path / "b")]
    assert "tensors equal the source's bit for bit." in capsys.readouterr().out


# -- verify --------------------------------------------------------------------------------------------------


def test_no_backend(monkeypatch, capsys):
    monkeypatch.setattr("weight_conversion.verification.verifying.available_backends", list)
    assert main(["verify", DEFAULT_MODEL]) == 1
    error = capsys.readouterr().err
    assert error.startswith("distilbert: error: No backend is installed: ")
    assert 'pip install "distilbert[flax]"' in error


def test_what_the_command_prints(monkeypatch, capsys):
    monkeypatch.setattr("weight_conversion.verification.verifying.verify", lambda *args, **kwargs: verification())
    assert main(["verify", "x"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "distilbert: note: <i>dropped</i>\n"
    head, *rows = captured.out.splitlines()
    assert head.startswith(f"{HEAD.architecture}, 12 texts of 3 to 5 tokens; reference: {SOURCE} on PyTorch in float64")
    assert rows[5] == "\t".join([SOURCE, "tf", "float64", "logits", "2.0e-14", "1.0e-14"])
    assert rows[len(ERRORS) * len(LAYERS) :] == [
        f"ok  {SOURCE} pt float64: 0.0e+00 <= 1e-09 relative, at hidden_states.0",
        f"ok  {SOURCE} tf float64: 1.0e-14 <= 1e-09 relative, at logits",
        f"ok  {SOURCE} pt float32: 3.0e-07 <= 1e-05 relative, at logits",
        f"ok  {SOURCE} tf float32: 1.0e-06 <= 1e-05 relative, at logits",
        "equal up to rounding",
    ]


def test_the_command_exits_with_1_if_something_differs(monkeypatch, capsys):
    found = verification(tf=(0.0, 0.25, np.nan))
    monkeypatch.setattr("weight_conversion.verification.verifying.verify", lambda *args, **kwargs: found)
    assert main(["verify", "x"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "DIFFERENT"
    assert lines[-4] == f"BAD {SOURCE} tf float64: nan > 1e-09 relative, at logits"

    assert main(["verify", "x", "--json"]) == 1
    record = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert record["equal"] is False
    assert [run["equal"] for run in record["runs"]] == [True, False, True, True]
    row = {"checkpoint": SOURCE, "backend": "tf", "dtype": "float64"}
    assert record["differences"][4:6] == [
        {**row, "output": "hidden_states.1", "absolute": 0.5, "relative": 0.25},
        {**row, "output": "logits", "absolute": "nan", "relative": "nan"},
    ]


# -- the report ----------------------------------------------------------------------------------------------


def test_a_report_is_not_overwritten_without_force(checkpoint, tmp_path, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(
        "weight_conversion.verification.verifying.verify", lambda *args, **kwargs: calls.append(args) or verification()
    )
    report = tmp_path / "report.html"
    report.write_text("mine")
    words = ["verify", str(checkpoint), "--report", str(report)]
    assert main(words) == 1
    assert "report.html exists already; give --force to replace it." in capsys.readouterr().err
    assert (report.read_text(), calls) == ("mine", [])  # and the error comes before the work
    assert main([*words, "--force"]) == 0
    assert report.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_checksums_are_written_and_read(checkpoint, tmp_path, capsys):
    """`--checksum` writes the list, `--verify-source` reads it, and a source without a list is one line."""
    assert main(["convert", str(checkpoint), str(tmp_path / "h5"), "--to", "h5", "--checksum"]) == 0
    assert "tf_model.h5" in (tmp_path / "h5/checksums.sha256").read_text()
    assert main(["convert", str(tmp_path / "h5"), str(tmp_path / "pt"), "--verify-source"]) == 0
    capsys.readouterr()
    assert main(["convert", str(checkpoint), str(tmp_path / "new"), "--verify-source"]) == 1
    assert "has no checksums.sha256" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
