"""Imports, read from the files: a wing or a package imports only from below, and no modules import each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import distilbert_core
from distilbert_core.moved import MOVED

HOUSE = Path(distilbert_core.__file__).parents[1]

# From the ground up. The modules of the core that are in no wing are the ground.
WINGS = ("ground", "files", "model", "tokenization", "pipelines", "training")
CORE = frozenset(WINGS)
FLOORS = {  # wing or package -> what it may import beside itself
    **{wing: frozenset(WINGS[:number]) for number, wing in enumerate(WINGS)},
    "distilbert_pt": CORE,
    "distilbert_tf": CORE,
    "distilbert_flax": CORE,
    "weight_conversion": CORE - {"training"},
    "distilbert_serve": CORE,
    "distilbert_cli": CORE | {"weight_conversion", "distilbert_serve"},
}
# The package itself shows names of its wings, but imports nothing else.
FRONT_DOOR = "distilbert_core"
# Libraries that only one place may need.
LIBRARIES = {
    "click": {"distilbert_cli"},
    "fastapi": {"distilbert_serve"},
    "starlette": {"distilbert_serve"},
    "uvicorn": {"distilbert_serve"},
    "pydantic": {"distilbert_serve"},
    "torch": {"distilbert_pt"},
    "tensorflow": {"distilbert_tf"},
    "keras": {"distilbert_tf"},
    "jax": {"distilbert_flax"},
    "flax": {"distilbert_flax"},
}


def home(module: str) -> str:
    """The wing or package that a module is in."""
    package, *path = module.split(".")
    if package != "distilbert_core":
        return package
    return path[0] if path and path[0] in WINGS else "ground"


def modules() -> Iterator[tuple[str, Path]]:
    for package in ("distilbert_core", *FLOORS):
        for path in (HOUSE / package).rglob("*.py"):
            yield ".".join(path.relative_to(HOUSE).with_suffix("").parts).removesuffix(".__init__"), path


def imported(source: str) -> Iterator[tuple[str, str]]:
    """Every import of code, in functions and for type checking too: the module and, with `from`, a name in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, name.name) for name in node.names)
        elif isinstance(node, ast.Import):
            yield from ((name.name, "") for name in node.names)


def faults(module: str, source: str) -> list[str]:
    """The imports of a module that lead to a wing, a package or a library that it may not use."""
    own = home(module)
    found = []
    for other in dict.fromkeys(
        f"{origin}.{name}" if origin == FRONT_DOOR else origin for origin, name in imported(source)
    ):
        there = home(other)
        if there in FLOORS and there != own and there not in FLOORS[own] and module != FRONT_DOOR:
            found.append(f"{module} imports {other}: {own} stands below {there}")
        if there in LIBRARIES and own not in LIBRARIES[there]:
            found.append(f"{module} imports {other}: only {', '.join(sorted(LIBRARIES[there]))} may")
        if other in MOVED:
            found.append(f"{module} imports {other}, which is {MOVED[other]} now")
    return found


def test_nothing_imports_upward() -> None:
    assert not [fault for module, path in modules() for fault in faults(module, path.read_text())]


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        ("distilbert_core.files.hub", "from distilbert_core.model.config import x", "files stands below model"),
        ("distilbert_core.model.packing", "import distilbert_core.training.run", "model stands below training"),
        ("distilbert_core.errors", "from distilbert_core.files.hub import x", "ground stands below files"),
        ("distilbert_core.pipelines.base", "import distilbert_pt", "pipelines stands below distilbert_pt"),
        ("distilbert_core.model.report", "def f():\n    import distilbert_cli", "model stands below distilbert_cli"),
        ("distilbert_tf.pretrained", "from weight_conversion import LAYOUTS", "distilbert_tf stands below weight_con"),
        ("weight_conversion.reading", "import distilbert_core.training.run", "weight_conversion stands below training"),
        ("distilbert_core.training.run", "import click", "only distilbert_cli may"),
        ("distilbert_serve.models", "import distilbert_pt", "distilbert_serve stands below distilbert_pt"),
        ("distilbert_core.pipelines.records", "import pydantic", "only distilbert_serve may"),
        ("distilbert_core.model.inference", "import torch", "only distilbert_pt may"),
        ("distilbert_cli.info", "import distilbert_core.hub", "which is distilbert_core.files.hub now"),
        ("distilbert_cli.info", "from distilbert_core import hub", "which is distilbert_core.files.hub now"),
        ("distilbert_core.model.packing", "from distilbert_core import training", "model stands below training"),
    ],
)
def test_an_import_upward_is_found(module: str, source: str, fault: str) -> None:
    (found,) = faults(module, source)
    assert fault in found


def circle(sources: Mapping[str, str]) -> list[str]:
    """Modules that import each other, each the next one; an empty list if there are none."""
    graph = {}
    for module, source in sources.items():
        named = (f"{origin}.{name}" if f"{origin}.{name}" in sources else origin for origin, name in imported(source))
        graph[module] = {name for name in named if name in sources and name != module}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_modules_import_each_other() -> None:
    assert circle({module: path.read_text() for module, path in modules()}) == []


@pytest.mark.parametrize(
    "source",
    [
        "import a",
        "from a import name",
        "def function():\n    from a import name",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a",
    ],
)
def test_modules_that_import_each_other_are_found(source: str) -> None:
    sources = {"a": "import b.inner", "b": "", "b.inner": "from b import other", "b.other": source, "c": "import a, b"}
    assert sorted(set(circle(sources))) == ["a", "b.inner", "b.other"]
    assert circle({**sources, "b.other": ""}) == []
