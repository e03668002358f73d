"""Conversions into a folder with another checkpoint that are killed: the old one or the new one is there, whole."""

from __future__ import annotations

import os

import pytest

from support.crashes import OPERATIONS, Killed, results

if not hasattr(os, "fork"):
    pytest.skip("kills need fork", allow_module_level=True)

CONVERSIONS = [name for name in OPERATIONS if "-to-" in name]


def assert_whole(found: list[Killed]) -> None:
    for killed in found:
        assert killed.found in ("old", "new"), killed
        assert killed.found_read_only == killed.found, killed
        assert (killed.mine, killed.litter, killed.repaired) == (True, [], "new"), killed
    assert {killed.found for killed in found} == {"old", "new"}


@pytest.mark.parametrize("operation", ["pt-to-h5", "kerashub-to-pt"])
def test_a_kill_while_files_are_renamed(operation: str) -> None:
    """Before that, the destination is as it was: `test_a_killed_conversion_leaves_the_destination_as_it_was`."""
    assert_whole(results(operation, "journal"))


@pytest.mark.long
@pytest.mark.parametrize("operation", CONVERSIONS)
def test_a_kill_at_any_call(operation: str) -> None:
    assert_whole(results(operation))
