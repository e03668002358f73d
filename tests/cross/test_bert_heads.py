"""BERTs with a head, converted: outputs against the installed Transformers, in float64."""

from __future__ import annotations

import numpy as np
import pytest

from distilbert_core import Head
from support import reference
from weight_conversion import convert

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SIZES = {"vocab_size": 47, "max_position_embeddings": 23, "num_hidden_layers": 2, "num_attention_heads": 3}
SIZES |= {"hidden_size": 12, "intermediate_size": 20, "type_vocab_size": 2}
ID2LABEL = {0: "O", 1: "B-PER", 2: "I-PER"}
HEADS = {
    "BertForTokenClassification": (Head.TOKEN_CLASSIFICATION, ("logits",)),
    "BertForQuestionAnswering": (Head.QUESTION_ANSWERING, ("start_logits", "end_logits")),
    "BertForMaskedLM": (Head.MASKED_LM, ("logits",)),
}
BODIES = ("BertModel", "BertForSequenceClassification", "BertForMultipleChoice", "BertForPreTraining")


@pytest.fixture
def make(tmp_path):
    """Return a function that saves a BERT with random values, far from those of a fresh model."""

    def make(name):
        torch.manual_seed(0)
        labels = {"id2label": ID2LABEL} if name.endswith("Classification") else {}
        bert = getattr(transformers, name)(transformers.BertConfig(**SIZES, **labels)).double().eval()
        with torch.no_grad():
            for parameter in bert.parameters():
                parameter.add_(torch.empty_like(parameter).uniform_(-0.5, 0.5))
        bert.tie_weights()
        bert.save_pretrained(tmp_path / name)
        return bert, tmp_path / name

    return make


def inputs():
    ids = np.random.default_rng(0).integers(0, 47, (3, 11))
    mask = np.ones_like(ids)
    mask[1, 6:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def compute(bert):
    with torch.no_grad():
        outputs = bert(**{name: torch.from_numpy(array) for name, array in inputs().items()})
    return {name: value.numpy() for name, value in outputs.items()}


def converted(folder, head=None):
    """The head and the outputs of the converted model, by the formulas in NumPy, and its configuration."""
    weights = convert(folder, folder / "converted", head=head)
    arrays = {name: tensor.read() for name, tensor in weights.tensors.items()}
    return weights.head, reference.forward(weights.config, weights.head, arrays, **inputs()), weights.config


@pytest.mark.parametrize("name", HEADS)
def test_heads_compute_the_same_as_in_bert(make, name):
    head, outputs = HEADS[name]
    bert, folder = make(name)
    expected, (found, got, config) = compute(bert), converted(folder)
    assert found is head
    for output in outputs:
        # Measured: at most 6.1e-15; with token type 0 left out of the positions, at least 0.29.
        np.testing.assert_allclose(got[output], expected[output], rtol=0, atol=1e-12)
    if head is Head.TOKEN_CLASSIFICATION:
        assert config.id2label == ID2LABEL


@pytest.mark.parametrize("name", BODIES)
def test_bodies_of_heads_that_distilbert_does_not_have(make, name):
    bert, folder = make(name)
    _, got, _ = converted(folder, Head.BASE)
    expected = compute(bert.base_model)["last_hidden_state"]
    np.testing.assert_allclose(got["last_hidden_state"], expected, rtol=0, atol=1e-12)  # measured: 3.7e-15
