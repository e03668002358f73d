"""One server with a seeded checkpoint for each head, on the first of the tested backends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.pipelines import write_checkpoint
from support.serving import ALL, Server, running, sources


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> str:
    """The backend of the servers."""
    names = request.config.tested_backends  # type: ignore[attr-defined]
    if not names:
        pytest.skip("needs a backend")
    return names[0]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of a checkpoint for each head, by name."""
    root = tmp_path_factory.mktemp("served")
    return {name: write_checkpoint(name, root) for name in ALL}


@pytest.fixture(scope="session")
def server(folders: dict[str, Path], backend: str) -> Iterator[Server]:
    """The server."""
    with running(sources(folders, backend)) as server:
        yield server
