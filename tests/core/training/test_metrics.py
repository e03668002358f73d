"""The metrics of the tasks against values calculated by hand."""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest

from distilbert_core.errors import BackendNotInstalledError, InputError
from distilbert_core.training import metrics


def logits_of(predicted, labels=3):
    """Logits [n, L] whose largest are the predicted labels."""
    return np.eye(labels, dtype=np.float32)[predicted] * 4 - 1


def close(value):
    return pytest.approx(value, rel=0, abs=1e-12)  # measured: 2e-16


# Predicted label 0 1 1 0 beside true label 0 1 0 0: for 0, P = 1, R = 2/3; for 1, P = 1/2, R = 1.
# With tp = 1, tn = 2, fp = 1, fn = 0 for label 1, Matthews' number is 2 / sqrt(2 * 1 * 3 * 2).
CASES = {
    "two classes": (
        metrics.classification,
        (logits_of([0, 1, 1, 0], 2), np.array([0, 1, 0, 0])),
        {"accuracy": 3 / 4, "f1_macro": (4 / 5 + 2 / 3) / 2, "matthews_correlation": 2 / math.sqrt(12)},
    ),
    "three classes, of which one is neither true nor predicted": (
        metrics.classification,
        (logits_of([0, 1, 1, 0]), np.array([0, 1, 0, 0], np.int32)),
        {"accuracy": 3 / 4, "f1_macro": (4 / 5 + 2 / 3) / 2, "matthews_correlation": 2 / math.sqrt(12)},
    ),
    "one class is never predicted": (
        metrics.classification,
        (logits_of([0, 0, 0]), np.array([0, 0, 2])),
        {"accuracy": 2 / 3, "f1_macro": (4 / 5 + 0) / 2, "matthews_correlation": 0.0},
    ),
    "one row": (
        metrics.classification,
        (logits_of([1]), np.array([1])),
        {"accuracy": 1.0, "f1_macro": 1.0, "matthews_correlation": 0.0},
    ),
    # Label 0: tp 1, fp 1. Label 1: tp 1, fn 1. Label 2: nothing. Together tp 2, fp 1, fn 1.
    "multi-label": (
        metrics.multi_label,
        (
            np.array([[2.0, 0.1, -3], [1, -1, 0]]),  # a logit of 0 does not predict
            np.array([[1, 1, 0], [0, 1, 0]]),
        ),
        {"accuracy": 1 / 2, "f1_micro": 2 / 3, "f1_macro": (2 / 3 + 2 / 3 + 0) / 3},
    ),
    "multi-label with one label": (
        metrics.multi_label,
        (np.array([[2.0], [1.0], [-1.0], [-1.0]]), np.array([[1.0], [0.0], [0.0], [0.0]])),
        {"accuracy": 3 / 4, "f1_micro": 2 / 3, "f1_macro": 2 / 3},
    ),
    "multi-label without any label": (
        metrics.multi_label,
        (np.full((2, 1), -1.0), np.zeros((2, 1))),
        {"accuracy": 1.0, "f1_micro": 0.0, "f1_macro": 0.0},
    ),
    # Deviations -3 -2 0 5 and -1.5 -0.5 0.5 1.5: covariance 13, squares 38 and 5.
    "regression": (
        metrics.regression,
        (np.array([0.0, 1, 3, 8], np.float32), [1, 2, 3, 4]),
        {"pearson": 13 / math.sqrt(38 * 5), "spearman": 1.0},
    ),
    "regression in a column": (
        metrics.regression,
        (np.array([[0.0], [1], [3], [8]]), [4, 3, 2, 1]),
        {"pearson": -13 / math.sqrt(38 * 5), "spearman": -1.0},
    ),
    "two targets": (
        metrics.regression,
        (np.array([[0.0, 1], [1, 2], [3, 3]]), np.array([[0.0, 3], [2, 3], [6, 3]])),
        {"pearson": 1 / 2, "spearman": 1 / 2},  # 1 for the first, 0 for the second, whose labels are all the same
    ),
    "equal predictions": (metrics.regression, ([1 / 3, 1 / 3], [1, 2]), {"pearson": 0.0, "spearman": 0.0}),
    "predictions equal but for rounding": (
        metrics.regression,
        ([1 / 3, 1 / 3 + 1e-16, 1 / 3], [1, 2, 3]),
        {"pearson": 0.0, "spearman": 0.0},
    ),
    "one number": (metrics.regression, ([1.0], [2.0]), {"pearson": 0.0, "spearman": 0.0}),
    "entities": (
        metrics.entities,
        (
            [["B-a", "I-a", "O", "B-b"], ["O", "I-a", "I-b", "B-b"]],
            [["B-a", "I-a", "O", "B-a"], ["O", "B-a", "B-b", "I-b"]],
        ),
        # Predicted: a 0-1, b 3; a 1, b 2, b 3. True: a 0-1, a 3; a 1, b 2-3. Shared: a 0-1; a 1.
        {"precision": 2 / 5, "recall": 2 / 4, "f1": 4 / 9, "accuracy": 4 / 8},
    ),
    "a part of an entity is wrong": (
        metrics.entities,
        ([["B-a", "O"]], [["B-a", "I-a"]]),
        {"precision": 0.0, "recall": 0.0, "f1": 0.0, "accuracy": 1 / 2},
    ),
    "no entities": (
        metrics.entities,
        ([["O", "O"], []], [["O", "O"], []]),
        {"precision": 0.0, "recall": 0.0, "f1": 0.0, "accuracy": 1.0},
    ),
    # 'big red house' beside 'red house now': 2 of 3 words; each word counts as often as it occurs.
    "answers": (
        metrics.answers,
        (
            ["The  Big, red house!", "no no yes", "a Cat", "dog"],
            [["red house now", "blue"], ["no yes yes"], ["the cat.", "fish"], ["bird"]],
        ),
        {"exact_match": 1 / 4, "f1": (2 / 3 + 2 / 3 + 1 + 0) / 4},
    ),
    "no answer": (
        metrics.answers,
        (["", "x", "", "the"], [[], [""], ["x"], ["a", "an"]]),
        {"exact_match": 2 / 4, "f1": 2 / 4},
    ),
    "masked words": (
        metrics.masked_lm,
        (4 * math.log(8), 1, 4),
        {"loss": math.log(8), "perplexity": pytest.approx(8, rel=1e-14), "accuracy": 1 / 4},  # measured: 2e-16
    ),
    "more perplexed than a float can say": (
        metrics.masked_lm,
        (8000.0, 0, 10),
        {"loss": 800.0, "perplexity": math.inf, "accuracy": 0.0},
    ),
}


@pytest.mark.parametrize(("function", "arguments", "expected"), CASES.values(), ids=CASES)
def test_values(function, arguments, expected):
    found = function(*arguments)
    assert found == {name: value if not isinstance(value, float) else close(value) for name, value in expected.items()}
    assert json.loads(json.dumps(found)) == found  # plain numbers, which a log can hold


LOGITS = np.zeros((2, 3))
BAD_CASES = [
    (metrics.classification, (LOGITS, [0]), r"logits must be \[n, L\] and labels \[n\], got \(2, 3\) and \(1,\)"),
    (metrics.classification, (LOGITS, [0, 3]), "labels must be integers from 0 to 2, got int64 from 0 to 3"),
    (metrics.classification, (LOGITS, [-100, 1]), "labels must be integers from 0 to 2, got int64 from -100 to 1"),
    (metrics.classification, (LOGITS, [0.0, 1.0]), "labels must be integers from 0 to 2, got float64"),
    (metrics.classification, (np.zeros((0, 3)), []), r"logits must have at least one row, got the shape \(0, 3\)"),
    (metrics.classification, ([[0, np.nan]], [0]), "logits must be finite, got nan"),
    (metrics.multi_label, (LOGITS, [0, 1]), r"logits and labels must both be \[n, L\], got \(2, 3\) and \(2,\)"),
    (metrics.multi_label, (LOGITS, LOGITS + 2), "labels must be 0 or 1, got 2.0"),
    (metrics.multi_label, ([[np.inf]], [[1]]), "logits must be finite, got inf"),
    (metrics.regression, ([1.0, 2.0], [1.0]), r"must have the same shape, .*got \(2,\) and \(1,\)"),
    (metrics.regression, (LOGITS, LOGITS.T), r"must have the same shape, .*got \(2, 3\) and \(3, 2\)"),
    (metrics.regression, ([], []), "predictions must have at least one row"),
    (metrics.regression, ([1.0], [np.nan]), "labels must be finite, got nan"),
    (metrics.entities, ([["O"]], []), "must be for the same sentences, got 1 and 0"),
    (metrics.entities, ([], []), "must be for the same sentences, got 0 and 0"),
    (metrics.entities, ([["O"]], [["O", "O"]]), "Sentence 0 has 2 true tags, but 1 predicted ones"),
    (
        metrics.entities,
        ([["O", "E-a"]], [["NOUN", "B-"]]),
        "must be 'O', 'B-TYPE' or 'I-TYPE', got 'B-', 'E-a', 'NOUN'",
    ),
    (metrics.answers, (["a"], []), "must be for the same questions, got 1 and 0"),
    (metrics.answers_or_none, (["a"], [0.5, 0.5], [["a"]]), "must be for the same questions, got 1 and 2"),
    (metrics.answers_or_none, (["a"], [1.5], [["a"]]), r"no_answer must be probabilities, got 1\.5 to 1\.5"),
    (metrics.answers_or_none, (["a"], [math.nan], [["a"]]), "no_answer must be finite, got nan"),
    (metrics.masked_lm, (0.0, 0, 0), "count > 0, got loss_sum=0.0, correct=0, count=0"),
    (metrics.masked_lm, (math.nan, 0, 1), "need a finite loss_sum .* got loss_sum=nan"),
    (metrics.masked_lm, (1.0, 2, 1), "0 <= correct <= count"),
]


def test_questions_that_may_have_no_answer():
    """SQuAD 2.0 in plain words: each threshold is tried on each question. Words are single letters here."""
    rng = np.random.default_rng(0)
    for size in (1, 2, 7, 40):
        predicted = [" ".join(rng.choice(list("bcd"), rng.integers(0, 4))) for _ in range(size)]
        true = [[" ".join(rng.choice(list("bcd"), rng.integers(1, 4)))] * int(rng.integers(0, 2)) for _ in range(size)]
        chance = rng.random(size).tolist()

        def scores(threshold, predicted=predicted, chance=chance, true=true):
            found = []
            for answer, none, truths in zip(predicted, chance, true, strict=True):
                given = [] if none > threshold else answer.split()
                truth = truths[0].split() if truths else []
                shared = sum(min(given.count(word), truth.count(word)) for word in "bcd")
                f1 = 2 * shared / (len(given) + len(truth)) if given and truth else float(given == truth)
                found.append((float(given == truth), f1, bool(truths)))
            return found

        def means(threshold, wanted, scores=scores):
            rows = [(exact, f1) for exact, f1, has in scores(threshold) if wanted(has)]
            return [sum(column) / len(rows) for column in zip(*rows, strict=True)] if rows else None

        found = metrics.answers_or_none(predicted, chance, true)
        for prefix, wanted in (("", lambda has: True), ("HasAns_", bool), ("NoAns_", lambda has: not has)):
            expected = means(0.5, wanted)
            got = [found[f"{prefix}{name}"] for name in ("exact", "f1")] if f"{prefix}exact" in found else None
            assert got == (expected if expected is None else [close(value) for value in expected])
            assert found.get(f"{prefix}total", 0) == sum(map(wanted, map(bool, true)))
        for column, name in enumerate(("exact", "f1")):
            best = max(means(threshold, lambda has: True)[column] for threshold in (0.0, *chance))
            assert found[f"best_{name}"] == close(best)
            reached = means(found[f"best_{name}_thresh"], lambda has: True)[column]
            assert reached == close(best)
        assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(("function", "arguments", "message"), BAD_CASES)
def test_impossible_arguments(function, arguments, message):
    with pytest.raises(InputError, match=message):
        function(*arguments)


@pytest.mark.parametrize(
    ("module", "library", "function", "arguments"),
    [
        ("sklearn.metrics", "scikit-learn", metrics.classification, (LOGITS, [0, 1])),
        ("sklearn.metrics", "scikit-learn", metrics.multi_label, (LOGITS, LOGITS)),
        ("scipy.stats", "SciPy", metrics.regression, ([1.0], [1.0])),
        ("seqscore.scoring", "seqscore", metrics.entities, ([["O"]], [["O"]])),
    ],
)
def test_a_missing_library_is_named(module, library, function, arguments, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    message = rf'needs {library}, which is not installed: pip install "distilbert\[finetune\]"'
    with pytest.raises(BackendNotInstalledError, match=message):
        function(*arguments)
