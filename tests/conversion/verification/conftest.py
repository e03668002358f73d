"""Fixtures of the tests of verification."""

from __future__ import annotations

import pytest

from support.checkpoints import save_random, small_config
from support.verifications import HEAD


@pytest.fixture
def checkpoint(tmp_path):
    """A folder with a random checkpoint in float32."""
    save_random(tmp_path / "a", small_config(), HEAD, dtype="float32")
    return tmp_path / "a"
