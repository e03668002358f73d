"""A real server and a headless Chromium. Every test fails if the page sends a request to another origin."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from distilbert_core import DEFAULT_MODEL
from distilbert_serve.models import Source
from support.browsing import launched
from support.pipelines import write_checkpoint
from support.serving import Server, running, sources

HEADS = ("moods", "entities", "answers", "masked_lm", "choices", "inference")  # a checkpoint for each task


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server with a seeded checkpoint for each head, and the embedded model on all tested backends."""
    backends = request.config.tested_backends  # type: ignore[attr-defined]
    root = tmp_path_factory.mktemp("served")
    embedded = [Source(f"{DEFAULT_MODEL}@{backend}", DEFAULT_MODEL, backend, {}) for backend in backends]
    with running([*embedded, *sources({name: write_checkpoint(name, root) for name in HEADS}, backends[0])]) as server:
        yield server


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser of all tests."""
    with launched() as browser:
        yield browser


@pytest.fixture
def visit(chromium: Browser, server: Server) -> Iterator[Callable[..., Page]]:
    """A function that opens the page: `visit(fragment, url=..., **options of the browser's context)`."""
    contexts, faults = [], []

    def open_page(fragment: str = "", url: str = server.url, **options: Any) -> Page:
        context = chromium.new_context(**{"viewport": {"width": 1200, "height": 900}, **options})
        contexts.append(context)
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.on("request", lambda request: request.url.startswith(f"{url}/") or faults.append(request.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{url}/{fragment}")
        page.wait_for_selector("#tasks input, .error:not(:empty)")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the pictures of screens: that of the variable PICTURES, if there is one."""
    folder = os.environ.get("PICTURES")
    return Path(folder) if folder else tmp_path_factory.mktemp("pictures")
