"""Modules that importing a backend loads."""

from __future__ import annotations

import json

from support.processes import fresh_python

FRAMEWORK_MODULES = {"pt": {"torch"}, "tf": {"tensorflow", "keras"}, "flax": {"jax", "flax"}}
PACKAGES = {"pt": "distilbert_pt", "tf": "distilbert_tf", "flax": "distilbert_flax"}


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
