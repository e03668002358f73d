from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from distilbert_serve.bodies import BODIES
from distilbert_serve.routes.kserve import InferBody
from distilbert_serve.routes.openai import EmbeddingsBody
from support.serving import ALL, Server, running, sources


def body(text: str = "a", **more: Any) -> dict[str, Any]:
    return {"inputs": text, "model": "moods", **more}


# Name -> the bytes of a body, the status, and the message.
HOSTILE: dict[str, tuple[bytes, int, str]] = {
    "empty": (b"", 422, "The body must be a JSON object"),
    "not JSON": (b"{inputs: 1}", 422, "The body is not valid JSON"),
    "cut": (b'{"inputs": "a', 422, "The body is not valid JSON"),
    "deep lists": (b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 422, "nested too deeply|levels of JSON"),
    "deep objects": (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, 422, "nested too deeply|levels of JSON"),
    "lists of a few levels": (b'{"inputs": ' + b"[" * 70 + b"]" * 70 + b"}", 422, "more than 64 levels of JSON"),
    "NaN": (b'{"inputs": "a", "top_k": NaN}', 422, "NaN is not a number of JSON"),
    "Infinity": (b'{"inputs": "a", "top_k": -Infinity}', 422, "-Infinity is not a number of JSON"),
    "a huge number": (b'{"inputs": "a", "top_k": 1e999}', 422, "top_k must be a valid integer"),
    "a long integer": (b'{"inputs": "a", "top_k": ' + b"9" * 5000 + b"}", 422, "The body is not valid JSON"),
    "repeated keys": (b'{"inputs": "a", "inputs": "b"}', 422, "the key 'inputs' is repeated"),
    "half a surrogate pair": (rb'{"inputs": "\ud800"}', 422, "half of a surrogate pair"),
    "wrong values": (
        b'{"inputs": [' + b"1," * 900_000 + b"1]}",
        422,
        r"inputs must be a text.*\[1, 1, 1, 1, 1, 1, \.\.\.\]",
    ),
    "many fields": (
        json.dumps({f"field {index}": 1 for index in range(2000)}).encode(),
        422,
        "2000 keys in an object of JSON, at most 1000",
    ),
    "not UTF-8": (b'{"inputs": "\xff"}', 422, "not UTF-8"),
    "UTF-16": ('{"inputs": "a"}'.encode("utf-16"), 422, "not UTF-8"),
    "many values": (b'{"inputs": [' + b"[]," * 1_100_000 + b"1]}", 422, "values in JSON, at most 1000000"),
    "a NUL": (b'{"inputs": "a\\u0000b", "model": "moods\\u0000"}', 404, "Unknown model"),
    "many inputs": (json.dumps(body(["a"] * 2000)).encode(), 413, "has 2000 inputs, at most 1024"),  # type: ignore[arg-type]
    "a long text": (json.dumps(body("a" * 300_000)).encode(), 413, "300000 characters in a text, at most 200000"),
    "many choices": (
        json.dumps({"inputs": {"prompt": "a", "choices": ["b"] * 999}}).encode(),
        413,
        "999 texts in one list",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies_are_refused_in_one_sentence(name: str, server: Server) -> None:
    content, status, message = HOSTILE[name]
    route = "/choose" if name == "many choices" else "/predict"
    reply = server.ask(route, content)
    assert reply.status == status, reply.body
    assert re.search(message, reply.error)
    assert server.ask("/predict", body()).status == 200


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("text/plain", r"^Content-Type must be application/json, got 'text/plain'\.$"),
        ("application/x-www-form-urlencoded", "Content-Type must be application/json"),
    ],
)
def test_other_content_types(kind: str, message: str, server: Server) -> None:
    reply = server.ask("/predict", body(), Content_Type=kind)
    assert reply.status == 415
    assert re.search(message, reply.error)


def test_a_compressed_body_is_refused(server: Server) -> None:
    reply = server.ask("/predict", gzip.compress(b"{}"), Content_Encoding="gzip")
    assert (reply.status, reply.error) == (415, "Content-Encoding 'gzip' is not supported; send the body as it is.")
    assert server.ask("/predict", body(), Content_Encoding="identity").status == 200


def test_a_body_with_a_million_faults_is_read_to_the_first() -> None:
    for form in (*BODIES.values(), EmbeddingsBody, InferBody):
        for name in form.model_fields:
            with pytest.raises(ValidationError) as error:
                form.model_validate({name: [None] * 1000})
            assert error.value.error_count() < 20, (form, name)


def test_control_characters_and_all_scripts_are_texts(server: Server) -> None:
    for text in ("a\x00b", "\u202e\u200b", "😀👩‍👩‍👧", "\ufeff", "é" * 1000, " "):
        assert server.ask("/predict", body(text)).json["text"] == text


@pytest.mark.parametrize(
    ("path", "method", "status", "message"),
    [
        ("/nothing", "POST", 404, "Unknown path '/nothing'; /docs lists the routes."),
        ("/predict", "GET", 405, "/predict does not take GET; /docs lists the routes."),
        ("/models/none/reload", "POST", 403, "Reloading needs a server with --token or --allow-reload."),
        ("/predict/", "POST", 404, "Unknown path '/predict/'; /docs lists the routes."),
    ],
)
def test_unknown_routes(path: str, method: str, status: int, message: str, server: Server) -> None:
    reply = server.ask(path, body() if method == "POST" else None, method)
    assert (reply.status, reply.error) == (status, message)


def test_health_models_and_metrics(server: Server) -> None:
    assert server.ask("/health").json == {"status": "ok"}
    assert server.ask("/ready").json == {"ready": True}
    models = {model["name"]: model for model in server.ask("/models").json}
    assert models["moods"]["tasks"] == ["predict", "embed"]
    assert models["inference"]["tasks"] == ["predict", "embed", "zero-shot"]
    assert models["vectors"]["tasks"] == ["embed"]
    assert models["entities"]["labels"] == ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
    assert models["answers"] == {
        "name": "answers",
        "tasks": ["answer", "embed"],
        "backend": models["answers"]["backend"],
        "dtype": "float32",
        "labels": [],
        "max_tokens": 512,
    }
    server.ask("/predict", body())
    server.ask("/nothing/of/mine")
    text = server.ask("/metrics").body.decode()
    for line in (
        r'distilbert_requests_total{method="POST",route="/predict",status="200"} \d',
        r'distilbert_requests_total{method="GET",route="other",status="404"} \d',
        r'distilbert_tokens_total{model="moods"} \d',
        r'distilbert_batch_fill_count{model="moods"} \d',
        r'distilbert_queue_seconds_bucket{le="30.0",model="moods"} \d',
        r'distilbert_model_seconds_sum{model="moods"} \d',
        r'distilbert_waiting_tokens{model="moods"} 0',
    ):
        assert re.search(line.replace("{", r"\{").replace("}", r"\}"), text), line
    assert "nothing" not in text


# -- who may ask --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(folders: dict[str, Path], backend: str) -> Iterator[Server]:
    """A server with a token, an origin, and small bodies."""
    from distilbert_serve.settings import Limits

    moods = sources({"moods": folders["moods"]}, backend)
    with running(moods, token="sécret", cors=("https://a.example",), limits=Limits(body_bytes=1000)) as server:
        yield server


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer wrong", "Basic sécret", "sécret", "Bearer sécrets"])
def test_without_the_token_nothing_is_answered(given: str | None, guarded: Server) -> None:
    headers = {} if given is None else {"Authorization": given.encode().decode("latin-1")}
    reply = guarded.ask("/predict", body(), **headers)
    assert reply.status == 401
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    assert "Authorization: Bearer TOKEN" in reply.error


def test_with_the_token(guarded: Server) -> None:
    token = {"Authorization": "bearer  sécret".encode().decode("latin-1")}
    assert guarded.ask("/predict", body(), **token).status == 200
    assert guarded.ask("/models/moods/reload", {}, **token).json["name"] == "moods"
    assert guarded.ask("/models/wrong/reload", {}, **token).status == 404
    for path in ("/health", "/ready"):
        assert guarded.ask(path).status == 200
    for path in ("/", "/docs", "/ping"):
        assert guarded.ask(path).status == 200
        assert guarded.ask(path, body()).status == 401  # POST / answers a task
    for path in ("/models", "/metrics", "/openapi.json", "/models/moods/reload"):
        assert guarded.ask(path).status == 401


def test_origins(guarded: Server) -> None:
    asked = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization"}
    allowed = guarded.ask("/predict", None, "OPTIONS", Origin="https://a.example", **asked)
    assert (allowed.status, allowed.headers["Access-Control-Allow-Origin"]) == (200, "https://a.example")
    other = guarded.ask("/predict", None, "OPTIONS", Origin="https://b.example", **asked)
    assert (other.status, other.headers["Access-Control-Allow-Origin"]) == (400, None)


def test_a_server_without_cors_allows_no_origin(server: Server) -> None:
    """A page of another origin cannot make it work either: a browser sends some requests without asking before."""
    reply = server.ask("/predict", body(), Origin="https://a.example")
    assert (reply.status, reply.headers["Access-Control-Allow-Origin"]) == (403, None)
    assert reply.error == "Pages of 'https://a.example' cannot use this server; give --cors with it."
    assert server.ask("/predict", body(), Origin="http://localhost:1", Host="localhost:1").status == 200


def test_a_local_server_answers_to_local_names_only(server: Server, guarded: Server) -> None:
    reply = server.ask("/predict", body(), Host="a.example:8000")
    assert reply.status == 421
    assert reply.error.startswith("This server answers to localhost only")
    for host in ("localhost:1", "127.0.0.1", "[::1]:80", "LOCALHOST"):
        assert server.ask("/health", Host=host).status == 200
    assert guarded.ask("/health", Host="a.example").status == 200  # the token protects it


def test_a_large_body_is_refused_before_it_is_read(guarded: Server) -> None:
    request = b"POST /predict HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer s\xc3\xa9cret\r\n%s\r\n\r\n%s"
    declared = request % (b"Content-Type: application/json\r\nContent-Length: 999999999999", b"")
    chunked = request % (
        b"Content-Type: application/json\r\nTransfer-Encoding: chunked",
        b"400\r\n%s\r\n" % (b" " * 1024),
    )
    for content in (declared, chunked):
        answer = guarded.raw_answer(content)
        assert answer.startswith(b"HTTP/1.1 413")
        assert b"The body has more than 1000 bytes" in answer


def test_a_failure_inside_is_one_sentence(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = server.models["moods"].pipelines["text-classification"]

    def fail(*args: object) -> None:
        raise RuntimeError("secret details")

    monkeypatch.setattr(pipe.inference, "run_ragged", fail)
    reply = server.ask("/predict", body())
    assert (reply.status, reply.error) == (500, "The server failed (RuntimeError); its log has the details.")
    monkeypatch.undo()
    assert server.ask("/predict", body()).status == 200


# -- any body -----------------------------------------------------------------------------------------------------

POSTS = (
    *(f"/{name}" for name in BODIES),
    "/",
    *(f"/models/{name}" for name in ALL),
    "/v1/embeddings",
    *(f"/v2/models/{name}/infer" for name in ALL),
    "/invocations",
    "/pipeline/token-classification",
    "/models/vectors/pipeline/sentence-similarity",
)
NAMES = (
    *("inputs", "model", "parameters", "options", "text", "text_pair", "question", "context", "prompt", "choices"),
    *("labels", "candidate_labels", "source_sentence", "sentences", "top_k", "stride", "aggregation", "truncation"),
    *("input", "encoding_format", "dimensions", "name", "shape", "datatype", "data", "outputs", "task", "pooling"),
    *("max_length", "padding", "targets", "hypothesis_template", "ignore_labels", "is_split_into_words", "delimiter"),
    *("function_to_apply", "return_all_scores", "doc_stride", "max_seq_len", "normalize", "aggregation_strategy"),
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 600),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["[MASK]", "a", *ALL, "mean", "none", "simple", "BYTES", "text", "base64", "max_length", "{}"]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)
BODY = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5)
GOOD = (
    *("a [MASK] b", ["a [MASK]", "東京 😀 [MASK] " * 40], {"text": "a", "text_pair": "b"}),
    *({"question": "a", "context": "b c"}, {"prompt": "a", "choices": ["b", "c"]}, ["a", "b"]),
    {"source_sentence": "a", "sentences": ["b"]},
)
OPTIONS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=3)
WITH_INPUTS = st.one_of(
    st.builds(lambda body, inputs: {**body, "inputs": inputs}, BODY, VALUES),
    st.builds(lambda body, inputs: {**body, "inputs": inputs}, OPTIONS, st.sampled_from(GOOD)),
    st.builds(lambda given, inputs: {"inputs": inputs, "parameters": given}, OPTIONS, st.sampled_from(GOOD)),
)


@settings(
    max_examples=int(os.environ.get("EXAMPLES", "300")),
    deadline=None,
    derandomize="EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(path=st.sampled_from(POSTS), value=st.one_of(WITH_INPUTS, WITH_INPUTS, BODY, VALUES))
def test_any_body_has_an_answer_or_a_sentence(path: str, value: Any, server: Server) -> None:
    reply = server.ask(path, value)
    assert reply.status == 200 or 400 <= reply.status < 500, (path, value, reply.body)
    if reply.status != 200:
        assert reply.error
