"""Each task from features to the arguments of the model: labels, weights, padding, hidden words."""

from __future__ import annotations

import numpy as np
import pytest

from distilbert_core import IGNORE_INDEX, DistilBertConfig, InputError
from distilbert_core.training import labels
from support.tasks import CONFIG, TOKENIZER, asked, ids, letters, make


def padded_ids(length: int, *rows: str):
    """Return (input_ids, attention_mask) of rows of tokens, filled up."""
    found = [ids(row) for row in rows]
    return [row + [0] * (length - len(row)) for row in found], [
        [1] * len(row) + [0] * (length - len(row)) for row in found
    ]


AB, ABC = "[CLS] a b [SEP]", "[CLS] a b c [SEP]"
BATCHES = [  # task, labels, rows, tokens of the batch, arguments beside these
    (
        "sequence-classification",
        ["0", "1", "2"],
        [{"text": "a b", "label": "2"}, {"text": "a b c", "label": "0"}],
        {"labels": np.array([2, 0], np.int64)},
    ),
    (
        "regression",
        ["LABEL_0"],
        [{"text": "a b", "label": 0.5}, {"text": "a b c", "label": -2.0}],
        {"labels": np.array([0.5, -2.0], np.float64)},
    ),
    (
        "multi-label",
        ["0", "1"],
        [{"text": "a b", "labels": ["1", "0"]}, {"text": "a b c", "labels": []}],
        {"labels": np.array([[1, 1], [0, 0]], np.float32)},
    ),
    (
        "token-classification",
        ["0", "1"],
        [{"tokens": ["a", "b"], "labels": ["1", "0"]}, {"tokens": ["a", "b", "c"], "labels": ["0", "0", "1"]}],
        {"labels": np.array([[-100, 1, 0, -100, -100], [-100, 0, 0, 1, -100]], np.int64)},
    ),
]


@pytest.mark.parametrize(("task", "labels", "rows", "expected"), BATCHES)
def test_batches(task, labels, rows, expected):
    task = make(task, labels)
    batch = task.batch(task.encode(rows), [0, 1])
    input_ids, mask = padded_ids(5, AB, ABC)
    assert list(batch) == ["input_ids", "attention_mask", *expected]
    assert (batch["input_ids"].tolist(), batch["attention_mask"].tolist()) == (input_ids, mask)
    for name, array in expected.items():
        np.testing.assert_array_equal(batch[name], array, strict=True)


WEIGHTED = [  # task, labels, class_weights, rows, sample_weight
    (
        "sequence-classification",
        ["x", "y"],
        {"x": 1, "y": 3},
        [{"text": "a", "label": "y"}, {"text": "b", "label": "x"}],
        [3.0, 1.0],
    ),
    (
        "sequence-classification",
        ["x", "y"],
        {"1": 3, "x": 2},
        [{"text": "a", "label": "y", "weight": 0.5}, {"text": "b", "label": "x", "weight": 4.0}],
        [1.5, 8.0],
    ),
    (
        "sequence-classification",
        ["x", "y"],
        "balanced",  # 4 rows, of which 1 and 3
        [{"text": "a", "label": label} for label in ("x", "y", "1", "y")],
        [2.0, 2 / 3, 2 / 3, 2 / 3],
    ),
    (
        "multi-label",
        ["x", "y"],
        {"x": 1, "y": 3},
        [{"text": "a", "labels": ["y"], "weight": 2.0}, {"text": "b", "labels": [], "weight": 1.0}],
        [[2.0, 6.0], [1.0, 3.0]],
    ),
    (
        "multi-label",
        ["x", "y"],
        "balanced",  # 4 labels, of which 3 and 1
        [{"text": "a", "labels": labels} for labels in (["x", "y"], [], ["x"], ["x"])],
        [[2 / 3, 2.0]] * 4,
    ),
    (
        "token-classification",
        ["O", "x"],
        "balanced",  # 4 words, of which 3 and 1
        [{"tokens": ["a", "unaffable"], "labels": ["x", "O"]}, {"tokens": ["b", "c"], "labels": ["O", "O"]}],
        [[2 / 3, 2.0, 2 / 3, 2 / 3, 2 / 3, 2 / 3], [2 / 3] * 6],
    ),
    ("regression", ["LABEL_0"], None, [{"text": "a", "label": 1.0, "weight": 0.25}], [0.25]),
    ("masked-lm", None, None, [{"text": "a", "weight": 2.0}, {"text": "b", "weight": 0.0}], [2.0, 0.0]),
]
STARS = {0: "poor", 1: "poor", 2: "fair", 4: "good"}  # two classes of one name, and one without


@pytest.mark.filterwarnings("ignore::distilbert_core.errors.ConfigWarning")
def test_labels_of_a_model_whose_names_repeat_or_are_missing():
    config = DistilBertConfig.from_dict({"id2label": STARS, "label2id": {"LABEL_0": 0}})
    assert labels.label_names(config) == ["poor", "poor", "fair", "LABEL_3"]
    assert [labels.label_id(config, name) for name in ("poor", "fair", "LABEL_3", "1")] == [0, 2, 3, 1]
    with pytest.raises(InputError, match="'LABEL_0' is not one of the model's 4 labels: 'poor', 'poor', 'fair'"):
        labels.label_id(config, "LABEL_0")
    weights = labels.class_weights({"poor": 2, "fair": 1, "3": 5}, config, np.ones(4))
    assert weights.tolist() == [2, 2, 1, 5]
    for given, problem in (
        ({"poor": 2, "1": 3, "fair": 1, "3": 5}, "one is given by name and by index"),
        ({"poor": 2, "fair": 1}, "LABEL_3 has none"),
    ):
        with pytest.raises(InputError, match=f"one weight for each of poor, poor, fair, LABEL_3; {problem}"):
            labels.class_weights(given, config, np.ones(4))


@pytest.mark.parametrize(("task", "labels", "given", "rows", "expected"), WEIGHTED)
def test_weights_of_rows_and_classes(task, labels, given, rows, expected):
    task = make(task, labels, class_weights=given)
    features = task.features(rows)
    task.fit(features)
    batch = task.training_batch(features, [0, 1])
    weights, labels = batch.pop("sample_weight"), batch["labels"]
    assert weights.shape == np.shape(expected)
    counted = labels != IGNORE_INDEX if weights.shape == labels.shape else slice(None)
    np.testing.assert_allclose(weights[counted], np.array(expected)[counted], rtol=1e-15)
    plain = task.batch(features, [0, 1])  # for evaluation
    assert plain.keys() == batch.keys()
    assert all((plain[name] == batch[name]).all() for name in plain)


def test_windows_have_the_weight_of_their_row():
    task = make("question-answering", max_length=10, doc_stride=2)
    features = task.features([asked("c", letters(10)) | {"weight": 2.0}, asked("a", "a") | {"weight": 3.0}])
    assert [feature.weight for feature in features] == [2.0, 2.0, 3.0]
    assert task.training_batch(features, [0, 1])["sample_weight"].tolist() == [2.0, 2.0, 3.0]


def test_a_batch_of_questions():
    task = make("question-answering")
    features = task.encode([asked("b", "a b"), asked("b c", "a b c d")])
    batch = task.batch(features, [0, 1])
    input_ids, mask = padded_ids(8, "[CLS] who [SEP] a b [SEP]", "[CLS] who [SEP] a b c d [SEP]")
    found = {name: array.tolist() for name, array in batch.items()}
    positions = {"start_positions": [4, 4], "end_positions": [4, 5]}
    assert found == {"input_ids": input_ids, "attention_mask": mask, **positions}


def test_a_batch_of_choices():
    task = make("multiple-choice")
    rows = [{"prompt": "a", "choices": ["b", "b c"], "label": 1}, {"prompt": "", "choices": ["", "d"], "label": 0}]
    batch = task.batch(task.encode(rows), [0, 1])
    texts = ["[CLS] a [SEP] b [SEP]", "[CLS] a [SEP] b c [SEP]", "[CLS] [SEP] [SEP]", "[CLS] [SEP] d [SEP]"]
    input_ids, mask = padded_ids(6, *texts)
    assert batch["input_ids"].tolist() == [input_ids[:2], input_ids[2:]]
    assert batch["attention_mask"].tolist() == [mask[:2], mask[2:]]
    assert batch["labels"].tolist() == [1, 0]


def test_a_batch_of_texts_with_hidden_words():
    task = make("masked-lm", mask_probability=0.5)
    features = task.encode([{"text": letters(20)}, {"text": "a [MASK] \u2603 b"}, {"text": letters(7)}])
    batch = task.batch(features, [5, 7])
    original = task.inputs(features)
    input_ids, mask = padded_ids(22, f"[CLS] {letters(20)} [SEP]", f"[CLS] {letters(7)} [SEP]")
    assert original["input_ids"][[0, 2]].tolist() == input_ids
    assert batch["attention_mask"][[0, 2]].tolist() == mask

    hidden = batch["labels"] != IGNORE_INDEX
    assert hidden.any(axis=1).all()
    letter_ids = ids(letters(20))
    assert not (hidden & ~np.isin(original["input_ids"], letter_ids)).any()  # no special token, padding or [UNK]
    np.testing.assert_array_equal(batch["labels"][hidden], original["input_ids"][hidden])
    np.testing.assert_array_equal(batch["input_ids"][~hidden], original["input_ids"][~hidden])
    assert 5 <= hidden.sum() <= 24  # of 29 letters, each with a chance of a half

    again, other = (task.batch(features, seed) for seed in ([5, 7], [5, 8]))
    assert all((again[name] == batch[name]).all() for name in batch)
    assert (other["labels"] != batch["labels"]).any()


def test_random_words_are_never_special_tokens():
    words = make("masked-lm").words
    assert len(words) == CONFIG.vocab_size - len(TOKENIZER.all_special_ids)
    assert not set(words) & set(TOKENIZER.all_special_ids)
    assert words.min() >= 0
    assert words.max() == CONFIG.vocab_size - 1
