"""Inputs of a verification: texts, or random ids."""

from __future__ import annotations

import numpy as np

from distilbert_core import DEFAULT_MODEL, Head
from support.checkpoints import small_config
from weight_conversion import open_weights
from weight_conversion.verification.inputs import CHOICES, TEXTS, make_inputs


def test_texts_become_the_inputs():
    from distilbert_core import DistilBertTokenizerFast

    weights = open_weights(DEFAULT_MODEL)
    folder = weights.paths[0].parent
    inputs, kind = make_inputs([folder], weights.config, Head.BASE)
    assert kind == "12 texts of 4 to 63 tokens"
    tokenizer = DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL)
    for text, ids, mask in zip(TEXTS, inputs["input_ids"], inputs["attention_mask"], strict=True):
        assert ids[mask == 1].tolist() == tokenizer(text)["input_ids"]

    choices, _ = make_inputs([folder], weights.config, Head.MULTIPLE_CHOICE)
    assert choices["input_ids"].shape == (len(TEXTS) // CHOICES, CHOICES, 63)
    np.testing.assert_array_equal(choices["input_ids"].reshape(-1, 63), inputs["input_ids"])


def test_texts_are_truncated_to_the_positions_of_the_model():
    weights = open_weights(DEFAULT_MODEL)
    config = weights.config.updated(max_position_embeddings=10)
    inputs, kind = make_inputs([weights.paths[0].parent], config, Head.BASE)
    assert inputs["input_ids"].shape == (len(TEXTS), 10)
    assert kind == "12 texts of 4 to 10 tokens"


def test_random_ids_without_a_tokenizer(tmp_path):
    config = small_config()
    inputs, kind = make_inputs([tmp_path], config, Head.BASE)
    again, _ = make_inputs([tmp_path], config, Head.BASE)
    np.testing.assert_array_equal(inputs["input_ids"], again["input_ids"])
    assert inputs["input_ids"].shape == (len(TEXTS), config.max_position_embeddings)
    assert len(np.unique(inputs["input_ids"])) > config.vocab_size // 2
    assert inputs["input_ids"].max() < config.vocab_size
    assert kind == "12 rows of random ids (no tokenizer) of 1 to 23 tokens"
