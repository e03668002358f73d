"""The command in a process of its own: its address, its variables, and its signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from distilbert_cli import main
from distilbert_core.errors import InputError
from distilbert_serve import running
from distilbert_serve.settings import Settings
from support.commands import COMMAND


class Process:
    """A server in a process; `url` is its address."""

    def __init__(self, arguments: list[str], variables: dict[str, str]):
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables}
        self.process = subprocess.Popen(
            [*COMMAND, "serve", *arguments], stderr=subprocess.PIPE, env=environment, text=True
        )
        self.lines: list[str] = []
        self.url = self.wait_for("Listening on ").rpartition(" ")[2]

    def wait_for(self, text: str) -> str:
        """Read lines of standard error until one has a text."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())
            if text in line:
                return line.rstrip()
        raise AssertionError(self.lines)

    def ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.loads(reply.read() or b"null")

    def end(self, number: int) -> int:
        """Send a signal, and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(30)


@contextmanager
def started(*arguments: str, **variables: str) -> Iterator[Process]:
    server = Process([*arguments], variables)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait(10)
        assert server.process.stderr is not None
        server.process.stderr.close()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_signals(folders: dict[str, Path], backend: str) -> None:
    model = f"mine={folders['moods']}"
    with started("--model", model, "--backend", backend, "--port", "0", "--max-wait", "400") as server:
        assert server.lines[0] == f"distilbert: mine: DistilBertForSequenceClassification on {backend}: predict, embed"
        assert server.url.startswith("http://127.0.0.1:")
        assert server.ask("/predict", {"inputs": "a"})["text"] == "a"
        server.process.send_signal(signal.SIGHUP)
        server.wait_for("mine is loaded again.")

        found: list[Any] = []
        waits = threading.Thread(target=lambda: found.append(server.ask("/predict", {"inputs": ["a", "b"]})))
        waits.start()
        time.sleep(0.2)  # the model waits 400 ms for more
        assert server.end(signal.SIGTERM) == 0
        waits.join(10)
        assert [record["text"] for record in found[0]] == ["a", "b"]
        assert not [line for line in server.lines if "Traceback" in line]


def test_a_container_says_where_to_listen(folders: dict[str, Path], backend: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    variables = {"SM_MODEL_DIR": str(folders["answers"]), "SAGEMAKER_BIND_TO_PORT": port}
    with started("--backend", backend, **variables) as server:
        assert server.url == f"http://0.0.0.0:{port}"
        assert any(
            line.startswith("distilbert: Everyone who can reach 0.0.0.0 can use these models") for line in server.lines
        )
        server.url = f"http://127.0.0.1:{port}"
        body = {"inputs": {"question": "Who?", "context": "Ada."}}
        assert server.ask("/invocations", body)["answer"]
        assert server.end(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("arguments", "variables", "message"),
    [
        (["--model", "missing/folder/of/mine"], {}, "missing/folder/of/mine"),
        (["--model", "a=sst2-tiny", "--model", "a=sst2-tiny"], {}, "Two models are called 'a'"),
        (["--host", ".."], {}, "--host must be a name or an address, got '..'."),
        (["--timeout", "nan"], {}, "--timeout must be a finite number, got nan."),
        (["--shutdown-timeout", "inf"], {}, "--shutdown-timeout must be a finite number, got inf."),
        (["--host", "nowhere.invalid"], {}, "The server cannot listen on nowhere.invalid:8000"),
        (["--token", ""], {}, "--token must not be empty"),
        (["--device", "abacus"], {}, "--device abacus cannot be used"),
        ([], {"AIP_HTTP_PORT": "8080", "AIP_STORAGE_URI": "gs://a/b"}, "AIP_STORAGE_URI is 'gs://a/b'"),
    ],
)
def test_a_server_that_cannot_start_says_why(
    arguments: list[str],
    variables: dict[str, str],
    message: str,
    backend: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert main(["serve", "--backend", backend, *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("distilbert: error: ")


def test_an_address_in_use(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", "--backend", backend, "--port", port]) == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use; give another --port" in capsys.readouterr().err


def test_an_address_that_another_server_takes_while_models_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other, socket.socket() as free:
        for one in (other, free):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

        def load(*_: Any) -> list[Any]:
            other.bind(("127.0.0.1", port))
            other.listen()
            return []

        monkeypatch.setattr(running, "Models", load)
        with pytest.raises(InputError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            running.serve([], Settings(port=port))


def test_any_failure_of_a_reload_is_said() -> None:
    class Model:
        class source:  # noqa: N801
            name = "moods"

        def reload(self) -> None:
            raise RuntimeError("out of memory")

    said: list[str] = []
    running._reload([Model(), Model()], said.append)  # type: ignore[arg-type]
    assert said == ["moods could not be loaded again, the former model stays: RuntimeError: out of memory"] * 2
