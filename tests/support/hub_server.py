"""A stand-in for the Hugging Face Hub: its paths, headers and errors over HTTP, on this machine only."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import huggingface_hub
import pytest
from huggingface_hub import constants, file_download

# Under its name of version 1 on, or of before.
forget_connections = getattr(huggingface_hub, "close_session", None) or huggingface_hub.utils.reset_sessions


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

    def accept(self, path: str, body: bytes, token: str | None) -> tuple[int, dict[str, Any]]:
        """Status and answer to the requests of an upload: create a repository, announce files, and commit them."""
        if token is None:
            return 401, {"error": "Invalid username or password."}
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            new = name not in self.repositories
            self.repositories.setdefault(name, Repository({"main": {}}))
            return 200 if new else 409, {"url": f"{self.url}/{name}", "id": name}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        name, _, action = path.removeprefix("/api/models/").rpartition("/")[0].rpartition("/")
        revision = unquote(path.rpartition("/")[2].partition("?")[0])
        if action == "preupload":
            names = [file["path"] for file in json.loads(body)["files"]]
            return 200, {"files": [{"path": file, "uploadMode": "regular", "shouldIgnore": False} for file in names]}
        branches = self.repositories[name].revisions
        if action == "branch":
            branches.setdefault(revision, dict(branches["main"]))
            return 200, {}
        assert action == "commit", path
        lines = [json.loads(line) for line in body.splitlines()]
        for value in (line["value"] for line in lines if line["key"] == "file"):
            branches[revision][value["path"]] = base64.b64decode(value["content"])
        return 200, {"commitUrl": f"{self.url}/{name}/commit/{commit_of(revision)}", "commitOid": commit_of(revision)}


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

        def do_POST(self) -> None:
            token = self.headers.get("authorization")
            hub.requests.append((self.command, self.path, token and token.removeprefix("Bearer ")))
            status, answer = hub.accept(self.path, self.body(), hub.requests[-1][2])
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def body(self) -> bytes:
            """The body of a request, whose length may not be known before."""
            if "content-length" in self.headers:
                return self.rfile.read(int(self.headers["content-length"]))
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)

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


@contextmanager
def in_place_of_the_hub(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[HubServer]:
    """Run a server that huggingface_hub takes for the Hub, with an empty cache and no token."""
    with serve() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        redirect(server.url, monkeypatch)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
        for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(time, "sleep", lambda _: None)  # huggingface_hub waits before it tries again
        yield server
    forget_connections()


def redirect(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let huggingface_hub look for files at another address than it was imported with."""
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE
    for module in (constants, file_download):  # older versions read their own copy
        name = "HUGGINGFACE_CO_URL_TEMPLATE"
        monkeypatch.setattr(module, name, url + template[template.index("/{") :], raising=False)
