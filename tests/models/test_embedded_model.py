"""The model that ships with the package, on real text."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from distilbert_core import DEFAULT_MODEL, DistilBertConfig, DistilBertTokenizerFast, Head
from distilbert_core.classification import TextClassifier, interpret
from distilbert_core.cli import main
from distilbert_core.hub import EMBEDDED_MODELS

CLEAR_CASES = {
    "I love using DistilBERT!": "POSITIVE",
    "A moving, funny and wonderfully acted film.": "POSITIVE",
    "This is the worst movie I have ever seen.": "NEGATIVE",
    "A dull, lifeless mess that wastes everyone's time.": "NEGATIVE",
}


def test_labels_of_clear_cases(framework):
    classifier = TextClassifier(DEFAULT_MODEL, framework.name)
    assert [p.label for p in classifier(CLEAR_CASES)] == list(CLEAR_CASES.values())


def test_one_text_at_a_time_gives_what_a_batch_gives(framework):
    classifier = TextClassifier(DEFAULT_MODEL, framework.name)
    batch = [p.logits for p in classifier(CLEAR_CASES)]
    alone = [p.logits for text in CLEAR_CASES for p in classifier([text])]
    np.testing.assert_allclose(alone, batch, atol=2e-5)


def test_long_texts_are_cut(framework):
    (prediction,) = TextClassifier(DEFAULT_MODEL, framework.name)(["good " * 2000])
    assert prediction.label == "POSITIVE"


def test_embeddings_of_the_embedded_body(framework):
    """Loading the body of the classifier: its hidden states are what the classifier's own body gives."""
    tokens = DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL)("A fine film.", return_tensors="np")
    classifier = framework.load(Head.SEQUENCE_CLASSIFICATION, DEFAULT_MODEL)
    with pytest.warns(UserWarning, match="not used: classifier.bias"):
        body = framework.load(Head.NONE, DEFAULT_MODEL)
    hidden = framework.call(classifier, **tokens, output_hidden_states=True).hidden_states[-1]
    np.testing.assert_array_equal(framework.call(body, **tokens).last_hidden_state, hidden)


def test_tensors_of_the_tokenizer(framework):
    tokenizer = DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL)
    kind = {"pt": "pt", "tf": "tf", "flax": "jax"}[framework.name]
    tensors = tokenizer(["a b c", "d"], padding=True, return_tensors=kind)
    arrays = tokenizer(["a b c", "d"], padding=True, return_tensors="np")
    module = {"pt": "torch", "tf": "tensorflow", "flax": "jax"}[framework.name]
    for name, tensor in tensors.items():
        assert type(tensor).__module__.split(".")[0] in (module, "jaxlib")
        np.testing.assert_array_equal(np.asarray(tensor), arrays[name])


def test_command_line(framework, capsys, tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(CLEAR_CASES) + "\n", encoding="utf-8")
    assert main(["predict", "--file", str(file), "--backend", framework.name]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == list(CLEAR_CASES.values())
    assert [line[2] for line in lines] == list(CLEAR_CASES)
    assert all(0.5 < float(line[1]) <= 1 for line in lines)


def test_command_line_reads_standard_input(framework, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{text}\n" for text in CLEAR_CASES)))
    assert main(["predict", "--backend", framework.name]) == 0
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == list(CLEAR_CASES.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["x", "--model", "./nothing/here"], "The folder ./nothing/here does not exist"),
        (["x", "--dtype", "int8"], "dtype must be 'auto' or one of"),
        (["--file", "no-such-file.txt"], "no-such-file.txt cannot be read"),
    ],
)
def test_errors_of_the_command_line(framework, capsys, arguments, message):
    assert main(["predict", *arguments, "--backend", framework.name]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"distilbert: error: {message}" in captured.err


def test_command_line_json(framework, capsys):
    assert main(["predict", *CLEAR_CASES, "--backend", framework.name, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in lines] == list(CLEAR_CASES)
    for line, prediction in zip(lines, TextClassifier(DEFAULT_MODEL, framework.name)(CLEAR_CASES), strict=True):
        assert line["label"] == prediction.label
        np.testing.assert_allclose(line["logits"], prediction.logits, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "logits", "label", "score"),
    [
        ({}, [0.0, np.log(3)], "LABEL_1", 0.75),
        ({}, [1000.0, 0.0], "LABEL_0", 1.0),
        ({"num_labels": 1}, [0.0], "LABEL_0", 0.5),
        ({"num_labels": 1, "problem_type": "regression"}, [-3.5], "LABEL_0", -3.5),
        ({"problem_type": "multi_label_classification"}, [np.log(4), -1000.0], "LABEL_0", 0.8),
    ],
)
def test_what_logits_mean(changes, logits, label, score):
    prediction = interpret(DistilBertConfig(**changes), np.array(logits))
    assert prediction.label == label
    assert prediction.score == pytest.approx(score, abs=1e-12)


def test_files_of_the_embedded_model():
    folder = EMBEDDED_MODELS / DEFAULT_MODEL
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 24_000_000
    config = DistilBertConfig.from_pretrained(DEFAULT_MODEL)
    assert config.vocab_size == len(DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL)) == 30522
    assert config.id2label == {0: "NEGATIVE", 1: "POSITIVE"}
