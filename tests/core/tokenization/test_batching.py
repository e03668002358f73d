"""Rows into batches: every row once, within the budget, like with like."""

from __future__ import annotations

from itertools import zip_longest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilbert_core import InputError
from distilbert_core.tokenization.batching import pad_rows, token_batches


@pytest.mark.parametrize(
    ("lengths", "max_tokens", "max_rows", "expected"),
    [
        ([], 10, None, []),
        ([4], 10, None, [[0]]),
        ([5, 5, 5], 10, None, [[0, 1], [2]]),  # rows of one length in their order
        ([1, 9, 2, 5], 10, None, [[1], [3, 2], [0]]),
        ([3, 30, 3], 10, None, [[1], [0, 2]]),  # too long for any budget: by itself
        ([1, 1, 1, 1, 1], 100, 2, [[0, 1], [2, 3], [4]]),
        ([2, 3, 4], 1, None, [[2], [1], [0]]),
    ],
)
def test_batches(lengths, max_tokens, max_rows, expected):
    assert list(token_batches(lengths, max_tokens, max_rows)) == expected


@given(
    st.lists(st.integers(1, 40), max_size=60),
    st.integers(1, 200),
    st.none() | st.integers(1, 8),
)
def test_every_row_once_and_within_the_budget(lengths, max_tokens, max_rows):
    batches = list(token_batches(lengths, max_tokens, max_rows))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    ordered = [lengths[index] for batch in batches for index in batch]
    assert ordered == sorted(lengths, reverse=True)
    for batch, following in zip_longest(batches, batches[1:]):
        longest = lengths[batch[0]]
        assert len(batch) == 1 or len(batch) * longest <= max_tokens
        assert max_rows is None or len(batch) <= max_rows
        # No batch ends while another row would fit.
        assert following is None or (len(batch) + 1) * longest > max_tokens or len(batch) == max_rows


@pytest.mark.parametrize("value", [0, -1, 2.0, "8", True, None])
def test_token_budget_must_be_a_positive_integer(value):
    with pytest.raises(InputError, match=f"batch_tokens must be a positive integer, got {value!r}"):
        list(token_batches([1], value))


def test_row_limit_must_be_a_positive_integer():
    with pytest.raises(InputError, match="batch_size must be a positive integer, got 0"):
        list(token_batches([1], 8, 0))


def test_padding():
    ids, mask = pad_rows([[7], [5, 6, 9], [8, 3]], pad_id=2)
    np.testing.assert_array_equal(ids, [[7, 2, 2], [5, 6, 9], [8, 3, 2]])
    np.testing.assert_array_equal(mask, [[1, 0, 0], [1, 1, 1], [1, 1, 0]])
    assert ids.dtype == mask.dtype == np.int64
