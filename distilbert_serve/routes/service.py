"""The routes about the server itself: health, models, metrics, and the page."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from distilbert_core.errors import DistilBertError
from distilbert_serve.answering import Answering
from distilbert_serve.errors import RequestError
from distilbert_serve.http import json_response, strict_router
from distilbert_serve.metrics import Metrics

PAGE = Path(__file__).parents[1] / "page.html"
# The page has its style and its program inside, and asks this server only.
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def router(answering: Answering, metrics: Metrics) -> APIRouter:
    """Return the routes."""
    routes = strict_router("server")
    models = answering.models

    @routes.get("/health", summary="The process runs")
    async def health() -> Response:
        return json_response({"status": "ok"})

    @routes.get("/ready", summary="All models answer")
    async def ready() -> Response:
        return json_response({"ready": models.are_alive}, 200 if models.are_alive else 503)

    @routes.get("/models", summary="The models, and what each can do")
    async def list_models() -> Response:
        return json_response([model.describe() for model in models])

    @routes.post("/models/{name}/reload", summary="Load a model again from its source")
    async def reload(name: str) -> Response:
        settings = answering.settings
        if settings.token is None and not settings.allow_reload:
            raise RequestError(403, "Reloading needs a server with --token or --allow-reload.")
        model = models[name]
        try:
            await run_in_threadpool(model.reload)
        except DistilBertError as error:
            raise RequestError(500, f"{name} could not be loaded again, the former model stays: {error}") from error
        return json_response(model.describe())

    @routes.get("/metrics", summary="Metrics for Prometheus")
    async def text_of_metrics() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    @routes.get("/", summary="A page to try the models")
    async def page(request: Request) -> Response:
        if not PAGE.is_file():
            raise RequestError(404, "This installation has no page; /docs lists the routes.")
        headers = {"Content-Security-Policy": PAGE_POLICY, "X-Content-Type-Options": "nosniff"}
        return Response(PAGE.read_bytes(), headers=headers, media_type="text/html")

    return routes
