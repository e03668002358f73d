"""What importing and loading cost beside PyTorch itself."""

from __future__ import annotations

from processes import fresh_python


def seconds_to_import(module: str) -> float:
    return float(fresh_python(f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"))


def test_cost_beside_pytorch():
    """`import distilbert_pt` costs at most 1.15 times `import torch`: the fastest of several runs in turn."""
    runs = [(seconds_to_import("distilbert_pt"), seconds_to_import("torch")) for _ in range(7)]
    ours, theirs = (min(column) for column in zip(*runs, strict=True))
    assert ours <= 1.15 * theirs


def test_loading_does_not_import_the_compiler():
    """Making a model on PyTorch's meta device does, if anything is drawn there: two seconds for nothing."""
    code = "import distilbert_pt as d, sys; d.DistilBertModel.from_pretrained('sst2-tiny'); print(*sys.modules)"
    assert "torch._dynamo" not in fresh_python(f"import warnings; warnings.simplefilter('ignore'); {code}").split()
