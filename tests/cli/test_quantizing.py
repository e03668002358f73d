"""`convert` to int8 with data: texts for calibration, and a limit of what the metric may lose."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from distilbert_cli import main
from distilbert_cli.quantizing import Measurement, check_drop, encode, task_of
from distilbert_core import CheckpointError, DistilBertTokenizerFast, Head, InputError
from support.checkpoints import save_random, small_config
from weight_conversion.formats import FORMATS

TSV = "text\tlabel\nWhat a lovely film.\tPOSITIVE\nA waste of time.\tNEGATIVE\nWarm and wise.\tPOSITIVE\n"
IDS = [[101, 2054, 1037, 8403, 2143, 1012, 102], [101, 1037, 5949, 1997, 2051, 1012, 102]]


@pytest.fixture
def dev(tmp_path):
    (tmp_path / "dev.tsv").write_text(TSV)
    return tmp_path / "dev.tsv"


def ids_of(source, head=Head.SEQUENCE_CLASSIFICATION, config=None, columns=None):
    tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
    return encode(source, tokenizer, config or small_config(max_position_embeddings=64), head, columns or {})


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("texts.txt", "What a lovely film.\nA waste of time.\n", None),
        ("texts.csv", "text\nWhat a lovely film.\nA waste of time.\n", None),
        ("texts.tsv", "sentence\tn\nWhat a lovely film.\t1\nA waste of time.\t2\n", {"text": "sentence"}),
    ],
)
def test_texts_need_no_labels(tmp_path, name, content, columns):
    (tmp_path / name).write_text(content)
    assert ids_of(tmp_path / name, columns=columns) == IDS


def test_rows_of_a_task(tmp_path):
    (tmp_path / "words.conll").write_text("what B-ORG\na O\n\nfilm O\n")
    config = small_config(num_labels=2, id2label={0: "O", 1: "B-ORG"}, label2id={"O": 0, "B-ORG": 1})
    found = ids_of(tmp_path / "words.conll", Head.TOKEN_CLASSIFICATION, config)
    assert found == [[101, 2054, 1037, 102], [101, 2143, 102]]


@pytest.mark.parametrize(
    ("source", "columns", "message"),
    [
        ([{"text": "a"}, {"text": 3}], None, r"record 2: text must be texts, got \(3,\)"),
        ([{"text": "a"}], {"txt": "a"}, "columns must name text or text_pair; unknown: txt"),
        ("missing.txt", None, "missing.txt cannot be read"),
    ],
)
def test_bad_texts(source, columns, message):
    with pytest.raises(InputError, match=message):
        ids_of(source, columns=columns)


def test_the_task_of_a_checkpoint():
    assert task_of(small_config(), Head.BASE) is None
    expected = {
        "multi-label": small_config(problem_type="multi_label_classification"),
        "sequence-classification": small_config(num_labels=3),
        "regression": small_config(num_labels=1),
    }
    assert {name: task_of(config, Head.SEQUENCE_CLASSIFICATION).name for name, config in expected.items()} == {
        name: name for name in expected
    }
    assert task_of(small_config(), Head.QUESTION_ANSWERING).name == "question-answering"


@pytest.mark.parametrize(
    ("to", "options", "message"),
    [
        ("onnx-int8-static", [], r"onnx-int8-static needs texts .*--calibrate FILE"),
        (
            "onnx-int8",
            ["--calibrate", "dev.tsv"],
            "formats onnx-int8-static, openvino-int8, not for onnx-int8",
        ),
        ("pt", ["--eval", "dev.tsv"], "--eval is for the formats onnx, onnx-int8"),
        ("onnx-int8", ["--max-drop", "1"], "--max-drop needs --eval"),
        ("onnx-int8", ["--eval", "dev.tsv", "--max-drop", "-1"], "-1.0 is not in the range x>=0"),
        ("onnx-int8", ["--column", "text=sentence"], "--column needs --calibrate or --eval"),
    ],
)
def test_options_that_do_not_fit(tmp_path, to, options, message, capsys):
    assert main(["convert", "sst2-tiny", str(tmp_path / "new"), "--to", to, *options]) in (1, 2)
    assert re.search(message, " ".join(capsys.readouterr().err.split()))
    assert not (tmp_path / "new").exists()


def test_a_base_model_has_no_metric(tmp_path, dev, capsys):
    save_random(tmp_path / "base", small_config(), Head.BASE, dtype="float32")
    command = ["convert", str(tmp_path / "base"), str(tmp_path / "new"), "--to", "onnx-int8", "--eval", str(dev)]
    assert main(command) == 1
    assert "needs a checkpoint with a head" in capsys.readouterr().err


def test_what_was_lost():
    assert Measurement("accuracy", "dev.tsv", "model.onnx", 0.9, 0.893).drop == pytest.approx(0.7)
    assert Measurement("loss", "dev.tsv", "model.onnx", 2.0, 2.1).drop == pytest.approx(5)  # percent; lower is better
    text = "accuracy on dev.tsv: 0.9000 before, 0.8930 in model.onnx (-0.70 points)"
    assert str(Measurement("accuracy", "dev.tsv", "model.onnx", 0.9, 0.893)) == text


def test_each_graph_is_measured_and_the_worst_one_counts():
    measured = [Measurement("accuracy", "dev.tsv", name, 0.9, after) for name, after in (("a", 0.9), ("b", 0.88))]
    assert check_drop(measured, 2.1).count("before") == 2
    with pytest.raises(CheckpointError, match=r"0.8800 in b \(-2.00 points\). More than --max-drop 1.5 is lost"):
        check_drop(measured, 1.5)


def test_a_model_that_loses_more_is_not_written(tmp_path, dev, capsys, monkeypatch):
    tokens = []

    def write_graph(files, weights, tensors, calibration):
        tokens.append([(row["segment_ids"] > 0).sum() for row in calibration])
        return {**files, "model.onnx": lambda path: path.write_bytes(b"a graph")}

    def evaluate(task, file, *, model, inference=None, columns, revision=None):
        if inference is not None:
            assert {path.name for path in model.iterdir()} >= {"model.onnx", "config.json", "vocab.txt"}
        return {"accuracy": 0.9 if inference is None else 0.893}

    monkeypatch.setattr("distilbert_cli.quantizing.evaluate", evaluate)
    monkeypatch.setattr("distilbert_cli.quantizing.load_graph", lambda graph, folder, head, config: graph.file)
    monkeypatch.setattr("weight_conversion.converting.check_export", lambda folder, *_: ["Checked."])
    monkeypatch.setattr("distilbert_core.model.runtimes.Runtime.library", lambda self: None)
    monkeypatch.setitem(FORMATS, "onnx-int8-static", replace(FORMATS["onnx-int8-static"], layout_files=write_graph))
    command = ["convert", "sst2-tiny", str(tmp_path / "new"), "--to", "onnx-int8-static", "--calibrate", str(dev)]
    command += ["--eval", str(dev), "--max-drop"]
    assert main([*command, "0.5"]) == 1
    figures = "accuracy on .*dev.tsv: 0.9000 before, 0.8930 in model.onnx"
    assert re.search(rf"{figures} \(-0.70 points\). More than --max-drop 0.5 is lost", capsys.readouterr().err)
    assert not (tmp_path / "new").exists()
    assert main([*command, "0.8"]) == 0
    assert re.search(figures, capsys.readouterr().err)
    assert (tmp_path / "new" / "model.onnx").read_bytes() == b"a graph"
    assert tokens == [[7 + 7 + 6]] * 2
