"""The committed results of the old sides of the guides are what the libraries compute: run them again and compare.

A page is run in the tox environment of its library, and skipped in the others.
"""

from pathlib import Path

import pytest
from guide_cases import ENVIRONMENTS, is_here

from support.guides import difference, read_results, write_results


@pytest.mark.filterwarnings("ignore")  # of the libraries
@pytest.mark.parametrize("page", ENVIRONMENTS)
def test_the_old_side_is_reproduced(page: str, tmp_path: Path) -> None:
    if not is_here(page):
        pytest.skip("needs {1} {2}".format(*ENVIRONMENTS[page]))
    (tmp_path / "work").mkdir()
    write_results(page, tmp_path, tmp_path / "work")
    made, committed = read_results(page, tmp_path), read_results(page)
    assert list(made) == list(committed)
    for name, pair in committed.items():
        assert made[name]["sha256"] == pair["sha256"], name
        assert list(made[name]["results"]) == list(pair["results"])
        for result, expected in pair["results"].items():
            # On one machine 0; bfloat16 of another processor rounds in other places.
            bound = 0.05 if name == "precision" else 5e-6
            assert difference(made[name]["results"][result], expected) <= bound, (name, result)
