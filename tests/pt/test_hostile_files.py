"""Hostile files that need PyTorch: pickles. See tests/conversion/test_hostile_files.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.hostile import LONG, ORDINARY, check, quick
from support.integrity import check_bits
from support.mutators import pickles

READER = "support.torch_readers:convert_and_load"


def test_a_hostile_pickle_is_one_error_or_loads(tmp_path: Path) -> None:
    check(quick(pickles.BIN), tmp_path, ORDINARY, READER)


@pytest.mark.long
def test_many_hostile_pickles_are_errors_or_load(tmp_path: Path) -> None:
    check(pickles.BIN, tmp_path, LONG, READER, seed=2)


def test_a_flipped_bit_is_found_in_each_file(tmp_path: Path) -> None:
    check_bits("bin", tmp_path)
