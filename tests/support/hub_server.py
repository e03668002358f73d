"""A stand-in for the Hugging Face Hub: its paths, headers and errors over HTTP, on this machine only."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


@dataclass
class Repository:
    """A repository: its files by revision, and its visibility.

    Attributes:
        revisions: Branch, tag or commit -> file name -> content.
        token: What a request must bring; None for a public repository.
        gated: The repository may be seen by all, its files only with the token.
        fault: 'status' to answer 500, 'drop' to close the connection in the middle of a file.
    """

    revisions: dict[str, dict[str, bytes]]
    token: str | None = None
    gated: bool = False
    fault: str | None = None


def commit_of(revision: str) -> str:
    """The commit that a revision stands for."""
    return hashlib.sha1(revision.encode()).hexdigest()


@dataclass
class HubServer:
    """The repositories that are served, and what was asked for: (method, path, token)."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    url: str = ""

    @property
    def downloads(self) -> list[str]:
        """The files whose content was sent."""
        parts = [path.partition("/resolve/") for method, path, _ in self.requests if method == "GET"]
        return [file for _, found, file in parts if found]

    def answer(self, path: str, token: str | None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body, as the Hub answers /{repository}/resolve/{revision}/{file}."""
        name, _, rest = path.removeprefix("/").partition("/resolve/")
        revision, _, file = rest.partition("/")
        repository = self.repositories.get(name)
        allowed = repository is not None and repository.token in (None, token)
        if repository is None or not (allowed or repository.gated):
            return 401, {"X-Error-Code": "RepoNotFound"}, b""  # the Hub does not tell a private one from none
        if not allowed:
            return 403, {"X-Error-Code": "GatedRepo"}, b""
        if repository.fault == "status":
            return 500, {}, b""
        files = repository.revisions.get(unquote(revision))
        if files is None:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        commit = {"X-Repo-Commit": commit_of(unquote(revision))}
        content = files.get(unquote(file))
        if content is None:
            return 404, {"X-Error-Code": "EntryNotFound", **commit}, b""
        return 200, {**checksum_of(unquote(file), content), **commit}, content


def checksum_of(file: str, content: bytes) -> dict[str, str]:
    """The header with the checksum of a file: of weights as LFS has it, of others as Git has it."""
    if file.endswith(".safetensors"):
        return {"ETag": '"of the storage"', "X-Linked-ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
    return {"ETag": f'"{hashlib.sha1(b"blob %d" % len(content) + bytes(1) + content).hexdigest()}"'}


@contextmanager
def serve() -> Iterator[HubServer]:
    """Run a server for as long as the context is open."""
    hub = HubServer()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.respond(with_body=False)

        def do_GET(self) -> None:
            self.respond(with_body=True)

        def respond(self, with_body: bool) -> None:
            token = self.headers.get("authorization")
            hub.requests.append((self.command, self.path, token and token.removeprefix("Bearer ")))
            status, headers, body = hub.answer(self.path, hub.requests[-1][2])
            repository = hub.repositories.get(self.path.partition("/resolve/")[0].removeprefix("/"))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                drop = repository is not None and repository.fault == "drop"
                self.wfile.write(body[: len(body) // 2] if drop else body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
