"""One short text: the numbers of the usual blocks without copies of weights, and the usual blocks where needed."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from distilbert_core import Head
from distilbert_core.errors import InputError
from distilbert_core.model.loading import load_inference
from distilbert_pt import few_tokens, prepacking
from distilbert_pt.few_tokens import OwnMethod
from distilbert_pt.model import Transformer
from support.checkpoints import save_random, small_config
from support.comparison import assert_close

TOLERANCE = 5e-6  # measured: 9e-7

pytestmark = pytest.mark.skipif(
    not prepacking.is_available(torch.device("cpu")), reason="only x86 processors with AVX have these products"
)


@pytest.fixture
def encoded(monkeypatch):
    """The texts that `encode` computed."""
    texts = []
    original = few_tokens.encode

    def encode(transformer, x, output_tokens):
        texts.append(x)
        return original(transformer, x, output_tokens)

    monkeypatch.setattr(few_tokens, "encode", encode)
    return texts


def loaded(folder, head=Head.TOKEN_CLASSIFICATION, dtype="float32", **changes):
    config = small_config(**{"max_position_embeddings": 200, **changes})
    save_random(folder, config, head)
    return load_inference("pt", head, folder, dtype=dtype)


def text(tokens, seed=0):
    """Ids [1, tokens]."""
    return np.random.default_rng(seed).integers(1, 47, (1, tokens))


def truth(inference, ids, mask=None):
    """Outputs of a plain copy of the model in float64."""
    model = copy.deepcopy(inference.model).double()
    arrays = {"input_ids": ids} | ({} if mask is None else {"attention_mask": mask})
    with torch.inference_mode():
        outputs = model(**{name: torch.from_numpy(array) for name, array in arrays.items()})
    return {name: tensor.numpy() for name, tensor in outputs.items()}


@pytest.mark.parametrize(
    ("head", "tokens"),
    [(Head.TOKEN_CLASSIFICATION, tokens) for tokens in (1, 8, 33, 40, 128)] + [(head, 7) for head in Head],
)
def test_outputs_of_every_head_and_length(tmp_path, encoded, head, tokens):
    inference = loaded(tmp_path, head)
    ids = text(tokens)[None] if head.has_choices else text(tokens)
    assert_close(inference(input_ids=ids), truth(inference, ids), TOLERANCE)
    assert [len(x) for x in encoded] == [tokens]


@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu", "quick_gelu"])
@pytest.mark.parametrize("capability", ["AVX2", "AVX512"])
def test_every_product_and_activation(tmp_path, monkeypatch, encoded, activation, capability):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    inference = loaded(tmp_path, activation=activation)
    assert_close(inference(input_ids=text(50)), truth(inference, text(50)), TOLERANCE)
    assert len(encoded) == 1


@pytest.mark.parametrize("selected", [[0], [3], [0, 2, 5], list(range(9))])
def test_selected_tokens(tmp_path, encoded, selected):
    inference = loaded(tmp_path)
    tokens = np.isin(np.arange(11), selected)[None]
    logits = inference(input_ids=text(11), tokens=tokens)["logits"]
    assert_close(logits, truth(inference, text(11))["logits"][tokens], TOLERANCE)
    assert len(encoded) == 1


@pytest.mark.parametrize("mask", [[0, 0, 1, 1, 1, 1, 1], [1, 1, 0, 1, 1, 0, 0]])
def test_padding_anywhere(tmp_path, encoded, mask):
    inference, mask = loaded(tmp_path), np.array([mask])
    logits = inference(input_ids=text(7), attention_mask=mask)["logits"]
    assert_close(logits, truth(inference, text(7), mask)["logits"] * mask[..., None], TOLERANCE)
    assert [len(x) for x in encoded] == [mask.sum()]


def test_pruned_heads(tmp_path, encoded):
    inference = loaded(tmp_path)
    inference.model.prune_heads({0: [1], 1: [0, 2]})
    assert_close(inference(input_ids=text(9)), truth(inference, text(9)), TOLERANCE)
    assert len(encoded) == 1


@pytest.mark.parametrize(("head", "tokens"), [(Head.TOKEN_CLASSIFICATION, 129), (Head.SEQUENCE_CLASSIFICATION, 150)])
def test_longer_texts_are_left_to_the_blocks(tmp_path, encoded, head, tokens):
    inference = loaded(tmp_path, head)
    assert_close(inference(input_ids=text(tokens)), truth(inference, text(tokens)), TOLERANCE)
    assert not encoded


def test_several_texts_are_left_to_the_blocks(tmp_path, encoded):
    """A text must not attend to another, also where both are as long."""
    inference = loaded(tmp_path)
    for lengths in ([4, 4], [5, 3]):
        mask = (np.arange(5) < np.array(lengths)[:, None]).astype(int)
        ids = np.concatenate([text(5, 1), text(5, 2)])
        logits = inference(input_ids=ids, attention_mask=mask)["logits"]
        assert_close(logits, truth(inference, ids, mask)["logits"] * mask[..., None], TOLERANCE)
    assert not encoded


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_other_dtypes_are_left_to_the_blocks(tmp_path, encoded, dtype):
    inference = loaded(tmp_path, dtype=dtype)
    tolerance = 1e-12 if dtype == "float64" else 2e-2
    assert_close(inference(input_ids=text(9)), truth(inference, text(9)), tolerance)
    assert not encoded


def test_errors_stay(tmp_path):
    inference = loaded(tmp_path)
    with pytest.raises(InputError, match="input_ids must"):
        inference(input_ids=np.array([[1, 47]]))


def eager(model):
    model.attn_implementation = "eager"


def a_function_over_features(model):
    model.distilbert.transformer.layer[0].ffn.activation = lambda x: x.softmax(dim=-1)


def a_hook(model):
    model.distilbert.transformer.layer[1].attention.register_forward_hook(lambda *_: None)


def a_hook_of_a_dropout(model):
    model.distilbert.transformer.layer[1].ffn.dropout.register_forward_hook(lambda layer, arguments, y: y + 1)


def a_method(model):
    model.distilbert.transformer.layer[0].attention.k_lin.forward = lambda x: x.flip(-1)


def another_class(model):
    class Doubled(nn.Linear):
        def forward(self, x):
            return super().forward(x) * 2

    old = model.distilbert.transformer.layer[0].ffn.lin2
    new = model.distilbert.transformer.layer[0].ffn.lin2 = Doubled(old.in_features, old.out_features)
    new.load_state_dict(old.state_dict())


def without_bias(model):
    layer = model.distilbert.transformer.layer[0].attention.v_lin
    model.distilbert.transformer.layer[0].attention.v_lin = nn.Linear(layer.in_features, layer.out_features, bias=False)


def strides(model):
    layer = model.distilbert.transformer.layer[0].attention.q_lin
    layer.weight = nn.Parameter(layer.weight.detach().t().contiguous().t())


@pytest.mark.parametrize(
    "change",
    [
        eager,
        a_function_over_features,
        a_hook,
        a_hook_of_a_dropout,
        a_method,
        another_class,
        without_bias,
        strides,
    ],
)
def test_changed_models_are_left_to_the_blocks(tmp_path, encoded, change):
    inference = loaded(tmp_path)
    inference(input_ids=text(9))
    change(inference.model)
    assert_close(inference(input_ids=text(9)), truth(inference, text(9)), TOLERANCE)
    assert len(encoded) == 1


def test_a_dropout_in_training_mode_drops(tmp_path, encoded):
    """Some users sample from a model by switching on its dropouts alone."""
    inference = loaded(tmp_path)
    dropout = inference.model.distilbert.transformer.layer[0].ffn.dropout
    dropout.p = 0.5
    same = inference(input_ids=text(9))["logits"]
    dropout.train()
    assert abs(inference(input_ids=text(9))["logits"] - same).max() > 1e-2
    assert len(encoded) == 1


def test_hooks_of_the_embeddings_and_norms_run(tmp_path, encoded):
    inference = loaded(tmp_path)
    calls = []
    modules = [inference.model.distilbert.embeddings, inference.model.distilbert.transformer]
    modules += [block.output_layer_norm for block in inference.model.distilbert.transformer.layer]
    for module in modules:
        module.register_forward_hook(lambda layer, *_: calls.append(layer))
    inference(input_ids=text(9))
    assert calls.count(modules[0]) == 1
    assert len(calls) == len(modules)
    assert len(encoded) == 1


def test_the_blocks_own_call_in_a_pass_of_inference(tmp_path, encoded):
    """Another thread may call the model while inference runs: with other options, or for gradients."""
    inference = loaded(tmp_path)
    expected, transformer = truth(inference, text(9))["logits"], inference.model.distilbert.transformer
    with inference.prepacking.in_use(torch.device("cpu")):
        assert isinstance(transformer.forward, OwnMethod)
        outputs = inference.model(torch.from_numpy(text(9)), output_hidden_states=True, output_attentions=True)
        assert_close(outputs.logits.detach().numpy(), expected, TOLERANCE)
        assert len(outputs.hidden_states) == 3
        outputs.logits.sum().backward()
    assert not encoded
    assert transformer.forward.__func__ is Transformer.forward
    assert transformer.layer[0].ffn.lin1.weight.grad.abs().max() > 0
