"""The application: routes, guards, and errors as one sentence."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

import distilbert_core
from distilbert_core.errors import shortened
from distilbert_serve.answering import Answering, DisconnectedError
from distilbert_serve.errors import RequestError
from distilbert_serve.http import MODEL_HEADER, NOTE_HEADER, json_response
from distilbert_serve.metrics import Metrics
from distilbert_serve.middleware import Counting, Guard
from distilbert_serve.models import Models
from distilbert_serve.routes import documentation, hub, kserve, openai, sagemaker, service, tasks, vertex
from distilbert_serve.sentences import sentence_of
from distilbert_serve.settings import Settings

CLIENT_CLOSED = 499  # nobody reads this answer; the status is for the metrics
# Each takes the `Answering` of the server. Of two routes with one path, the first one answers.
ROUTERS = (vertex.router, tasks.router, openai.router, kserve.router, hub.router, sagemaker.router)


def create_app(models: Models, settings: Settings, metrics: Metrics) -> FastAPI:
    """Return the application.

    Args:
        models: The models of the server. They are closed when the application shuts down.
        settings: The settings of the server.
        metrics: Where to count.
    """
    answering = Answering(models, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        answering.close()
        models.close(settings.shutdown_timeout)

    app = FastAPI(
        title="distilbert",
        version=distilbert_core.__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.include_router(service.router(answering, metrics))
    for router in ROUTERS:
        app.include_router(router(answering))
    app.include_router(documentation.router(app))
    for error, handler in HANDLERS.items():
        app.add_exception_handler(error, handler)
    probes = frozenset() if settings.vertex is None else frozenset({settings.vertex.health_route})
    app.add_middleware(Guard, settings=settings, open_routes=probes)
    if settings.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
            expose_headers=[NOTE_HEADER, MODEL_HEADER, "retry-after"],
        )
    app.add_middleware(Counting, metrics=metrics)
    return app


# -- errors -----------------------------------------------------------------------------------------------------------


def _failure(request: Request, status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """Return the answer for an error, in the form of the protocol of its route."""
    if request.url.path.startswith("/v1/"):
        kind = "server_error" if status >= 500 else "invalid_request_error"
        content: dict[str, Any] = {"error": {"message": message, "type": kind, "param": None, "code": None}}
    else:
        content = {"error": message}
    return json_response(content, status, **(headers or {}))


async def _of_request(request: Request, error: Any) -> Response:
    return _failure(request, error.status, str(error), error.headers)


async def _of_http(request: Request, error: Any) -> Response:
    known = {404: f"Unknown path {shortened(request.url.path)}; /docs lists the routes."}
    known[405] = f"{request.url.path} does not take {request.method}; /docs lists the routes."
    generic = error.detail in ("Not Found", "Method Not Allowed")
    message = known.get(error.status_code, error.detail) if generic else error.detail
    return _failure(request, error.status_code, message, dict(error.headers or {}))


async def _of_validation(request: Request, error: Any) -> Response:
    kind = request.headers.get("content-type", "")
    if request.method == "POST" and "json" not in kind.lower():
        given = shortened(kind) if kind else "none"
        return _failure(request, 415, f"Content-Type must be application/json, got {given}.")
    endpoint = getattr(request.scope.get("route"), "endpoint", None)
    form = getattr(endpoint, "form", None) or getattr(endpoint, "__annotations__", {}).get("body")
    errors = [{**one, "loc": one["loc"][1:]} for one in error.errors()]
    return _failure(request, 422, sentence_of(errors, form, error.body))


async def _of_disconnect(request: Request, error: Any) -> Response:
    return Response(status_code=CLIENT_CLOSED)


async def _of_anything(request: Request, error: Any) -> Response:
    # The log gets the traceback: after this answer the error goes on to the server.
    return _failure(request, 500, f"The server failed ({type(error).__name__}); its log has the details.")


HANDLERS: dict[Any, Any] = {
    RequestError: _of_request,
    HTTPException: _of_http,
    RequestValidationError: _of_validation,
    DisconnectedError: _of_disconnect,
    Exception: _of_anything,
}
