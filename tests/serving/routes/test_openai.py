"""`/v1/embeddings`, by OpenAI's own client and by requests that it would not send."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from distilbert_core.pipelines import Pipeline
from support.pipelines import load
from support.serving import Server

TEXTS = ["A quiet film, and a good one.", "no", "東京 😀"]


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def embed(folders: dict[str, Path], backend: str) -> Pipeline:
    return load("feature-extraction", folders["vectors"], backend)


def test_vectors_and_usage(client: openai.OpenAI, embed: Pipeline) -> None:
    expected = np.stack(embed(TEXTS, pooling="mean"))
    for options in ({}, {"encoding_format": "float"}, {"encoding_format": "base64"}, {"dimensions": 24}):
        answer = client.embeddings.create(model="vectors", input=TEXTS, **options)  # type: ignore[arg-type]
        vectors = [item.embedding for item in answer.data]
        if options.get("encoding_format") == "base64":
            vectors = [np.frombuffer(base64.b64decode(vector), "<f4") for vector in vectors]  # type: ignore
        np.testing.assert_allclose(vectors, expected, atol=1e-6)  # measured: 1e-7
        assert [item.index for item in answer.data] == [0, 1, 2]
        tokens = sum(map(len, embed.tokenizer(TEXTS)["input_ids"]))
        assert (answer.usage.prompt_tokens, answer.usage.total_tokens, answer.model) == (tokens, tokens, "vectors")


def test_one_text_and_token_ids(client: openai.OpenAI, embed: Pipeline) -> None:
    ids = embed.tokenizer(TEXTS)["input_ids"]
    expected = np.stack(embed(TEXTS, pooling="mean"))
    for given in (TEXTS[0], ids[0], ids):
        answer = client.embeddings.create(model="vectors", input=given, encoding_format="float")  # type: ignore[arg-type]
        np.testing.assert_allclose([item.embedding for item in answer.data], expected[: len(answer.data)], atol=1e-6)


def test_models(client: openai.OpenAI) -> None:
    assert "vectors" in [model.id for model in client.models.list()]
    assert client.models.retrieve("moods").id == "moods"


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ({"model": "gpt", "input": "a"}, openai.NotFoundError, r"Unknown model 'gpt'; there are moods, "),
        ({"model": "vectors", "input": []}, openai.UnprocessableEntityError, "at least one input"),
        ({"model": "vectors", "input": [[]]}, openai.UnprocessableEntityError, "input|token ids"),
        ({"model": "vectors", "input": "a", "dimensions": 5}, openai.UnprocessableEntityError, "must be 24, .* got 5"),
        ({"model": "vectors", "input": [1 << 40]}, openai.UnprocessableEntityError, r"^Token ids must be 0 to 30521"),
        ({"model": "vectors", "input": [[5], [-1]]}, openai.UnprocessableEntityError, r"^inputs\[1\]: Token ids must"),
        ({"model": "vectors", "input": [5] * 513}, openai.UnprocessableEntityError, "1 to 512 of them, got 513"),
        ({"model": "vectors", "input": 5}, openai.UnprocessableEntityError, "^input"),
        ({"model": "vectors"}, openai.UnprocessableEntityError, "^input is missing"),
        ({"model": "vectors", "input": "a", "encoding_format": "hex"}, openai.UnprocessableEntityError, "'float' or"),
    ],
)
def test_errors_have_the_form_of_openai(
    body: dict[str, Any], error: type[openai.APIStatusError], message: str, client: openai.OpenAI, server: Server
) -> None:
    reply = server.ask("/v1/embeddings", body)
    assert re.search(message, reply.error), reply.error
    with pytest.raises(error) as caught:
        client.post("/embeddings", body=body, cast_to=object)
    assert caught.value.body["type"] == "invalid_request_error"  # type: ignore[index]
