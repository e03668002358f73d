"""The command without any backend: what it reads and writes, its errors, its help, completion and `info`.

Where a model must answer, a stand-in does: it counts words, so that every expected number can be told by reading.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from distilbert_cli import main
from distilbert_cli.commands import COMMANDS
from distilbert_cli.info import describe
from distilbert_cli.readers import read_records, read_texts, read_whole
from distilbert_cli.writers import Columns, write
from distilbert_core import (
    BACKENDS,
    DEFAULT_MODEL,
    BackendNotInstalledError,
    DistilBertConfig,
    DistilBertTokenizerFast,
    Head,
    InputError,
    available_backends,
    load_backend,
)
from distilbert_core.files.checkpoint import WEIGHTS_FILE, save_checkpoint
from distilbert_core.model.inference import Inference
from support.checkpoints import save_random, small_config
from support.paths import ROOT
from support.processes import fresh_python
from weight_conversion import convert

COMMAND = [sys.executable, "-m", "distilbert_cli"]
GOOD, BAD = DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL).convert_tokens_to_ids(["good", "bad"])


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


class WordCounter(Inference):
    """A sequence classifier whose logits are how often a text says 'bad' and 'good'."""

    backend = "pt"
    head = Head.SEQUENCE_CLASSIFICATION
    config = DistilBertConfig.from_pretrained(DEFAULT_MODEL)

    def __init__(self):
        pass

    def run(self, input_ids, attention_mask):
        return {"logits": np.stack([(input_ids == word).sum(axis=1) for word in (BAD, GOOD)], axis=1).astype(float)}


@pytest.fixture
def word_counter(monkeypatch):
    monkeypatch.setattr("distilbert_core.pipelines.load_inference", lambda *args, **kwargs: WordCounter())


def stand_in_stdin(monkeypatch, content: bytes, terminal: bool = False) -> None:
    stream = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8")
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", stream)


# -- backends -------------------------------------------------------------------------------------------------------


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


# -- reading --------------------------------------------------------------------------------------------------------

ROWS = [("Füße", "one, two"), ('say "so"', "")]
FILES = {
    "lines.txt": ("first\n\n third \r\nlast", ["text"], [("first",), ("",), (" third ",), ("last",)]),
    "no-suffix": ("only", ["text"], [("only",)]),
    "unusual.log.gz": ("packed\n", ["text"], [("packed",)]),
    "table.csv": ('n,a,b\n1,Füße,"one, two"\n\n2,"say ""so""",\n', ["a", "b"], ROWS),
    "mark.csv": ('\ufeffb,a\r\n"one, two",Füße\r\n,"say ""so"""\r\n', ["a", "b"], ROWS),
    "lines-in-cells.csv": ('text\n"two\nlines"\n', ["text"], [("two\nlines",)]),
    "long.csv": ("text\n" + "x" * 200_000 + "\n", ["text"], [("x" * 200_000,)]),
    "table.tsv": ('a\tb\nFüße\tone, two\nsay "so"\t\n', ["a", "b"], ROWS),
    "table.tsv.gz": ('b\ta\none, two\tFüße\n\tsay "so"\n', ["a", "b"], ROWS),
    "table.jsonl": (
        '{"a": "F\\u00fc\\u00dfe", "n": 1, "b": "one, two"}\n\n{"b": "", "a": "say \\"so\\""}',
        ["a", "b"],
        ROWS,
    ),
}


def write_file(path, content: str | bytes):
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", FILES)
def test_files(tmp_path, name):
    content, columns, expected = FILES[name]
    assert list(read_records([], write_file(tmp_path / name, content), columns)) == expected


def test_lists_in_a_file_for_those_who_take_them(tmp_path):
    file = write_file(tmp_path / "a.jsonl", '{"prompt": "p", "choices": ["a", "b"]}')
    assert list(read_records([], file, ["prompt", "choices"], lists=True)) == [("p", ["a", "b"])]
    with pytest.raises(InputError, match=r"a\.jsonl: column 'choices' of record 1 must be a text, got list"):
        read_records([], file, ["prompt", "choices"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "a.txt is empty: it holds no input"),
        ("a.csv", "", "a.csv is empty"),
        ("a.csv", "text,label\n", "a.csv is empty"),
        ("a.jsonl", "\n \n", "a.jsonl is empty"),
        ("a.csv", "review,label\nx,1\n", "a.csv has no column 'text'; its columns are 'review', 'label'"),
        ("a.tsv", "text,label\nx,1\n", "a.tsv has no column 'text'; its columns are 'text,label'"),
        ("a.csv", "text,label\nx\n", "a.csv line 2 must have 2 columns, got 1"),
        ("a.jsonl", '{"review": "x"}', "a.jsonl line 1 has no column 'text'; it has 'review'"),
        ("a.jsonl", '{"text": ', "a.jsonl line 1 is not valid JSON"),
        ("a.jsonl", '["text"]', "a.jsonl line 1 must be a JSON object, got list"),
        ("a.jsonl", '{"text": 5}', "a.jsonl: column 'text' of record 1 must be a text, got int"),
        ("a.txt", b"na\xefve", "a.txt must be UTF-8, but line 1 has the byte 0xef at position 3"),
        ("a.csv", "text\nx\n".encode("utf-16"), "a.csv must be UTF-8, but line 1 has the byte 0xff at position 1"),
        ("a.txt.gz", None, "a.txt.gz cannot be read: Not a gzipped file"),
        ("a-folder/", None, "cannot be read: "),
        ("missing.txt", None, r"missing\.txt cannot be read: .*No such file"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, message):
    path = tmp_path / name
    if name.endswith("/"):
        path.mkdir()
    elif content is not None:
        write_file(path, content)
    elif name.endswith(".gz"):
        path.write_bytes(b"plain")
    with pytest.raises(InputError, match=message):
        read_texts([], path)


def test_a_file_of_lines_has_one_column(tmp_path):
    with pytest.raises(InputError, match=r"a\.txt has lines and no columns, so no 'review'; give a \.csv"):
        read_texts([], write_file(tmp_path / "a.txt", "x"), "review")


def test_a_file_is_read_as_it_is_used(tmp_path):
    texts = read_texts([], write_file(tmp_path / "a.txt", b"one\ntwo\n\xff\n"))
    assert [next(texts), next(texts)] == ["one", "two"]
    with pytest.raises(InputError, match="line 3 has the byte 0xff at position 1"):
        next(texts)


def test_standard_input(monkeypatch):
    stand_in_stdin(monkeypatch, "Grüße\nzwei".encode())
    assert list(read_texts([], None)) == ["Grüße", "zwei"]
    for content, message in ((b"", "standard input is empty"), (b"\xff", "standard input must be UTF-8, but line 1")):
        stand_in_stdin(monkeypatch, content)
        with pytest.raises(InputError, match=message):
            read_texts([], None)


def test_a_whole_file(tmp_path, monkeypatch):
    assert read_whole(write_file(tmp_path / "a.txt", "one\ntwo\n")) == "one\ntwo\n"
    stand_in_stdin(monkeypatch, b"from elsewhere")
    assert read_whole(Path("-")) == "from elsewhere"
    with pytest.raises(InputError, match=r"a\.txt is empty"):
        read_whole(write_file(tmp_path / "a.txt", " \n"))


# -- writing --------------------------------------------------------------------------------------------------------

COLUMNS = Columns(("number", "text", "word", "score"), "words")
RECORDS = [
    {"text": "a\tb\nc, d", "words": [{"word": "[MASK]", "score": 0.25}, {"word": "Füße", "score": 2 / 3}]},
    {"text": "none", "words": []},
    {"text": "x", "words": [{"word": "y", "score": 1.0}]},
]
ROWS_OF_RECORDS = [[1, "a\tb\nc, d", "[MASK]", 0.25], [1, "a\tb\nc, d", "Füße", 2 / 3], [3, "x", "y", 1.0]]


def test_rows_of_records():
    assert list(COLUMNS.rows(RECORDS)) == ROWS_OF_RECORDS
    assert list(Columns(("text",), "words").rows([{"text": "no list: one row"}])) == [["no list: one row"]]


def test_lines_in_a_pipe(capsys):
    write(RECORDS, COLUMNS, None, as_json=False)
    assert capsys.readouterr().out == "1\ta b c, d\t[MASK]\t0.2500\n1\ta b c, d\tFüße\t0.6667\n3\tx\ty\t1.0000\n"


def test_a_table_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")  # no colours
    write(RECORDS, COLUMNS, None, as_json=False)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["number", "text", "word", "score"] in lines
    assert ["3", "x", "y", "1.0000"] in lines
    assert any("[MASK]" in line for line in lines)  # which is not taken for markup


def test_json_lines(capsys):
    write(RECORDS, COLUMNS, None, as_json=True)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == RECORDS


def test_files_that_are_written(tmp_path):
    write(iter(RECORDS), COLUMNS, tmp_path / "a.jsonl", as_json=False)
    lines = (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == RECORDS
    write(iter(RECORDS), COLUMNS, tmp_path / "a.csv", as_json=False)
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [[*COLUMNS.names], *([str(cell) for cell in row] for row in ROWS_OF_RECORDS)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [1, 12])
def test_vectors(tmp_path, count, dtype):
    vectors = np.random.default_rng(0).normal(size=(count, 7)).astype(dtype)
    write(({"embedding": row} for row in vectors), Columns(("embedding",)), tmp_path / "a.npy", as_json=False)
    read = np.load(tmp_path / "a.npy")
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, vectors)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.npy"])
def test_a_file_appears_whole_or_not_at_all(tmp_path, name):
    def broken():
        yield {**RECORDS[0], "embedding": np.zeros(3)}
        raise InputError("the second line is bad")

    for before in (None, b"what was there"):
        if before:
            (tmp_path / name).write_bytes(before)
        with pytest.raises(InputError, match="the second line is bad"):
            write(broken(), COLUMNS, tmp_path / name, as_json=False)
        assert [path.read_bytes() for path in tmp_path.iterdir()] == ([before] if before else [])


# -- predict, with a stand-in for the model ---------------------------------------------------------------------------

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


def test_what_is_cut_is_said_on_standard_error(word_counter, capsys, recwarn):
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


# -- errors and ends ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "A text", "--file", "texts.txt"], "Give texts or --file, not both."),
        (["predict"], "Nothing to read: give a text"),
        (["predict", "--file", "no-such.csv"], "no-such.csv cannot be read"),
        (["predict", "x", "--model", "./nothing/here"], "The folder ./nothing/here does not exist"),
        (["fill-mask", "x [MASK]", "--model", DEFAULT_MODEL], "fill-mask cannot use"),
        (["tag", "x", "--model", DEFAULT_MODEL], "token-classification cannot use"),
        (["answer", "x", "--context", "y", "--model", DEFAULT_MODEL], "question-answering cannot use"),
        (["answer", "x", "--context-file", "no-such.txt", "--model", DEFAULT_MODEL], "no-such.txt cannot be read"),
        (["choose", "x", "y", "z", "--model", DEFAULT_MODEL], "multiple-choice cannot use"),
        (["tokenize", "x", "--model", "./nothing/here"], "The folder ./nothing/here does not exist"),
        (["tokenize", "x", "--output", "folder.csv/out.csv"], "folder.csv"),
        (["info", "./nothing/here"], "The folder ./nothing/here does not exist"),
    ],
)
def test_an_error_is_one_line(monkeypatch, capsys, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.csv").write_text("a file")
    stand_in_stdin(monkeypatch, b"", terminal=True)
    backend = ["--backend", "pt"] if "--model" in arguments and arguments[0] != "tokenize" else []
    assert main([*arguments, *backend]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("distilbert: error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "No such command 'train'"),
        ([], "Missing command"),
        (["predict", "x", "--backend", "mxnet"], "'mxnet' is not one of 'pt', 'tf', 'flax', 'onnx', 'openvino', 'all'"),
        (["predict", "x", "--output", "x.npy"], "x.npy must end in .jsonl or .csv"),
        (["predict", "x", "--top-k", "0"], "0 is not in the range x>=1"),
        (["predict", "x", "--backend", "all", "--output", "x.csv"], "--backend all cannot be combined with --top-k"),
        (["predict", "x", "--pair-column", "second"], "--pair-column needs --file"),
        (["predict", "x", "--top-k", "1", "--all-scores"], "--top-k cannot be combined with --all-scores"),
        (["predict", "x", "--backend", "all", "--column", "text"], "--column needs --file"),
        *(
            ([name, "x", "--column", "review", *model], "--column needs --file")
            for name, model in [
                ("predict", []),
                ("fill-mask", ["--model", "m"]),
                ("tag", ["--model", "m"]),
                ("embed", []),
                ("tokenize", []),
            ]
        ),
        (["predict", "x", "--json", "--output", "x.csv"], "--json cannot be combined with --output x.csv; write"),
        (["embed", "x", "--output", "x.npy", "--json"], "--json cannot be combined with --output x.npy; write"),
        (["answer", "x", "--model", "m"], "Give either --context or --context-file"),
        (
            ["answer", "x", "--model", "m", "--context", "c", "--context-file", "f"],
            "Give either --context or --context-file",
        ),
        *(
            (["answer", "--file", "f.csv", "--model", "m", option, "x"], f"{option} needs a QUESTION; a file has a col")
            for option in ("--context", "--context-file")
        ),
        (["answer", "x", "--context", "c", "--model", "m", "--context-column", "c"], "--context-column needs --file"),
        (["choose", "x", "y", "--model", "m"], "Give a prompt and at least two choices"),
        (["choose", "x", "y", "z", "--model", "m", "--choice-column", "c"], "--choice-column needs --file"),
        (["embed", "x", "--pooling", "none", "--no-normalize"], "--no-normalize needs --pooling mean or cls"),
        (["embed", "x", "--output", "x.csv"], "x.csv must end in .npy or .jsonl"),
        (["embed", "x", "--pooling", "none", "--output", "x.npy"], "--pooling none returns a matrix"),
    ],
)
def test_wrong_usage_exits_with_2(arguments, message, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("Usage: distilbert")
    assert message in " ".join(error.split())


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("distilbert 0.")


def test_who_reads_no_further_is_no_error(tmp_path):
    file = write_file(tmp_path / "a.txt", "a line\n" * 20_000)  # far more than a pipe holds
    arguments = ["tokenize", "--json", "--file", str(file)]
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert json.loads(process.stdout.readline())["text"] == "a line"
        process.stdout.close()
        assert process.wait() == 0
        assert process.stderr.read() == b""


def test_an_interrupt_ends_quietly():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a job in the background of a shell ignores it
    with subprocess.Popen([*COMMAND, "tokenize", "--json"], **pipes, preexec_fn=heed) as process:
        process.stdin.write(b"x\n" * 3)  # and no end: it waits for more
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["text"] == "x"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == b""


# -- tokenize, help, completion ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("slow", [[], ["--slow"]], ids=["fast", "slow"])
def test_tokens(capsys, slow):
    assert main(["tokenize", "Füße!", "unaffable", *slow]) == 0
    assert [line.split("\t") for line in capsys.readouterr().out.splitlines()] == [
        ["1", "[CLS]", "101", "0", "0"],
        ["1", "fu", "11865", "0", "2"],
        ["1", "##ße", "17499", "2", "4"],
        ["1", "!", "999", "4", "5"],
        ["1", "[SEP]", "102", "0", "0"],
        ["2", "[CLS]", "101", "0", "0"],
        ["2", "una", "14477", "0", "3"],
        ["2", "##ffa", "20961", "3", "6"],
        ["2", "##ble", "3468", "6", "9"],
        ["2", "[SEP]", "102", "0", "0"],
    ]


def examples(name: str) -> list[list[str]]:
    """Return the words of each example at the end of a command's help, as it is printed."""
    lines = subprocess.run([*COMMAND, name, "--help"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [shlex.split(line) for line in lines[lines.index("  Example:") + 1 :]]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_ends_with_examples(name):
    assert examples(name)
    for words in examples(name):
        assert words[:2] == ["distilbert", name]
        COMMANDS[name].make_context(name, words[2:])  # raises for an unknown option


def test_the_commands_are_imported_when_they_are_called():
    code = "import sys; from distilbert_cli import main; main(['--help']); print(*sys.modules)"
    *shown, modules = fresh_python(code).splitlines()
    for name, command in COMMANDS.items():
        assert f"  {name:9}  {command.short_help}" in shown
    imported = set(modules.split())
    assert not imported & {"weight_conversion", *(f"distilbert_cli.{command.module}" for command in COMMANDS.values())}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_short_help_is_that_of_the_command(name):
    assert COMMANDS[name].get_short_help_str() == COMMANDS[name].load().get_short_help_str()


@pytest.mark.parametrize("name", COMMANDS)  # all of them load a checkpoint
def test_every_command_takes_a_revision(name):
    assert "revision" in [parameter.name for parameter in COMMANDS[name].load().params]


@pytest.mark.parametrize("name", ["tokenize", "info"])
def test_examples_that_need_no_backend(name, capsys):
    for words in examples(name):
        assert main(words[1:]) == 0
        assert capsys.readouterr().out


DOCUMENTED = [
    line
    for page in ("README.md", "docs/command-line.md")
    for line in re.findall(r"^(?:.*\| )?(distilbert .*)$", (ROOT / page).read_text(encoding="utf-8"), re.M)
    if not line.endswith("--help")
]


@pytest.mark.parametrize("line", DOCUMENTED)
def test_documented_command_lines_are_understood(line):
    _, name, *words = shlex.split(line)
    COMMANDS[name].make_context(name, words)  # raises for an unknown option


def complete(line: str) -> list[str]:
    """Return what a shell is told that the last word of a line may become."""
    words = shlex.split(line) + ([""] if line.endswith(" ") else [])
    asked = {"_DISTILBERT_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    shell = {**os.environ, **asked}
    return subprocess.run(COMMAND, env=shell, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("distilbert to", ["plain,tokenize"]),
        (
            "distilbert predict --backend ",
            [f"plain,{name}" for name in ("pt", "tf", "flax", "onnx", "openvino", "all")],
        ),
        ("distilbert embed --model ss", ["dir,ss", f"plain,{DEFAULT_MODEL}"]),
        ("distilbert info x", ["dir,x"]),
        ("distilbert tag --aggregation a", ["plain,average"]),
    ],
)
def test_completion(line, expected):
    assert complete(line) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell):
    asked = {**os.environ, "_DISTILBERT_COMPLETE": f"{shell}_source"}
    script = subprocess.run(COMMAND, env=asked, capture_output=True, text=True, check=True).stdout
    assert f"_DISTILBERT_COMPLETE={shell}_complete" in script


def test_completion_in_bash(tmp_path):
    program = tmp_path / "distilbert"
    program.write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
    program.chmod(0o755)
    script = """
        eval "$(_DISTILBERT_COMPLETE=bash_source distilbert)"
        complete_words() {
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
            _distilbert_completion distilbert
            echo "${COMPREPLY[@]}"
        }
        complete_words distilbert embed --model ss
        complete_words distilbert fill-mask --backend f
    """
    path = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    shell = subprocess.run(["bash", "-c", script], env=path, capture_output=True, text=True)
    assert shell.stdout.split() == [DEFAULT_MODEL, "flax"]


def test_help_imports_nothing_heavy():
    code = "import sys; from distilbert_cli import main; main(['predict', '--help']); print(*sys.modules)"
    loaded = set(fresh_python(code).splitlines()[-1].split())
    assert "distilbert_cli.predict" in loaded
    assert not loaded & {"rich", "huggingface_hub", "safetensors", "distilbert_core.pipelines", "torch", "keras", "jax"}


# -- info -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", Head)
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_info(tmp_path, head, dtype):
    config = small_config()
    arrays = save_random(tmp_path, config, head, dtype=dtype)
    found = describe(tmp_path)
    assert found["head"] == head.value  # from what is stored: this config.json names no architecture
    assert found["parameters"] == sum(array.size for array in arrays.values())
    assert found["dtypes"] == {np.dtype(dtype).name: found["parameters"]}
    assert found["weights"] == "safetensors"
    assert found["files"] == {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert found["size"] == sum(found["files"].values())
    assert DistilBertConfig(**found["config"]) == config
    assert [name for name, state in found["backends"].items() if state["loads"]] == available_backends()


def test_info_of_heads_with_the_same_parameters(tmp_path):
    """A sequence classifier with one label holds what a multiple-choice model holds; the configuration decides."""
    for head in (Head.SEQUENCE_CLASSIFICATION, Head.MULTIPLE_CHOICE):
        save_random(tmp_path, small_config(num_labels=1, architectures=[head.architecture]), head)
        assert describe(tmp_path)["head"] == head.value


def test_info_of_weights_that_do_not_load(tmp_path):
    config = small_config()
    arrays = save_random(tmp_path, config, Head.BASE)

    def weights_with(changes, dropped=()):
        kept = {name: array for name, array in {**arrays, **changes}.items() if name not in dropped}
        save_checkpoint(tmp_path, kept, {})
        found = describe(tmp_path)
        assert not any(state["loads"] for state in found["backends"].values())
        return found["weights"]

    name = "transformer.layer.1.ffn.lin1.weight"
    assert weights_with({}, [name]) == f"incomplete: {name}"
    assert weights_with({name: np.zeros((3, 5))}) == f"shapes differ from the configuration: {name}"
    assert weights_with({name: arrays[name].astype("int8")}) == "unsupported dtype: I8"
    (tmp_path / WEIGHTS_FILE).unlink()
    assert describe(tmp_path)["weights"] == "none"
    (tmp_path / "tf_model.h5").write_bytes(b"")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    found = describe(tmp_path)
    assert found["weights"] == "pytorch_model.bin, tf_model.h5: cannot be opened; distilbert convert shows the reason"
    assert found["dtypes"] == {}
    assert not any(state["loads"] for state in found["backends"].values())


def test_info_of_other_formats(tmp_path):
    config = small_config(architectures=["DistilBertModel"])
    save_random(tmp_path / "source", config, Head.BASE)
    convert(tmp_path / "source", tmp_path / "old", "msgpack")
    found = describe(tmp_path / "old")
    assert (found["weights"], found["head"]) == ("flax_model.msgpack", "Model")
    assert found["dtypes"] == describe(tmp_path / "source")["dtypes"]
    assert [name for name, state in found["backends"].items() if state["loads"]] == available_backends()


def test_info_of_entries_that_no_parameter_takes(tmp_path, capsys):
    config = small_config()
    arrays = save_random(tmp_path, config, Head.SEQUENCE_CLASSIFICATION)
    assert describe(tmp_path)["unused"] == []
    more = {"classifier.lora_A": np.zeros((2, 3)), "transformer.layer.9.ffn.lin1.bias": np.zeros(5)}
    save_checkpoint(tmp_path, {**arrays, **more}, {})
    assert describe(tmp_path)["unused"] == list(more)
    assert main(["info", str(tmp_path)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["unused", "entries", "classifier.lora_A,", "transformer.layer.9.ffn.lin1.bias"] in lines


def test_info_is_printed_without_any_backend(nothing_installed, capsys):
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "head                       ForSequenceClassification" in lines
    assert "parameters                 11,667,554" in lines
    assert '  PyTorch                  not installed: pip install "distilbert[pt]"' in lines
    assert "  dim                      224" in lines
    assert main(["info", DEFAULT_MODEL, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == describe(DEFAULT_MODEL)
