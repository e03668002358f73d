"""`/v1/embeddings` and `/v1/models`, as the clients of OpenAI call them."""

from __future__ import annotations

import base64
import time
from typing import Any, ClassVar, Literal

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from distilbert_serve.answering import Answering, Call, TokenIds
from distilbert_serve.bodies import Rows
from distilbert_serve.errors import RequestError
from distilbert_serve.http import answer_response, json_response, strict_router, to_bytes

Input = str | Rows[str] | Rows[int] | Rows[Rows[int]]


class EmbeddingsBody(BaseModel):
    """Texts, or token ids of the model's tokenizer with [CLS] and [SEP], to turn into vectors of length 1."""

    model_config = ConfigDict(extra="forbid", strict=True)
    expects: ClassVar[str] = "a text, a list of texts, a list of token ids, or a list of lists of them"
    input: Input
    model: str
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: PositiveInt | None = Field(None, description="Refused, unless the vectors have this size.")
    user: str | None = Field(None, description="Has no effect.")


def router(answering: Answering) -> APIRouter:
    """Return the routes."""
    routes = strict_router("OpenAI")
    started = int(time.time())

    def card(name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": started, "owned_by": "distilbert"}

    @routes.get("/v1/models", summary="The models")
    async def models() -> Response:
        cards = [card(model.source.name) for model in answering.models]
        return json_response({"object": "list", "data": cards})

    @routes.get("/v1/models/{name}", summary="One model")
    async def model(name: str) -> Response:
        return json_response(card(answering.models[name].source.name))

    @routes.post("/v1/embeddings", summary="Turn texts into vectors")
    async def embeddings(body: EmbeddingsBody, request: Request) -> Response:
        width = answering.models[body.model].first.config.dim
        if body.dimensions not in (None, width):
            raise RequestError(
                422, f"dimensions must be {width}, the size of the vectors of {body.model}, got {body.dimensions}."
            )
        answer = await answering(
            Call(
                "feature-extraction",
                _inputs(body.input),
                {"pooling": "mean"},
                render=lambda vectors: _data(vectors, body.encoding_format),
                model=body.model,
            ),
            request.receive,
        )
        usage = {"prompt_tokens": answer.tokens, "total_tokens": answer.tokens}
        rest = to_bytes({"model": answer.model, "usage": usage})
        content = b'{"object": "list", "data": %s, %s' % (answer.content, rest[1:])
        return answer_response(answer.with_content(content))

    embeddings.__annotations__["body"] = EmbeddingsBody
    return routes


def _inputs(value: Input) -> list[Any]:
    """Return the inputs of the pipeline."""
    match value:
        case str():
            return [value]
        case [int(), *_]:
            return [TokenIds(value)]  # type: ignore[arg-type]
        case [[*_], *_]:
            return [TokenIds(ids) for ids in value]  # type: ignore[arg-type]
    return list(value)


def _data(vectors: list[np.ndarray], form: str) -> bytes:
    """Return the field `data` of an answer."""
    return to_bytes(
        [
            {
                "object": "embedding",
                "index": index,
                "embedding": vector
                if form == "float"
                else base64.b64encode(vector.astype("<f4", copy=False).tobytes()).decode(),
            }
            for index, vector in enumerate(vectors)
        ]
    )
