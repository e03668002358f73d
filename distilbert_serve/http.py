"""What all routes share: requests with strict JSON, and answers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.routing import APIRoute

from distilbert_core.errors import InputError
from distilbert_core.files.json_files import parse_json, to_json
from distilbert_serve.answering import Answer

NOTE_HEADER = "Distilbert-Note"
MODEL_HEADER = "Distilbert-Model"
NOTE_CHARACTERS = 1000


class StrictRequest(Request):
    """A request whose JSON is read within limits: no NaN, no repeated keys, no half of a surrogate pair."""

    async def json(self) -> Any:
        """Return the value of the body.

        Raises:
            HTTPException: 422: the body is not such JSON.
        """
        if not hasattr(self, "_value"):
            try:
                self._value = parse_json("The body", await self.body(), InputError, "request", strict=True)
            except InputError as error:
                raise HTTPException(422, str(error)) from error
        return self._value


class StrictRoute(APIRoute):
    """A route that gets a `StrictRequest`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that answers a request."""
        answer = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await answer(StrictRequest(request.scope, request.receive))

        return strict


def strict_router(*tags: str) -> APIRouter:
    """Return a router with strict routes; `tags` group them in the documentation."""
    return APIRouter(route_class=StrictRoute, tags=list(tags))


def to_bytes(value: Any) -> bytes:
    """Return JSON in UTF-8."""
    return to_json(value).encode()


def json_response(content: bytes | Any, status: int = 200, **headers: str) -> Response:
    """Return a response with a JSON value, or with the bytes of one."""
    content = content if isinstance(content, bytes) else to_bytes(content)
    return Response(content, status, headers, media_type="application/json")


def answer_response(answer: Answer, media_type: str = "application/json") -> Response:
    """Return the response for an answer whose content is bytes; headers name the model and carry the notes."""
    headers = {MODEL_HEADER: _header(answer.model)}
    if answer.notes:
        headers[NOTE_HEADER] = _header(" ".join(answer.notes))
    return Response(answer.content, 200, headers, media_type=media_type)


def _header(text: str) -> str:
    """Return a text as a header can hold it: printable ASCII."""
    text = text.encode("ascii", "backslashreplace").decode()
    text = "".join(character if character.isprintable() else " " for character in text)
    return text if len(text) <= NOTE_CHARACTERS else f"{text[:NOTE_CHARACTERS]} ..."
