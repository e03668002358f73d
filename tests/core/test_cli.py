"""The command's errors and its words about backends that are not there; no framework is needed for these."""

from __future__ import annotations

import importlib.util
import io

import pytest

from distilbert_core import BACKENDS, BackendNotInstalledError, available_backends, load_backend
from distilbert_core.cli import main


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_missing_backend_is_named_with_its_command(nothing_installed, capsys, name):
    assert main(["predict", "A text", "--backend", name]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f'pip install "distilbert[{name}]"' in captured.err
    assert BACKENDS[name].title in captured.err


@pytest.mark.parametrize("arguments", [[], ["--backend", "all"]])
def test_no_backend_at_all(nothing_installed, capsys, arguments):
    assert main(["predict", "A text", *arguments]) == 1
    error = capsys.readouterr().err
    assert all(backend.install_command in error for backend in BACKENDS.values())


def test_backends_by_name(nothing_installed):
    assert available_backends() == []
    with pytest.raises(BackendNotInstalledError, match="needs tensorflow and keras; install it with pip install"):
        load_backend("tf")
    with pytest.raises(ValueError, match="backend must be one of pt, tf, flax, got 'mxnet'"):
        load_backend("mxnet")


def test_texts_or_a_file(capsys, tmp_path):
    assert main(["predict", "A text", "--file", str(tmp_path / "texts.txt")]) == 1
    assert "Give texts or --file, not both" in capsys.readouterr().err


def test_nothing_to_classify(monkeypatch, capsys):
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", terminal)
    assert main(["predict"]) == 1
    assert "Nothing to classify" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["train"], [], ["predict", "x", "--backend", "mxnet"]])
def test_wrong_usage_exits_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    assert exit_info.value.code == 2
    assert "usage: distilbert" in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["--version"])
    assert exit_info.value.code == 0
    assert capsys.readouterr().out.startswith("distilbert 0.")
