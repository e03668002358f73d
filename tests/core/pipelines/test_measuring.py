"""What a process of `distilbert bench` measures, on a stand-in for the model."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from distilbert_core import DEFAULT_MODEL
from distilbert_core.pipelines.measuring import Job, Measuring, serve, spread_by_length
from support.commands import WordCounter

TEXTS = ["good", "bad bad", "good bad good", "none"]
LOGITS = [[0.0, 1.0], [2.0, 0.0], [1.0, 2.0], [0.0, 0.0]]  # how often 'bad' and 'good' are said

SECONDS = 0.01  # of a batch


@pytest.fixture
def calls(monkeypatch):
    """The numbers of texts of the batches that the stand-in has computed."""
    sizes = []

    class Counted(WordCounter):
        def run(self, **arrays):
            sizes.append(len(arrays["input_ids"]))
            time.sleep(SECONDS)
            return super().run(**arrays)

    monkeypatch.setattr("distilbert_core.pipelines.load_inference", lambda *args, **kwargs: Counted())
    return sizes


def job(**fields):
    return Job(
        **{"task": "text-classification", "model": DEFAULT_MODEL, "framework": "pt", "dtype": "float32"} | fields
    )


def test_all_texts_are_measured_in_batches_and_one_by_one(calls):
    measuring = Measuring(job(texts=TEXTS))
    np.testing.assert_array_equal(measuring.prepare(), LOGITS)
    assert calls == [4, 1, 1, 1, 1]
    turn = measuring.turn(seconds=0)
    assert calls == 2 * [4, 1, 1, 1, 1]
    assert len(turn["latencies"]) == 4
    assert min(turn["latencies"]) >= SECONDS
    assert 0 < turn["texts_per_second"] <= 4 / SECONDS
    assert turn["peak_bytes"] > 1e6


def test_texts_of_all_lengths_are_measured_one_by_one():
    texts = ["x" * length for length in (5, 1, 4, 100, 3, 2)]
    assert [len(text) for text in spread_by_length(texts, 3)] == [1, 3, 100]
    assert len(spread_by_length(texts, 100)) == 6


def test_the_process_answers_with_its_warnings(calls):
    answers = []
    lines = [json.dumps(vars(job(texts=["good", "good " * 600]))), "0", "0"]
    serve(iter(lines), answers.append)
    assert answers[0]["outputs"] == [[0.0, 1.0], [0.0, 510.0]]
    (warning,) = answers[0]["warnings"]
    assert "has more than 512 tokens" in warning
    assert [sorted(answer) for answer in answers[1:]] == 2 * [["latencies", "peak_bytes", "texts_per_second"]]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"model": "./nothing/here"}, "The folder ./nothing/here does not exist"),
        ({"task": "token-classification"}, "token-classification cannot use"),
        ({"batch_tokens": 0}, "batch_tokens"),
    ],
)
def test_the_process_answers_with_its_problem(calls, fields, problem):
    answers = []
    serve(iter([json.dumps(vars(job(texts=TEXTS, **fields)))]), answers.append)
    assert len(answers) == 1
    assert problem in answers[0]["problem"]
