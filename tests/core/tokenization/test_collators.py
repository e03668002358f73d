"""Collators: rows become batches of NumPy arrays, from which tensors are made."""

from __future__ import annotations

import re

import numpy as np
import pytest

from distilbert_core import DistilBertTokenizerFast, InputError
from distilbert_core.tokenization.collators import (
    DataCollatorForLanguageModeling,
    DataCollatorForMultipleChoice,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    default_data_collator,
)


@pytest.fixture(scope="module")
def tokenizer() -> DistilBertTokenizerFast:
    return DistilBertTokenizerFast.from_pretrained("sst2-tiny")


def test_rows_of_equal_shapes() -> None:
    rows = [{"input_ids": [5, 6], "label_ids": 1, "text": "a", "none": None}, {"input_ids": [7, 8], "label_ids": 0}]
    batch = default_data_collator(rows, "np")
    assert {name: values.tolist() for name, values in batch.items()} == {
        "input_ids": [[5, 6], [7, 8]],
        "labels": [1, 0],
    }
    with pytest.raises(InputError, match="input_ids cannot be one array"):
        default_data_collator([{"input_ids": [5]}, {"input_ids": [5, 6]}], "np")


def test_rows_are_filled_up_and_stay_as_they_are(tokenizer: DistilBertTokenizerFast) -> None:
    rows = [{"input_ids": [5, 6], "label": 1}, {"input_ids": [7], "label": 0}]
    batch = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=4, return_tensors="np")(rows)
    assert batch["input_ids"].tolist() == [[5, 6, 0, 0], [7, 0, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 0, 0, 0]]
    assert batch["labels"].tolist() == [1, 0]
    assert rows[1] == {"input_ids": [7], "label": 0}


def test_labels_of_tokens_are_filled_up_on_the_side_of_the_tokens() -> None:
    tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny", padding_side="left")
    collate = DataCollatorForTokenClassification(tokenizer, return_tensors="np", label_pad_token_id=-1)
    batch = collate([{"input_ids": [5, 6], "labels": [1, 2]}, {"input_ids": [7], "labels": [0]}])
    assert batch["input_ids"].tolist() == [[5, 6], [0, 7]]
    assert batch["labels"].tolist() == [[1, 2], [-1, 0]]


def test_choices(tokenizer: DistilBertTokenizerFast) -> None:
    collate = DataCollatorForMultipleChoice(tokenizer, return_tensors="np")
    batch = collate([{"input_ids": [[5], [6, 7]], "label": 1}, {"input_ids": [[8, 9], [10]], "label": 0}])
    assert batch["input_ids"].tolist() == [[[5, 0], [6, 7]], [[8, 9], [10, 0]]]
    assert batch["labels"].tolist() == [1, 0]
    with pytest.raises(InputError, match=re.escape("All rows must have the same number of choices, got [1, 2].")):
        collate([{"input_ids": [[5]]}, {"input_ids": [[5], [6]]}])


def test_masked_tokens(tokenizer: DistilBertTokenizerFast) -> None:
    """80 % of the tokens to predict are hidden, 10 % random, 10 % as they were; special ones and padding are none."""
    ids = np.random.default_rng(0).integers(1000, 30000, (50, 200))
    rows = [{"input_ids": [101, *row, 102]} for row in ids.tolist()] + [{"input_ids": [101, 102]}]
    batch = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.3, return_tensors="np", seed=1)(rows)
    whole = np.zeros((51, 202), int)
    whole[:50, 1:-1], whole[:50, 0], whole[:50, -1], whole[50, :2] = ids, 101, 102, (101, 102)
    predicted = batch["labels"] != -100
    np.testing.assert_array_equal(batch["labels"][predicted], whole[predicted])
    np.testing.assert_array_equal(batch["input_ids"][~predicted], whole[~predicted])
    assert not predicted[np.isin(whole, [0, 101, 102])].any()
    shown = batch["input_ids"][predicted]
    kept, hidden = shown == whole[predicted], shown == tokenizer.mask_token_id
    for share, expected in ((predicted[:50, 1:-1], 0.3), (hidden, 0.8), (kept, 0.1)):
        assert abs(share.mean() - expected) < 5 * np.sqrt(expected * (1 - expected) / share.size)
    plain = DataCollatorForLanguageModeling(tokenizer, mlm=False, return_tensors="np")([[5, 6], [7]])
    assert plain["labels"].tolist() == [[5, 6], [7, -100]]


def test_masks_that_cannot_be(tokenizer: DistilBertTokenizerFast) -> None:
    with pytest.raises(InputError, match=r"must lie in \[0, 1\], got 0\.15, 0\.8, 0\.3\."):
        DataCollatorForLanguageModeling(tokenizer, random_replace_prob=0.3)
    without = DistilBertTokenizerFast.from_pretrained("sst2-tiny", mask_token=None)
    with pytest.raises(InputError, match="The tokenizer has no mask_token"):
        DataCollatorForLanguageModeling(without)
