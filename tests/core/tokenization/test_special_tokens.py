"""Special tokens as attributes: names, values, assignment, and refusals."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken

from distilbert_core import InputError
from support.vocabularies import CLS, MASK, PAD, SEP, SMALL, UNK, A, B, C, D, E, Make

# -- ids to text, vocabulary ---------------------------------------------------------------------------------


def test_special_tokens(small: Make) -> None:
    tokenizer = small()
    tokens = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
    for name, token in tokens.items():
        assert getattr(tokenizer, f"{name}_token") == token
        assert getattr(tokenizer, f"{name}_token_id") == SMALL.index(token)
    assert tokenizer.special_tokens_map == {f"{name}_token": token for name, token in tokens.items()}
    assert tokenizer.all_special_tokens == list(tokens.values())
    assert tokenizer.all_special_ids == [UNK, SEP, PAD, CLS, MASK]
    assert tokenizer.model_input_names == ["input_ids", "attention_mask"]


# -- special tokens as attributes ----------------------------------------------------------------------------


def test_a_special_token_can_be_assigned(small: Make, tmp_path: Path) -> None:
    tokenizer = small()
    tokenizer.cls_token, tokenizer.sep_token, tokenizer.mask_token = "d", AddedToken("e", lstrip=True), "a"
    tokenizer.additional_special_tokens = ["b"]
    ids = [D, UNK, A, UNK, E, B, UNK, E]
    text = "xaz e bx"
    tokenizer.save_pretrained(tmp_path)
    for one in (tokenizer, type(tokenizer).from_pretrained(tmp_path)):
        assert (one.cls_token_id, one.sep_token_id, one.mask_token_id) == (D, E, A)
        assert one.encode(text) == ids
        assert one.build_inputs_with_special_tokens([C]) == [D, C, E]
        assert one.decode(ids, skip_special_tokens=True) == ""
        assert one.special_tokens_map["additional_special_tokens"] == ["b"]
        assert one(text, return_offsets_mapping=True)["offset_mapping"][4] == (3, 5)


def test_unknown_words_become_the_unk_token(small: Make, tmp_path: Path) -> None:
    tokenizer = small()
    tokenizer.unk_token = "c"
    assert (tokenizer.unk_token_id, tokenizer.encode("z")) == (C, [CLS, C, SEP])
    tokenizer.save_pretrained(tmp_path)
    assert type(tokenizer).from_pretrained(tmp_path).encode("z") == [CLS, C, SEP]
    assert type(tokenizer).from_pretrained(tmp_path, unk_token="d").encode("z") == [CLS, D, SEP]
    tokenizer.add_special_tokens({"unk_token": "d"})
    assert tokenizer.encode("z") == [CLS, D, SEP]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("pad_token", "<p>", "pad_token must be in the vocabulary, got '<p>'; tokenizer.add_special_tokens("),
        ("cls_token", "<s>", "cls_token must be in the vocabulary, got '<s>'; "),
        ("unk_token", "<u>", "unk_token must be in the vocabulary, got '<u>'; "),
        ("unk_token", "new", "unk_token must be in the vocabulary, not only among the tokens added to it, got 'new'."),
        ("unk_token", None, "unk_token must be a token, got None."),
        ("cls_token", None, "cls_token must be a token, got None."),
        ("sep_token", None, "sep_token must be a token, got None."),
        ("pad_token", 0, "pad_token must be a token, got 0."),
        ("mask_token", "", "A token must not be empty"),
        ("additional_special_tokens", ["a", "<x>", "<y>"], "must be in the vocabulary, got ['<x>', '<y>']; "),
        ("additional_special_tokens", None, "additional_special_tokens must be a list of tokens, got None."),
        ("additional_special_tokens", "ab", "additional_special_tokens must be a list of tokens, got 'ab'."),
    ],
)  # fmt: skip
def test_impossible_values_of_special_tokens(small: Make, name: str, value: Any, message: str) -> None:
    tokenizer = small()
    tokenizer.add_tokens("new")
    before = (tokenizer.special_tokens_map, tokenizer.get_added_vocab(), tokenizer.encode("a z"))
    with pytest.raises(InputError, match=re.escape(message)):
        setattr(tokenizer, name, value)
    assert (tokenizer.special_tokens_map, tokenizer.get_added_vocab(), tokenizer.encode("a z")) == before


@pytest.mark.parametrize("name", ["unk_token", "cls_token", "sep_token"])
def test_tokens_of_every_text_are_needed(small: Make, name: str) -> None:
    with pytest.raises(InputError, match=rf"^{name} must be a token, got None\.$"):
        small(**{name: None})


def test_a_mask_token_is_not_needed(small: Make, tmp_path: Path) -> None:
    tokenizer = small(mask_token=None)
    assert (tokenizer.mask_token, tokenizer.mask_token_id) == (None, None)
    assert tokenizer.encode("[MASK]") == [CLS, UNK, UNK, UNK, SEP]
    with pytest.raises(
        InputError, match=r"^This tokenizer has no mask_token, and one is needed here: set tokenizer\.mask"
    ):
        tokenizer.special_id("mask_token")
    with pytest.raises(InputError, match=r"^name must be one of unk_token, .* got 'bos_token'\.$"):
        tokenizer.special_id("bos_token")
    assert small().special_id("mask_token") == MASK
    tokenizer.save_pretrained(tmp_path)
    assert type(tokenizer).from_pretrained(tmp_path).mask_token is None


def test_a_list_of_special_tokens_that_was_changed(small: Make) -> None:
    tokenizer = small()
    tokenizer.additional_special_tokens.append("<x>")
    with pytest.raises(InputError, match=r"^additional_special_tokens must be in the vocabulary, got \['<x>'\]; "):
        tokenizer.decode([A], skip_special_tokens=True)


def test_special_tokens_are_checked_before_any_is_added(small: Make) -> None:
    tokenizer = small()
    with pytest.raises(InputError, match=r"^unk_token must be in the vocabulary, not only among the tokens added"):
        tokenizer.add_special_tokens({"cls_token": "<s>", "unk_token": "<u>"})
    assert (tokenizer.cls_token, len(tokenizer)) == ("[CLS]", len(SMALL))


@pytest.mark.parametrize("token", ["a b", ":", "x:1", "$A", "$"])
def test_special_tokens_of_any_characters(small: Make, token: str, tmp_path: Path) -> None:
    tokenizer = small()
    tokenizer.add_special_tokens({"cls_token": token, "sep_token": token})
    assert tokenizer.encode("a", "b") == [14, A, 14, B, 14]
    tokenizer.save_pretrained(tmp_path)
    assert type(tokenizer).from_pretrained(tmp_path).encode("a", "b") == [14, A, 14, B, 14]


def test_the_side_of_truncation_is_checked(small: Make) -> None:
    tokenizer = small()
    tokenizer.truncation_side = "up"
    with pytest.raises(InputError, match=r"^truncation_side must be one of right, left, got 'up'\.$"):
        tokenizer("a b c", truncation=True, max_length=3)
