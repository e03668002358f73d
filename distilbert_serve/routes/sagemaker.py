"""The contract of a container on Amazon SageMaker: `/ping` and `/invocations`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from distilbert_core.errors import InputError
from distilbert_serve.answering import Answering
from distilbert_serve.errors import RequestError
from distilbert_serve.http import answer_response, strict_router
from distilbert_serve.routes.hub import hub_call
from distilbert_serve.sagemaker import ACCEPTED, JSON, READERS, output_fn, read_body


def router(answering: Answering) -> APIRouter:
    """Return the routes."""
    routes = strict_router("SageMaker")

    @routes.get("/ping", summary="The models answer")
    async def ping() -> Response:
        return Response(status_code=200 if answering.models.are_alive else 503)

    @routes.post("/invocations", summary="JSON, JSON lines, CSV or lines of text")
    async def invocations(request: Request) -> Response:
        kind = request.headers.get("content-type") or JSON
        accept = request.headers.get("accept") or JSON
        if kind.partition(";")[0].strip().lower() not in READERS:
            raise RequestError(415, f"Content-Type must be one of {', '.join(READERS)}.")
        if not ACCEPTED & {part.partition(";")[0].strip().lower() for part in accept.split(",")}:
            raise RequestError(406, "Accept must be one of application/json, application/jsonlines, text/csv.")
        try:
            limits = answering.settings.limits
            body = await run_in_threadpool(read_body, await request.body(), kind, limits.inputs)
        except InputError as error:
            raise RequestError(422, str(error)) from error

        def render(prediction: Any) -> tuple[bytes, str]:
            text, media_type = output_fn(prediction, accept)
            return text.encode(), media_type

        call = hub_call(answering, body["inputs"], body["parameters"], render=render)
        answer = await answering(call, request.receive)
        content, media_type = answer.content
        return answer_response(answer.with_content(content), media_type)

    return routes
