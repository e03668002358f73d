"""The forms of inference endpoints, by `huggingface_hub.InferenceClient` with a base_url."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import InferenceClient, constants
from huggingface_hub.errors import HfHubHTTPError
from oracle.pipeline_cases import MANY_NAMES, NAMES, SHORT_QUESTION

from support.pipelines import load
from support.serving import Server

TEXT = "A quiet film, and a good one."


@pytest.fixture(autouse=True)
def _with_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client connect where HF_HUB_OFFLINE is set; it reaches the loopback address only."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def client(server: Server, model: str, task: str | None = None) -> InferenceClient:
    path = f"/models/{model}" + ("" if task is None else f"/pipeline/{task}")
    return InferenceClient(base_url=server.url + path, token="none")


def fields(items: Any, *names: str) -> list[Any]:
    return [tuple(item[name] for name in names) for item in items]


def same(found: list[Any], expected: list[Any]) -> bool:
    """Whether rows are equal, their numbers up to rounding."""
    return len(found) == len(expected) and all(
        a == pytest.approx(b, abs=1e-5) if isinstance(a, float) else a == b
        for row, other in zip(found, expected, strict=True)
        for a, b in zip(row, other, strict=True)
    )


def test_text_classification(server: Server, folders: dict[str, Path], backend: str) -> None:
    pipe = load("text-classification", folders["moods"], backend)
    for options in ({}, {"top_k": 2}, {"function_to_apply": "sigmoid"}):
        found = client(server, "moods").text_classification(TEXT, **options)
        expected = pipe(TEXT, **{"top_k": None, **options})
        assert same(fields(found, "label", "score"), fields(expected, "label", "score"))


def test_token_classification(server: Server, folders: dict[str, Path], backend: str) -> None:
    pipe = load("token-classification", folders["entities"], backend)
    found = client(server, "entities").token_classification(NAMES[0])
    expected = pipe(NAMES[0], aggregation_strategy="simple")
    names = ("entity_group", "score", "word", "start", "end")
    assert same(fields(found, *names), fields(expected, *names))
    options: dict[str, Any] = {"aggregation_strategy": "max", "ignore_labels": ["LOC"], "stride": 10}
    found = client(server, "entities").token_classification(MANY_NAMES * 4, **options)
    assert same(fields(found, *names), fields(pipe(MANY_NAMES * 4, **options), *names))


def test_question_answering(server: Server, folders: dict[str, Path], backend: str) -> None:
    pipe = load("question-answering", folders["answers"], backend)
    names = ("answer", "score", "start", "end")
    found: Any = client(server, "answers").question_answering(**SHORT_QUESTION)
    assert same(fields([found], *names), fields([pipe(SHORT_QUESTION)], *names))
    found = client(server, "answers").question_answering(**SHORT_QUESTION, top_k=3, max_answer_len=4)
    assert same(fields(found, *names), fields(pipe(SHORT_QUESTION, top_k=3, max_answer_len=4), *names))


def test_fill_mask(server: Server, folders: dict[str, Path], backend: str) -> None:
    pipe = load("fill-mask", folders["masked_lm"], backend)
    found = client(server, "masked_lm").fill_mask("Paris is [MASK].", top_k=3)
    names = ("token_str", "score", "token", "sequence")
    assert same(fields(found, *names), fields(pipe("Paris is [MASK].", top_k=3), *names))


def test_zero_shot_classification(server: Server, folders: dict[str, Path], backend: str) -> None:
    pipe = load("zero-shot-classification", folders["inference"], backend)
    for options in ({}, {"multi_label": True, "hypothesis_template": "It is {}."}):
        found = client(server, "inference").zero_shot_classification(TEXT, ["sad", "glad", "odd"], **options)
        expected = pipe(TEXT, ["sad", "glad", "odd"], **options)
        rows = list(zip(expected["labels"], expected["scores"], strict=True))
        assert same(fields(found, "label", "score"), rows)


def test_feature_extraction(server: Server, folders: dict[str, Path], backend: str) -> None:
    pipe = load("feature-extraction", folders["vectors"], backend)
    expected = pipe(TEXT, pooling="mean")
    for endpoint in (client(server, "vectors"), client(server, "moods", "feature-extraction")):
        assert endpoint.feature_extraction(TEXT).shape == (1, 24)
    np.testing.assert_allclose(client(server, "vectors").feature_extraction(TEXT)[0], expected, atol=1e-6)
    longer = client(server, "vectors").feature_extraction(TEXT, normalize=False, truncate=True)
    np.testing.assert_allclose(longer[0], pipe(TEXT, pooling="mean", normalize=False), atol=1e-5)
    body = {"inputs": [TEXT], "parameters": {"pooling": "none"}}
    (vectors,) = server.ask("/models/vectors", body).json
    np.testing.assert_allclose(vectors, pipe(TEXT)[0], atol=1e-5)


def test_sentence_similarity(server: Server, folders: dict[str, Path], backend: str) -> None:
    others = ["no", TEXT, "A loud film."]
    vectors = np.stack(load("feature-extraction", folders["vectors"], backend)([TEXT, *others], pooling="mean"))
    found = client(server, "vectors").sentence_similarity(TEXT, others)
    np.testing.assert_allclose(found, vectors[1:] @ vectors[0], atol=1e-6)


def test_the_root_finds_task_and_model(server: Server) -> None:
    root = InferenceClient(base_url=server.url, token="none")
    assert root.question_answering(**SHORT_QUESTION).answer  # type: ignore[union-attr]
    assert len(root.zero_shot_classification(TEXT, ["a", "b"])) == 2
    assert server.ask("/", {"inputs": {"prompt": "a", "choices": ["b", "c"]}}).json["choice"] in (0, 1)
    assert server.ask("/pipeline/ner", {"inputs": [TEXT, NAMES[0]]}).headers["Distilbert-Model"] == "entities"
    with pytest.raises(HfHubHTTPError, match="Give model, one of moods, "):
        root.text_classification(TEXT)


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/models/moods", {}, 422, r"^inputs must be an input of the task, or a list of them; it is missing"),
        ("/models/moods", {"inputs": "a", "parameters": {"topk": 1}}, 422, r"^Unknown keyword argument\(s\): topk\."),
        ("/models/moods", {"inputs": "a", "parameters": {"top_k": "x"}}, 422, r"^top_k must be"),
        ("/models/moods", {"inputs": "a", "parameters": {"batch_tokens": 1}}, 422, r"^batch_tokens cannot be given"),
        ("/models/moods", {"inputs": "a", "parameters": []}, 422, r"^parameters must be"),
        ("/models/moods", {"inputs": "a", "options": {"use_gpu": True}}, 422, r"^Unknown options \['use_gpu'\]"),
        ("/models/moods", {"inputs": {"source_sentence": "a"}}, 422, r"^inputs must be an object with a text source"),
        ("/models/moods", {"inputs": 5}, 422, r"takes a text, a tuple of two texts or a dict"),
        ("/models/moods", {"inputs": ["a", 5]}, 422, r"^inputs\[1\]: text-classification takes a text"),
        ("/models/entities", {"inputs": {"a": 1}}, 422, r"token-classification takes a text"),
        ("/models/answers", {"inputs": "a"}, 422, r"takes a dict with the texts 'question' and 'context'"),
        ("/models/mods", {"inputs": "a"}, 404, r"^Unknown model 'mods'"),
        ("/pipeline/summarization", {"inputs": "a"}, 404, r"^Unknown task 'summarization'"),
        ("/models/vectors", {"inputs": "a", "dimensions": 3}, 422, r"^dimensions must be 24, got 3\.$"),
        ("/models/vectors", {"inputs": "a", "encoding_format": "base64"}, 422, r"^encoding_format must be 'float'"),
        ("/models/vectors", {"inputs": "a b " * 400, "truncate": False}, 422, r"more than the model's 512"),
        ("/models/vectors", {"inputs": "a", "prompt_name": "query"}, 422, r"prompt_name"),
        ("/models/moods", {"inputs": "a", "parameters": {"candidate_labels": ["b"]}}, 422, r"cannot do zero-shot"),
        (
            "/models/inference",
            {"inputs": "a", "parameters": {"candidate_labels": ["b"] * 300}},
            413,
            r"300 texts in one list",
        ),
    ],
)
def test_bad_requests(path: str, body: Any, status: int, message: str, server: Server) -> None:
    reply = server.ask(path, body)
    assert reply.status == status, reply.body
    assert re.search(message, reply.error), reply.error


def test_options_of_the_endpoints_have_no_effect(server: Server) -> None:
    body = {"inputs": "a", "options": {"use_cache": False, "wait_for_model": True}}
    assert server.ask("/models/moods", body).json == server.ask("/models/moods", {"inputs": "a"}).json
