"""The contract of a container on SageMaker, and the handlers for a container with a server of its own."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from distilbert_core.errors import InputError
from distilbert_serve.sagemaker import input_fn, model_fn, output_fn, predict_fn
from support.serving import Server, running, sources

QUESTIONS = 'question,context\nWho?,"Ada, in Łódź."\nWhere?,Here.\n'


def invoke(server: Server, content: bytes | str, kind: str = "application/json", accept: str = "*/*") -> Any:
    content = content.encode() if isinstance(content, str) else content
    return server.ask("/invocations", content, Content_Type=kind, Accept=accept)


@pytest.fixture(scope="module")
def moods(folders: dict[str, Path], backend: str) -> Any:
    with running(sources({"moods": folders["moods"]}, backend)) as server:
        yield server


def test_a_probe(server: Server) -> None:
    assert (server.ask("/ping").status, server.ask("/ping").body) == (200, b"")


def test_all_types_ask_the_same(moods: Server) -> None:
    texts = ['A quiet film, and "good".', "no", "東京"]
    file = io.StringIO(newline="")
    csv.writer(file).writerows([["text"], *([text] for text in texts)])
    expected = invoke(moods, json.dumps({"inputs": texts})).json
    assert [len(labels) for labels in expected] == [5, 5, 5]
    for content, kind in (
        (file.getvalue(), "text/csv; charset=utf-8"),
        (f"\ufeff{file.getvalue()}", "text/csv"),
        ("".join(json.dumps(text) + "\n" for text in texts), "application/jsonlines"),
        ("".join(json.dumps({"inputs": text}) + "\n" for text in texts), "application/jsonlines"),
        ("\n".join(texts), "text/plain"),
    ):
        found = invoke(moods, content, kind)
        assert found.headers["Content-Type"] == "application/json"
        labels = [[row["label"] for row in rows] for rows in found.json]
        assert labels == [[row["label"] for row in rows] for rows in expected]


def test_answers_in_other_types(moods: Server) -> None:
    body = json.dumps({"inputs": ["a", "b"], "parameters": {"top_k": 1}})
    table = invoke(moods, body, accept="text/csv")
    assert table.headers["Content-Type"].startswith("text/csv")
    header, *rows = csv.reader(io.StringIO(table.body.decode()))
    assert header == ["label", "score"]
    assert len(rows) == 2
    lines = invoke(moods, body, accept="application/jsonlines").body.decode().splitlines()
    assert [json.loads(line)[0]["label"] for line in lines] == [row[0] for row in rows]


def test_questions_in_csv(server: Server) -> None:
    answers = invoke(server, QUESTIONS, "text/csv").json
    assert [set(answer) for answer in answers] == [{"answer", "score", "start", "end"}] * 2


@pytest.mark.parametrize(
    ("content", "kind", "accept", "status", "message"),
    [
        ("a", "image/png", "*/*", 415, "Content-Type must be one of application/json"),
        ('{"inputs": "a"}', "application/json", "image/png", 406, "Accept must be one of application/json"),
        ("{", "application/json", "*/*", 422, "The body is not valid JSON"),
        ("[]", "application/json", "*/*", 422, r"must be a JSON object with inputs and perhaps parameters, got \[\]"),
        ('{"inputs": "a", "parameters": 5}', "application/json", "*/*", 422, "parameters must be a JSON object"),
        ('"a"\n{"a": 1, "a": 2}', "application/jsonlines", "*/*", 422, "Line 2 of the body .* is repeated"),
        ("name\na", "text/csv", "*/*", 422, r"first row of CSV must have the columns text, .* got \['name'\]"),
        ("", "text/csv", "*/*", 422, r"first row of CSV must have"),
        ("text,text_pair\na", "text/csv", "*/*", 422, "Row 2 of CSV must have 2 cells"),
        ('text\n"a', "text/csv", "*/*", 422, "The body is not CSV"),
        ('"a"\n' * 1025, "application/jsonlines", "*/*", 413, "more than 1024 inputs"),
        ("text\n" + "a\n" * 1025, "text/csv", "*/*", 413, "more than 1024 inputs"),
        ("a\n" * 1025, "text/plain", "*/*", 413, "more than 1024 inputs"),
        ("text\n", "text/csv", "*/*", 422, "at least one input"),
        ("\n \n", "text/plain", "*/*", 422, "at least one input"),
        (b"\xff", "text/plain", "*/*", 422, "must be UTF-8; byte 0 is not"),
    ],
)
def test_bad_requests(content: Any, kind: str, accept: str, status: int, message: str, moods: Server) -> None:
    reply = invoke(moods, content, kind, accept)
    assert reply.status == status, reply.body
    assert re.search(message, reply.error), reply.error


def test_vectors_are_no_table(folders: dict[str, Path], backend: str) -> None:
    with running(sources({"vectors": folders["vectors"]}, backend)) as server:
        reply = invoke(server, '{"inputs": "a"}', accept="text/csv")
        assert reply.status == 422
        assert reply.error == "These results are not rows of a table; accept application/json."


def test_the_handlers(folders: dict[str, Path]) -> None:
    model = model_fn(str(folders["answers"]), None)
    data = input_fn(QUESTIONS.encode(), "text/csv", None)
    text, kind = output_fn(predict_fn(data, model, None), "text/csv, */*", None)
    assert kind == "text/csv"
    assert len(text.splitlines()) == 3
    assert predict_fn(input_fn('{"inputs": [{"question": "a", "context": "b"}]}'), model)["answer"] == "b"
    with pytest.raises(InputError, match="Content-Type must be one of"):
        input_fn("a", "a/b")
    with pytest.raises(InputError, match="Accept must be one of"):
        output_fn([], "a/b")
