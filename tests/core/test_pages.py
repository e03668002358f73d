"""The files that a page names exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("*.md")), ROOT / "tests" / "README.md"]
# A path in backticks that begins in a folder of the repository, perhaps with * in it.
PATH = re.compile(r"`((?:distilbert_\w+|distilbert_\*|weight_conversion|tests|docs|examples|benchmarks)/[\w*./-]*)`")


def missing(text: str) -> Iterator[str]:
    """The paths in a text that lead to no file and no folder."""
    for path in PATH.findall(text):
        if not any(ROOT.glob(path.rstrip("/"))):
            yield path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_on_a_page_exists(page: Path) -> None:
    assert not list(missing(page.read_text(encoding="utf-8")))


def test_a_path_that_leads_nowhere_is_found() -> None:
    text = "`distilbert_core/model/packing.py`, `distilbert_*/heads.py`, `tests/`, and `distilbert_core/packing.py`"
    assert list(missing(text)) == ["distilbert_core/packing.py"]
