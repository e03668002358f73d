"""Each impossible input has one clear error, and possible inputs have none."""

from __future__ import annotations

import numpy as np
import pytest

from distilbert_core import Head, InputError
from support.checkpoints import BATCH, TOKENS, save_random, small_config

IDS = np.ones((BATCH, TOKENS), np.int64)
EMBEDS = np.zeros((BATCH, TOKENS, 12), np.float32)

BAD_INPUTS = {
    "nothing": ({}, "Give input_ids or inputs_embeds; got neither"),
    "both": ({"input_ids": IDS, "inputs_embeds": EMBEDS}, "Give input_ids or inputs_embeds, not both"),
    "one axis": ({"input_ids": IDS[0]}, r"input_ids must have shape \[batch, tokens\]"),
    "three axes": ({"input_ids": IDS[None]}, r"input_ids must have shape \[batch, tokens\]"),
    "wrong width": ({"inputs_embeds": EMBEDS[..., 1:]}, r"inputs_embeds must have shape .*dim=12.*got \(5, 11, 11\)"),
    "too long": (
        {"input_ids": np.ones((2, 24), np.int64)},
        "input_ids has 24 tokens, more than max_position_embeddings=23",
    ),
    "long embeds": ({"inputs_embeds": np.zeros((2, 24, 12), np.float32)}, "inputs_embeds has 24 tokens"),
    "id too large": ({"input_ids": IDS * 47}, r"input_ids must lie in \[0, vocab_size=47\), got 47"),
    "negative id": ({"input_ids": -IDS}, r"input_ids must lie in \[0, vocab_size=47\), got -1"),
    "short mask": (
        {"input_ids": IDS, "attention_mask": IDS[:, 1:]},
        r"attention_mask must have shape .*\(5, 11\), got \(5, 10\)",
    ),
    "4-D mask": ({"input_ids": IDS, "attention_mask": IDS[:, None, None]}, "attention_mask must have shape"),
    "position too large": (
        {"input_ids": IDS, "position_ids": IDS * 23},
        r"position_ids must lie in \[0, max_position_embeddings=23\)",
    ),
    "negative position": ({"input_ids": IDS, "position_ids": -IDS}, "position_ids must lie in .*got -1"),
    "short positions": ({"input_ids": IDS, "position_ids": IDS[:, 1:]}, "position_ids must have shape"),
    "heads": ({"input_ids": IDS, "head_mask": np.ones(4)}, r"head_mask must have shape .*\(3\), got \(4,\)"),
    "layers": ({"input_ids": IDS, "head_mask": np.ones((3, 3))}, r"head_mask must have shape .*\(2, 3\), got \(3, 3\)"),
}


@pytest.mark.parametrize(("inputs", "message"), BAD_INPUTS.values(), ids=BAD_INPUTS)
def test_body(framework, tmp_path, inputs, message):
    save_random(tmp_path, small_config(), Head.BASE)
    with pytest.raises(InputError, match=message):
        framework.call(framework.load(Head.BASE, tmp_path), **inputs)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "Give input_ids or inputs_embeds; got neither"),
        ({"input_ids": IDS}, r"input_ids must have shape \[batch, choices, tokens\]"),
        ({"inputs_embeds": EMBEDS}, r"inputs_embeds must have shape \[batch, choices, tokens, dim\]"),
    ],
)
def test_multiple_choice(framework, tmp_path, inputs, message):
    save_random(tmp_path, small_config(), Head.MULTIPLE_CHOICE)
    with pytest.raises(InputError, match=message):
        framework.call(framework.load(Head.MULTIPLE_CHOICE, tmp_path), **inputs)


@pytest.mark.parametrize("head", Head)
def test_unknown_keyword(framework, tmp_path, head):
    save_random(tmp_path, small_config(), head)
    model = framework.load(head, tmp_path)
    with pytest.raises(TypeError, match="token_type_ids"):
        framework.call(model, input_ids=IDS, token_type_ids=IDS)


def test_unknown_keyword_of_from_pretrained(framework, tmp_path):
    save_random(tmp_path, small_config(), Head.BASE)
    with pytest.raises(TypeError, match="from_keras"):
        framework.load(Head.BASE, tmp_path, from_keras=True)


def test_unknown_dtype(framework, tmp_path):
    save_random(tmp_path, small_config(), Head.BASE)
    with pytest.raises(
        InputError, match="dtype must be 'auto' or one of float64, float32, float16, bfloat16, got 'int8'"
    ):
        framework.load(Head.BASE, tmp_path, dtype="int8")
