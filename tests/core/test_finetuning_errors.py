"""What `finetune` and `evaluate` find out before a model is loaded, and which labels it is loaded with."""

from __future__ import annotations

import pytest
from record_files import write_file

from distilbert_core import DEFAULT_MODEL, CheckpointError, Head, InputError
from distilbert_core.training import TASKS, evaluate, finetune


class LoadingError(Exception):
    """A model would be loaded now."""


@pytest.fixture
def load(monkeypatch):
    """Note the arguments with which a model would be loaded, and stop there."""
    calls = []

    def stand_in(backend, head, *args, **kwargs):
        calls.append((backend, head, kwargs))
        raise LoadingError

    monkeypatch.setattr("distilbert_core.training.finetuning.load_trainer", stand_in)
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
]


@pytest.mark.parametrize(("task", "content", "arguments", "labels"), RUNS)
def test_labels_of_the_model_to_train(tmp_path, load, task, content, arguments, labels):
    train = write_file(tmp_path / "train.tsv", content)
    with pytest.raises(LoadingError):
        finetune(task, train, model=DEFAULT_MODEL, output=tmp_path / "new", backend="pt", **arguments)
    ((backend, head, fields),) = load
    assert (backend, head) == ("pt", Head.SEQUENCE_CLASSIFICATION)
    assert fields == {
        "new_head": arguments.get("new_head", False),
        "problem_type": TASKS[task].problem_type,
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {name: i for i, name in enumerate(labels)},
    }


def test_a_number_has_no_names(tmp_path, load):
    train = write_file(tmp_path / "train.tsv", "text\tlabel\nx\t0.5\n")
    with pytest.raises(LoadingError):
        finetune("regression", train, model=DEFAULT_MODEL, output=tmp_path / "new", backend="pt", new_head=True)
    assert load[0][2] == {"problem_type": "regression", "num_labels": 1, "new_head": True}


def test_labels_of_a_head_that_the_checkpoint_lacks(tmp_path, load):
    train = write_file(tmp_path / "a.conll", "a B-x\nb O\n")
    with pytest.raises(LoadingError):
        finetune("token-classification", train, model=DEFAULT_MODEL, output=tmp_path / "new", backend="pt")
    assert load[0][1] is Head.TOKEN_CLASSIFICATION
    assert load[0][2]["id2label"] == {0: "O", 1: "B-x"}


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
        rf"a\.tsv has labels that are not among what sst2-tiny predicts: bad, fair, good; known are NEG{HINT}",
    ),
    ("sequence-classification", "a.tsv", "text\tlabel\nx\t2\n", {}, InputError, "predicts: .*2; known are NEGATIVE"),
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
        "columns must name some of text; label is none",
    ),
    ("masked-lm", "a.txt", "x\n", {"eval": "eval.txt"}, InputError, r"eval\.txt cannot be read"),
    ("masked-lm", "a.txt", "x\n", {"epochs": 3}, TypeError, r"Unknown keyword argument\(s\): epochs"),
    ("masked-lm", "a.txt", "x\n", {"resume": True}, CheckpointError, "new has no run to go on with: .*settings.json"),
]


@pytest.mark.parametrize(("task", "name", "content", "arguments", "error", "message"), NO_RUNS)
def test_what_is_found_before_a_model_is_loaded(tmp_path, load, task, name, content, arguments, error, message):
    train = write_file(tmp_path / name, content)
    with pytest.raises(error, match=message):
        finetune(task, train, **{"model": DEFAULT_MODEL, "output": tmp_path / "new", "backend": "pt"} | arguments)
    assert load == []
    assert [path.name for path in tmp_path.iterdir()] == [name]  # nothing was written


def test_labels_of_the_file_to_measure_on(tmp_path, load):
    files = [write_file(tmp_path / name, content) for name, content in (("a.tsv", CLASSES_FILE), ("b.tsv", OTHER_FILE))]
    with pytest.raises(InputError, match=r"b\.tsv: Label 'bad' is none of the model's 2 labels"):
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


@pytest.mark.parametrize("is_folder", [True, False])
def test_an_output_that_is_there_already(tmp_path, load, is_folder):
    train, output = write_file(tmp_path / "a.txt", "x\n"), tmp_path / "new"
    kept = output / "notes.txt" if is_folder else output
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine")
    with pytest.raises(InputError, match=r"new is there already; give another output, or resume=True \(--resume\)"):
        finetune("masked-lm", train, model=DEFAULT_MODEL, output=output, backend="pt")
    assert load == []
    assert kept.read_text() == "mine"


def test_measuring_begins_with_task_and_file(tmp_path):
    with pytest.raises(InputError, match=r"task must be one of sequence-classification, .*, got 'mlm'"):
        evaluate("mlm", tmp_path / "a.txt", model=DEFAULT_MODEL)
    with pytest.raises(InputError, match=r"a\.txt cannot be read"):
        evaluate("masked-lm", tmp_path / "a.txt", model=DEFAULT_MODEL, backend="pt")
