"""Exported models behind the interface of inference: ONNX Runtime and OpenVINO give the numbers of PyTorch."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from distilbert_cli import main
from distilbert_core import CheckpointError, Head, InputError
from distilbert_core.model.loading import load_inference
from distilbert_core.pipelines import pipeline
from support.checkpoints import BATCH, HEADS, TOKENS, random_inputs, save_random, small_config
from support.comparison import assert_close
from weight_conversion import convert

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("openvino")

ENGINES = ("onnx", "openvino")
TOLERANCE = 2e-5  # float32, of hidden states up to 7; measured: 3.6e-6


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A function that returns two folders with a head's random checkpoint: original and exported."""
    made = {}

    def folders(head):
        if head not in made:
            folder = tmp_path_factory.mktemp(head.value)
            save_random(folder / "pt", small_config(), head)
            convert(folder / "pt", folder / "onnx", "onnx", dtype="float32")
            made[head] = folder / "pt", folder / "onnx"
        return made[head]

    return folders


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("head", HEADS)
def test_real_tokens_have_the_outputs_of_pytorch(exported, head, engine, monkeypatch):
    monkeypatch.setattr("distilbert_core.model.exported.GROUP_TOKENS", 2 * TOKENS)  # so that there are several groups
    pt, onnx = exported(head)
    inputs = {name: random_inputs(small_config(), head)[name] for name in ("input_ids", "attention_mask")}
    inputs["attention_mask"][..., 0] = 1
    expected = load_inference("pt", head, pt).run(**inputs)
    real = inputs["attention_mask"] == 1
    if head.reads_tokens:
        for array in expected.values():
            array[~real] = 0
    model = load_inference(engine, head, onnx)
    assert_close(model(**inputs), expected, TOLERANCE)
    if head.reads_tokens:
        wanted = np.random.default_rng(0).random((BATCH, TOKENS)) < 0.5
        some = {name: array[wanted & real] for name, array in expected.items()}
        assert_close(model(**inputs, tokens=wanted), some, TOLERANCE)


def test_int8_is_smaller_and_answers_alike(tmp_path):
    texts = ["A lovely film.", "Two hours I will not get back.", "Warm, funny, wise.", "Dull and far too long."]
    convert("sst2-tiny", tmp_path / "float32", "onnx")
    convert("sst2-tiny", tmp_path / "int8", "onnx-int8")
    sizes = [(tmp_path / name / "model.onnx").stat().st_size for name in ("int8", "float32")]
    logits = {}
    for name in ("float32", "int8"):
        classify = pipeline(
            "text-classification", tmp_path / name, framework="onnx", top_k=None, function_to_apply="none"
        )
        assert classify.framework == "onnx"
        logits[name] = np.array([[label["score"] for label in sorted(answer, key=str)] for answer in classify(texts)])
    assert sizes[0] < sizes[1]
    assert 0 < abs(logits["int8"] - logits["float32"]).max() < 0.1  # measured: 0.041; 0 would not be int8
    assert (logits["int8"].argmax(1) == logits["float32"].argmax(1)).all()


def test_on_the_command_line(tmp_path, capsys):
    convert("sst2-tiny", tmp_path, "onnx")
    for engine in ENGINES:
        assert main(["predict", "A lovely film.", "--backend", engine, "--model", str(tmp_path)]) == 0
        assert "POSITIVE" in capsys.readouterr().out


@pytest.mark.parametrize("engine", ENGINES)
def test_what_cannot_be_loaded(exported, engine, tmp_path):
    pt, onnx = exported(Head.TOKEN_CLASSIFICATION)
    with pytest.raises(CheckpointError, match=r"model\.onnx"):
        load_inference(engine, Head.TOKEN_CLASSIFICATION, pt)
    with pytest.raises(CheckpointError, match="was exported as DistilBertForTokenClassification"):
        load_inference(engine, Head.MASKED_LM, onnx)
    with pytest.raises(InputError, match="dtype must be"):
        load_inference(engine, Head.TOKEN_CLASSIFICATION, onnx, dtype="float64")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_bytes((onnx / "config.json").read_bytes())
    (broken / "model.onnx").write_bytes((onnx / "model.onnx").read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"model\.onnx cannot be loaded"):
        load_inference(engine, Head.TOKEN_CLASSIFICATION, broken)


def test_openvino_says_so_if_it_computes_in_something_else(exported, monkeypatch):
    """Asked for what the processor cannot do, it takes float32 without a word."""
    onnx = exported(Head.TOKEN_CLASSIFICATION)[1]
    from openvino import CompiledModel, Type

    monkeypatch.setattr(CompiledModel, "get_property", lambda self, name: Type.f32)
    with pytest.raises(
        InputError, match=r"OpenVINO cannot compute in dtype='bfloat16' on this processor: it chose f32"
    ):
        load_inference("openvino", Head.TOKEN_CLASSIFICATION, onnx, dtype="bfloat16")


def test_a_device_that_does_not_exist(exported):
    with pytest.raises(InputError, match=r"device must be one of .*CPU.* got 'Abacus'"):
        load_inference("onnx", Head.TOKEN_CLASSIFICATION, exported(Head.TOKEN_CLASSIFICATION)[1], device="Abacus")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_pickle_is_loaded_again_from_the_folder(exported, engine):
    head = Head.TOKEN_CLASSIFICATION
    model = load_inference(engine, head, exported(head)[1], device=-1)
    inputs = {name: random_inputs(small_config(), head)[name] for name in ("input_ids", "attention_mask")}
    copy = pickle.loads(pickle.dumps(model))
    assert (copy.backend, copy.head) == (engine, head)
    np.testing.assert_array_equal(copy(**inputs)["logits"], model(**inputs)["logits"])


def test_padding_on_the_left_is_refused_where_the_graph_reads_the_first_token(exported):
    model = load_inference("onnx", Head.SEQUENCE_CLASSIFICATION, exported(Head.SEQUENCE_CLASSIFICATION)[1])
    with pytest.raises(InputError, match="must not begin with padding"):
        model(input_ids=np.ones((1, 3), int), attention_mask=np.array([[0, 1, 1]]))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"attention_mask": np.ones((1, 3), int)}, "takes input_ids and attention_mask, got attention_mask"),
        (
            {"input_ids": np.ones((1, 3), int), "head_mask": np.ones(3)},
            "takes input_ids and attention_mask, got input_ids",
        ),
        ({"input_ids": np.ones((1, 99), int)}, "99 tokens, more than max_position_embeddings"),
        ({"input_ids": np.ones((1, 3), int), "attention_mask": np.ones((1, 2), int)}, "attention_mask must have shape"),
        ({"input_ids": np.full((1, 3), 1.5)}, "input_ids must be integers, got float64"),
        ({"input_ids": np.full((1, 3), -1)}, "input_ids must lie in .*got -1"),
        ({"input_ids": np.zeros((0, 3), int)}, r"must hold at least one token, got the shape \(0, 3\)"),
        (
            {"input_ids": np.ones((1, 3), int), "tokens": np.ones((2, 3), bool)},
            "tokens must have the shape of input_ids",
        ),
    ],
)
def test_bad_inputs(exported, inputs, message):
    model = load_inference("onnx", Head.TOKEN_CLASSIFICATION, exported(Head.TOKEN_CLASSIFICATION)[1])
    with pytest.raises(InputError, match=message):
        model(**inputs)


def test_fields_of_a_configuration_are_refused(exported):
    with pytest.raises(TypeError, match=r"Unknown keyword argument\(s\): num_labels"):
        load_inference("onnx", Head.TOKEN_CLASSIFICATION, exported(Head.TOKEN_CLASSIFICATION)[1], num_labels=3)
