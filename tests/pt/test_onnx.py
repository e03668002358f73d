"""A model written as ONNX computes the outputs of the checkpoint's writer, in ONNX Runtime."""

from __future__ import annotations

import pytest
import torch
from safetensors.numpy import load_file

from distilbert_core import CheckpointError, Head
from support.checkpoints import HEADS, random_inputs, save_random, small_config
from support.comparison import assert_close
from support.frameworks import FRAMEWORKS
from support.paths import FIXTURES
from weight_conversion import convert, open_weights

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


CHECKPOINTS = {
    "pt_base": Head.BASE,
    "tf_masked_lm": Head.MASKED_LM,
    "pt_sequence_classification": Head.SEQUENCE_CLASSIFICATION,
    "pt_multiple_choice": Head.MULTIPLE_CHOICE,
    "pt_token_classification": Head.TOKEN_CLASSIFICATION,
    "pt_question_answering": Head.QUESTION_ANSWERING,
}
TOLERANCE = 1e-5  # float32; measured: 2.1e-6


def run(session, inputs):
    names = [entry.name for entry in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


@pytest.mark.parametrize(("name", "head"), CHECKPOINTS.items(), ids=CHECKPOINTS)
def test_outputs_equal_the_writers(name, head, tmp_path):
    folder = FIXTURES / "checkpoints" / name
    convert(folder, tmp_path / "here", "onnx-padded")
    assert {path.name for path in (tmp_path / "here").iterdir()} >= {"model.onnx", "config.json"}
    expected = load_file(folder / "outputs.safetensors")
    inputs = {key: expected.pop(key) for key in ("input_ids", "attention_mask")}
    session = onnxruntime.InferenceSession(tmp_path / "here" / "model.onnx")
    axes = ["batch", "choices", "tokens"] if head is Head.MULTIPLE_CHOICE else ["batch", "tokens"]
    assert [entry.shape for entry in session.get_inputs()] == [axes, axes]
    assert_close(run(session, inputs), expected, TOLERANCE)

    convert(folder, tmp_path / "pt", "pt")
    model = FRAMEWORKS["pt"].load(head, tmp_path / "pt")
    for batch, choices, tokens in [(1, 3, 3), (2, 1, 1), (2, 2, 5)]:  # every axis is of any size
        part = (slice(batch), slice(choices), slice(tokens)) if len(axes) == 3 else (slice(batch), slice(tokens))
        smaller = {key: array[part] for key, array in inputs.items()}
        assert_close(run(session, smaller), dict(FRAMEWORKS["pt"].call(model, **smaller)), TOLERANCE)


def test_onnx_is_not_read(tmp_path):
    convert(FIXTURES / "checkpoints" / "pt_base", tmp_path / "here", "onnx")
    session = onnxruntime.InferenceSession(tmp_path / "here" / "model.onnx")
    assert [entry.shape for entry in session.get_inputs()] == [["rows", "columns"]] * 3 + [["rows", "outputs"]]
    assert {node.domain for node in onnx.load(tmp_path / "here" / "model.onnx").graph.node} == {""}  # standard ONNX
    with pytest.raises(
        CheckpointError, match=r"model\.onnx is an ONNX graph: it is not read\. Run it with backend=.onnx."
    ):
        open_weights(tmp_path / "here")


@pytest.mark.parametrize(("head", "dynamo"), [(Head.TOKEN_CLASSIFICATION, True), *((head, False) for head in HEADS)])
@pytest.mark.filterwarnings("ignore")  # PyTorch's own, of either exporter
def test_exporters_of_pytorch_take_the_model_itself(head, dynamo, tmp_path):
    """Both of them, with names given for axes, as scripts call them."""
    config = small_config()
    save_random(tmp_path, config, head)
    model = FRAMEWORKS["pt"].load(head, tmp_path, dtype="float32")
    inputs = {name: random_inputs(config, head)[name] for name in ("input_ids", "attention_mask")}
    axes = {0: "batch", inputs["input_ids"].ndim - 1: "tokens"}
    outputs = [name for name in type(model(**model_inputs(inputs))).fields if name.endswith(("logits", "hidden_state"))]
    sizes = {"dynamic_shapes": (axes, axes)} if dynamo else {"dynamic_axes": dict.fromkeys(inputs, axes)}
    file = tmp_path / "model.onnx"
    names = {"input_names": [*inputs], "output_names": outputs}
    torch.onnx.export(model, tuple(model_inputs(inputs).values()), str(file), dynamo=dynamo, **names, **sizes)
    session = onnxruntime.InferenceSession(file)
    for part in (slice(None), slice(1)):
        smaller = {name: array[part, ..., : 5 if part.stop else None] for name, array in inputs.items()}
        assert_close(run(session, smaller), dict(FRAMEWORKS["pt"].call(model, **smaller)), TOLERANCE)


def model_inputs(arrays):
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
