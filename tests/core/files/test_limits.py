"""The table of limits, and the numbers that are above them."""

from __future__ import annotations

import pytest

from distilbert_core.errors import CheckpointError, InputError
from distilbert_core.files.limits import LIMITS, check_limit


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_has_a_unit_and_a_reason(name: str) -> None:
    limit = LIMITS[name]
    assert limit.most > 0
    assert limit.unit
    assert len(limit.reason) > 20


def test_a_number_above_its_limit() -> None:
    check_limit("modules", 100, "modules.json")
    message = r"^modules\.json has 101 modules of sentence-transformers, at most 100 are allowed\.$"
    with pytest.raises(CheckpointError, match=message):
        check_limit("modules", 101, "modules.json")
    with pytest.raises(InputError, match=r"^a has more than 10\^30 layers, at most 1000 are allowed\.$"):
        check_limit("n_layers", 10**5000, "a", InputError)
