"""The command on each backend prints and writes the answers of the pipelines."""

from __future__ import annotations

import csv
import io
import json
import shlex

import click
import numpy as np
import pytest

from distilbert_cli import main
from distilbert_cli.commands import COMMANDS
from distilbert_core import BACKENDS, DEFAULT_MODEL
from distilbert_core.pipelines import pipeline
from support.pipelines import write_checkpoint

CLEAR_CASES = {
    "I love using DistilBERT!": "POSITIVE",
    "A moving, funny and wonderfully acted film.": "POSITIVE",
    "This is the worst movie I have ever seen.": "NEGATIVE",
    "A dull, lifeless mess that wastes everyone's time.": "NEGATIVE",
}

# Command -> the checkpoint that its examples call ./my-model. The others use the embedded model.
MY_MODEL = {
    "zero-shot": "inference",
    "fill-mask": "masked_lm",
    "tag": "entities",
    "answer": "answers",
    "choose": "choices",
    "embed": "vectors",
}

NAMES = "Zoë Ångström met José in São Paulo; 東京 was too far 😀, they said…"
STORY = "Zoë wrote it in 東京. " * 40
MASKED = ["It was [MASK].", "[MASK] and [MASK]."]
ENDINGS = ["it rained.", "he wanted to see the garden."]
VECTOR = {"pooling": "mean", "normalize": True}


def by_mask(*masks):
    return [{"mask": number, **candidate} for number, mask in enumerate(masks, 1) for candidate in mask]


def by_label(result):
    return [{"label": label, "score": score} for label, score in zip(result["labels"], result["scores"], strict=True)]


# Command line without --model, --backend and --json; task, inputs and options of the pipeline; the record it makes.
CASES = [
    *(
        (
            ["zero-shot", NAMES, "a", "--labels", "far, dull", *words],
            ("zero-shot-classification", [NAMES, "a"], {"candidate_labels": ["far", "dull"], **options}),
            lambda text, got: {"text": text, "predictions": by_label(got)},
        )
        for words, options in [
            ([], {}),
            (["--multi-label", "--template", "It is {}."], {"multi_label": True, "hypothesis_template": "It is {}."}),
        ]
    ),
    (
        ["fill-mask", *MASKED, "--top-k", "3"],
        ("fill-mask", MASKED, {"top_k": 3}),
        lambda text, got: {"text": text, "predictions": by_mask(got) if text == MASKED[0] else by_mask(*got)},
    ),
    (
        ["fill-mask", MASKED[0], "--targets", "good, bad"],
        ("fill-mask", MASKED[:1], {"targets": ["good", "bad"]}),
        lambda text, got: {"text": text, "predictions": by_mask(got)},
    ),
    *(
        (
            ["tag", NAMES, "Nobody.", "--aggregation", name],
            ("token-classification", [NAMES, "Nobody."], {"aggregation_strategy": name}),
            lambda text, got: {"text": text, "entities": got},
        )
        for name in ("none", "simple", "first", "average", "max")
    ),
    (
        ["answer", "Who wrote it?", "Where?", "--context", STORY],
        ("question-answering", [{"question": q, "context": STORY} for q in ("Who wrote it?", "Where?")], {}),
        lambda asked, got: {"question": asked["question"], "answers": [got]},
    ),
    (
        ["answer", "Who wrote it?", "--context", STORY, "--top-k", "4", "--impossible", "--max-answer-len", "3"],
        (
            "question-answering",
            [{"question": "Who wrote it?", "context": STORY}],
            {"top_k": 4, "handle_impossible_answer": True, "max_answer_len": 3},
        ),
        lambda asked, got: {"question": asked["question"], "answers": got},
    ),
    (
        ["choose", "He went out because", *ENDINGS],
        ("multiple-choice", [{"prompt": "He went out because", "choices": ENDINGS}], {}),
        lambda asked, got: {**asked, **got},
    ),
    *(
        (
            ["embed", NAMES, "a", *words],
            ("feature-extraction", [NAMES, "a"], options),
            lambda text, got: {"text": text, "embedding": got[0] if isinstance(got, list) else got.tolist()},
        )
        for words, options in [
            ([], VECTOR),
            (["--pooling", "cls"], {**VECTOR, "pooling": "cls"}),
            (["--no-normalize"], {**VECTOR, "normalize": False}),
            (["--pooling", "none"], {"pooling": None}),
        ]
    ),
]


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    return tmp_path_factory.mktemp("command-line")


@pytest.fixture
def run(framework, capsys, checkpoints):
    """Run a command on the backend and return the lines that it prints."""

    def run(name, *words):
        model = ["--model", str(write_checkpoint(MY_MODEL[name], checkpoints))] if name in MY_MODEL else []
        assert main([name, *words, "--backend", framework.name, *model]) == 0
        return capsys.readouterr().out.splitlines()

    return run


@pytest.mark.parametrize(
    ("words", "asked", "record"), CASES, ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else ""
)
def test_json_holds_the_answers_of_the_pipeline(framework, run, checkpoints, words, asked, record):
    task, inputs, options = asked
    folder = write_checkpoint(MY_MODEL[words[0]], checkpoints) if words[0] in MY_MODEL else DEFAULT_MODEL
    answers = pipeline(task, folder, framework=framework.name).stream(inputs, **options)
    expected = [record(value, answer) for value, answer in zip(inputs, answers, strict=True)]
    assert [json.loads(line) for line in run(*words, "--json")] == expected


def test_predictions(run, framework):
    lines = [json.loads(line) for line in run("predict", *CLEAR_CASES, "--json")]
    pipe = pipeline("text-classification", framework=framework.name)
    best = list(pipe.stream(CLEAR_CASES))
    logits = pipe.stream(CLEAR_CASES, function_to_apply="none", top_k=None)
    for line, text, answer, by_logit in zip(lines, CLEAR_CASES, best, logits, strict=True):
        scores = {row["label"]: row["score"] for row in by_logit}
        assert line == {"text": text, **answer, "logits": [scores["NEGATIVE"], scores["POSITIVE"]]}


def test_predictions_of_a_file(run, tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(CLEAR_CASES) + "\n", encoding="utf-8")
    lines = [line.split("\t") for line in run("predict", "--file", str(file))]
    assert [line[0] for line in lines] == list(CLEAR_CASES.values())
    assert [line[2] for line in lines] == list(CLEAR_CASES)
    assert all(0.5 < float(line[1]) <= 1 for line in lines)


def test_predictions_of_standard_input(run, monkeypatch):
    lines = io.BytesIO("".join(f"{text}\n" for text in CLEAR_CASES).encode())
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(lines))
    assert [line.split("\t")[0] for line in run("predict")] == list(CLEAR_CASES.values())


def test_questions_of_a_table(run, tmp_path):
    rows = [{"id": "1", "ask": "Who wrote it?", "story": STORY}, {"id": "2", "ask": "Where?", "story": NAMES}]
    with (tmp_path / "questions.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    columns = ["--question-column", "ask", "--context-column", "story"]
    output = tmp_path / "answers.jsonl"
    assert run("answer", "--file", str(tmp_path / "questions.csv"), *columns, "--output", str(output)) == []
    lines = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    for line, row in zip(lines, rows, strict=True):
        (expected,) = run("answer", row["ask"], "--context", row["story"], "--json")
        (expected,), (got,) = json.loads(expected)["answers"], line["answers"]
        assert line["question"] == row["ask"]
        # A batch of other rows rounds otherwise; measured: at most 1.4e-7.
        assert abs(got.pop("score") - expected.pop("score")) <= 1e-6
        assert got == expected


def test_choices_of_a_table(run, tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"prompt": "He went out because", "choices": ENDINGS}) + "\n")
    (tmp_path / "a.tsv").write_text(f"start\tend0\tend1\nHe went out because\t{ENDINGS[0]}\t{ENDINGS[1]}\n")
    columns = ["--prompt-column", "start", "--choice-column", "end0", "--choice-column", "end1"]
    expected = run("choose", "He went out because", *ENDINGS)
    assert run("choose", "--file", str(tmp_path / "a.jsonl")) == expected
    assert run("choose", "--file", str(tmp_path / "a.tsv"), *columns) == expected


def test_vectors_in_a_file(run, tmp_path):
    run("embed", *CLEAR_CASES, "--output", str(tmp_path / "vectors.npy"))
    vectors = np.load(tmp_path / "vectors.npy")
    assert vectors.dtype == np.float32
    lines = run("embed", *CLEAR_CASES, "--json")
    np.testing.assert_array_equal(vectors, np.array([json.loads(line)["embedding"] for line in lines], np.float32))


@pytest.mark.parametrize("name", ["predict", "zero-shot", "fill-mask", "tag", "answer", "embed", "choose"])
def test_examples_of_the_help_run_as_printed(name, framework, capsys, monkeypatch, tmp_path, checkpoints):
    """In a folder where ./my-model has the head that the command needs; what they leave out is the backend."""
    monkeypatch.chdir(tmp_path)
    if name in MY_MODEL:
        (tmp_path / "my-model").symlink_to(write_checkpoint(MY_MODEL[name], checkpoints))
    monkeypatch.setattr("distilbert_core.model.backends.available_backends", lambda: [framework.name])
    monkeypatch.setattr("distilbert_cli.predict.BACKENDS", {framework.name: BACKENDS[framework.name]})
    command = COMMANDS[name].load()
    help_text = command.get_help(click.Context(command, info_name=f"distilbert {name}"))
    for line in help_text.split("Example:\n")[1].splitlines():
        words = shlex.split(line)
        assert words[0] == "distilbert"
        assert main(words[1:]) == 0
        assert capsys.readouterr().out or "--output" in words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict", "x", "--dtype", "int8"], "dtype must be 'auto' or one of"),
        (["predict", "x", "--device", "abacus:0"], "--device abacus:0 cannot be used: "),
        (["fill-mask", "no mask", "--model", "masked_lm"], "'no mask' has no [MASK]"),
        (["zero-shot", "x", "--labels", ",", "--model", "inference"], "candidate_labels must be a list of texts"),
        (["choose", "x", "y", "z", "--model", "masked_lm"], "multiple-choice cannot use: it needs a DistilBertForMu"),
    ],
)
def test_errors_are_one_line(framework, capsys, monkeypatch, checkpoints, words, message):
    monkeypatch.chdir(checkpoints)
    write_checkpoint("masked_lm", checkpoints)
    assert main([*words, "--backend", framework.name]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("distilbert: error: ")
    assert message in captured.err
    assert captured.err.count("\n") == 1
