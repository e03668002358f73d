"""Each task from rows to the arguments of the model, and from its outputs to metrics, without any framework."""

from __future__ import annotations

import math

import numpy as np
import pytest

from distilbert_core import (
    DEFAULT_MODEL,
    IGNORE_INDEX,
    DistilBertConfig,
    DistilBertTokenizerFast,
    Head,
    InputError,
)
from distilbert_core.model.inference import Inference
from distilbert_core.pipelines import QuestionAnsweringPipeline
from distilbert_core.training import TASKS, Recipe, labels, metrics
from distilbert_core.training.tasks import Feature

TOKENIZER = DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL)
CONFIG = DistilBertConfig.from_pretrained(DEFAULT_MODEL)


def make(name: str, labels=None, **recipe):
    kind = TASKS[name]
    return kind(TOKENIZER, CONFIG.updated(**kind.config_fields(labels)), Recipe(**recipe))


def ids(text: str) -> list[int]:
    """Return the ids of tokens with spaces between."""
    found = TOKENIZER.convert_tokens_to_ids(text.split())
    assert TOKENIZER.unk_token_id not in found
    return found


def letters(count: int) -> str:
    """'a b c ...', each letter a token."""
    return " ".join("abcdefghijklmnopqrstuvwxyz"[:count])


def asked(answer: str, context: str, question: str = "who"):
    return {
        "question": question,
        "context": context,
        "answers": {"text": [answer], "answer_start": [context.index(answer)]},
    }


# -- from rows to features --------------------------------------------------------------------------------------------

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
    message = rf"Label '{text}' is not one of the model's 2 labels: 'NEGATIVE, POSITIVE'\. Correct the rows, or train a"
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


# -- from features to batches -----------------------------------------------------------------------------------------


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
    with pytest.raises(InputError, match="'LABEL_0' is not one of the model's 4 labels: 'poor, poor, fair, LABEL_3'"):
        labels.label_id(config, "LABEL_0")
    weights = labels.class_weights({"poor": 2, "fair": 1, "3": 5}, config, np.ones(4))
    assert weights.tolist() == [2, 2, 1, 5]
    for given, problem in (
        ({"poor": 2, "1": 3, "fair": 1, "3": 5}, "one is given by name and by number"),
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


# -- from answers to metrics ------------------------------------------------------------------------------------------


class Guesses(Inference):
    """Says about each row what it was given for it; of padding, what nobody should look at."""

    backend = "none"

    def __init__(self, task, features, outputs):
        self.head, self.task = task.head, task
        self.outputs = {}
        for feature, output in zip(features, outputs, strict=True):
            if task.head is Head.MULTIPLE_CHOICE:
                self.outputs |= {self.key(np.array(ids)): output[i : i + 1] for i, ids in enumerate(feature.ids)}
            else:
                self.outputs[self.key(np.array(feature.ids))] = output
        self.sizes: list[int] = []

    @property
    def config(self):
        return self.task.config

    @staticmethod
    def key(tokens):
        return tuple(tokens.tolist())

    def run(self, input_ids, attention_mask):
        self.sizes.append(input_ids.size)
        found = [self.outputs[self.key(row[mask == 1])] for row, mask in zip(input_ids, attention_mask, strict=True)]
        if self.task.head is Head.QUESTION_ANSWERING:
            logits = np.stack([self.padded(output, input_ids.shape[1]) for output in found])  # [B, T, 2]
            return {"start_logits": logits[..., 0], "end_logits": logits[..., 1]}
        if self.task.head is Head.TOKEN_CLASSIFICATION:
            found = [self.padded(output, input_ids.shape[1]) for output in found]
        return {"logits": np.stack(found)}

    @staticmethod
    def padded(output, length):
        return np.pad(output, [(0, length - len(output)), (0, 0)], constant_values=np.nan)


def one_hot(count):
    return lambda guess, feature: np.eye(count, dtype=np.float32)[guess] * 4 - 1


def words_one_hot(count):
    """Say the guesses at the first tokens of words, and the last label everywhere else."""

    def logits(guess, feature):
        labels = np.full(len(feature.ids), count - 1)
        labels[np.array(feature.target) != IGNORE_INDEX] = guess
        return np.eye(count)[labels] * 4

    return logits


def span(guess, feature):
    logits = np.full((len(feature.ids), 2), -9.0)
    for column, position in enumerate(guess):
        logits[position, column] = 9
    return logits


TAGS = ["O", "B-a", "I-a", "B-b"]
TAGGED = [
    {"tokens": ["unaffable", "\u200b", "b"], "labels": ["B-a", "O", "B-b"]},  # the second has no token
    {"tokens": ["a", "b", "c", "d", "e", "f", "g"], "labels": ["O", "1", "I-a", "0", "O", "O", "B-b"]},  # 4 are read
]
PARTS = [{"tokens": ["a", "unaffable"], "labels": ["x", "y"]}, {"tokens": ["b", "c"], "labels": ["0", "1"]}]
WHERE = [asked("b", letters(4)), asked("c d e", letters(6)), asked("j", letters(12))]
EVALUATED = {  # task, labels, recipe, rows, from a guess to logits, guesses, metrics
    "classes": (
        "sequence-classification",
        ["no", "yes"],
        {},
        [{"text": letters(n), "label": label} for n, label in ((3, "no"), (9, "yes"), (1, "0"), (5, "0"))],
        one_hot(2),
        [0, 1, 1, 0],
        # For 'no', P = 1, R = 2/3; for 'yes', P = 1/2, R = 1. tp 1, tn 2, fp 1, fn 0.
        {"accuracy": 3 / 4, "f1_macro": (4 / 5 + 2 / 3) / 2, "matthews_correlation": 2 / math.sqrt(12)},
    ),
    "numbers": (
        "regression",
        ["LABEL_0"],
        {},
        [{"text": letters(n), "label": float(label)} for n, label in ((4, 1), (3, 2), (2, 3), (1, 4))],
        lambda guess, feature: np.array([guess], np.float32),
        [0, 1, 3, 8],
        # Deviations -3 -2 0 5 and -1.5 -0.5 0.5 1.5: covariance 13, squares 38 and 5.
        {"pearson": 13 / math.sqrt(38 * 5), "spearman": 1.0},
    ),
    "many labels": (
        "multi-label",
        ["x", "y", "z"],
        {},
        [{"text": "a", "labels": ["x"]}, {"text": letters(7), "labels": ["y"]}, {"text": "b c", "labels": []}],
        lambda guess, feature: np.array(guess) * 2.0 - 1,
        [[1, 1, 0], [0, 1, 0], [0, 0, 0]],
        # x: tp 1. y: tp 1, fp 1. z: nothing.
        {"accuracy": 2 / 3, "f1_micro": 4 / 5, "f1_macro": (1 + 2 / 3 + 0) / 3},
    ),
    "entities": (
        "token-classification",
        TAGS,
        {"max_length": 6},
        TAGGED,
        words_one_hot(4),
        [[1, 3], [0, 1, 0, 0]],
        # Predicted: a 0, b 2; a 1. True: a 0, b 2; a 1-2, b 6, which is not read. Shared: a 0, b 2.
        {"precision": 2 / 3, "recall": 2 / 4, "f1": 4 / 7, "accuracy": 8 / 10},
    ),
    "parts of speech": (
        "token-classification",
        ["x", "y"],
        {},
        PARTS,
        words_one_hot(2),
        [[0, 1], [1, 1]],
        # x: tp 1, fn 1. y: tp 2, fp 1.
        {"f1": (2 / 3 + 4 / 5) / 2, "accuracy": 3 / 4},
    ),
    "answers": (
        "question-answering",
        None,
        {"max_length": 12, "doc_stride": 2},
        WHERE,
        span,
        # One word too many, one too few, and right in the second of two windows.
        [(4, 5), (6, 7), (0, 0), (6, 6)],
        {"exact_match": 1 / 3, "f1": (2 / 3 + 4 / 5 + 1) / 3},
    ),
    "choices": (
        "multiple-choice",
        None,
        {},
        [
            {"prompt": letters(n), "choices": ["a", "b c", letters(n)], "label": label}
            for n, label in ((2, 0), (5, 2), (1, 1))
        ],
        one_hot(3),
        [0, 2, 2],
        {"accuracy": 2 / 3},
    ),
}
RIGHT = {  # of each, the guesses that are right, and what is not 1.0 then
    "classes": ([0, 1, 0, 0], {}),
    "numbers": ([1, 2, 3, 4], {}),
    "many labels": ([[1, 0, 0], [0, 1, 0], [0, 0, 0]], {"f1_macro": 2 / 3}),  # nothing has the label z
    # What lies beyond `max_length` is not found: three of four entities.
    "entities": ([[1, 3], [0, 1, 2, 0]], {"recall": 3 / 4, "f1": 6 / 7, "accuracy": 9 / 10}),
    "parts of speech": ([[0, 1], [0, 1]], {}),
    "answers": ([(4, 4), (5, 7), (0, 0), (6, 6)], {}),
    "choices": ([0, 2, 1], {}),
}


@pytest.mark.parametrize("tokens", [8, 4096])  # of a batch
@pytest.mark.parametrize("perfect", [False, True])
@pytest.mark.parametrize("name", EVALUATED)
def test_metrics_of_answers(name, perfect, tokens, monkeypatch):
    task_name, labels, recipe, rows, logits, guesses, expected = EVALUATED[name]
    if perfect:
        guesses, others = RIGHT[name]
        expected = dict.fromkeys(expected, 1.0) | others
    task = make(task_name, labels, **recipe)
    monkeypatch.setattr(type(task), "evaluation_tokens", tokens)
    features = task.encode(rows)
    outputs = [logits(guess, feature) for guess, feature in zip(guesses, features, strict=True)]
    inference = Guesses(task, features, outputs)
    found = task.evaluate(inference, rows, features)
    # Measured: 2e-16.
    assert found == {metric: pytest.approx(value, rel=0, abs=1e-12) for metric, value in expected.items()}
    assert task.metric in found
    assert (len(inference.sizes) > 1) == (tokens == 8)


def test_questions_without_an_answer():
    """They are learned as [CLS] in every window, and measured as the pipeline answers with the empty answer allowed."""
    task = make("question-answering", max_length=12, doc_stride=2)
    rows = [*WHERE[:2], {**WHERE[2], "answers": {"text": [], "answer_start": []}}]
    features = task.encode(rows)
    assert [(feature.row, feature.target == (0, 0), feature.cut) for feature in features] == [
        (0, False, False),
        (1, False, False),
        (2, True, False),
        (2, True, False),
    ]
    # One word too many; none where there is an answer; no answer in both windows.
    outputs = [span(guess, feature) for guess, feature in zip([(4, 5), (0, 0), (0, 0), (0, 0)], features, strict=True)]
    inference = Guesses(task, features, outputs)
    found = task.evaluate(inference, rows, features)
    expected = {"exact": 1 / 3, "f1": (2 / 3 + 0 + 1) / 3, "HasAns_f1": (2 / 3 + 0) / 2, "NoAns_f1": 1.0, "total": 3}
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=0, abs=1e-12)

    pipe = QuestionAnsweringPipeline(inference, TOKENIZER, max_seq_len=12, doc_stride=2, handle_impossible_answer=True)
    given = [answer["answer"] for answer in pipe.stream({k: row[k] for k in ("question", "context")} for row in rows)]
    assert given[1:] == ["", ""]
    assert metrics.answers(given, [row["answers"]["text"] for row in rows])["f1"] == found["f1"]


class Unigrams(Inference):
    """Gives each word a logit from its number, and the token that is there the highest; exp(800) is no float."""

    backend = "none"

    def __init__(self):
        self.head = Head.MASKED_LM

    def __call__(self, input_ids, attention_mask, tokens=...):
        logits = np.broadcast_to(800 + 3 * np.sin(np.arange(CONFIG.vocab_size)), (*input_ids.shape, CONFIG.vocab_size))
        logits = logits.astype(np.float32)
        np.put_along_axis(logits, input_ids[..., None], 815, axis=2)
        return {"logits": logits[tokens]}


def test_metrics_of_hidden_words(monkeypatch):
    task = make("masked-lm")
    monkeypatch.setattr(type(task), "evaluation_tokens", 64)
    rows = [{"text": letters(n)} for n in (3, 26, 12, 26, 7, 1, 20, 15)]
    features = task.encode(rows)
    batches, batch = [], task.batch
    monkeypatch.setattr(task, "batch", lambda *args: batches.append(batch(*args)) or dict(batches[-1]))
    found = task.evaluate(Unigrams(), rows, features)
    assert len(batches) > 2
    assert sum(len(b["input_ids"]) for b in batches) == len(rows)

    losses, right = [], []
    for arrays in batches:
        logits = Unigrams()(arrays["input_ids"], arrays["attention_mask"])["logits"].astype(np.float64)
        for row, place in np.argwhere(arrays["labels"] != IGNORE_INDEX):
            scores, label = logits[row, place], arrays["labels"][row, place]
            losses.append(scores.max() + math.log(np.exp(scores - scores.max()).sum()) - scores[label])
            right.append(scores.argmax() == label)
    assert 0 < np.mean(right) < 1
    expected = {"loss": np.mean(losses), "perplexity": math.exp(np.mean(losses)), "accuracy": np.mean(right)}
    assert found == {name: pytest.approx(value, rel=1e-13) for name, value in expected.items()}  # measured: 0
    assert task.evaluate(Unigrams(), rows, features) == found  # the same words are hidden each time
