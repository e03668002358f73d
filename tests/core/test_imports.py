"""Modules that importing the core loads, and the time that it takes, in a new interpreter."""

from __future__ import annotations

import json

import pytest

import distilbert_core
from support.processes import fresh_python

FRAMEWORKS = {"torch", "tensorflow", "keras", "jax", "flax", "transformers"}
BACKENDS = {"distilbert_pt", "distilbert_tf", "distilbert_flax"}
# Needed by some calls only, and slow to import.
LATER = {"huggingface_hub", "rich"}

LIMIT = 2.3  # times the import of NumPy alone; measured: 1.6 to 1.8

USES = {
    "import": "",
    "config": "distilbert_core.DistilBertConfig.from_pretrained(folder)",
    "tokenizer": "distilbert_core.DistilBertTokenizerFast.from_pretrained(folder)('text')",
}


@pytest.mark.parametrize("use", USES)
def test_no_framework_is_imported(use: str) -> None:
    script = f"import json, sys, distilbert_core; folder = {distilbert_core.DEFAULT_MODEL!r}; {USES[use]}"
    loaded = set(
        json.loads(fresh_python(f"{script}\nprint(json.dumps([name for name in sys.modules if '.' not in name]))"))
    )
    assert {"distilbert_core", "numpy"} <= loaded
    assert not loaded & (FRAMEWORKS | BACKENDS | LATER)


def test_importing_is_quick() -> None:
    """Best of five, in CPU time and relative to NumPy, so that other work and slow machines do not matter."""
    script = (
        "from time import process_time as now; start = now(); import numpy; middle = now(); import distilbert_core; "
        "print((now() - start) / (middle - start))"
    )
    ratios = [float(fresh_python(script)) for _ in range(5)]
    assert min(ratios) <= LIMIT, ratios
