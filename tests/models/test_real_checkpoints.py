"""Checkpoints of other libraries load in every backend and compute the outputs of their writers."""

from __future__ import annotations

import pytest
from safetensors.numpy import load_file

from support.paths import FIXTURES
from weight_conversion import convert

FOLDERS = sorted(path for path in (FIXTURES / "checkpoints").iterdir() if path.is_dir())
# Both sides are float32. Measured at most:
TOLERANCE = 1e-5
# KerasHub's masked-LM head has a layer norm with epsilon 1e-5, and DistilBERT's has 1e-12. Measured: 6.6e-4, and 2.1e-6
# with the same epsilon.
OTHER_EPSILON = {"kerashub_masked_lm": 1e-3}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_outputs_equal_the_writers(framework, folder, tmp_path):
    if folder.name.startswith("pt_bin"):
        pytest.importorskip("torch")  # the only format that a framework is needed to read
    weights = convert(folder, tmp_path / "here", dtype="float32")
    model = framework.load(weights.head, tmp_path / "here")
    expected = load_file(folder / "outputs.safetensors")
    inputs = {name: expected.pop(name) for name in ("input_ids", "attention_mask")}
    outputs = framework.call(model, **inputs)
    assert expected
    for name, array in expected.items():
        assert abs(outputs[name] - array).max() <= OTHER_EPSILON.get(folder.name, TOLERANCE)
