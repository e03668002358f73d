"""Captum's layer attributions, and adversarial training that changes the embeddings between two calls."""

from __future__ import annotations

import pytest
import torch
from captum.attr import LayerIntegratedGradients

from distilbert_core import Head
from distilbert_core.model.loading import load_inference
from support.checkpoints import save_random, small_config
from support.frameworks import FRAMEWORKS

PT = FRAMEWORKS["pt"]
IDS = torch.tensor([[2, 7, 8, 9, 3], [2, 5, 3, 0, 0]])
MASK = (IDS != 0).long()


@pytest.fixture
def folder(tmp_path):
    save_random(tmp_path, small_config(num_labels=2), Head.SEQUENCE_CLASSIFICATION)
    return tmp_path


@pytest.mark.parametrize("layer", ["embeddings", "embeddings.word_embeddings"])
def test_attributions_add_up_to_the_difference(folder, layer):
    """Integrated gradients are complete: they sum up to what the logit differs from that of the baseline."""
    model = PT.load(Head.SEQUENCE_CLASSIFICATION, folder, dtype="float64")
    explain = LayerIntegratedGradients(
        lambda ids, mask: model(ids, mask).logits[:, 1], model.distilbert.get_submodule(layer)
    )
    baseline = torch.zeros_like(IDS)
    shares = explain.attribute(IDS, baseline, additional_forward_args=(MASK,), n_steps=400, internal_batch_size=16)
    assert shares.shape == (2, 5, 12)
    with torch.no_grad():
        expected = (model(IDS, MASK).logits - model(baseline, MASK).logits)[:, 1]
    assert (shares.sum((1, 2)) - expected).abs().max() < 1e-3 * expected.abs().max()


def test_fast_gradient_method(folder):
    """As recipes for adversarial training write it: the weight's data moves, and moves back."""
    model = PT.load(Head.SEQUENCE_CLASSIFICATION, folder, dtype="float64")
    inference = load_inference("pt", Head.SEQUENCE_CLASSIFICATION, folder)
    arrays = {"input_ids": IDS.numpy(), "attention_mask": MASK.numpy()}
    plain = inference(**arrays)["logits"]
    words = model.get_input_embeddings().weight
    loss = model(IDS, MASK, labels=torch.tensor([0, 1])).loss
    loss.backward()
    saved, step = words.data.clone(), 0.1 * words.grad / words.grad.norm()
    for parameters in (words, inference.model.get_input_embeddings().weight):
        parameters.data.add_(step.to(parameters.dtype))
    moved = model(IDS, MASK, labels=torch.tensor([0, 1]))
    assert abs(moved.loss - loss - 0.1 * words.grad.norm()) < 0.05 * words.grad.norm()  # the slope, to first order
    assert abs(inference(**arrays)["logits"] - moved.logits.detach().numpy()).max() < 1e-5
    words.data = saved
    assert torch.equal(model(IDS, MASK, labels=torch.tensor([0, 1])).loss, loss)
    assert abs(plain - moved.logits.detach().numpy()).max() > 1e-3
