"""Each task from the answers of a model to metrics, without any framework."""

from __future__ import annotations

import math

import numpy as np
import pytest

from distilbert_core import IGNORE_INDEX, Head
from distilbert_core.model.inference import Inference
from distilbert_core.pipelines import QuestionAnsweringPipeline
from distilbert_core.training import metrics
from support.tasks import CONFIG, TOKENIZER, asked, letters, make


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
