"""The model that ships with the package, on real text."""

from __future__ import annotations

import numpy as np
import pytest

from distilbert_core import DEFAULT_MODEL, DistilBertConfig, DistilBertTokenizerFast, Head
from distilbert_core.files.hub import EMBEDDED_MODELS
from distilbert_core.pipelines import pipeline
from support.sentences import CLEAR_CASES


def test_labels_of_clear_cases(framework):
    classify = pipeline("text-classification", framework=framework.name)
    assert [answer["label"] for answer in classify(list(CLEAR_CASES))] == list(CLEAR_CASES.values())


def test_one_text_at_a_time_gives_the_same_as_a_batch(framework):
    classify = pipeline("text-classification", framework=framework.name, function_to_apply="none")
    batch = [answer["score"] for answer in classify(list(CLEAR_CASES))]
    alone = [answer["score"] for text in CLEAR_CASES for answer in classify(text)]
    np.testing.assert_allclose(alone, batch, atol=5e-6)  # measured: at most 7.2e-7


def test_long_texts_are_cut(framework):
    (answer,) = pipeline("text-classification", framework=framework.name)("good " * 2000, truncation=True)
    assert answer["label"] == "POSITIVE"


def test_embeddings_of_the_embedded_base_model(framework):
    """The base model of the classifier, loaded alone, has the hidden states of the classifier."""
    tokens = DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL)("A fine film.", return_tensors="np")
    classifier = framework.load(Head.SEQUENCE_CLASSIFICATION, DEFAULT_MODEL)
    with pytest.warns(UserWarning, match="not used: classifier.bias"):
        base = framework.load(Head.BASE, DEFAULT_MODEL)
    hidden = framework.call(classifier, **tokens, output_hidden_states=True).hidden_states[-1]
    np.testing.assert_array_equal(framework.call(base, **tokens).last_hidden_state, hidden)


def test_tensors_of_the_tokenizer(framework):
    tokenizer = DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL)
    kind = {"pt": "pt", "tf": "tf", "flax": "jax"}[framework.name]
    tensors = tokenizer(["a b c", "d"], padding=True, return_tensors=kind)
    arrays = tokenizer(["a b c", "d"], padding=True, return_tensors="np")
    module = {"pt": "torch", "tf": "tensorflow", "flax": "jax"}[framework.name]
    for name, tensor in tensors.items():
        assert type(tensor).__module__.split(".")[0] in (module, "jaxlib")
        np.testing.assert_array_equal(np.asarray(tensor), arrays[name])


def test_files_of_the_embedded_model():
    folder = EMBEDDED_MODELS / DEFAULT_MODEL
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 24_000_000
    config = DistilBertConfig.from_pretrained(DEFAULT_MODEL)
    assert config.vocab_size == len(DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL)) == 30522
    assert config.id2label == {0: "NEGATIVE", 1: "POSITIVE"}
