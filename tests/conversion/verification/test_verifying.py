"""The verdict of a verification."""

from __future__ import annotations

import numpy as np
import pytest

from distilbert_core import InputError
from support.verifications import SOURCE, verification
from weight_conversion.verification.verifying import verify


def test_no_checkpoint():
    with pytest.raises(InputError, match="sources must name at least one checkpoint, got none"):
        verify([])


@pytest.mark.parametrize(
    ("errors", "worst", "passed"),
    [
        ((0.0, 1e-9, 1e-10), "hidden_states.1", True),
        ((0.0, 1e-10, 1.1e-9), "logits", False),
        ((np.nan, 1.0, 2.0), "hidden_states.0", False),
        ((0.0, np.inf, 2.0), "hidden_states.1", False),
    ],
)
def test_verdicts(errors, worst, passed):
    found = verification(tf=errors)
    assert found.runs[1].worst.name == worst
    assert [run.passed for run in found.runs] == [True, passed, True, True]
    assert found.passed is passed
    assert found.reference == f"{SOURCE} on PyTorch in float64"
