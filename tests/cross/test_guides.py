"""The guides in docs/moving: the new side of each pair gives the numbers that the old library gave for the old side."""

from __future__ import annotations

import pytest

from support.fences import blocks_of
from support.guides import CHECKPOINTS, PAGES, TOLERANCES, blocks, difference, digests, read_results, run_page, text_of

PAIRS = [(page, name) for page, pairs in TOLERANCES.items() for name in pairs]
COMPARED = [(page, name, result) for page, name in PAIRS for result in TOLERANCES[page][name]]


@pytest.fixture(scope="module")
def new_sides(tmp_path_factory):
    """The results of the new sides; a page runs when its first pair is asked for."""
    ran = {}

    def results(page):
        if page not in ran:
            ran[page] = run_page(page, "new", tmp_path_factory.mktemp(page))
        return ran[page]

    return results


@pytest.mark.parametrize(("page", "name", "result"), COMPARED)
def test_a_pair_gives_the_same_numbers(page, name, result, new_sides):
    expected = read_results(page)[name]["results"][result]
    assert difference(new_sides(page)[name][result], expected) <= TOLERANCES[page][name][result]


@pytest.mark.parametrize("page", TOLERANCES)
def test_every_old_block_is_the_one_that_was_run(page):
    recorded = {name: pair["sha256"] for name, pair in read_results(page).items()}
    assert digests(text_of(page)) == recorded, "run tests/oracle/guide_cases.py in the environment of the page"


@pytest.mark.parametrize("page", TOLERANCES)
def test_every_block_of_python_is_in_a_pair(page):
    old, new = ([name for name, _ in blocks(text_of(page), side) if name] for side in ("old", "new"))
    assert old == new == list(TOLERANCES[page])
    infos = [block.info for block in blocks_of(text_of(page)) if block.info.startswith("python")]
    assert len(infos) == 2 * len(old) - sum(info.startswith("python same=") for info in infos)


def test_every_guide_is_compared():
    assert {path.stem for path in PAGES.glob("*.md")} == set(TOLERANCES) == set(CHECKPOINTS)


def test_a_changed_block_has_another_digest():
    text = '```python old="open"\nsize = 1\n```\n\n```python new="open"\nsize = 1\n```\n'
    assert digests(text) == digests(text.replace('new="open"\nsize = 1', 'new="open"\nsize = 2'))
    assert digests(text) != digests(text.replace('old="open"\nsize = 1', 'old="open"\nsize = 2'))


@pytest.mark.parametrize("other", [[1.0, 2.5], [1.0], [[1.0, 2.0]], [1.0, float("nan")], ["a", "b"]])
def test_a_difference_is_noticed(other):
    assert difference([1.0, 2.0], [1.0, 2.0]) == 0
    assert difference(other, [1.0, 2.0]) >= 0.5
