"""Runs that are killed at random moments leave nothing or a complete checkpoint, and continue to the same bits."""

from __future__ import annotations

import os

import pytest

from support.killed_runs import results


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("kind", ["finetune", "distill"])
def test_runs_killed_at_random_moments(framework, kind):
    for seconds, found, status, differing, left in results(kind, framework.name, 12):
        assert found in ("nothing", "a checkpoint"), seconds
        assert (status, differing, left) == (0, [], []), (seconds, found)
