"""The options of `serve`, without a server."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from distilbert_cli import main
from distilbert_cli.serving import _chosen
from distilbert_core.model.backends import RUNNABLE, available_backends


@pytest.mark.parametrize("library", ["fastapi", "uvicorn", "prometheus_client"])
def test_without_the_extra_it_says_what_to_install(
    library: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("fastapi", "uvicorn", "prometheus_client"):
        monkeypatch.setitem(sys.modules, name, None if name == library else sys)
    assert main(["serve"]) == 1
    expected = f'distilbert serve needs {library}, which is not installed: pip install "distilbert[serve]"'
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "expected"), [(None, []), (["tf", "pt", "tf"], ["tf", "pt"]), (["pt", "all"], available_backends())]
)
def test_backends(given: Any, expected: list[str]) -> None:
    assert _chosen(given) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend", "pt,torch"], f"write some of {', '.join(RUNNABLE)}, or all"),
        (["--port", "70000"], "70000 is not in the range 0<=x<=65535"),
        (["--timeout", "0"], "0.0 is not in the range x>0"),
        (["--max-wait", "-1"], "is not in the range"),
    ],
)
def test_wrong_options(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
