"""`/docs`: the routes and their bodies as one page, which loads nothing from elsewhere."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI, Response

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
code, pre {{ font-family: ui-monospace, monospace; }}
pre {{ overflow-x: auto; padding: .5rem; border: 1px solid; }}
</style></head><body><main>
<h1>{title}</h1>
<p>The same as a file: <a href="/openapi.json">openapi.json</a> (OpenAPI).
An error is <code>{{"error": "..."}}</code>.</p>
{body}
</main></body></html>
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def router(app: FastAPI) -> APIRouter:
    """Return the route for an application, whose other routes it lists."""
    routes = APIRouter(tags=["server"])

    @routes.get("/docs", summary="This page", response_class=Response)
    async def docs() -> Response:
        headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
        return Response(page_of(app.openapi()), headers=headers, media_type="text/html")

    return routes


def page_of(document: dict[str, Any]) -> str:
    """Return the page for an OpenAPI document.

    Args:
        document: The document.
    """
    sections: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tag = operation.get("tags", ["other"])[0]
            sections.setdefault(tag, []).append(_route(document, f"{method.upper()} {path}", operation))
    body = "\n".join(f"<h2>{escape(tag)}</h2>\n" + "\n".join(routes) for tag, routes in sections.items())
    return PAGE.format(title=escape(f"{document['info']['title']} {document['info']['version']}"), body=body)


def _route(document: dict[str, Any], name: str, operation: dict[str, Any]) -> str:
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    details = "" if schema is None else f"<pre>{escape(json.dumps(_resolved(document, schema), indent=2))}</pre>"
    summary = escape(operation.get("summary", ""))
    return f"<details><summary><code>{escape(name)}</code> {summary}</summary>{details}</details>"


def _resolved(document: dict[str, Any], schema: Any) -> Any:
    """Return a schema with the schemas that it refers to in their places."""
    match schema:
        case {"$ref": str(reference)}:
            return _resolved(document, document["components"]["schemas"][reference.rpartition("/")[2]])
        case dict():
            return {name: _resolved(document, value) for name, value in schema.items() if name != "title"}
        case list():
            return [_resolved(document, value) for value in schema]
    return schema
