"""Errors of `finetune` and `evaluate` before a model is loaded, and the labels that it is loaded with."""

from __future__ import annotations

import json

import pytest

from distilbert_core import DEFAULT_MODEL, CheckpointError, Head, InputError
from distilbert_core.errors import InputWarning
from distilbert_core.training import TASKS, Recipe, evaluate, finetune
from support.fake_inference import FakeInference
from support.record_files import write_file


class LoadingError(Exception):
    """A model would be loaded now."""


@pytest.fixture
def load(monkeypatch):
    """Note the arguments with which a model would be loaded, and stop there."""
    calls = []

    def stand_in(backend, head, *args, **kwargs):
        calls.append((backend, head, kwargs))
        raise LoadingError

    monkeypatch.setattr("distilbert_core.training.experiment.load_engine", stand_in)
    return calls


CLASSES_FILE = "text\tlabel\nx\tNEGATIVE\ny\t1\n"
OTHER_FILE = "text\tlabel\nx\tbad\ny\tfair\nz\tgood\n"
LABELS = ["NEGATIVE", "POSITIVE"]
RUNS = [  # task, content of the file, arguments, the labels of the model that is loaded
    ("sequence-classification", CLASSES_FILE, {}, LABELS),
    ("sequence-classification", CLASSES_FILE, {"labels": LABELS}, LABELS),
    ("sequence-classification", OTHER_FILE, {"new_head": True}, ["bad", "fair", "good"]),
    (
        "sequence-classification",
        OTHER_FILE,
        {"new_head": True, "labels": ["good", "fair", "bad", "so-so"]},
        ["good", "fair", "bad", "so-so"],
    ),
    ("multi-label", "text\tlabels\nx\tNEGATIVE,1\n", {}, LABELS),
    ("multi-label", "text\tlabels\nx\t0,0\n", {}, LABELS),
    ("multi-label", "text\tlabels\nx\t0,0,1,0\n", {"new_head": True}, ["0", "1", "2", "3"]),
    ("multi-label", "text\tlabels\nx\t0,0,1\n", {"new_head": True, "labels": ["c", "b", "a"]}, ["c", "b", "a"]),
]


@pytest.mark.parametrize(("task", "content", "arguments", "labels"), RUNS)
def test_labels_of_the_model_to_train(tmp_path, load, task, content, arguments, labels):
    train = write_file(tmp_path / "train.tsv", content)
    with pytest.raises(LoadingError):
        finetune(task, train, model=DEFAULT_MODEL, output=tmp_path / "new", backend="pt", **arguments)
    ((backend, head, options),) = load
    assert (backend, head) == ("pt", Head.SEQUENCE_CLASSIFICATION)
    assert options["new_head"] is arguments.get("new_head", False)
    config = options["config"]
    assert (config.problem_type, config.num_labels) == (TASKS[task].problem_type, len(labels))
    assert config.id2label == dict(enumerate(labels))
    assert config.label2id == {name: i for i, name in enumerate(labels)}


def test_a_regression_has_no_label_names(tmp_path, load):
    train = write_file(tmp_path / "train.tsv", "text\tlabel\nx\t0.5\n")
    with pytest.raises(LoadingError):
        finetune("regression", train, model=DEFAULT_MODEL, output=tmp_path / "new", backend="pt", new_head=True)
    config = load[0][2]["config"]
    assert (config.problem_type, config.num_labels, load[0][2]["new_head"]) == ("regression", 1, True)


def test_labels_of_a_head_that_the_checkpoint_lacks(tmp_path, load):
    train = write_file(tmp_path / "a.conll", "a B-x\nb O\n")
    with pytest.raises(LoadingError):
        finetune("token-classification", train, model=DEFAULT_MODEL, output=tmp_path / "new", backend="pt")
    assert load[0][1] is Head.TOKEN_CLASSIFICATION
    assert load[0][2]["config"].id2label == {0: "O", 1: "B-x"}


CLASSES = "sequence-classification"
HINT = r".*new_head=True \(--new-head\)"
NO_RUNS = [  # task, name and content of the file, arguments, error, message
    (
        "classification",
        "a.tsv",
        CLASSES_FILE,
        {},
        InputError,
        "task must be one of sequence-classification, .*, got 'classi",
    ),
    ("regression", "a.tsv", CLASSES_FILE, {}, InputError, r"a\.tsv: record 1: label must be a number, got 'NEGATIVE'"),
    (
        "regression",
        "a.tsv",
        "text\tlabel\nx\t1\n",
        {},
        InputError,
        f"sst2-tiny predicts NEGATIVE, POSITIVE, not one number{HINT}",
    ),
    (
        "sequence-classification",
        "a.tsv",
        OTHER_FILE,
        {},
        InputError,
        rf"a\.tsv has labels that sst2-tiny does not predict: bad, fair, good; known are NEG{HINT}",
    ),
    (
        "sequence-classification",
        "a.tsv",
        "text\tlabel\nx\t2\n",
        {},
        InputError,
        "does not predict: .*2; known are NEGATIVE",
    ),
    (
        "sequence-classification",
        "a.tsv",
        CLASSES_FILE,
        {"labels": ["POSITIVE", "NEGATIVE"]},
        InputError,
        f"labels are POSITIVE, NEGATIVE, but sst2-tiny predicts NEGATIVE, POSITIVE{HINT}",
    ),
    (
        "sequence-classification",
        "a.tsv",
        OTHER_FILE,
        {"labels": ["bad", "good"], "new_head": True},
        InputError,
        r"a\.tsv has labels that are not among the given: fair; known are bad, good",
    ),
    (
        "sequence-classification",
        "a.tsv",
        CLASSES_FILE,
        {"labels": ["a", "b", "a"], "new_head": True},
        InputError,
        "labels must be different names, got a, b, a",
    ),
    (
        "multi-label",
        "a.tsv",
        "text\tlabels\nx\t0,0,1\n",
        {"labels": ["a", "b", "c", "d"], "new_head": True},
        InputError,
        r"a\.tsv: labels are vectors of 3 numbers, but the model has 4 labels: 'a, b, c, d'",
    ),
    (
        "multi-label",
        "a.tsv",
        "text\tlabels\nx\t0,0,1\n",
        {},
        InputError,
        rf"a\.tsv has labels that sst2-tiny does not predict: 2; known are NEG{HINT}",
    ),
    (
        "multi-label",
        "a.tsv",
        "text\tlabels\nx\tNEGATIVE,0\n",
        {},
        InputError,
        r"a\.tsv: labels must not repeat, got \['NEGATIVE', '0'\]: '0' is given twice",
    ),
    *(
        (task, "a.tsv", content, {"recipe": Recipe(class_weights=weights)}, InputError, message)
        for task, content, weights, message in [
            (CLASSES, CLASSES_FILE, {"NEGATIVE": 1, "bad": 2}, "class_weights has unknown labels: bad; known are NEG"),
            (CLASSES, CLASSES_FILE, {"NEGATIVE": 1}, "for each of NEGATIVE, POSITIVE; POSITIVE has none"),
            (
                CLASSES,
                CLASSES_FILE,
                {"NEGATIVE": 1, "1": 2, "0": 3},
                "NEGATIVE, POSITIVE; one is given by name and by in",
            ),
            (CLASSES, "text\tlabel\nx\t1\n", "balanced", "='balanced' needs rows of every label; no row has NEG"),
            (
                "multi-label",
                "text\tlabels\nx\t1\n",
                "balanced",
                "='balanced' needs rows of every label; no row has",
            ),
            ("masked-lm", "text\nx\n", "balanced", "class_weights must be left out: masked-lm has no names of labels"),
        ]
    ),
    (
        CLASSES,
        "a.tsv",
        "text\tlabel\tweight\nx\t0\t0\ny\t1\t0.0\n",
        {},
        InputError,
        "weight must be above 0 in at least one row, got only zeros",
    ),
    (
        CLASSES,
        "a.tsv",
        CLASSES_FILE,
        {"recipe": Recipe(max_length=513)},
        InputError,
        "max_length must be at most 512, the limit of the model, got 513",
    ),
    (
        "masked-lm",
        "a.txt",
        "x\n",
        {"labels": ["a"]},
        InputError,
        "labels must be left out: masked-lm has no names of labels",
    ),
    ("masked-lm", "a.txt", "\n\u2603\n", {}, InputError, r"a\.txt holds no token to learn from"),
    ("masked-lm", "a.txt", "x\n", {"model": "./missing"}, CheckpointError, "missing"),
    (
        "masked-lm",
        "a.txt",
        "x\n",
        {"columns": {"label": "y"}},
        InputError,
        "columns must name some of text, weight; unknown: label",
    ),
    ("masked-lm", "a.txt", "x\n", {"eval": "eval.txt"}, InputError, r"eval\.txt cannot be read"),
    (
        "masked-lm",
        "a.txt",
        "x\n",
        {"recipe": Recipe(patience=2)},
        InputError,
        r"patience counts evaluations: give eval \(--eval\) too, or leave it out",
    ),
    (
        "masked-lm",
        "a.txt",
        "x\n",
        {"epochs": 3},
        TypeError,
        r"Unknown keyword argument\(s\): epochs. In recipe=Recipe\(...\) give epochs.",
    ),
    (
        "text-classification",
        "a.tsv",
        CLASSES_FILE,
        {},
        InputError,
        "got 'text-c.* Did you mean 'sequence-classification'",
    ),
    (
        CLASSES,
        "a.tsv",
        CLASSES_FILE,
        {"backend": "torch"},
        InputError,
        "backend must be one of pt, tf, flax, got 'torch'",
    ),
    (CLASSES, "a.tsv", CLASSES_FILE, {"labels": "a,b"}, InputError, "labels must be a list of names, got 'a,b'"),
    (CLASSES, "a.tsv", CLASSES_FILE, {"recipe": {"epochs": 3}}, InputError, "recipe must be a Recipe, such as Recipe"),
    (
        CLASSES,
        "a.tsv",
        "sentence\tlabel\nx\t0\n",
        {"columns": {"sentence": "text"}},
        InputError,
        r"unknown: sentence. The task's name comes first: \{'text': 'sentence'\}",
    ),
    (
        CLASSES,
        "a.tsv",
        CLASSES_FILE,
        {"columns": ["text"]},
        InputError,
        r"columns must be a dict, such as \{'text': 'bo",
    ),
    (
        CLASSES,
        "a.tsv",
        CLASSES_FILE,
        {"columns": {"texts": "text_x"}},
        InputError,
        "unknown: texts. Did you mean 'text'",
    ),
    (
        CLASSES,
        "a.tsv",
        "sentences\tlabel\nx\t0\n",
        {"columns": {"text": "sentence"}},
        InputError,
        r"no column 'sentence'; .* Say which it is: columns=\{'text': 'sentences'\} \(--column text=sentences\)",
    ),
    ("masked-lm", "a.txt", "x\n", {"resume": True}, CheckpointError, "new has no run to continue: .*settings.json"),
]


@pytest.mark.parametrize(("task", "name", "content", "arguments", "error", "message"), NO_RUNS)
def test_what_is_found_before_a_model_is_loaded(tmp_path, load, task, name, content, arguments, error, message):
    train = write_file(tmp_path / name, content)
    with pytest.raises(error, match=message):
        finetune(task, train, **{"model": DEFAULT_MODEL, "output": tmp_path / "new", "backend": "pt"} | arguments)
    assert load == []
    assert [path.name for path in tmp_path.iterdir()] == [name]  # nothing was written


CONTEXT = "Ann lives in a wooden house at the harbour of Oslo, where it rains " * 9
LONG = [  # task, name and content of the file, what is said of its rows
    (
        CLASSES,
        "a.tsv",
        f"text\tlabel\n{'a ' * 15}\t0\nb\t1\n{'c ' * 14}\t1\n",
        "1 of 3 rows are longer than max_length=16",
    ),
    ("token-classification", "a.conll", "a O\n" * 15 + "\nb O\n", "1 of 2 rows are longer than max_length=16"),
    ("masked-lm", "a.txt", f"{'a ' * 15}\n\n{'b ' * 99}\nc\n", "2 of 4 rows are longer than max_length=16"),
    (
        "multiple-choice",
        "a.jsonl",
        json.dumps({"prompt": "a", "choices": ["b", "c " * 14], "label": 0}),
        "1 of 1 rows are longer than max_length=16",
    ),
    (
        "question-answering",
        "a.jsonl",
        "\n".join(
            json.dumps({"question": "Who?", "context": CONTEXT, "answers": {"text": [text], "answer_start": [0]}})
            for text in ("Ann", CONTEXT[:60])
        ),
        "1 of 2 rows have an answer that does not fit into a window of 16 tokens and is not learned",
    ),
]


@pytest.mark.parametrize(("task", "name", "content", "said"), LONG)
def test_rows_with_a_part_without_effect(tmp_path, load, task, name, content, said):
    file, recipe = write_file(tmp_path / name, content), Recipe(max_length=16)
    match = f"{name}: {said}.*Give a larger max_length"
    with pytest.raises(LoadingError), pytest.warns(InputWarning, match=match) as warned:
        finetune(task, file, eval=file, model=DEFAULT_MODEL, output=tmp_path / "new", backend="pt", recipe=recipe)
    assert [warning.filename for warning in warned] == [__file__] * 2  # where finetune is called


def test_labels_of_the_file_to_measure_on(tmp_path, load):
    files = [write_file(tmp_path / name, content) for name, content in (("a.tsv", CLASSES_FILE), ("b.tsv", OTHER_FILE))]
    with pytest.raises(InputError, match=r"b\.tsv: Label 'bad' is not one of the model's 2 labels"):
        finetune(
            "sequence-classification",
            files[0],
            eval=files[1],
            model=DEFAULT_MODEL,
            output=tmp_path / "new",
            backend="pt",
        )
    assert load == []
    assert not (tmp_path / "new").exists()


def test_weights_are_for_training(tmp_path, load):
    train = write_file(tmp_path / "a.tsv", "text\tlabel\tn\nx\t0\t1\ny\t1\t2\n")
    measured = write_file(tmp_path / "b.tsv", CLASSES_FILE)
    options = {"model": DEFAULT_MODEL, "backend": "pt", "columns": {"weight": "n"}}
    with pytest.raises(LoadingError):  # the file to measure on needs none
        finetune(CLASSES, train, eval=measured, output=tmp_path / "new", **options)
    with pytest.raises(InputError, match="columns must not name weight: metrics count all rows alike"):
        evaluate(CLASSES, train, **options)


@pytest.mark.parametrize("is_folder", [True, False])
def test_an_output_that_is_there_already(tmp_path, load, is_folder):
    train, output = write_file(tmp_path / "a.txt", "x\n"), tmp_path / "new"
    kept = output / "notes.txt" if is_folder else output
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine")
    with pytest.raises(InputError, match=r"new exists already; give another output, or resume=True \(--resume\)"):
        finetune("masked-lm", train, model=DEFAULT_MODEL, output=output, backend="pt")
    assert load == []
    assert kept.read_text() == "mine"


def test_a_head_of_another_task_is_not_measured():
    """That of the embedded model has parameters of the same names and sizes."""
    rows = {"tokens": [["a"]], "labels": [["NEGATIVE"]]}
    with pytest.raises(
        CheckpointError, match="sst2-tiny is a DistilBertForSequenceClassification, and token-classific"
    ):
        evaluate("token-classification", rows, model=DEFAULT_MODEL, backend="pt")


def test_measuring_begins_with_task_and_file(tmp_path):
    with pytest.raises(InputError, match=r"task must be one of sequence-classification, .*, got 'mlm'"):
        evaluate("mlm", tmp_path / "a.txt", model=DEFAULT_MODEL)
    with pytest.raises(InputError, match=r"a\.txt cannot be read"):
        evaluate("masked-lm", tmp_path / "a.txt", model=DEFAULT_MODEL, backend="pt")


def test_a_loaded_model_has_its_backend_and_device() -> None:
    rows, model = [{"text": "a", "label": "x"}], FakeInference(Head.SEQUENCE_CLASSIFICATION)
    with pytest.raises(InputError, match="inference is a loaded model: backend, device must be left out"):
        evaluate(CLASSES, rows, model=DEFAULT_MODEL, inference=model, backend="pt", device="cpu")
