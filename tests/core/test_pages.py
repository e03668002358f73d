"""The files that a page names exist, its pictures have a text, and its blocks of code say what they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fences import PAGES, Block, all_blocks, blocks_of, name_of
from support.paths import ROOT

# A path in backticks that begins in a folder of the repository, perhaps with * in it.
PATH = re.compile(r"`((?:distilbert_\w+|distilbert_\*|weight_conversion|tests|docs|examples|benchmarks)/[\w*./-]*)`")


def missing(text: str) -> Iterator[str]:
    """The paths in a text that lead to no file and no folder."""
    for path in PATH.findall(text):
        if not any(ROOT.glob(path.rstrip("/"))):
            yield path


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_path_on_a_page_exists(page: Path) -> None:
    assert not list(missing(page.read_text(encoding="utf-8")))


# A picture in Markdown with its text, or in HTML.
PICTURE = re.compile(r"!\[([^\]]*)\]\([^)]*\)|<img ([^>]*)>")


def without_text(text: str) -> list[str]:
    """The pictures in a text that have no text of at least three words for readers who do not see them."""
    found = (
        (match[0], match[1] or "".join(re.findall(r'alt="(.*?)"', match[2] or ""))) for match in PICTURE.finditer(text)
    )
    return [picture for picture, alternative in found if len(alternative.split()) < 3]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pictures_have_a_text(page: Path) -> None:
    assert without_text(page.read_text(encoding="utf-8")) == []


def test_a_picture_without_a_text_is_found() -> None:
    text = '![Bars that grow with time](a.png) <img src="b.svg" alt="A line that falls"> ![](c.png) <img src="d.svg">'
    assert without_text(text) == ["![](c.png)", '<img src="d.svg">']


def test_a_path_that_leads_nowhere_is_found() -> None:
    text = "`distilbert_core/model/packing.py`, `distilbert_*/heads.py`, `tests/`, and `distilbert_core/packing.py`"
    assert list(missing(text)) == ["distilbert_core/packing.py"]


# What stands behind the first fence of a block. `python` is run by cross/test_readme.py; Python that no test runs has a
# reason.
INFO = re.compile(r"bash( set-up)?|text|json|js|python( [\w-]+=[\w.-]+| not-run=\"[^\"]+\")?")


def unclear(block: Block) -> bool:
    """Whether a block does not say what it is, or is Python that does not say why it is not run."""
    return INFO.fullmatch(block.info) is None


def test_every_block_of_code_says_what_it_is() -> None:
    assert [(page, block) for page, block in all_blocks() if unclear(block)] == []


def test_a_block_that_is_not_run_has_a_reason() -> None:
    infos = [
        "python",
        "py",
        "Python",
        "python not-run",
        'python not-run=""',
        'python not-run="needs a TPU"',
        "",
        "bash",
    ]
    text = "".join(f"```{info}\nx = 1\n```\n" for info in infos)
    assert [block.info for block in blocks_of(text) if unclear(block)] == [
        "py",
        "Python",
        "python not-run",
        'python not-run=""',
        "",
    ]
