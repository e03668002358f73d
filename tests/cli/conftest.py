"""Fixtures of the tests of the command."""

from __future__ import annotations

import importlib.util

import pytest

from support.commands import WordCounter


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


@pytest.fixture
def word_counter(monkeypatch):
    monkeypatch.setattr("distilbert_core.pipelines.load_inference", lambda *args, **kwargs: WordCounter())
