"""The time and the modules that importing and loading add to PyTorch itself."""

from __future__ import annotations

from support.processes import fresh_python


def test_imports_beside_pytorch():
    """Two small libraries and ourselves: what they cost is in benchmarks/start_up.py."""
    packages = "{name.partition('.')[0] for name in sys.modules}"
    code = f"import sys, torch; before = {packages}; import distilbert_pt; print(*sorted({packages} - before))"
    assert fresh_python(code).split() == ["distilbert_core", "distilbert_pt", "ml_dtypes", "tokenizers"]


def test_loading_does_not_import_the_compiler():
    """Making a model on PyTorch's meta device does, if anything is drawn there: two seconds for nothing."""
    code = "import distilbert_pt as d, sys; d.DistilBertModel.from_pretrained('sst2-tiny'); print(*sys.modules)"
    assert "torch._dynamo" not in fresh_python(f"import warnings; warnings.simplefilter('ignore'); {code}").split()
