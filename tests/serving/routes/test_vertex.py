"""The contract of a container on Vertex AI."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from oracle.pipeline_cases import SHORT_QUESTION

from distilbert_serve.settings import Vertex
from support.serving import Server, running, sources


@pytest.fixture(scope="module")
def vertex(folders: dict[str, Path], backend: str) -> Iterator[Server]:
    moods = sources({"moods": folders["moods"]}, backend)
    with running(moods, vertex=Vertex("/alive/here", "/predict"), token="t") as server:
        yield server


def test_the_probe_needs_no_token(vertex: Server) -> None:
    assert vertex.ask("/alive/here").json == {"ready": True}
    assert vertex.ask("/predict", {"instances": ["a"]}).status == 401


def test_predictions(vertex: Server) -> None:
    token = {"Authorization": "Bearer t"}
    found = vertex.ask("/predict", {"instances": ["a", "b"], "parameters": {"top_k": 2}}, **token).json
    assert [len(labels) for labels in found["predictions"]] == [2, 2]
    assert vertex.ask("/predict", {"inputs": "a"}, **token).json["text"] == "a"  # the task route has the same path
    for body, message in (
        ({"instances": []}, "^instances"),
        ({"instances": ["a"], "more": 1}, "^Unknown field 'more'"),
        ({"instances": ["a", 5]}, r"inputs\[1\]: text-classification takes"),
        ({}, "^inputs must be a text"),
        ([], "^The body must be a JSON object with the fields instances, parameters, got"),
    ):
        reply = vertex.ask("/predict", body, **token)
        assert reply.status == 422
        assert re.search(message, reply.error), reply.error


def test_a_route_of_its_own(folders: dict[str, Path], backend: str) -> None:
    answers = sources({"answers": folders["answers"]}, backend)
    with running(answers, vertex=Vertex("/health", "/v1/predict")) as server:
        assert server.ask("/health").status == 200
        (answer,) = server.ask("/v1/predict", {"instances": [SHORT_QUESTION]}).json["predictions"]
        assert set(answer) == {"answer", "score", "start", "end"}
        assert "Content-Type must be" in server.ask("/v1/predict", b"{}", Content_Type="text/plain").error


def test_without_the_variables_there_are_no_routes(server: Server) -> None:
    assert server.ask("/predict", {"instances": ["a"]}).error.startswith("inputs must be a text")
