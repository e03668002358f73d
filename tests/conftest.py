"""Options and fixtures for all tests."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest

from support.uploads import Uploads

os.environ.setdefault("JAX_ENABLE_COMPILATION_CACHE", "false")  # keeps the user's folder clean
MAPPINGS = Path("/proc/self/maps")
MOST_MAPPINGS = 20_000  # of a process, of the 65,530 that Linux allows


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backends",
        help="comma-separated backends to test, each of which must be installed (default: those that are)",
    )


def pytest_configure(config: pytest.Config) -> None:
    from distilbert_core import BACKENDS, available_backends, load_backend

    wanted = config.getoption("--backends")
    names = available_backends() if wanted is None else [name for name in wanted.split(",") if name]
    for name in names:
        if name in BACKENDS and wanted is not None:
            load_backend(name)  # raises if it is not installed
    config.tested_backends = names  # type: ignore[attr-defined]
    if "flax" in names:
        import jax

        jax.config.update("jax_enable_x64", True)  # float64 is the reference


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a case after its head."""
    from distilbert_core import Head

    return str(val) if isinstance(val, Head) else None


@pytest.fixture
def uploads(monkeypatch: pytest.MonkeyPatch) -> Uploads:
    """The uploads to the Hub; nothing is sent."""
    made = Uploads()
    monkeypatch.setattr(huggingface_hub, "HfApi", made)
    return made


@pytest.fixture(scope="module", autouse=True)
def few_mappings(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let JAX forget what it compiled for earlier files: each program is mapped into memory, and Linux limits these."""
    yield
    if "flax" not in request.config.tested_backends or not MAPPINGS.exists():  # type: ignore[attr-defined]
        return
    with MAPPINGS.open() as mappings:
        count = sum(1 for _ in mappings)
    if count > MOST_MAPPINGS:
        import jax

        jax.clear_caches()


@pytest.fixture
def few_objects() -> Iterator[None]:
    """Let the garbage collector pass over the objects of earlier tests: Keras calls it for each variable it deletes."""
    gc.freeze()
    yield
    gc.unfreeze()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test with an argument `framework` once for each backend."""
    if "framework" in metafunc.fixturenames:
        from support.frameworks import FRAMEWORKS

        names = metafunc.config.tested_backends  # type: ignore[attr-defined]
        metafunc.parametrize("framework", [FRAMEWORKS[name] for name in names], ids=names)
