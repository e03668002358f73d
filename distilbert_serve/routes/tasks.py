"""The task routes: `/predict`, `/tag`, ..., with the JSON of the command line."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from distilbert_core.pipelines.records import FORMS
from distilbert_serve.answering import Answering, Call
from distilbert_serve.bodies import BODIES, TaskBody
from distilbert_serve.http import answer_response, strict_router, to_bytes

SUMMARIES = {
    "predict": "Classify texts",
    "zero-shot": "Classify texts by labels of your own",
    "fill-mask": "Find the best tokens for each [MASK]",
    "tag": "Find entities in texts",
    "answer": "Answer questions from a text",
    "embed": "Turn texts into vectors",
    "choose": "Choose the ending that fits a prompt best",
}


def router(answering: Answering) -> APIRouter:
    """Return the routes of all tasks."""
    routes = strict_router("tasks")
    for name, body_type in BODIES.items():
        endpoint = _endpoint(name, answering)
        endpoint.__annotations__ = {"body": body_type, "request": Request, "return": Response}
        routes.add_api_route(
            f"/{name}",
            endpoint,
            methods=["POST"],
            name=name,
            summary=SUMMARIES[name],
            response_class=Response,
            responses={200: {"description": "One record, or a list of records for a list of inputs."}},
        )
    return routes


def _endpoint(name: str, answering: Answering) -> Any:
    async def endpoint(body: TaskBody, request: Request) -> Response:
        return answer_response(await answering(call_of(name, body), request.receive))

    return endpoint


def call_of(name: str, body: TaskBody) -> Call:
    """Return the call of a task route.

    Args:
        name: Name of the route.
        body: The body of the request.
    """
    form, asked = FORMS[name], body.options
    options = form.options(asked)
    if getattr(body, "truncation", None) is not None:
        options["truncation"] = body.truncation  # type: ignore[attr-defined]
    return Call(
        form.task,
        body.values,
        options,
        partial(form.answer, asked=asked),
        lambda records: to_bytes(records[0] if body.is_one else records),
        body.model,
    )
