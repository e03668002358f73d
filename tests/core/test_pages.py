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


# A test in backticks.
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def missing_tests(text: str) -> list[str]:
    """The tests in a text that their file does not have."""
    named = TEST.findall(text)
    return [name for path, name in named if f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_test_on_a_page_exists(page: Path) -> None:
    assert missing_tests(page.read_text(encoding="utf-8")) == []


def test_a_test_that_is_not_in_its_file_is_found() -> None:
    text = "`tests/core/test_pages.py::test_every_path_on_a_page_exists` `tests/core/test_pages.py::test_nothing`"
    assert missing_tests(text) == ["test_nothing"]


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
INFO = re.compile(r"bash( set-up)?|text|json|js|python( (old|new|same)=\"[\w-]+\"| not-run=\"[^\"]+\")?")


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


# -- docs/numerics.md ----------------------------------------------------------------------------------------------

NUMERICS = (ROOT / "docs/numerics.md").read_text(encoding="utf-8")
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:e-\d+)?(?![\w])")


def rows_of(table: str) -> list[list[str]]:
    """The rows of a table whose last cell is the path of a test."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "|" in line]
    return [row for row in cells if row[-1].startswith("`tests/")]


def absent(row: list[str]) -> list[str]:
    """The tolerance and the measured error of a row, if its test does not have them."""
    *_, tolerance, measured, test = row
    numbers = {float(number) for number in NUMBER.findall((ROOT / test.strip("`")).read_text(encoding="utf-8"))}
    return [number for number in (tolerance, measured) if float(number) not in numbers]


@pytest.mark.parametrize("row", rows_of(NUMERICS), ids=lambda row: f"{row[0]}-{row[1]}")
def test_a_tolerance_on_the_page_is_that_of_the_test(row: list[str]) -> None:
    assert absent(row) == []
    assert float(row[-2]) < float(row[-3])


def test_the_table_of_tolerances_is_read_and_a_wrong_number_is_found() -> None:
    assert len(rows_of(NUMERICS)) > 10
    assert absent(["outputs", "float64", "5e-12", "6.2e-13", "`tests/models/test_values.py`"]) == ["6.2e-13"]
