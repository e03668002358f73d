"""What importing a backend brings in, and what it costs beside its framework."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

FRAMEWORK_MODULES = {"pt": {"torch"}, "tf": {"tensorflow", "keras"}, "flax": {"jax", "flax"}}
PACKAGES = {"pt": "distilbert_pt", "tf": "distilbert_tf", "flax": "distilbert_flax"}


def fresh_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_no_other_framework(framework):
    """Beside what the framework itself imports: TensorFlow takes JAX where it finds it."""
    others = set().union(*FRAMEWORK_MODULES.values(), PACKAGES.values(), {"transformers", "tf_keras"})
    others -= FRAMEWORK_MODULES[framework.name] | {PACKAGES[framework.name]}
    code = f"""
import importlib, json, sys
for name in {sorted(FRAMEWORK_MODULES[framework.name])}:
    importlib.import_module(name)
before = set(sys.modules)
import {PACKAGES[framework.name]}
print(json.dumps(sorted((set(sys.modules) - before) & {others!r})))
"""
    assert json.loads(fresh_python(code)) == []


def seconds_to_import(module: str) -> float:
    return float(fresh_python(f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"))


def test_cost_beside_pytorch(framework):
    """`import distilbert_pt` costs at most 1.15 times `import torch`: the fastest of several runs in turn.

    Measured alone: 1.08.
    """
    if framework.name != "pt":
        pytest.skip("the bound is PyTorch's: the other frameworks take longer themselves")
    runs = [(seconds_to_import("distilbert_pt"), seconds_to_import("torch")) for _ in range(7)]
    ours, theirs = (min(column) for column in zip(*runs, strict=True))
    assert ours <= 1.15 * theirs
