"""Hooks run on every module, and state of every kind is saved: buffers, ties, a user's own layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from distilbert_core import Head, InputError
from distilbert_core.files.checkpoint import Checkpoint
from distilbert_core.model.loading import load_inference
from distilbert_pt import DistilBertForMaskedLM, DistilBertForSequenceClassification, DistilBertModel
from support.checkpoints import random_inputs, save_random, small_config
from support.comparison import assert_close
from support.frameworks import FRAMEWORKS

FRAMEWORK = FRAMEWORKS["pt"]
HEAD = Head.SEQUENCE_CLASSIFICATION
ATTENTIONS = ("sdpa", "eager")


def inputs_of(head, config):
    return {name: random_inputs(config, head)[name] for name in ("input_ids", "attention_mask")}


def leaves(model):
    return {name: module for name, module in model.named_modules() if not list(module.children())}


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("head", [Head.BASE, HEAD, Head.MASKED_LM, Head.QUESTION_ANSWERING])
def test_hooks_run_on_every_module_once(head, attention):
    model = FRAMEWORK.new(head, small_config())
    model.base_model.attn_implementation = attention
    called = []
    for name, module in leaves(model).items():
        module.register_forward_hook(lambda module, arguments, y, name=name: called.append(name))
    inputs = inputs_of(head, model.config)
    FRAMEWORK.call(model, **inputs)
    assert sorted(called) == sorted(leaves(model))


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_hook_on_attention_dropout_sees_and_changes_the_weights(tmp_path, attention):
    config = small_config()
    save_random(tmp_path, config, HEAD)
    model, inputs = (
        FRAMEWORK.load(HEAD, tmp_path, dtype="float64", attn_implementation=attention),
        inputs_of(HEAD, config),
    )
    expected = FRAMEWORK.call(model, output_attentions=True, **inputs)
    seen = []
    layer = model.distilbert.transformer.layer[1].attention.dropout
    with layer.register_forward_hook(lambda module, arguments, weights: seen.append(weights)):
        assert_close(FRAMEWORK.call(model, **inputs).logits, expected.logits, 1e-13)
    assert_close(seen[0].numpy(), expected.attentions[1], 1e-13)
    with layer.register_forward_hook(lambda module, arguments, weights: weights * 0):
        changed = FRAMEWORK.call(model, **inputs).logits
    assert np.abs(changed - expected.logits).max() > 1e-2
    assert_close(FRAMEWORK.call(model, **inputs).logits, expected.logits, 1e-13)  # the hooks are gone


def test_hooks_run_on_packed_rows_too(tmp_path):
    config = small_config()
    save_random(tmp_path, config, HEAD)
    inference, inputs = load_inference("pt", HEAD, tmp_path, dtype="float64"), inputs_of(HEAD, config)
    inputs["attention_mask"][:, 0] = 1
    expected = inference(**inputs)["logits"]
    embeddings = inference.model.distilbert.embeddings.position_embeddings
    dropout = inference.model.distilbert.transformer.layer[0].attention.dropout
    seen = []
    for module in (embeddings, dropout):
        module.register_forward_hook(lambda module, arguments, y: seen.append(module))
    assert_close(inference(**inputs)["logits"], expected, 1e-13)
    assert {*seen} == {embeddings, dropout}


def test_a_dropout_of_the_users_own_is_called(tmp_path):
    model, inputs = FRAMEWORK.new(HEAD, small_config()), inputs_of(HEAD, small_config())
    before = FRAMEWORK.call(model, **inputs).logits

    class Nothing(nn.Module):
        def forward(self, weights):
            return torch.zeros_like(weights)

    model.distilbert.transformer.layer[0].attention.dropout = Nothing()
    assert np.abs(FRAMEWORK.call(model, **inputs).logits - before).max() > 0


def test_dropout_modules_switch_dropout_one_by_one():
    """As Monte Carlo dropout does: the model infers, its dropouts train."""
    config = small_config(dropout=0.0, seq_classif_dropout=0.0, attention_dropout=0.5)
    model, inputs = FRAMEWORK.new(HEAD, config), inputs_of(HEAD, config)
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.train()
    assert not torch.equal(model(**tensors).logits, model(**tensors).logits)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_compilers_take_modules_with_hooks(attention):
    model = FRAMEWORK.new(Head.BASE, small_config())
    model.attn_implementation = attention
    ids = torch.from_numpy(inputs_of(Head.BASE, model.config)["input_ids"])
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    with torch.no_grad():
        assert_close(compiled(ids).last_hidden_state.numpy(), model(ids).last_hidden_state.numpy(), 1e-6)


class WithBuffers(DistilBertForSequenceClassification):
    """A normalisation with running statistics, and a buffer that is not saved."""

    def __init__(self, config):
        super().__init__(config)
        self.normalisation = nn.BatchNorm1d(3)
        self.register_buffer("scales", torch.arange(4) * 2.0, persistent=False)


def test_persistent_buffers_are_saved_and_others_keep_their_values(tmp_path):
    model = WithBuffers(small_config())
    model.normalisation(torch.randn(8, 3))
    model.save_pretrained(tmp_path)
    entries = Checkpoint(tmp_path).entries
    assert entries["normalisation.num_batches_tracked"].dtype == "I64"
    assert "scales" not in entries
    again = WithBuffers.from_pretrained(tmp_path, dtype="float64")
    assert again.normalisation.num_batches_tracked == 1
    assert again.normalisation.running_var.tolist() == model.normalisation.running_var.tolist()
    assert again.scales.tolist() == [0.0, 2.0, 4.0, 6.0]
    assert again.scales.dtype == again.normalisation.running_var.dtype == torch.float64


class WithSharedMatrix(DistilBertForMaskedLM):
    """A layer of the user's own that shares the word embeddings."""

    def __init__(self, config):
        super().__init__(config)
        self.scorer = nn.Linear(config.dim, config.vocab_size, bias=False)
        self.scorer.weight = self.get_input_embeddings().weight


def test_a_matrix_that_a_user_shares_stays_shared(tmp_path):
    model = WithSharedMatrix(small_config())
    model.save_pretrained(tmp_path)
    assert "scorer.weight" not in Checkpoint(tmp_path).entries
    again = WithSharedMatrix.from_pretrained(tmp_path)
    assert again.scorer.weight is again.get_input_embeddings().weight is again.vocab_projector.weight
    assert_close(FRAMEWORK.parameters(again), FRAMEWORK.parameters(model), 0.0)


def test_a_matrix_that_a_user_shares_stays_shared_when_it_is_resized():
    model = WithSharedMatrix(small_config())
    model.resize_token_embeddings(60)
    assert model.scorer.weight is model.get_input_embeddings().weight is model.vocab_projector.weight
    assert model.scorer.out_features == 60


class WithDense(DistilBertForSequenceClassification):
    """A layer with the name of a user's layer in the base model."""

    def __init__(self, config):
        super().__init__(config)
        self.dense = nn.Linear(3, 3)
        self.distilbert.dense = nn.Linear(3, 3)


def test_an_entry_is_read_once(tmp_path):
    model = WithDense(small_config())
    del model.dense
    model.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match=r"freshly initialised, train before use: dense\.weight, dense\.bias"):
        again = WithDense.from_pretrained(tmp_path)
    assert torch.equal(again.distilbert.dense.weight, model.distilbert.dense.weight)
    assert not torch.equal(again.dense.weight, model.distilbert.dense.weight)


class WithOwnBody(DistilBertForMaskedLM):
    """A base model that the user made."""

    def __init__(self, config):
        super().__init__(config)
        self.distilbert = DistilBertModel(config)


def test_a_users_own_base_model_shares_the_configuration(tmp_path):
    model = WithOwnBody(small_config())
    with pytest.raises(InputError, match=r"vocab_projector\.weight is not distilbert\.embeddings"):
        model.save_pretrained(tmp_path)
    model.tie_weights()
    model.resize_token_embeddings(60)
    assert model(torch.tensor([[55]])).logits.shape == (1, 1, 60)
    model.save_pretrained(tmp_path)
    assert_close(FRAMEWORK.parameters(WithOwnBody.from_pretrained(tmp_path)), FRAMEWORK.parameters(model), 0.0)


def test_resizing_keeps_a_frozen_table_frozen():
    model = FRAMEWORK.new(Head.MASKED_LM, small_config())
    model.get_input_embeddings().weight.requires_grad_(False)
    model.resize_token_embeddings(60)
    assert not model.get_input_embeddings().weight.requires_grad
    assert model.vocab_projector.bias.requires_grad
    sinusoidal = FRAMEWORK.new(Head.BASE, small_config(sinusoidal_pos_embds=True))
    sinusoidal.resize_position_embeddings(30)
    assert not sinusoidal.get_position_embeddings().weight.requires_grad


PARAMETRIZED = {
    "weight_norm": lambda layer: nn.utils.parametrizations.weight_norm(layer),
    "prune": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
}


@pytest.mark.parametrize("change", PARAMETRIZED.values(), ids=PARAMETRIZED)
def test_parametrized_layers_are_pruned_all_or_not(change):
    model = FRAMEWORK.new(HEAD, small_config())
    change(model.distilbert.transformer.layer[0].attention.out_lin)
    ids = torch.tensor([[1, 2, 3]])
    before = model(ids).logits
    with pytest.raises(InputError, match=r"does not have .*\.out_lin\.weight\. .*remove_parametrizations"):
        model.prune_heads({0: [1]})
    assert torch.equal(model(ids).logits, before)
    assert model.config.pruned_heads == {}


def test_word_embeddings_of_another_size_are_refused():
    model = FRAMEWORK.new(Head.MASKED_LM, small_config())
    before = FRAMEWORK.parameters(model)
    with pytest.raises(InputError, match=r"a weight of shape \(47, 12\), got \(60, 12\); resize_token_embeddings"):
        model.set_input_embeddings(nn.Embedding(60, 12))
    assert_close(FRAMEWORK.parameters(model), before, 0.0)


def test_state_that_is_not_a_tensor_is_refused(tmp_path):
    class WithSettings(nn.Linear):
        def get_extra_state(self):
            return {"scale": 1}

    model = FRAMEWORK.new(HEAD, small_config())
    model.classifier = WithSettings(12, 7)
    with pytest.raises(InputError, match=r"must hold tensors only to be saved, got classifier\._extra_state"):
        model.save_pretrained(tmp_path)
