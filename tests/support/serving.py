"""Servers on a free port of the loopback address."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

from distilbert_core.pipelines.options import Option
from distilbert_serve.app import create_app
from distilbert_serve.metrics import Metrics
from distilbert_serve.models import Models, Source
from distilbert_serve.settings import Settings

# Names of the seeded checkpoints, one for each head; "choices" and the others are described in pipeline_cases.
ALL = ("moods", "entities", "answers", "masked_lm", "choices", "inference", "vectors")


@dataclass
class Reply:
    """An answer: status, headers and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The sentence of an error; it is one line, and no traceback."""
        message = self.json["error"]
        message = message["message"] if isinstance(message, dict) else message
        assert "\n" not in message
        assert "Traceback" not in message
        assert len(message) < 700
        return message


@dataclass
class Server:
    """A running server."""

    url: str
    models: Models
    metrics: Metrics
    app: Any

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", int(self.url.rpartition(":")[2])

    def ask(self, path: str, body: Any = None, method: str | None = None, **headers: str) -> Reply:
        """Send a request. A body that is not bytes is sent as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        named = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
        request = urllib.request.Request(self.url + path, data, named, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return Reply(reply.status, reply.headers, reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, error.headers, error.read())

    def raw(self, content: bytes) -> socket.socket:
        """Open a connection and send bytes."""
        connection = socket.create_connection(self.address, timeout=30)
        connection.sendall(content)
        return connection

    def raw_answer(self, content: bytes) -> bytes:
        """Send bytes; return those of the answer, up to the end of its JSON object."""
        answer = b""
        with self.raw(content) as connection:
            while not answer.endswith(b"}"):
                answer += connection.recv(10_000)
        return answer


@contextmanager
def running(sources: Iterable[Source], **settings: Any) -> Iterator[Server]:
    """Run a server in a thread of this process."""
    chosen = Settings(**{"port": 0, **settings})
    metrics = Metrics()
    models = Models(sources, chosen, metrics)
    app = create_app(models, chosen, metrics)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False, timeout_graceful_shutdown=10))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{listener.getsockname()[1]}", models, metrics, app)
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()
    assert not thread.is_alive()


def sources(folders: Mapping[str, Path], backend: str) -> list[Source]:
    """The sources of checkpoints by name."""
    return [Source(name, str(folder), backend, {}) for name, folder in folders.items()]


class Window(list):
    """A window of tokens: its ids."""

    overflowing = ()

    @property
    def ids(self) -> list[int]:
        return list(self)


class Echo:
    """A pipeline whose output for a window is its first id. `batches` has the windows of each batch."""

    option_table: Mapping[str, Option] = {}

    class tokenizer:  # noqa: N801
        @staticmethod
        def decode(ids: list[int], **_: Any) -> str:
            return str(ids)

    def __init__(self) -> None:
        self.inference = object()
        self.batches: list[list[Window]] = []
        self.gate = threading.Event()  # the model waits for it
        self.gate.set()
        self.started = threading.Event()

    def forward(self, windows: list[Window]) -> list[dict[str, np.ndarray]]:
        self.started.set()
        assert self.gate.wait(10)
        self.batches.append(list(windows))
        if any(window[0] < 0 for window in windows):
            raise RuntimeError("a negative id")
        return [{"ids": np.array([np.nan if window[0] == 13 else window[0]])} for window in windows]

    def selected_tokens(self) -> None: ...

    def reduce(self, window: Window, outputs: Mapping[str, np.ndarray], options: Any) -> int:
        return int(outputs["ids"][0])
