"""The command `predict` with a stand-in for the model, and without any backend."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest

from distilbert_cli import main
from distilbert_core import BACKENDS, BackendNotInstalledError, DistilBertConfig, available_backends, load_backend
from support.commands import WordCounter
from support.record_files import write_file

# -- backends ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BACKENDS)
def test_a_missing_backend_is_named_with_its_command(nothing_installed, capsys, name):
    assert main(["predict", "A text", "--backend", name]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f'pip install "distilbert[{name}]"' in captured.err
    assert BACKENDS[name].title in captured.err


@pytest.mark.parametrize("arguments", [[], ["--backend", "all"]])
def test_no_backend_at_all(nothing_installed, capsys, arguments):
    assert main(["predict", "A text", *arguments]) == 1
    error = capsys.readouterr().err
    assert all(backend.install_command in error for backend in BACKENDS.values())


def test_backends_by_name(nothing_installed):
    assert available_backends() == []
    with pytest.raises(BackendNotInstalledError, match="needs tensorflow and keras; install it with pip install"):
        load_backend("tf")
    with pytest.raises(ValueError, match="backend must be one of pt, tf, flax, got 'mxnet'"):
        load_backend("mxnet")


# -- predict, with a stand-in for the model ------------------------------------------------------------------


PREDICT = ["predict", "--backend", "pt"]
SOFTMAX = {difference: 1 / (1 + np.exp(-difference)) for difference in (0.0, 1.0, 2.0, 3.0)}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], {}),
        (["--top-k", "1"], {"predictions": [{"label": "POSITIVE", "score": SOFTMAX[2.0]}]}),
        (
            ["--all-scores"],
            {
                "predictions": [
                    {"label": "POSITIVE", "score": SOFTMAX[2.0]},
                    {"label": "NEGATIVE", "score": 1 - SOFTMAX[2.0]},
                ]
            },
        ),
    ],
)
def test_predictions(word_counter, capsys, arguments, expected):
    assert main([*PREDICT, "good, good, bad, good", "--json", *arguments]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line.pop("text") == "good, good, bad, good"
    assert line.pop("label") == "POSITIVE"
    assert line.pop("score") == pytest.approx(SOFTMAX[2.0], abs=1e-15)
    assert line.pop("logits") == [1.0, 3.0]
    assert line.keys() == expected.keys()
    for got, wanted in zip(line.get("predictions", []), expected.get("predictions", []), strict=True):
        assert got["label"] == wanted["label"]
        assert got["score"] == pytest.approx(wanted["score"], abs=1e-15)


def test_predictions_of_many_lines_keep_their_order(word_counter, capsys, tmp_path):
    words = [("good " * (i % 3) + "bad " * (i % 4)).strip() for i in range(3000)]
    file = write_file(tmp_path / "texts.txt", "\n".join(words))
    assert main([*PREDICT, "--file", str(file), "--batch-tokens", "64"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[2] for line in lines] == words
    for i, (label, score, _) in enumerate(lines):
        difference = i % 3 - i % 4  # a tie goes to the first label
        assert label == ("POSITIVE" if difference > 0 else "NEGATIVE")
        assert score == f"{SOFTMAX[abs(float(difference))]:.4f}"


def test_predictions_of_classes_with_one_name(word_counter, monkeypatch, capsys):
    """Each has its own logit and score."""
    monkeypatch.setattr(WordCounter, "config", DistilBertConfig(id2label={0: "some", 1: "some"}))
    assert main([*PREDICT, "good, good, bad, good", "--json", "--all-scores"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["logits"] == [1.0, 3.0]
    assert [answer["label"] for answer in line["predictions"]] == ["some", "some"]
    scores = [answer["score"] for answer in line["predictions"]]
    assert scores == pytest.approx([SOFTMAX[2.0], 1 - SOFTMAX[2.0]], abs=1e-15)
    assert (line["label"], line["score"]) == ("some", scores[0])


def test_truncation_is_reported_on_standard_error(word_counter, capsys, recwarn):
    assert main([*PREDICT, "good " * 600, "bad"]) == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 2
    assert re.fullmatch(r"distilbert: warning: 'good good .* has more than 512 tokens\. The rest .*\n", captured.err)


def test_pairs_of_a_table(word_counter, capsys, tmp_path):
    file = write_file(tmp_path / "pairs.csv", "first,second\ngood,bad good\nbad,none\n")
    columns = ["--column", "first", "--pair-column", "second"]
    assert main([*PREDICT, "--file", str(file), *columns]) == 0
    assert capsys.readouterr().out == "POSITIVE\t0.7311\tgood\tbad good\nNEGATIVE\t0.7311\tbad\tnone\n"
    assert main([*PREDICT, "--file", str(file), *columns, "--output", str(tmp_path / "out.csv"), "--top-k", "2"]) == 0
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as rows:
        found = list(csv.DictReader(rows))
    assert [(row["label"], row["text"], row["text_pair"]) for row in found] == [
        ("POSITIVE", "good", "bad good"),
        ("NEGATIVE", "good", "bad good"),
        ("NEGATIVE", "bad", "none"),
        ("POSITIVE", "bad", "none"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "columns"),
    [
        ("a.jsonl", '{"prompt": "It was", "choices": ["late"]}\n', []),
        ("a.csv", "prompt,choices\nIt was,late\n", []),
        ("a.tsv", "prompt\tend\nIt was\tlate\n", ["--choice-column", "end"]),
    ],
)
def test_a_prompt_of_a_file_has_two_choices_at_least(monkeypatch, tmp_path, capsys, name, content, columns):
    monkeypatch.setattr("distilbert_cli.answering.answers", lambda task, inputs, *_: ((x, {}) for x in inputs))
    file = write_file(tmp_path / name, content)
    assert main(["choose", "--file", str(file), "--model", "m", *columns]) == 1
    message = "'It was' must have at least two choices, got ['late']; give --choice-column for each."
    assert capsys.readouterr().err == f"distilbert: error: {message}\n"
