"""From ids back to text."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from distilbert_core import InputError
from distilbert_core.tokenization import BaseTokenizer
from support.vocabularies import CLS, PAD, SEP, TWO, A, B, Make, X, Y


@pytest.mark.parametrize(
    ("ids", "options", "text"),
    [
        ([CLS, A, X, B, SEP], {}, "[CLS] ax b [SEP]"),
        ([CLS, A, X, B, SEP, PAD], {"skip_special_tokens": True}, "ax b"),
        (np.array([A, Y]), {}, "ay"),
        ((X, A), {}, "##x a"),
        (A, {}, "a"),
        (np.int64(A), {}, "a"),
        ([], {}, ""),
        ([999], {}, ""),
    ],
)
def test_decode(small: Make, ids: Any, options: dict[str, Any], text: str) -> None:
    assert small().decode(ids, **options) == text


@pytest.mark.parametrize("ids", [-100, [A, -100], np.array([-1])])
def test_negative_ids_are_not_tokens(small: Make, ids: Any) -> None:
    with pytest.raises(InputError, match=r"An id must not be negative, got -1.*; replace labels such as -100 first"):
        small().decode(ids)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1.0, 2.0], "must be integers, got [1.0, 2.0]."),
        (5.5, "must be integers, got 5.5."),
        (True, "must be integers, got True."),
        ("12", "must hold only numbers to become an array, got '12'."),
        ([A, "5"], "must hold only numbers to become an array, got '5'."),
        ([A, None], "must hold only numbers to become an array, got None."),
        (None, "must hold only numbers to become an array, got None."),
        ([[A], [A, B]], "must have rows of one shape to become an array, got (1,) and (2,)"),
        ([2**70], "cannot be an array: an integer does not fit int64."),
    ],
    ids=str,
)
def test_impossible_ids(small: Make, ids: Any, message: str) -> None:
    tokenizer = small()
    with pytest.raises(InputError, match="^token_ids " + re.escape(message)):
        tokenizer.decode(ids)
    with pytest.raises(InputError, match="^ids " + re.escape(message)):
        tokenizer.convert_ids_to_tokens(ids)


def test_spaces_are_cleaned_up_by_default(base: BaseTokenizer) -> None:
    ids = base("It 's fine, is n't it?", add_special_tokens=False)["input_ids"]
    assert base.decode(ids) == "it's fine, isn't it?"
    assert base.decode(ids, clean_up_tokenization_spaces=False) == "it ' s fine , is n ' t it ?"
    base.clean_up_tokenization_spaces = False
    assert base.decode(ids) == "it ' s fine , is n ' t it ?"
    base.clean_up_tokenization_spaces = True


def test_batch_decode(small: Make) -> None:
    ids = small()(TWO, padding=True, return_tensors="np")["input_ids"]
    assert small().batch_decode(ids, skip_special_tokens=True) == TWO
    assert small().batch_decode([[A], []]) == ["a", ""]
    with pytest.raises(InputError, match=r"token_ids must have shape \[tokens\], got \(2, 5\); batch_decode takes"):
        small().decode(ids)
