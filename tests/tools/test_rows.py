"""Rows in pandas, datasets and Arrow train to the same bits as rows of a file."""

from __future__ import annotations

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from distilbert_core import DEFAULT_MODEL, DistilBertConfig, InputError
from distilbert_core.training import TASKS, Recipe, evaluate, finetune

CLASSES = "sequence-classification"
COLUMNS = {"text": ["a fine film", "dull", "good fun", "bad"], "label": [1, 0, 1, 0], "n": [0.5, None, 1.0, 2.0]}
NAMES = ["negative", "positive"]  # the names of the embedded model are in upper case
ROWS = [{"text": text, "label": str(label)} for text, label in zip(COLUMNS["text"], COLUMNS["label"], strict=True)]
RECIPE = Recipe(max_steps=2, batch_size=2, learning_rate=1e-3)


def dataset(names=NAMES):
    features = datasets.Features(
        text=datasets.Value("string"), label=datasets.ClassLabel(names=names), n=datasets.Value("float32")
    )
    return datasets.Dataset.from_dict(COLUMNS, features=features)


FORMS = {
    "DataFrame": lambda: pd.DataFrame(COLUMNS),
    "categories": lambda: pd.DataFrame(COLUMNS).astype({"label": "category"}),
    "nullable integers": lambda: pd.DataFrame(COLUMNS).convert_dtypes(),
    "Arrow": lambda: pa.table(COLUMNS),
    "Dataset": lambda: datasets.Dataset.from_dict(COLUMNS),
    "tensors": lambda: datasets.Dataset.from_dict(COLUMNS).with_format("torch"),
    "arrays": lambda: datasets.Dataset.from_dict(COLUMNS).with_format("numpy"),
    "streamed": lambda: datasets.Dataset.from_dict(COLUMNS).to_iterable_dataset(),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_rows(form):
    assert TASKS[CLASSES].read(FORMS[form]()) == ROWS


def test_missing_values():
    frame = pd.DataFrame({"text": ["a", None], "label": [1, 0]})
    with pytest.raises(InputError, match="rows: record 2: text must be a text, got None"):
        TASKS[CLASSES].read(frame)
    with pytest.raises(InputError, match=r"rows: record 2: label must be .* got None"):
        TASKS[CLASSES].read(pd.DataFrame({"text": ["a", "b"], "label": [1, None]}).astype({"label": "Int64"}))


def test_a_data_set_by_its_name(tmp_path, monkeypatch):
    """The library reads a folder in the working directory like a data set of the Hub."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews").mkdir()
    pd.DataFrame(COLUMNS).to_json(tmp_path / "reviews/train.jsonl", orient="records", lines=True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    assert TASKS[CLASSES].read("reviews:train") == ROWS
    assert TASKS[CLASSES].read("reviews:train[:2]") == ROWS[:2]
    with pytest.raises(InputError, match=r"the data set reviews:test cannot be loaded; its form is .*Unknown split"):
        TASKS[CLASSES].read("reviews:test")


def train(rows, folder, **options):
    options = {"model": DEFAULT_MODEL, "backend": "pt", "recipe": RECIPE, "progress": False, **options}
    finetune(CLASSES, rows, output=folder, **options)
    return (folder / "model.safetensors").read_bytes()


def test_a_dataset_is_learned_and_measured(tmp_path):
    """Its class names equal those of the embedded model except for their case."""
    assert train(dataset(), tmp_path / "dataset") == train(ROWS, tmp_path / "rows")
    assert evaluate(CLASSES, dataset(), model=DEFAULT_MODEL, backend="pt")["accuracy"] == 1.0
    turned = dataset().align_labels_with_mapping({"positive": 0, "negative": 1}, "label")
    assert evaluate(CLASSES, turned, model=DEFAULT_MODEL, backend="pt")["accuracy"] == 1.0
    both = datasets.DatasetDict(train=dataset(), test=dataset())
    with pytest.raises(InputError, match=r"train has the splits 'train', 'test'; give one of them: train=data"):
        train(both, tmp_path / "both")


def test_a_new_head_has_the_classes_of_a_dataset(tmp_path):
    train(dataset(["so-so", "excellent", "never seen"]), tmp_path / "new", new_head=True)
    assert DistilBertConfig.from_pretrained(tmp_path / "new").id2label == {0: "so-so", 1: "excellent", 2: "never seen"}


def test_words_answers_and_choices():
    tags = datasets.List(datasets.ClassLabel(names=["O", "B-a"]))
    features = datasets.Features(words=datasets.List(datasets.Value("string")), tags=tags)
    words = datasets.Dataset.from_dict({"words": [["x", "y"]], "tags": [[0, 1]]}, features=features)
    names = {"tokens": "words", "labels": "tags"}
    assert TASKS["token-classification"].read(words, names) == [{"tokens": ["x", "y"], "labels": ["O", "B-a"]}]

    asked = {"question": "Who?", "context": "Ann in Oslo"}
    rows = [
        {**asked, "answers": {"text": ["Ann"], "answer_start": [0]}},
        {**asked, "answers": {"text": [], "answer_start": []}},
    ]
    assert TASKS["question-answering"].read(datasets.Dataset.from_list(rows)) == rows
    frame = pd.DataFrame({"prompt": ["a"], "choices": [np.array(["x", "y"])], "label": [1]})
    assert TASKS["multiple-choice"].read(frame) == [{"prompt": "a", "choices": ["x", "y"], "label": 1}]
