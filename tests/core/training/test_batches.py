"""From rows to batches: each row once per epoch, rows of similar lengths together, and the hidden words of a text."""

from __future__ import annotations

import math
import tracemalloc
from collections import Counter
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilbert_core import IGNORE_INDEX, Head, InputError
from distilbert_core.model.packed_batches import Sizes, pack_batch
from distilbert_core.model.packing import Packing
from distilbert_core.training import batches as orders
from distilbert_core.training.batches import WINDOW, mask_tokens, shuffled, token_order, training_order
from distilbert_core.training.distillation.batches import pack_comparison

# -- order ----------------------------------------------------------------------------------------------------------


def batches_of(lengths, batch_size, seed, count):
    return list(islice(training_order(lengths, batch_size, seed), count))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_every_row_as_often_as_any_other(lengths, batch_size, seed):
    window = max(1, min(WINDOW, len(lengths) // batch_size))
    batches = batches_of(lengths, batch_size, seed, 4 * window)
    assert all(len(batch) == batch_size for batch in batches)
    for end in range(window, len(batches) + 1, window):  # over the borders of epochs and of windows
        seen = Counter(row for batch in batches[:end] for row in batch)
        times = [seen[row] for row in range(len(lengths))]
        assert max(times) - min(times) <= 1


def test_every_row_once_per_epoch_of_many_windows():
    rows, batch_size = 3 * WINDOW * 4, 4  # three windows
    batches = batches_of(range(rows), batch_size, 0, 2 * rows // batch_size)
    for epoch in batches[: len(batches) // 2], batches[len(batches) // 2 :]:
        assert sorted(row for batch in epoch for row in batch) == list(range(rows))
    assert batches[: len(batches) // 2] != batches[len(batches) // 2 :]


def test_the_seed_decides_the_order():
    lengths = np.random.default_rng(0).integers(1, 100, size=1000).tolist()
    assert batches_of(lengths, 8, 5, 300) == batches_of(lengths, 8, 5, 300)
    assert batches_of(lengths, 8, 5, 300) != batches_of(lengths, 8, 6, 300)


@pytest.mark.parametrize("done", [1, 7, WINDOW, 130])
def test_the_order_goes_on_where_it_was_left(done):
    lengths = np.random.default_rng(0).integers(1, 100, size=1000).tolist()
    going_on = islice(training_order(lengths, 8, 5), done, done + 30)
    assert list(going_on) == batches_of(lengths, 8, 5, done + 30)[done:]


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 64, 1000, 5000])
def test_an_order_that_is_not_stored_is_a_permutation(rows, monkeypatch):
    """In blocks of any size; another one for each epoch and seed."""
    monkeypatch.setattr(orders, "STORED_ORDER", 0)
    monkeypatch.setattr(orders, "BLOCK", 64)

    def epoch(rng):
        return [row for block in shuffled(rows, rng) for row in block]

    rng = np.random.default_rng(0)
    first, second, other = epoch(rng), epoch(rng), epoch(np.random.default_rng(1))
    assert sorted(first) == sorted(second) == sorted(other) == list(range(rows))
    assert first == epoch(np.random.default_rng(0))
    if rows >= 64:
        assert len({tuple(order) for order in (first, second, other)}) == 3


def test_an_order_that_is_not_stored_looks_random(monkeypatch):
    """As many rows keep their neighbour, and as many of each block fall into each block, as in NumPy's permutations.

    Measured over 20 seeds: a chi-square of 189 to 282 for 225 degrees of freedom; bounds for a probability of 1e-6.
    """
    monkeypatch.setattr(orders, "STORED_ORDER", 0)
    rows, parts = 40_000, 16
    for seed in range(5):
        order = np.concatenate([*map(np.array, shuffled(rows, np.random.default_rng(seed)))])
        table = np.histogram2d(np.arange(rows), order, parts)[0]
        expected = rows / parts**2
        assert 140 < ((table - expected) ** 2 / expected).sum() < 340
        assert np.count_nonzero(np.abs(np.diff(order)) == 1) < 15  # 2 are expected
        assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.025


def test_a_long_order_takes_little_memory():
    """Ten million rows: blocks of 65,536."""
    tracemalloc.start()
    blocks = [len(block) for block in islice(shuffled(10_000_000, np.random.default_rng(0)), 40)]
    assert tracemalloc.get_traced_memory()[1] < 16 << 20
    tracemalloc.stop()
    assert max(blocks) <= 1 << 16


@given(st.lists(st.integers(1, 40), min_size=1, max_size=60), st.integers(40, 200), st.integers(0, 2**32 - 1))
def test_batches_of_tokens_are_full(lengths, most, seed):
    """No batch is above the limit; another row of it would not have fitted; no row is lost."""
    order = token_order(lengths, most, seed, mean=np.mean(lengths))
    batches = list(islice(order, 20))
    sizes = [sum(lengths[row] for row in batch) for batch in batches]
    assert max(sizes) <= most
    assert min(sizes) > most - max(lengths)
    seen = Counter(row for batch in batches for row in batch)
    epochs = sum(sizes) / sum(lengths)
    window = min(int(WINDOW * most / np.mean(lengths)), len(lengths))
    slack = 2 + math.ceil(2 * window / len(lengths))
    assert all(epochs - slack <= seen[row] <= epochs + slack for row in range(len(lengths)))


def test_a_row_above_the_limit_is_a_batch():
    assert sorted(islice(token_order([3, 90, 3], 10, 0, mean=32), 6), key=len)[0] == [1]


def padding_share(lengths, batches):
    lengths = np.asarray(lengths)[np.array(batches)]  # [batches, B]
    return 1 - lengths.sum() / (lengths.max(axis=1).sum() * lengths.shape[1])


def test_rows_of_like_length_come_together_in_any_order():
    lengths = np.random.default_rng(0).integers(5, 100, size=1600)
    batches = batches_of(lengths.tolist(), 16, 1, 100)
    at_random = np.random.default_rng(1).permutation(1600).reshape(100, 16)
    assert padding_share(lengths, at_random) > 0.4  # measured: 0.43
    assert padding_share(lengths, batches) < 0.03  # measured: 0.016
    longest = lengths[np.array(batches)].max(axis=1)
    assert abs(np.corrcoef(longest[:-1], longest[1:])[0, 1]) < 0.3  # of a batch and the next; measured: -0.04


# -- hidden words ----------------------------------------------------------------------------------------------------

MASK, WORDS = 4, np.arange(5, 55)
SPECIAL = np.array([0, 1, 2, 3, MASK])


@pytest.fixture(scope="module")
def masked():
    """(ids, special, hidden ids, labels) of 2,000 rows of 100 tokens, each second of which is padded."""
    ids = np.random.default_rng(0).choice(WORDS, size=(2000, 100))
    ids[:, 0], ids[:, 50], ids[:, -1] = 2, MASK, 3
    ids[::2, 60:] = 0
    special = np.isin(ids, SPECIAL)
    return ids, special, *mask_tokens(np.random.default_rng(1), ids, special, MASK, WORDS, fraction=0.15)


def within_five_errors(hits, share):
    """Whether the mean of hits is `share` up to five standard errors."""
    return abs(np.mean(hits) - share) < 5 * np.sqrt(share * (1 - share) / np.size(hits))


def test_fifteen_percent_are_hidden_of_which_eighty_become_the_mask(masked):
    ids, special, found, labels = masked
    hidden = labels != IGNORE_INDEX
    assert within_five_errors(hidden[~special], 0.15)
    assert within_five_errors(found[hidden] == MASK, 0.8)
    assert within_five_errors(found[hidden] == ids[hidden], 0.1)
    assert within_five_errors((found[hidden] != MASK) & (found[hidden] != ids[hidden]), 0.1)


def test_random_tokens_are_any_other_word(masked):
    ids, _, found, _ = masked
    changed = (found != ids) & (found != MASK)
    assert np.isin(found[changed], WORDS).all()
    # Each of the 49 others is as likely: the distance from the original, around the circle of words.
    distance = (found[changed] - ids[changed]) % len(WORDS)
    counts = np.bincount(distance, minlength=len(WORDS))
    assert counts[0] == 0
    assert all(within_five_errors(distance == d, 1 / 49) for d in range(1, 50))
    for word in (WORDS[0], WORDS[-1]):
        assert within_five_errors(found[changed] == word, 1 / 50)


def test_nothing_else_is_touched(masked):
    ids, special, found, labels = masked
    hidden = labels != IGNORE_INDEX
    assert not (hidden & special).any()
    np.testing.assert_array_equal(labels[hidden], ids[hidden])
    np.testing.assert_array_equal(found[~hidden], ids[~hidden])
    assert found.dtype == labels.dtype == np.int64


def test_arguments_stay_as_they_are():
    ids = np.array([[2, 10, 11, 3]])
    special = np.isin(ids, SPECIAL)
    mask_tokens(np.random.default_rng(0), ids, special, MASK, WORDS, fraction=0.99)
    assert ids.tolist() == [[2, 10, 11, 3]]
    assert special.tolist() == [[True, False, False, True]]


def test_each_row_with_a_token_has_one_to_predict():
    ids = np.array([[2, 10, 3, 0, 0], [2, 3, 0, 0, 0], [2, 11, 12, 13, 3]] * 200)
    _, labels = mask_tokens(np.random.default_rng(0), ids, np.isin(ids, SPECIAL), MASK, WORDS, fraction=1e-9)
    assert (labels != IGNORE_INDEX).sum(axis=1).tolist() == [1, 0, 1] * 200
    places = (labels[2::3] != IGNORE_INDEX).argmax(axis=1)
    assert all(within_five_errors(places == place, 1 / 3) for place in (1, 2, 3))


@pytest.mark.parametrize("original", [5, 6])
def test_of_two_words_the_random_one_is_the_other(original):
    ids = np.full((1, 1000), original)
    found, _ = mask_tokens(np.random.default_rng(0), ids, ids < 0, MASK, np.array([5, 6]), fraction=0.9)
    assert within_five_errors(found == 11 - original, 0.9 * 0.1)
    assert set(np.unique(found)) == {MASK, 5, 6}


def test_the_seed_decides_what_is_hidden(masked):
    ids, special, found, labels = masked
    again = mask_tokens(np.random.default_rng(1), ids, special, MASK, WORDS, fraction=0.15)
    np.testing.assert_array_equal(again, (found, labels))
    other, _ = mask_tokens(np.random.default_rng(2), ids, special, MASK, WORDS, fraction=0.15)
    assert (other != found).any()


# -- what labels count ------------------------------------------------------------------------------------------------

IDS = {"input_ids": np.arange(1, 7).reshape(2, 3), "attention_mask": np.array([[1, 1, 0], [1, 1, 1]])}
TOKEN_LABELS = {"labels": np.array([[4, IGNORE_INDEX, 5], [6, 7, IGNORE_INDEX]])}
ANSWERS = {"start_positions": np.array([0, 1]), "end_positions": np.array([1, 2])}
PACKED_WEIGHTS = [  # head, labels, weights, what the loss is given
    (Head.TOKEN_CLASSIFICATION, TOKEN_LABELS, [2.0, 3.0], [2.0, 3.0, 3.0, 0.0]),  # filled up to 4 labels
    (Head.MASKED_LM, TOKEN_LABELS, [[1.0, 2, 3], [4, 5, 6]], [1.0, 4.0, 5.0, 0.0]),
    (Head.SEQUENCE_CLASSIFICATION, {"labels": np.array([1, 0])}, [2.0, 3.0], [2.0, 3.0]),
    (Head.SEQUENCE_CLASSIFICATION, {"labels": np.eye(2)}, [2.0, 3.0], [2.0, 3.0]),
    (Head.QUESTION_ANSWERING, ANSWERS, [2.0, 3.0], [2.0, 3.0]),
]


@pytest.mark.parametrize(("head", "labels", "weights", "expected"), PACKED_WEIGHTS)
def test_weights_go_with_their_labels(head, labels, weights, expected):
    batch = {**IDS, **labels}
    sizes = Sizes(labels=lambda count: count + 1)
    plain = pack_batch(batch, head, Packing.from_lengths, sizes)
    got = pack_batch({**batch, "sample_weight": np.array(weights)}, head, Packing.from_lengths, sizes)
    assert got.pop("sample_weight").tolist() == expected
    assert got.keys() == plain.keys()
    for name, array in plain.items():
        np.testing.assert_array_equal(got[name], array)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"position_ids": IDS["input_ids"]}, "A batch has .*labels, sample_weight; got position_ids too: leave it out"),
        ({"sample_weight": np.ones(3)}, r"sample_weight must have shape .* = \(2\), got \(3,\)"),
        ({"sample_weight": np.array([1, -2.0])}, r"sample_weight must be finite numbers >= 0, got -2\.0"),
        ({"sample_weight": np.array([1, np.nan])}, "sample_weight must be finite numbers >= 0, got nan"),
    ],
)
def test_impossible_batches(more, message):
    batch = {**IDS, "labels": np.array([1, 0]), **more}
    with pytest.raises(InputError, match=message):
        pack_batch(batch, Head.SEQUENCE_CLASSIFICATION, Packing.from_lengths, Sizes())


def test_a_batch_to_distil_has_no_weights():
    batch = {**IDS, "labels": np.array([1, 0]), "sample_weight": np.ones(2)}
    with pytest.raises(InputError, match="A batch has input_ids, attention_mask and labels; got sample_weight too"):
        pack_comparison(batch, Head.SEQUENCE_CLASSIFICATION, Packing.from_lengths, Sizes(), only_masked=False)
