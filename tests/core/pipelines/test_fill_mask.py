"""Targets of fill-mask."""

from __future__ import annotations

import pytest
from oracle.pipeline_cases import MASKED

from distilbert_core import InputError, InputWarning
from support.fake_inference import make


def test_targets_that_are_not_tokens():
    answer = make("fill-mask")
    with pytest.warns(InputWarning, match="'unaffable' is not a token; 'una' stands for it"):
        candidates = answer(MASKED[0], targets=["unaffable", "good"])
    assert {candidate["token_str"] for candidate in candidates} == {"una", "good"}
    with (
        pytest.warns(InputWarning, match="' ' has no tokens; it is left out"),
        pytest.raises(InputError, match="at least one token"),
    ):
        answer(MASKED[0], targets=" ")
