"""What happens to every request before its route: who may ask, how large it may be, and counting.

Each class is an ASGI application around another one.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from fastapi import HTTPException
from starlette.datastructures import Headers

from distilbert_core.errors import shortened
from distilbert_serve.http import json_response
from distilbert_serve.metrics import Metrics
from distilbert_serve.settings import Settings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

# Paths that need no token, unless something is posted: probes of containers, and pages without data.
OPEN = frozenset({"/", "/docs", "/health", "/ready", "/ping", "/v2/health/live", "/v2/health/ready"})
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Counting:
    """Counts requests by route and status.

    Args:
        app: The application inside.
        metrics: Where to count.
    """

    def __init__(self, app: App, metrics: Metrics):
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.monotonic(), "none"  # the client has gone

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, counted)
        finally:
            route = getattr(scope.get("route"), "path", "other")  # the paths of strangers are no label
            method = scope["method"] if scope["method"] in ("GET", "POST", "OPTIONS", "HEAD") else "other"
            self.metrics.requests.labels(route, method, status).inc()
            self.metrics.seconds.labels(route).observe(time.monotonic() - start)


class Guard:
    """Refuses requests without the token, of other hosts, and with a body that is too large.

    Without a token, a server on the loopback address answers only to the names of this machine, so that a web page
    cannot reach it under a name of its own; and any server refuses what pages of other origins send.

    Args:
        app: The application inside.
        settings: The settings of the server.
        open_routes: Paths that can be read without a token, beside `OPEN`.
    """

    def __init__(self, app: App, settings: Settings, open_routes: frozenset[str] = frozenset()):
        self.app, self.settings, self.open = app, settings, OPEN | open_routes

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            status, message, extra = refusal
            await json_response({"error": message}, status, **extra)(scope, receive, send)
            return
        await self.app(scope, self._limited(receive), send)

    def _refusal(self, scope: Mapping[str, Any], headers: Headers) -> tuple[int, str, dict[str, str]] | None:
        """Return status, message and headers of a refused request; None: it is not refused."""
        token = self.settings.token
        is_open = scope["path"] in self.open and scope["method"] != "POST"  # POST / answers a task
        if token is not None and not is_open:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            right = hmac.compare_digest(given.strip().encode("latin-1"), token.encode())  # headers are read as Latin-1
            if scheme.lower() != "bearer" or not right:
                challenge = {"WWW-Authenticate": "Bearer"}
                return 401, "This server needs the header 'Authorization: Bearer TOKEN' with its token.", challenge
        if token is None and self.settings.is_local and not _is_local(headers.get("host", "")):
            return 421, "This server answers to localhost only; give --host or --token to serve other names.", {}
        origin = headers.get("origin")
        if token is None and scope["method"] == "POST" and origin is not None and not self._is_own(origin, headers):
            return (
                403,
                f"Pages of {shortened(origin)} cannot use this server; give --cors with it.",
                {},
            )
        encoding = headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            return 415, f"Content-Encoding {shortened(encoding)} is not supported; send the body as it is.", {}
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > self.settings.limits.body_bytes:
            return 413, self._too_large, {"Connection": "close"}
        return None

    def _is_own(self, origin: str, headers: Headers) -> bool:
        """Return whether a page is one of this server, or may use it."""
        return not {origin, "*"}.isdisjoint(self.settings.cors) or origin.partition("://")[2] == headers.get("host")

    @property
    def _too_large(self) -> str:
        return f"The body has more than {self.settings.limits.body_bytes} bytes; send fewer inputs at a time."

    def _limited(self, receive: Receive) -> Receive:
        """Return a function that raises HTTPException once the body is too large, or takes too long."""
        received, is_complete = 0, False
        seconds = self.settings.timeout
        end = time.monotonic() + seconds

        async def limited() -> Message:
            nonlocal received, is_complete
            if is_complete:  # the next message is that the client has gone
                return await receive()
            try:
                async with asyncio.timeout(end - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"The body took longer than {seconds:g} s to arrive.") from None
            received += len(message.get("body", b""))
            is_complete = not message.get("more_body", False)
            if received > self.settings.limits.body_bytes:
                raise HTTPException(413, self._too_large)
            return message

        return limited


def _is_local(host: str) -> bool:
    """Return whether a Host header names this machine."""
    name = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
    return name.lower() in LOCAL_NAMES
