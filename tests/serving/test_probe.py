from __future__ import annotations

import socket

import pytest

from distilbert_serve.probe import main
from support.serving import Server


def test_a_server_is_ready(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTILBERT_PORT", str(server.address[1]))
    assert main() == 0


def test_a_server_is_not_ready(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    monkeypatch.setenv("DISTILBERT_PORT", port)
    assert main() == 1
    assert "not ready: " in capsys.readouterr().err
    monkeypatch.setenv("DISTILBERT_PORT", "x")
    assert main() == 1
    assert "DISTILBERT_PORT must be a port" in capsys.readouterr().err
