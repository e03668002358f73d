"""Models of PyTorch whose weights torchao quantizes: they compute, are saved and loaded, or are refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig, quantize_

from distilbert_core import DEFAULT_MODEL, DistilBertTokenizerFast, Head, InputError
from distilbert_core.model.loading import inference_of, load_inference
from distilbert_core.pipelines import pipeline
from support.checkpoints import random_inputs, save_random, small_config
from support.frameworks import FRAMEWORKS
from support.sentences import CLEAR_CASES

PT = FRAMEWORKS["pt"]
HEAD = Head.SEQUENCE_CLASSIFICATION
CONFIG = small_config()
INPUTS = {name: random_inputs(CONFIG, HEAD)[name][[0, 1, 3]] for name in ("input_ids", "attention_mask")}  # begin at 0
WEIGHTS, DYNAMIC = Int8WeightOnlyConfig(), Int8DynamicActivationInt8WeightConfig()
CONFIGS = pytest.mark.parametrize("config", [WEIGHTS, DYNAMIC], ids=["weights", "dynamic"])


@pytest.fixture
def folder(tmp_path):
    save_random(tmp_path / "model", CONFIG, HEAD, dtype="float32")
    return tmp_path / "model"


def dense_weights(model):
    return {name: layer.weight for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)}


# Of the largest logit; measured: 0.007 and 0.013.
@CONFIGS
def test_a_quantized_model_computes_about_the_same(folder, config):
    model = PT.load(HEAD, folder)
    before = PT.call(model, **INPUTS).logits
    size = model.get_memory_footprint()
    quantize_(model, config)
    after = PT.call(model, **INPUTS).logits
    assert 1e-4 < abs(after - before).max() / abs(before).max() < 0.05
    assert len(dense_weights(model)) == 6 * CONFIG.n_layers + 2
    assert {type(weight).__name__ for weight in dense_weights(model).values()} == {"Int8Tensor"}
    matrices = sum(weight.numel() for weight in dense_weights(model).values())
    rows = sum(len(weight) for weight in dense_weights(model).values())
    assert size - model.get_memory_footprint() == 3 * matrices - 5 * rows  # a row has a scale and a zero point


def test_the_integers_and_scales_are_the_weights(folder):
    """A model with the weights that the integers and scales stand for computes the same."""
    model, floating = PT.load(HEAD, folder), PT.load(HEAD, folder)
    quantize_(model, WEIGHTS)
    with torch.no_grad():
        for name, weight in dense_weights(model).items():
            floating.get_submodule(name).weight.copy_(weight.dequantize())
    expected = PT.call(floating, **INPUTS).logits
    assert abs(PT.call(model, **INPUTS).logits - expected).max() < 1e-5  # measured: 2.4e-7
    packed = inference_of(model, HEAD, "test")(**INPUTS)["logits"]
    assert abs(packed - expected).max() < 1e-5  # measured: 2.9e-7


# Each token has its own scale, so the other tokens of a row do not matter. A rounding that falls the other way does.
@CONFIGS
@pytest.mark.parametrize("head", [HEAD, Head.TOKEN_CLASSIFICATION, Head.MASKED_LM])
def test_packed_rows_and_weights_that_were_prepacked(tmp_path, config, head):
    save_random(tmp_path, CONFIG, head, dtype="float32")
    inference = load_inference("pt", head, tmp_path)
    before = inference(**INPUTS)["logits"]  # makes copies of the weights
    quantize_(inference.model, config)
    packed, padded = inference(**INPUTS)["logits"], PT.call(inference.model, **INPUTS).logits
    real = INPUTS["attention_mask"] != 0 if head.reads_tokens else ...
    assert abs(packed[real] - padded[real]).max() < 0.05 * abs(before).max()  # measured: 5e-7 and 0.022
    assert abs(packed[real] - before[real]).max() > 1e-4 * abs(before).max()


@CONFIGS
@pytest.mark.filterwarnings("ignore:DistilBertForMaskedLM:UserWarning")
@pytest.mark.parametrize("head", [HEAD, Head.MASKED_LM])
def test_saved_by_torch_and_loaded(tmp_path, config, head):
    save_random(tmp_path / "model", CONFIG, head, dtype="float32")
    model = PT.load(head, tmp_path / "model")
    quantize_(model, config)
    torch.save(model.state_dict(), tmp_path / "quantized.pt")
    state = torch.load(tmp_path / "quantized.pt", weights_only=True)
    again = PT.load(head, tmp_path / "model")
    again.load_state_dict(state, assign=True)
    assert np.array_equal(PT.call(again, **INPUTS).logits, PT.call(model, **INPUTS).logits)
    if head is HEAD:
        given = type(model).from_pretrained(config=model.config, state_dict=state)
        assert np.array_equal(PT.call(given, **INPUTS).logits, PT.call(model, **INPUTS).logits)


@pytest.mark.parametrize(
    "change",
    [
        lambda model, folder: model.save_pretrained(folder),
        lambda model, folder: model.save_pretrained(folder, safe_serialization=False),
        lambda model, folder: model.save_pretrained(folder, state_dict=model.state_dict()),
        lambda model, folder: model.prune_heads({0: [1]}),
    ],
    ids=["safetensors", "bin", "state_dict", "prune"],
)
@pytest.mark.parametrize("head", [HEAD, Head.MASKED_LM])
def test_refused(tmp_path, head, change):
    save_random(tmp_path / "model", CONFIG, head, dtype="float32")
    model = PT.load(head, tmp_path / "model")
    quantize_(model, WEIGHTS)
    before = PT.call(model, **INPUTS).logits
    with pytest.raises(InputError, match=r"is quantized \(a Int8Tensor\), and cannot be .*\. Save .* torch\.save"):
        change(model, tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
    assert np.array_equal(PT.call(model, **INPUTS).logits, before)


def test_tables_stay_floating_and_can_be_resized(folder):
    model = PT.load(HEAD, folder)
    quantize_(model, WEIGHTS)
    before = PT.call(model, **INPUTS).logits
    model.resize_token_embeddings(60)
    assert np.array_equal(PT.call(model, **INPUTS).logits, before)


@CONFIGS
def test_the_embedded_model(config):
    tokenizer = DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL)
    tokens = tokenizer(list(CLEAR_CASES), padding=True, return_tensors="np")
    model = PT.load(HEAD, DEFAULT_MODEL)
    before = PT.call(model, **tokens).logits
    quantize_(model, config)
    assert abs(PT.call(model, **tokens).logits - before).max() < 0.1  # of 3.4; measured: 0.024 and 0.052
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer)
    assert [answer["label"] for answer in classify(list(CLEAR_CASES))] == list(CLEAR_CASES.values())
