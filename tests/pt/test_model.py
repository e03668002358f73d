"""A PyTorch model with each attention implementation, compiled, exported, and under autocast; its state_dict."""

from __future__ import annotations

import copy

import pytest
import torch

import distilbert_pt
from distilbert_core import Head, InputError
from distilbert_pt.losses import cross_entropy
from distilbert_pt.tensors import to_array
from support.checkpoints import HEADS, save_random, small_config
from support.comparison import assert_close, largest_difference
from support.frameworks import FRAMEWORKS

PT = FRAMEWORKS["pt"]


# Measured: float64 3.1e-15, float32 1.4e-6, bfloat16 4.9e-2, float16 8.3e-3.
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float64", 1e-13), ("float32", 5e-6), ("bfloat16", 0.2), ("float16", 0.02)]
)
@pytest.mark.parametrize("head", HEADS)
def test_attention_implementations_agree(tmp_path, head, dtype, tolerance):
    model, inputs = PT.random_model(head, tmp_path, dtype)
    inputs["head_mask"] = torch.tensor([[0.5, 1, 0], [1, 0.25, 2]])
    assert model.attn_implementation == "sdpa"
    fused = PT.numbers(model(**inputs))
    model.attn_implementation = "eager"
    assert_close(fused, PT.numbers(model(**inputs)), tolerance)


def test_attention_implementation_is_chosen_per_model(tmp_path):
    save_random(tmp_path, small_config(), Head.MASKED_LM)
    eager = distilbert_pt.DistilBertForMaskedLM.from_pretrained(tmp_path, attn_implementation="eager")
    other = distilbert_pt.DistilBertForMaskedLM.from_pretrained(tmp_path)
    assert (eager.attn_implementation, other.attn_implementation) == ("eager", "sdpa")
    with pytest.raises(
        InputError, match="attn_implementation must be one of sdpa, eager, flash_attention_2, got 'flash'"
    ):
        distilbert_pt.DistilBertForMaskedLM.from_pretrained(tmp_path, attn_implementation="flash")


def test_gradients_of_the_attention_implementations_agree(tmp_path):
    model, inputs = PT.random_model(Head.TOKEN_CLASSIFICATION, tmp_path)
    gradients = []
    for name in ("sdpa", "eager"):
        model.attn_implementation = name
        model.zero_grad()
        model(**inputs).loss.backward()
        gradients.append(tuple(to_array(parameter.grad) for parameter in model.parameters()))
    assert_close(*gradients, 1e-13)


@pytest.mark.parametrize("head", HEADS)
def test_compiles_as_one_graph(tmp_path, head):
    model, inputs = PT.random_model(head, tmp_path)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert_close(PT.numbers(compiled(**inputs)), PT.numbers(model(**inputs)), 1e-13)
    assert type(compiled(**inputs)) is type(model(**inputs))


def test_compiles_with_the_default_backend_and_trains(tmp_path):
    model, inputs = PT.random_model(Head.SEQUENCE_CLASSIFICATION, tmp_path)
    model(**inputs).loss.backward()
    expected = [to_array(parameter.grad) for parameter in model.parameters()]
    model.zero_grad()
    torch.compile(model, fullgraph=True)(**inputs).loss.backward()
    assert_close(tuple(to_array(p.grad) for p in model.parameters()), tuple(expected), 1e-13)


@pytest.mark.parametrize("head", HEADS)
def test_exports_with_dynamic_sizes(tmp_path, head):
    model, inputs = PT.random_model(head, tmp_path)
    inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    batch, tokens = torch.export.Dim("batch", min=2, max=64), torch.export.Dim("tokens", min=2, max=23)
    sizes = {0: batch, inputs["input_ids"].ndim - 1: tokens}
    program = torch.export.export(model, (), inputs, dynamic_shapes=dict.fromkeys(inputs, sizes))
    exported = program.module()
    smaller = {name: value[:3, ..., :7] for name, value in inputs.items()}
    for arguments in (inputs, smaller):
        assert_close(PT.numbers(exported(**arguments)), PT.numbers(model(**arguments)), 1e-13)


@pytest.mark.parametrize("head", HEADS)
def test_state_dict_has_the_canonical_names(tmp_path, head):
    model, inputs = PT.random_model(head, tmp_path)
    state = model.state_dict()
    assert set(state) == {parameter.name for parameter in model.parameter_table}
    other = PT.cls(head)(model.config).double().eval()
    other.load_state_dict(state)
    # Not bit for bit: kernels round differently on memory that is aligned differently. Measured 1.3e-15.
    assert_close(PT.numbers(other(**inputs)), PT.numbers(model(**inputs)), 1e-14)


def test_ties_survive_copies_and_moves(tmp_path):
    model, _ = PT.random_model(Head.MASKED_LM, tmp_path)
    model.resize_token_embeddings(50)
    for other in (model, copy.deepcopy(model), copy.deepcopy(model).float()):
        assert other.vocab_projector.weight is other.get_input_embeddings().weight
        assert other.vocab_projector.out_features == 50
        assert other.get_input_embeddings().num_embeddings == 50


def test_set_input_embeddings_ties_again(tmp_path):
    model, _ = PT.random_model(Head.MASKED_LM, tmp_path)
    model.set_input_embeddings(torch.nn.Embedding(47, 12))
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_autocast(tmp_path):
    model, inputs = PT.random_model(Head.MASKED_LM, tmp_path, "float32")
    expected = model(**inputs)
    with torch.autocast("cpu", torch.bfloat16):
        got = model(**inputs)
    assert got.loss.dtype == torch.float32
    assert largest_difference(to_array(got.logits.float()), to_array(expected.logits)) < 0.3


def test_meta_device_has_no_values():
    with torch.device("meta"):
        model = distilbert_pt.DistilBertForMaskedLM(small_config())
        output = model(torch.ones(2, 5, dtype=torch.long))
    assert output.logits.shape == (2, 5, 47)


def test_per_example_gradients(tmp_path):
    model, inputs = PT.random_model(Head.SEQUENCE_CLASSIFICATION, tmp_path)
    model.attn_implementation = "eager"  # PyTorch has no batching rule for its fused kernel on the CPU
    parameters = dict(model.named_parameters())

    def loss(parameters, ids, mask, label):
        arguments = {"input_ids": ids[None], "attention_mask": mask[None], "labels": label[None]}
        return torch.func.functional_call(model, parameters, (), arguments).loss

    per_example = torch.func.vmap(torch.func.grad(loss), (None, 0, 0, 0))(
        parameters, inputs["input_ids"], inputs["attention_mask"], inputs["labels"]
    )
    model(**inputs).loss.backward()
    for name, parameter in parameters.items():  # one of the five labels is ignored
        assert_close(to_array(per_example[name].sum(0) / 4), to_array(parameter.grad), 1e-13)


def test_a_constructed_model_trains_and_a_loaded_one_infers(tmp_path):
    model, _ = PT.random_model(Head.BASE, tmp_path)
    assert not model.training
    assert distilbert_pt.DistilBertModel(small_config()).training


def test_cross_entropy_leaves_values_unchecked_when_compiled():
    logits, labels = torch.randn(4, 3, dtype=torch.float64), torch.tensor([0, 2, -100, 1])
    compiled = torch.compile(cross_entropy, fullgraph=True, backend="aot_eager")
    assert_close(to_array(compiled(logits, labels)), to_array(cross_entropy(logits, labels)), 1e-15)
