"""Each task from rows to features."""

from __future__ import annotations

import numpy as np
import pytest

from distilbert_core import InputError
from distilbert_core.training.tasks import Feature
from support.tasks import TOKENIZER, asked, ids, letters, make

ENCODED = [  # task, labels, recipe, rows, features (tokens, target, row)
    (
        "sequence-classification",
        ["bad", "good"],
        {"max_length": 5},
        [{"text": "Good film", "label": "good"}, {"text": "", "label": "0"}, {"text": letters(9), "label": "1"}],
        [("[CLS] good film [SEP]", 1, 0), ("[CLS] [SEP]", 0, 1), ("[CLS] a b c [SEP]", 1, 2)],
    ),
    (
        "sequence-classification",
        ["1", "0"],  # a name comes before a number
        {},
        [{"text": "a", "text_pair": "b c", "label": "0"}, {"text": "a", "text_pair": "", "label": "1"}],
        [("[CLS] a [SEP] b c [SEP]", 1, 0), ("[CLS] a [SEP] [SEP]", 0, 1)],
    ),
    (
        "regression",
        ["LABEL_0"],
        {"max_length": 6},
        [{"text": letters(4), "text_pair": "e f", "label": 2.5}],
        [("[CLS] a b [SEP] e [SEP]", 2.5, 0)],
    ),
    (
        "multi-label",
        ["x", "y", "z"],
        {},
        [{"text": "a", "labels": ["z", "0"]}, {"text": "b", "labels": []}],
        [("[CLS] a [SEP]", [1, 0, 1], 0), ("[CLS] b [SEP]", [0, 0, 0], 1)],
    ),
    (  # entries of vectors are numbers of labels, whatever their names are
        "multi-label",
        ["1", "0", "z"],
        {},
        [{"text": "a", "labels": [True, False, False]}, {"text": "b", "labels": [False, False, True]}],
        [("[CLS] a [SEP]", [1, 0, 0], 0), ("[CLS] b [SEP]", [0, 0, 1], 1)],
    ),
    (
        "token-classification",
        ["O", "B-x", "I-x"],
        {"max_length": 8},
        [
            {"tokens": ["Unaffable", "\u200b", "a"], "labels": ["B-x", "I-x", "O"]},
            {"tokens": letters(9).split(), "labels": ["2", *["O"] * 8]},
        ],
        [
            ("[CLS] una ##ffa ##ble a [SEP]", [-100, 1, -100, -100, 0, -100], 0),
            ("[CLS] a b c d e f [SEP]", [-100, 2, 0, 0, 0, 0, 0, -100], 1),
        ],
    ),
    (  # windows of 6 letters, 2 of which they share
        "question-answering",
        None,
        {"max_length": 10, "doc_stride": 2},
        [asked("c", letters(10)), asked("e", letters(10)), asked("f g", letters(10)), asked("a", "a")],
        [
            ("[CLS] who [SEP] a b c d e f [SEP]", (5, 5), 0),
            ("[CLS] who [SEP] e f g h i j [SEP]", (0, 0), 0),
            ("[CLS] who [SEP] a b c d e f [SEP]", (7, 7), 1),
            ("[CLS] who [SEP] e f g h i j [SEP]", (3, 3), 1),
            ("[CLS] who [SEP] a b c d e f [SEP]", (0, 0), 2),  # which splits the answer
            ("[CLS] who [SEP] e f g h i j [SEP]", (4, 5), 2),
            ("[CLS] who [SEP] a [SEP]", (3, 3), 3),
        ],
    ),
    (  # a stride of at most half the length; the first of several answers, with all tokens that it touches
        "question-answering",
        None,
        {"max_length": 12},
        [
            {
                "question": "a",
                "context": "An unaffable a.",
                "answers": {"text": ["naf", "a"], "answer_start": [4, 13]},
            },
            asked("ffable", "unaffable", question="a"),
        ],
        [("[CLS] a [SEP] an una ##ffa ##ble a . [SEP]", (4, 5), 0), ("[CLS] a [SEP] una ##ffa ##ble [SEP]", (4, 5), 1)],
    ),
    (
        "multiple-choice",
        None,
        {"max_length": 7},
        [
            {"prompt": "a b", "choices": ["c", "c d e f"], "label": 1},
            {"prompt": "", "choices": ["a", ""], "label": 0},
        ],
        [
            (["[CLS] a b [SEP] c [SEP]", "[CLS] a b [SEP] c d [SEP]"], 1, 0),
            (["[CLS] [SEP] a [SEP]", "[CLS] [SEP] [SEP]"], 0, 1),
        ],
    ),
    (
        "masked-lm",
        None,
        {"max_length": 4},
        [{"text": text} for text in ("a b c", "", "☃ [MASK]", "d")],  # two without a word to hide
        [("[CLS] a b [SEP]", None, 0), ("[CLS] d [SEP]", None, 3)],
    ),
]


@pytest.mark.parametrize(("task", "labels", "recipe", "rows", "expected"), ENCODED)
def test_features(task, labels, recipe, rows, expected):
    found = [
        (
            feature.ids,
            feature.target.tolist() if isinstance(feature.target, np.ndarray) else feature.target,
            feature.row,
        )
        for feature in make(task, labels, **recipe).encode(rows)
    ]
    assert found == [
        (ids(tokens) if isinstance(tokens, str) else [ids(choice) for choice in tokens], target, row)
        for tokens, target, row in expected
    ]


def test_the_tokens_of_an_answer_say_it():
    context = "Ann, who is unaffable, lives in a wooden house at Oslo's harbour; Bo does not. " * 9
    rows = [
        {
            "question": "Which?",
            "context": context,
            "answers": {"text": [answer], "answer_start": [context.rindex(answer)]},
        }
        for answer in ("Ann", "unaffable", "a wooden house", "Oslo's harbour", "Bo does not")
    ]
    features = make("question-answering", max_length=64, doc_stride=16).encode(rows)
    inside = [feature for feature in features if feature.target != (0, 0)]
    assert {feature.row for feature in inside} == {0, 1, 2, 3, 4}
    assert len(inside) < len(features)
    for feature in inside:
        start, end = feature.target
        said = TOKENIZER.decode(feature.ids[start : end + 1]).replace(" ' ", "'")
        assert said == rows[feature.row]["answers"]["text"][0].lower()


@pytest.mark.parametrize(
    ("task", "recipe", "expected"),
    [
        ("sequence-classification", {}, 128),
        ("question-answering", {}, 384),
        ("masked-lm", {"max_length": 300}, 300),
        ("multiple-choice", {"max_length": 512}, 512),
    ],
)
def test_longest_row(task, recipe, expected):
    assert make(task, **recipe).max_length == expected


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [([1, 2, 3], 3), ([[1, 2], [1, 2, 3, 4], [1]], 12)],
)
def test_size_of_a_feature(tokens, expected):
    assert Feature(tokens, None, 0).size == expected


@pytest.mark.parametrize("text", ["other", "2", "³"])
@pytest.mark.parametrize(
    ("task", "row"),
    [
        ("sequence-classification", lambda label: {"text": "a", "label": label}),
        ("multi-label", lambda label: {"text": "a", "labels": ["NEGATIVE", label]}),
        ("token-classification", lambda label: {"tokens": ["a", "b"], "labels": ["1", label]}),
    ],
)
def test_labels_that_the_model_does_not_have(task, row, text):
    message = (
        rf"Label '{text}' is not one of the model's 2 labels: 'NEGATIVE', 'POSITIVE'\. Correct the rows, or train a"
    )
    with pytest.raises(InputError, match=message):
        make(task, ["NEGATIVE", "POSITIVE"]).encode([row("POSITIVE"), row(text)])


def test_a_question_without_room_for_context():
    rows = [
        asked("a", letters(9)),
        asked("a", letters(4), question=letters(9)),
        asked("a", letters(9), question=letters(9)),
    ]
    task = make("question-answering", max_length=16, doc_stride=4)
    assert len(task.encode(rows[:2])) == 2  # a long question of a short context
    message = (
        "record 3: question leaves room for 4 tokens of its context in windows of max_length=16, which must be more"
    )
    with pytest.raises(InputError, match=message):
        task.encode(rows)
