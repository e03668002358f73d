"""Limits of the sizes of modules, classes and test files, and the names of test files."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from support.paths import ROOT, TESTS

PACKAGES = (
    "distilbert_core",
    "distilbert_pt",
    "distilbert_tf",
    "distilbert_flax",
    "weight_conversion",
    "distilbert_serve",
    "distilbert_cli",
)
MODULE_LINES, CLASS_LINES, TEST_LINES = 450, 300, 500

# Folder of tests -> the package that it tests. A test file is named after a module, or after the folder itself.
TESTED = {
    "core/files": "distilbert_core/files",
    "core/model": "distilbert_core/model",
    "core/tokenization": "distilbert_core/tokenization",
    "core/pipelines": "distilbert_core/pipelines",
    "core/training": "distilbert_core/training",
    "core/training/tasks": "distilbert_core/training/tasks",
    "core/training/distillation": "distilbert_core/training/distillation",
    "cli": "distilbert_cli",
    "conversion": "weight_conversion",
    "conversion/formats": "weight_conversion/formats",
    "conversion/verification": "weight_conversion/verification",
    "serving": "distilbert_serve",
    "serving/routes": "distilbert_serve/routes",
    "pt": "distilbert_pt",
    "tf": "distilbert_tf",
    "flax": "distilbert_flax",
}
# Test files about several modules, or about the framework around the package.
SEVERAL_MODULES = {
    "cli": {"bad_texts", "launch_files"},
    "core/tokenization": {"against_transformers_4", "scripts", "tokenizers_alike"},
    "core/pipelines": {"defaults"},
    "core/training/tasks": {"bad_files", "batches", "features", "files", "metrics"},
    "conversion": {"crashes", "damaged_checkpoints", "hostile_files", "integrity"},
    "conversion/formats": {"new_format"},
    "serving": {"documents", "speed_benchmark"},
    "pt": {
        "bench",
        "export",
        "exported",
        "imports",
        "onnx",
        "order_benchmark",
        "parallel",
        "sklearn_embedder",
        "gpu_benchmark",
        "hostile_files",
        "speed_benchmarks",
        "state",
        "torch_bin",
    },
    "tf": {"distribution", "exported", "exports", "formats", "multi_worker", "sample_weights", "saving", "state"},
    "flax": {
        "arguments",
        "compilation_cache",
        "functional_style",
        "hostile_files",
        "integers_of_32_bits",
        "jax_programs",
        "orbax",
        "scan_layers",
        "state",
        "verifying",
    },
}


def too_large(name: str, source: str, lines: int) -> Iterator[str]:
    """Say which of a file and its classes have too many lines."""
    length = source.count("\n")
    if length > lines:
        yield f"{name} has {length} lines, at most {lines} are allowed"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            length = node.end_lineno - node.lineno + 1
            if length > CLASS_LINES:
                yield f"{name}::{node.name} has {length} lines, at most {CLASS_LINES} are allowed"


def faults(files: Iterable[Path], lines: int) -> list[str]:
    named = ((path.relative_to(ROOT).as_posix(), path.read_text()) for path in files)
    return [fault for name, source in named for fault in too_large(name, source, lines)]


def test_modules_and_classes_are_small() -> None:
    assert faults((path for package in PACKAGES for path in (ROOT / package).rglob("*.py")), MODULE_LINES) == []


def test_test_files_are_small() -> None:
    assert faults(TESTS.rglob("*.py"), TEST_LINES) == []


@pytest.mark.parametrize("folder", TESTED)
def test_a_test_file_is_named_after_a_module(folder: str) -> None:
    tests = {path.stem.removeprefix("test_") for path in (TESTS / folder).glob("test_*.py")}
    modules = {path.stem for path in (ROOT / TESTED[folder]).iterdir()} | {Path(folder).name}
    assert tests - modules - SEVERAL_MODULES.get(folder, set()) == set()


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("x = 1\n" * 451, "m.py has 451 lines, at most 450 are allowed"),
        ("class A:\n" + "    x = 1\n" * 300, "m.py::A has 301 lines, at most 300 are allowed"),
    ],
)
def test_a_module_or_class_that_is_too_large_is_named(source: str, fault: str) -> None:
    assert list(too_large("m.py", source, MODULE_LINES)) == [fault]
