"""The contract of a container on Vertex AI: {"instances": [...], "parameters": {...}} gives {"predictions": [...]}.

The paths are those of the variables AIP_HEALTH_ROUTE and AIP_PREDICT_ROUTE.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from distilbert_serve.answering import Answering
from distilbert_serve.bodies import BODIES
from distilbert_serve.http import answer_response, json_response, strict_router, to_bytes
from distilbert_serve.routes.hub import hub_call
from distilbert_serve.routes.tasks import call_of
from distilbert_serve.sentences import checked


class InstancesBody(BaseModel):
    """Inputs of the task of the model, with its parameters."""

    model_config = ConfigDict(extra="forbid", strict=True)
    instances: list[Any] = Field(min_length=1)
    parameters: dict[str, Any] | None = None


def router(answering: Answering) -> APIRouter:
    """Return the routes; none if the server does not run on Vertex AI."""
    routes = strict_router("Vertex AI")
    vertex = answering.settings.vertex
    if vertex is None:
        return routes

    @routes.get(vertex.health_route, summary="All models answer")
    async def health() -> Response:
        alive = answering.models.are_alive
        return json_response({"ready": alive}, 200 if alive else 503)

    @routes.post(vertex.predict_route, summary="Predictions for instances")
    async def predict(body: dict[str, Any], request: Request) -> Response:
        name = vertex.predict_route.removeprefix("/")
        if "instances" not in body and name in BODIES:  # a task route has this path too
            return answer_response(await answering(call_of(name, checked(BODIES[name], body)), request.receive))
        form = checked(InstancesBody, body)
        call = hub_call(
            answering,
            form.instances,
            {name: value for name, value in (form.parameters or {}).items() if value is not None},
            render=lambda predictions: b'{"predictions": %s}' % to_bytes(predictions),
        )
        return answer_response(await answering(call, request.receive))

    predict.form = InstancesBody  # type: ignore[attr-defined]  # the message about another body names its fields

    return routes
