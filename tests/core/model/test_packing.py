"""Packed rows: the positions of tokens, for all shapes of padding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilbert_core import Head, InputError
from distilbert_core.model.packed_batches import Sizes, pack_batch
from distilbert_core.model.packing import (
    Packing,
    PaddedPacking,
    Ragged,
    cheapest_length,
    fill_bins,
    first_tokens,
    pack,
)

IDS = np.array([[5, 6, 7, 0], [0, 8, 9, 0], [1, 2, 3, 4]])
MASK = np.array([[1, 1, 1, 0], [0, 1, 1, 0], [1, 1, 1, 1]])
masks = st.integers(1, 7).flatmap(
    lambda tokens: st.lists(st.lists(st.booleans(), min_size=tokens, max_size=tokens), min_size=1, max_size=9)
).map(np.array).filter(np.any)  # fmt: skip


@given(masks, st.integers(0, 9))
def test_every_real_token_has_one_place_with_its_own_text(mask, extra):
    longest = int(mask.sum(axis=1).max())
    packing = pack(mask, longest + extra)
    tokens = np.arange(mask.size).reshape(mask.shape)
    packed = packing.pack(tokens, fill=-1)
    real = packed >= 0
    assert sorted(packed[real]) == tokens[mask].tolist()
    assert ((packing.segment_ids > 0) == real).all()
    rows = packed // mask.shape[1]
    for row, segments in zip(rows, packing.segment_ids, strict=True):
        for segment in range(1, segments.max() + 1):
            assert len(set(row[segments == segment])) == 1  # of one text ...
            places = np.flatnonzero(segments == segment)
            assert (np.diff(places) == 1).all()  # ... in one piece
    assert (packing.position_ids[real] == packed[real] % mask.shape[1]).all()
    assert (packing.unpack(packed + 1) == np.where(mask, tokens + 1, 0)).all()


@given(masks, st.data())
def test_select_finds_the_selected_tokens(mask, data):
    wanted = np.array(data.draw(st.lists(st.booleans(), min_size=mask.size, max_size=mask.size))).reshape(mask.shape)
    packing = pack(mask, int(mask.sum(axis=1).max()) + 3)
    tokens = np.arange(mask.size).reshape(mask.shape)
    packed = packing.pack(tokens)
    for size in (int, lambda count: count + 2):
        places, order = packing.select(wanted, size)
        assert np.take_along_axis(packed, places, axis=1).ravel()[order].tolist() == tokens[wanted & mask].tolist()
        assert (np.diff(places, axis=1) > 0).all()


def test_one_row_holds_all_unless_told():
    packing = pack(MASK)
    assert packing.pack(IDS).tolist() == [[1, 2, 3, 4, 5, 6, 7, 8, 9]]
    assert packing.segment_ids.tolist() == [[1, 1, 1, 1, 2, 2, 2, 3, 3]]
    assert packing.position_ids.tolist() == [[0, 1, 2, 3, 0, 1, 2, 1, 2]]


def test_empty_rows_change_nothing():
    packing = pack(MASK, 4)
    more = PaddedPacking(packing.mask, packing.packing.with_rows(5))
    assert more.pack(IDS, fill=-1)[3:].tolist() == [[-1] * 4] * 2
    assert more.segment_ids[3:].sum() == 0
    assert (more.unpack(more.pack(IDS)) == packing.unpack(packing.pack(IDS))).all()


@given(st.lists(st.integers(0, 20), min_size=1), st.integers(20, 40))
def test_bins_hold_each_row_once_and_never_too_much(lengths, capacity):
    bins = fill_bins(lengths, capacity)
    assert sorted(row for members in bins for row in members) == [i for i, length in enumerate(lengths) if length]
    assert all(sum(lengths[row] for row in members) <= capacity for members in bins)
    # Two bins that are both at most half full would have been one.
    assert sum(2 * sum(lengths[row] for row in members) <= capacity for members in bins) <= 1


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([128] * 4, 128),  # nothing is won by packing
        ([30] * 8, 30),
        ([70, 40] * 4, 128),
        ([60, 60, 60, 60, 16], 256),
        ([5], 5),
        ([500, 20, 30], 500),
    ],
)
def test_cheapest_length(lengths, expected):
    assert cheapest_length(lengths, (max(lengths), 128, 256), dim=768) == expected


@given(masks)
def test_texts_come_back_from_a_padded_batch(mask):
    ids = np.arange(5, 5 + mask.size).reshape(mask.shape)
    texts = Ragged.from_padded(ids, mask)
    assert texts.ids.tolist() == ids[mask].tolist()
    assert [row.tolist() for row in texts.split(texts.ids)] == [
        row[real].tolist() for row, real in zip(ids, mask, strict=True)
    ]
    padded = texts.padded(pad_id=3)
    columns = padded["attention_mask"].shape[1]
    assert columns == 1 + np.flatnonzero(mask.any(axis=0)).max()
    assert (padded["attention_mask"] == mask[:, :columns]).all()
    assert (padded["input_ids"] == np.where(mask, ids, 3)[:, :columns]).all()
    assert (texts.unpad(padded["input_ids"]) == texts.ids).all()


@given(st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=1), st.data())
def test_selected_values_go_to_their_texts(rows, data):
    texts = Ragged.from_rows(rows)
    assert texts.lengths.tolist() == [len(row) for row in rows]
    assert [row.tolist() for row in texts.split(texts.ids)] == rows
    assert texts.position_ids.tolist() == [i for row in rows for i in range(len(row))]
    below = data.draw(st.integers(0, 9))
    selected = np.flatnonzero(texts.ids < below)
    parts = texts.split(texts.ids[selected], selected)
    assert [part.tolist() for part in parts] == [[number for number in row if number < below] for row in rows]


def test_nothing_to_pack():
    with pytest.raises(InputError, match="attention_mask must have a nonzero entry; it has none"):
        pack(np.zeros((2, 3)))


def test_first_tokens():
    assert first_tokens(MASK).astype(int).tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]]
    with pytest.raises(InputError, match=r"attention_mask must have a nonzero entry in every row; row \[1\] has none"):
        first_tokens(MASK * [[1], [0], [1]])


def outputs_of(batch):
    """What a model would return that gives each token its id."""
    ids = batch["input_ids"]
    return ids if "output_tokens" not in batch else np.take_along_axis(ids, batch["output_tokens"], axis=1)


LABELS = np.array([[-100, 10, 11, 12], [13, -100, 14, 15], [16, 17, -100, 18]])


def more(count):
    return count + 3


@pytest.mark.parametrize("sizes", [Sizes(), Sizes(more, more, more, more)], ids=["exact", "rounded up"])
@pytest.mark.parametrize(
    ("head", "labels", "expected"),
    [
        (Head.SEQUENCE_CLASSIFICATION, np.array([1, 0, 2]), [(5, 1), (8, 0), (1, 2)]),
        (Head.MULTIPLE_CHOICE, np.array([0, 1, 2]), [(5, 0), (8, 1), (1, 2)]),
        (Head.MASKED_LM, LABELS, [(6, 10), (7, 11), (9, 14), (1, 16), (2, 17), (4, 18)]),
        (Head.TOKEN_CLASSIFICATION, LABELS, [(6, 10), (7, 11), (9, 14), (1, 16), (2, 17), (4, 18)]),
    ],
)
def test_a_packed_batch_has_each_label_beside_its_token(head, labels, expected, sizes):
    batch = {"input_ids": IDS, "attention_mask": MASK, "labels": labels}
    packed = pack_batch(batch, head, lambda lengths: Packing.from_lengths(lengths, 5), sizes)
    read = outputs_of(packed).ravel()[packed["indices"]].tolist()
    pairs = [(token, label) for token, label in zip(read, packed["labels"].tolist(), strict=True) if label != -100]
    assert pairs == expected
    assert len(packed["input_ids"]) == sizes.rows(2)
    assert batch["labels"] is labels  # the caller's arrays are left alone
    assert (batch["input_ids"] == IDS).all()


def test_a_packed_batch_of_questions_is_read_as_it_was():
    positions = {"start_positions": np.array([1, 1, -1]), "end_positions": np.array([2, 3, 4])}
    batch = {"input_ids": IDS, "attention_mask": MASK, **positions}
    packed = pack_batch(batch, Head.QUESTION_ANSWERING, Packing.from_lengths, Sizes(tokens=more))
    read = outputs_of(packed).ravel()[packed["indices"]] * packed["attention_mask"]  # [3, 4 + 3]
    assert read.tolist() == np.pad(IDS * MASK, [(0, 0), (0, 3)]).tolist()
    assert packed["start_positions"].tolist() == [1, 1, -1]
    assert packed["end_positions"].tolist() == [2, 7, 7]  # in padding, and beyond it: beyond it now
    with pytest.raises(InputError, match=r"row \[1\] has none"):
        pack_batch(
            {**batch, "attention_mask": MASK * [[1], [0], [1]]}, Head.QUESTION_ANSWERING, Packing.from_lengths, Sizes()
        )


def test_no_label_at_all():
    batch = {"input_ids": IDS, "labels": np.full(IDS.shape, -100)}
    packed = pack_batch(batch, Head.MASKED_LM, Packing.from_lengths, Sizes())
    assert (packed["labels"] == -100).all()
