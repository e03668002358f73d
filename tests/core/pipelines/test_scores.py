"""From logits to scores."""

from __future__ import annotations

import numpy as np
import pytest

from distilbert_core import DistilBertConfig
from distilbert_core.pipelines.scores import best, sigmoid, softmax
from distilbert_core.pipelines.text_classification import label_scores


@pytest.mark.parametrize(
    ("config", "function", "expected"),
    [
        ({}, "softmax", [0.25, 0.75]),
        ({}, None, [0.25, 0.75]),
        ({}, "sigmoid", [0.5, 0.75]),
        ({"problem_type": "multi_label_classification"}, None, [0.5, 0.75]),
        ({"num_labels": 1}, None, [0.5, 0.75]),
        ({"problem_type": "regression"}, None, [0.0, np.log(3)]),
        ({"problem_type": "regression", "num_labels": 1}, "sigmoid", [0.5, 0.75]),
        ({}, "none", [0.0, np.log(3)]),
    ],
)
def test_scores_of_logits(config, function, expected):
    scores = label_scores(DistilBertConfig(**config), np.array([0.0, np.log(3)]), function)
    np.testing.assert_allclose(scores, expected, rtol=1e-15)  # measured: 2.2e-16


def test_scores_of_extreme_logits():
    logits = np.array([[-1e4, 0.0, 1e4]], np.float32)
    np.testing.assert_array_equal(softmax(logits), [[0, 0, 1]])
    np.testing.assert_array_equal(sigmoid(logits), [[0, 0.5, 1]])


@pytest.mark.parametrize("size", [1, 2, 3, 50])
@pytest.mark.parametrize("how_many", [1, 2, 49, 50, 51, None])
def test_best_scores(size, how_many):
    scores = np.random.default_rng(size).permutation(size) / 7
    np.testing.assert_array_equal(best(scores, how_many), np.argsort(-scores)[:how_many])


def test_of_equal_scores_the_first_comes_first():
    np.testing.assert_array_equal(best(np.array([1.0, 3.0, 1.0, 3.0, 1.0]), None), [1, 3, 0, 2, 4])
