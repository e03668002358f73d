"""What is written as ONNX computes what the checkpoint's writer computed, in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import FIXTURES
from safetensors.numpy import load_file

from distilbert_core import CheckpointError
from weight_conversion import convert, open_weights

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.mark.parametrize("name", ["pt_base", "pt_multiple_choice", "pt_question_answering", "tf_masked_lm"])
def test_outputs_are_those_of_the_writer(name, tmp_path):
    folder = FIXTURES / "checkpoints" / name
    convert(folder, tmp_path / "here", "onnx")
    assert {path.name for path in (tmp_path / "here").iterdir()} >= {"model.onnx", "config.json"}
    expected = load_file(folder / "outputs.safetensors")
    inputs = {key: expected.pop(key) for key in ("input_ids", "attention_mask")}
    session = onnxruntime.InferenceSession(tmp_path / "here" / "model.onnx")
    assert [tuple(entry.shape)[-1] for entry in session.get_inputs()] == ["tokens", "tokens"]
    outputs = dict(zip([entry.name for entry in session.get_outputs()], session.run(None, inputs), strict=True))
    assert outputs.keys() == expected.keys()
    for key, array in expected.items():
        assert abs(outputs[key] - array).max() <= 1e-5  # both are float32; measured: 2.1e-6

    one = {key: array[:1, ..., :3] for key, array in inputs.items()}  # of another size
    (first, *_) = session.run(None, one)
    assert np.isfinite(first).all()


def test_onnx_is_not_read(tmp_path):
    convert("sst2-tiny", tmp_path / "here", "onnx")
    with pytest.raises(CheckpointError, match=r"model\.onnx cannot be read: ONNX files are only written"):
        open_weights(tmp_path / "here")
