"""Vocabulary, positions and heads of another size: afterwards the model is like one made with that size."""

from __future__ import annotations

import numpy as np
import pytest

from distilbert_core import (
    DEFAULT_MODEL,
    ConfigError,
    DistilBertConfig,
    DistilBertTokenizer,
    DistilBertTokenizerFast,
    Head,
)
from distilbert_core.model.parameters import sinusoidal_table
from support.checkpoints import HEADS, random_inputs, save_random, small_config
from support.comparison import assert_close
from support.reference import forward

WORDS = "distilbert.embeddings.word_embeddings.weight"
POSITIONS = "distilbert.embeddings.position_embeddings.weight"


def assert_as_if_always_so(framework, model, head, tmp_path):
    """A resized model computes what the formulas say, and what it computes after saving and loading."""
    inputs = random_inputs(model.config, head)
    got = framework.call(model, **inputs, output_attentions=True, output_hidden_states=True)
    wanted = forward(model.config, head, framework.parameters(model), **inputs)
    assert_close(got, wanted, 1e-12)
    model.save_pretrained(tmp_path / "resized")
    again = framework.load(head, tmp_path / "resized", dtype="auto")
    assert_close(framework.call(again, **inputs), framework.call(model, **inputs), 1e-12)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("size", [60, 31])
@pytest.mark.parametrize("head", [Head.MASKED_LM, Head.QUESTION_ANSWERING])
def test_vocabulary(framework, tmp_path, head, size, tied):
    arrays = save_random(tmp_path, small_config(tie_word_embeddings=tied), head)
    model = framework.load(head, tmp_path, dtype="float64")
    model.resize_token_embeddings(size)
    assert model.config.vocab_size == size
    got = framework.parameters(model)
    for name, array in arrays.items():
        kept = min(len(array), len(got[name]))
        assert_close(got[name][:kept], array[:kept], 0.0)
    assert got[WORDS].shape == (size, 12)
    assert size < 47 or 0.015 < got[WORDS][47:].std() < 0.025
    if head is Head.MASKED_LM:
        assert (got["vocab_projector.bias"][47:] == 0).all()
    assert_as_if_always_so(framework, model, head, tmp_path)


def test_vocabulary_rounded_up(framework, tmp_path):
    save_random(tmp_path, small_config(), Head.BASE)
    model = framework.load(Head.BASE, tmp_path)
    model.resize_token_embeddings(pad_to_multiple_of=8)
    assert model.config.vocab_size == 48
    assert framework.parameters(model)["embeddings.word_embeddings.weight"].shape == (48, 12)


@pytest.mark.parametrize("size", [30, 17])
@pytest.mark.parametrize("sinusoidal", [True, False])
def test_positions(framework, tmp_path, size, sinusoidal):
    arrays = save_random(tmp_path, small_config(sinusoidal_pos_embds=sinusoidal), Head.MASKED_LM)
    model = framework.load(Head.MASKED_LM, tmp_path, dtype="float64")
    model.resize_position_embeddings(size)
    got = framework.parameters(model)[POSITIONS]
    assert got.shape == (size, 12)
    kept = min(size, 23)
    assert_close(got[:kept], arrays[POSITIONS][:kept], 0.0)
    if sinusoidal:
        assert_close(got, sinusoidal_table(size, 12), 0.0)
        assert POSITIONS not in framework.gradients(model, **random_inputs(model.config, Head.MASKED_LM))
    long = np.ones((1, size), np.int64)
    assert framework.call(model, input_ids=long).logits.shape == (1, size, 47)
    assert_as_if_always_so(framework, model, Head.MASKED_LM, tmp_path)


@pytest.mark.parametrize("head", HEADS)
def test_pruning_equals_a_head_mask_of_zeros(framework, tmp_path, head):
    save_random(tmp_path, small_config(), head)
    model = framework.load(head, tmp_path, dtype="float64")
    inputs = random_inputs(model.config, head)
    mask = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    wanted = framework.call(model, **inputs, head_mask=mask)
    model.prune_heads({0: [1], 1: [2]})
    model.prune_heads({-1: [0]})  # the last layer
    assert model.config.pruned_heads == {0: [1], 1: [0, 2]}
    assert_close(framework.call(model, **inputs), wanted, 1e-12)
    prefix = "" if head is Head.BASE else "distilbert."
    assert framework.parameters(model)[f"{prefix}transformer.layer.1.attention.q_lin.weight"].shape == (4, 12)
    assert_as_if_always_so(framework, model, head, tmp_path)
    assert DistilBertConfig.from_pretrained(tmp_path / "resized").pruned_heads == {0: [1], 1: [0, 2]}


def test_gradients_of_a_pruned_model_have_its_shapes(framework, tmp_path):
    save_random(tmp_path, small_config(), Head.TOKEN_CLASSIFICATION)
    model = framework.load(Head.TOKEN_CLASSIFICATION, tmp_path, dtype="float64")
    model.prune_heads({0: [1]})
    gradients = framework.gradients(model, **random_inputs(model.config, Head.TOKEN_CLASSIFICATION))
    assert {name: g.shape for name, g in gradients.items()} == {
        name: p.shape for name, p in framework.parameters(model).items()
    }
    assert np.abs(gradients["distilbert.transformer.layer.0.attention.q_lin.weight"]).max() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda model: model.resize_token_embeddings(0), "vocab_size must be a positive integer, got 0"),
        (lambda model: model.resize_token_embeddings(-3), "vocab_size must be a positive integer, got -3"),
        (lambda model: model.resize_position_embeddings(0), "max_position_embeddings must be a positive integer"),
        (lambda model: model.prune_heads({0: [3]}), "pruned_heads must name layers below 2 and heads below 3"),
        (lambda model: model.prune_heads({2: [0]}), "pruned_heads must name layers below 2 and heads below 3"),
        (lambda model: model.prune_heads({0: [0, 1, 2]}), "must leave a head in every layer, layer 0 has none"),
    ],
)
def test_impossible_changes_leave_the_model_as_it_was(framework, tmp_path, change, message):
    arrays = save_random(tmp_path, small_config(), Head.BASE, dtype="float32")
    model = framework.load(Head.BASE, tmp_path)
    with pytest.raises(ConfigError, match=message):
        change(model)
    assert_close(framework.parameters(model), arrays, 0.0)
    assert model.config.pruned_heads == {}


@pytest.mark.parametrize("tokenizer_class", [DistilBertTokenizerFast, DistilBertTokenizer])
def test_tokens_that_were_added_to_a_tokenizer(framework, tmp_path, tokenizer_class):
    tokenizer = tokenizer_class.from_pretrained(DEFAULT_MODEL)
    model = framework.load(Head.SEQUENCE_CLASSIFICATION, DEFAULT_MODEL)
    known = tokenizer(["a film", "it was dull"], padding=True, return_tensors="np")
    expected = framework.call(model, **known)
    grown = tokenizer.add_tokens(["zork", "film"])
    grown += tokenizer.add_special_tokens({"additional_special_tokens": ["<e>"]})
    model.resize_token_embeddings(len(tokenizer))
    assert (grown, model.config.vocab_size) == (2, 30524)
    assert_close(framework.call(model, **known), expected, 0.0)

    tokenizer.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    texts = ["a zork film<e>", "Zork"]
    inputs = tokenizer_class.from_pretrained(tmp_path)(texts, padding=True, return_tensors="np")
    assert inputs["input_ids"].tolist() == [[101, 1037, 30522, 2143, 30523, 102], [101, 30522, 102, 0, 0, 0]]
    again = framework.load(Head.SEQUENCE_CLASSIFICATION, tmp_path)
    assert_close(framework.call(again, **inputs), framework.call(model, **inputs), 0.0)
