"""`verify` over all backends at once."""

from __future__ import annotations

import pytest

from distilbert_cli import main
from distilbert_core import BACKENDS, DEFAULT_MODEL
from support.checkpoints import HEADS, save_random, small_config
from weight_conversion.verification.verifying import COMPUTE_DTYPES, verify


@pytest.mark.parametrize("head", HEADS)
def test_three_backends_agree(tmp_path, head):
    save_random(tmp_path, small_config(architectures=[head.architecture]), head)
    found = verify([tmp_path], attentions=True)
    assert [(run.backend, run.dtype) for run in found.runs] == [
        (name, dtype) for dtype in COMPUTE_DTYPES for name in BACKENDS
    ]
    assert found.passed
    # Measured: at most 1.6e-15. The bound of `verify` is for all sizes.
    assert max(run.worst.relative for run in found.runs if run.dtype == "float64") < 1e-14


def test_the_embedded_model(tmp_path, capsys):
    report = tmp_path / "report.html"
    assert main(["verify", DEFAULT_MODEL, "--report", str(report)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].endswith("12 texts of 4 to 63 tokens; reference: sst2-tiny on PyTorch in float64")
    assert printed[-1] == "equal up to rounding"
    page = report.read_text(encoding="utf-8")
    assert all(backend.title in page for backend in BACKENDS.values())
