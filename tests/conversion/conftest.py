"""Fixtures of the tests of conversion."""

from __future__ import annotations

from pathlib import Path

import pytest

from distilbert_core import Head
from support.checkpoints import save_random, small_config


@pytest.fixture
def source(tmp_path: Path) -> Path:
    save_random(tmp_path / "source", small_config(), Head.SEQUENCE_CLASSIFICATION, dtype="float32")
    return tmp_path / "source"
