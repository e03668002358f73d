"""`examples/ray_serving.py` on a local Ray answers as one process does, from batches of several requests."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
import ray
import ray_serving
from ray import serve

from distilbert_core import InputError
from distilbert_core.pipelines import pipeline
from support.pipelines import write_checkpoint

for module in (ray_serving, sys.modules[__name__]):
    ray.cloudpickle.register_pickle_by_value(module)

WORDS = ("good", "bad", "a", "film", "very", "boring", "lovely", "the", "plot", "not")
NUMBERS = np.random.default_rng(0)
TEXTS = [" ".join(NUMBERS.choice(WORDS, NUMBERS.integers(1, 40))) + f" {number}" for number in range(60)]
PORT = 8123
URL = f"http://127.0.0.1:{PORT}/"


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, logging_level="warning")
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    yield
    serve.shutdown()
    ray.shutdown()


def near(found, expected):
    """Compare answers; other batches round otherwise, measured: 6e-7."""
    assert [answer["label"] for answer in found] == [answer["label"] for answer in expected]
    np.testing.assert_allclose(
        [answer["score"] for answer in found], [answer["score"] for answer in expected], rtol=0, atol=2e-6
    )


def test_many_requests_at_once_get_their_own_answers():
    serve.run(ray_serving.application("text-classification", most=2, cpus=0.5))
    expected = pipeline("text-classification")(TEXTS)
    with httpx.Client(timeout=120) as client, ThreadPoolExecutor(16) as threads:
        found = list(threads.map(lambda text: client.post(URL, json={"inputs": text}).json(), TEXTS))
        near(found, expected)
        near(client.post(URL, json={"inputs": TEXTS}).json(), expected)
        scores = client.post(URL, json={"inputs": TEXTS[0], "parameters": {"top_k": 2}}).json()
        assert [answer["label"] for answer in scores] == [
            answer["label"] for answer in pipeline("text-classification")(TEXTS[0], top_k=2)
        ]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"inputs": 3}, "takes"),
        ({"inputs": "a", "parameters": {"top_k": "many"}}, "top_k"),
        ({"inputs": "a", "parameters": {"nonsense": 1}}, "nonsense"),
        ({}, "inputs"),
    ],
)
def test_an_impossible_request_is_a_sentence(body, sentence):
    serve.run(ray_serving.application("text-classification"))
    answer = httpx.post(URL, json=body, timeout=120)
    assert answer.status_code == 422
    assert sentence in answer.json()["error"]


def test_other_tasks_answer_in_python_too(tmp_path):
    """Long contexts become several windows, which may be in different batches."""
    model = str(write_checkpoint("answers", tmp_path))
    question = {"question": "Who was it?", "context": " ".join(TEXTS * 2)}
    handle = serve.run(ray_serving.application("question-answering", model=model))
    found = handle.answer.remote(question).result()
    expected = pipeline("question-answering", model)(question)
    assert found["answer"] == expected["answer"]
    assert found["score"] == pytest.approx(expected["score"], rel=1e-4)
    with pytest.raises(InputError, match="question"):
        handle.answer.remote({"nothing": ""}).result()


def test_the_batches_are_counted_in_tokens():
    pipe = pipeline("text-classification")
    windows = pipe.tokenize([["a lovely film"], ["dull"]], pipe.with_defaults({}))
    assert ray_serving.count_tokens([window for (window,) in windows]) == 5 + 3
