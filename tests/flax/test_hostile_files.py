"""Hostile files that need TensorStore: Orbax. See tests/conversion/test_hostile_files.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.hostile import LONG, ORDINARY, check, quick
from support.integrity import check_bits
from support.mutators import orbax

READER = "support.tensorstore_readers:convert_and_load"
(ORBAX,) = orbax.MUTATORS


def test_a_hostile_orbax_checkpoint_is_one_error_or_loads(tmp_path: Path) -> None:
    check(quick(ORBAX), tmp_path, ORDINARY, READER)


@pytest.mark.long
def test_many_hostile_orbax_checkpoints_are_errors_or_load(tmp_path: Path) -> None:
    check(ORBAX, tmp_path, LONG, READER, seed=2)


def test_a_flipped_bit_is_found_in_each_file(tmp_path: Path) -> None:
    check_bits("orbax", tmp_path)
