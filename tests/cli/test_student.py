"""The command `student`: its options reach `make_student`, and its errors are one line."""

from __future__ import annotations

import pytest

from distilbert_cli import main
from distilbert_core import DEFAULT_MODEL, DistilBertTokenizerFast
from weight_conversion import corpus_vocabulary, open_weights


def test_layers_and_widths(tmp_path, capsys):
    words = ["--layers", "0,5", "--hidden-dim", "640", "--head", "DistilBertModel"]
    assert main(["student", DEFAULT_MODEL, str(tmp_path / "new"), *words]) == 0
    made, teacher = open_weights(tmp_path / "new"), open_weights(DEFAULT_MODEL)
    assert (made.config.n_layers, made.config.hidden_dim, made.head.architecture) == (2, 640, "DistilBertModel")
    name = "transformer.layer.{}.attention.q_lin.weight"
    kept, of_teacher = made.tensors[name.format(1)], teacher.tensors[f"distilbert.{name.format(5)}"]
    assert (kept.read() == of_teacher.read()).all()
    said = capsys.readouterr()
    assert said.out == ""
    assert "Of 6 layers, 0, 5 were kept.\nhidden_dim was reduced from 1280 to 640.\n" in said.err


def test_the_tokens_of_texts(tmp_path):
    (tmp_path / "a.txt").write_text("A lovely film, lovely.\n")
    (tmp_path / "b.txt").write_text("A film.\n")
    files = ["--vocabulary-of", str(tmp_path / "a.txt"), "--vocabulary-of", str(tmp_path / "b.txt")]
    assert main(["student", DEFAULT_MODEL, str(tmp_path / "new"), *files]) == 0
    tokenizer = DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL)
    kept = corpus_vocabulary(tokenizer, ["A lovely film, lovely.", "A film."])
    assert len(DistilBertTokenizerFast.from_pretrained(tmp_path / "new")) == len(kept) < len(tokenizer)
    fewer = [*files, "--vocabulary-size", str(len(kept) - 1)]
    assert main(["student", DEFAULT_MODEL, str(tmp_path / "fewer"), *fewer]) == 0
    vocabulary = DistilBertTokenizerFast.from_pretrained(tmp_path / "fewer").get_vocab()
    assert len(vocabulary) == len(kept) - 1
    assert "film" in vocabulary


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["--layers", "0,x"], 2, "write numbers separated by commas"),
        (["--layers", "0,6"], 1, "layers"),
        (["--vocabulary-size", "9"], 1, "--vocabulary-size needs --vocabulary-of"),
        (["--vocabulary-of", "not there.txt"], 1, "not there.txt"),
    ],
)
def test_errors(tmp_path, capsys, words, status, message):
    assert main(["student", DEFAULT_MODEL, str(tmp_path / "new"), *words]) == status
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
