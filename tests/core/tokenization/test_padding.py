"""Padding of tokenized texts: values keep their kind, and impossible padding is an error."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert_core import InputError
from distilbert_core.tokenization import BaseTokenizer, BatchEncoding, columns
from distilbert_core.tokenization.batching import pad_rows
from support.vocabularies import CLS, MASK, PAD, SEP, SMALL, UNK, A, B, C, Make

# -- kinds of values ---------------------------------------------------------------------------------------

VALUES = [  # the labels of two rows, and the dtype that they have as an array
    ([1, 0], np.int64),
    ([0.75, 0.25], np.float64),
    ([0.75, 1], np.float64),
    ([True, False], np.bool_),
    ([True, 3], np.int64),
    ([2**63 - 1, -(2**63)], np.int64),
    ([[1.0, 0.5], [0.0, 0.25]], np.float64),
    ([[1, 0], [0, 1]], np.int64),
    ([[True], [False]], np.bool_),
    ([[], []], np.int64),
    ([np.float32(0.75), np.float32(0.25)], np.float32),
    ([np.array(0.75, np.float16), np.array(0.25, np.float16)], np.float16),
    ([np.array([1, 2], np.int32), np.array([3, 4], np.int32)], np.int32),
    ([np.array([1.5]), np.array([2.5])], np.float64),
    ([np.array([], np.float32), np.array([], np.float32)], np.float32),
    ([np.bool_(True), np.bool_(False)], np.bool_),
]


@pytest.mark.parametrize(("labels", "dtype"), VALUES, ids=str)
def test_labels_keep_their_kind(small: Make, labels: list, dtype: type) -> None:
    ids = [[A, B], [C]]
    rows = [{"input_ids": row, "labels": label} for row, label in zip(ids, labels, strict=True)]
    encoding = BatchEncoding({"labels": labels})
    padded = [
        small().pad(rows, return_tensors="np"),
        small().pad({"input_ids": ids, "labels": labels}, return_tensors="np"),
    ]
    for found in (*padded, encoding.convert_to_tensors("np")):
        assert found["labels"].dtype == dtype
        np.testing.assert_array_equal(found["labels"], np.array(labels, dtype))
    for encoding in padded:
        assert encoding["input_ids"].tolist() == [[A, B], [C, PAD]]
        assert encoding["input_ids"].dtype == encoding["attention_mask"].dtype == np.int64


def test_a_column_that_is_an_array_stays_it(small: Make) -> None:
    labels = np.array([0.75, 0.25], np.float32)
    assert small().pad({"input_ids": np.array([[A], [B]]), "labels": labels}, return_tensors="np")["labels"] is labels


@pytest.mark.parametrize(
    ("mask", "expected", "dtype"),
    [
        ([[1, 1], [1]], [[1, 1], [1, 0]], np.int64),
        ([[True, True], [True]], [[True, True], [True, False]], np.bool_),
        ([[1.0, 0.5], [1]], [[1, 0.5], [1, 0]], np.float64),
        ([np.array([1, 0.5], np.float32), np.array([1], np.float32)], [[1, 0.5], [1, 0]], np.float32),
        ([np.array([1, 1], np.uint8), np.array([1], np.uint8)], [[1, 1], [1, 0]], np.uint8),
    ],
    ids=str,
)
def test_a_mask_keeps_its_kind(small: Make, mask: list, expected: list, dtype: type) -> None:
    padded = small().pad({"input_ids": [[A, B], [C]], "attention_mask": mask}, return_tensors="np")["attention_mask"]
    assert (padded.tolist(), padded.dtype) == (expected, dtype)


def test_offsets_of_no_tokens_have_their_shape(small: Make) -> None:
    padded = small().pad({"input_ids": [[], []], "offset_mapping": [[], []]}, return_tensors="np")
    assert (padded["input_ids"].shape, padded["offset_mapping"].shape) == ((2, 0), (2, 0, 2))


def test_without_tensors_values_are_lists(small: Make) -> None:
    rows = {"input_ids": [np.array([A, B]), np.array([C])], "labels": np.array([0.75, 0.25])}
    padded = small().pad(rows)
    assert padded == {"input_ids": [[A, B], [C, PAD]], "attention_mask": [[1, 1], [1, 0]], "labels": [0.75, 0.25]}
    assert isinstance(padded["labels"], list)
    texts = small().pad([{"input_ids": [A], "text": "a"}, {"input_ids": [B, C], "text": None}])
    assert texts["text"] == ["a", None]


DIFFERENT = r"^labels must have rows of one shape to become an array, got \(3,\) and \(2,\); pad them first: "
DIFFERENT += r"a tokenizer pads only input_ids, token_type_ids, attention_mask, special_tokens_mask, offset_mapping\.$"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["a", "b"], r"^labels must hold only numbers to become an array, got 'a'\.$"),
        ([[1, "b"], [1, 2]], r"^labels must hold only numbers to become an array, got 'b'\.$"),
        ([None, 1], r"^labels must hold only numbers to become an array, got None\.$"),
        ([1.5, {}], r"^labels must hold only numbers to become an array, got {}\.$"),
        ([np.array(["a"]), np.array(["b"])], r"^labels must hold only numbers .* got array\(\['a'\], dtype='<U1'\)\.$"),
        ([[-100, 1, -100], [-100, -100]], DIFFERENT),
        ([np.zeros(3), np.zeros(2)], DIFFERENT),
        ([[1], 2], r"^labels must have rows of one shape .* got \(1,\) and \(\); pad them first"),
        ([[[1], [2, 3]], [[1], [2, 3]]], r"^labels must have rows of one shape .* got uneven; pad them first"),
        ([2**63, 1], r"^labels cannot be an array: an integer does not fit int64\.$"),
        ([2**63, -1], r"^labels cannot be an array: an integer does not fit int64\.$"),
        ([2**70, 1], r"^labels cannot be an array: an integer does not fit int64\.$"),
    ],
    ids=str,
)
def test_what_cannot_be_an_array(small: Make, labels: list, message: str) -> None:
    rows = [{"input_ids": [A, B, C], "labels": labels[0]}, {"input_ids": [A, B], "labels": labels[1]}]
    with pytest.raises(InputError, match=message):
        small().pad(rows, return_tensors="np")
    encoding = BatchEncoding({"first": [[1]], "labels": labels})
    with pytest.raises(InputError, match=message):
        encoding.convert_to_tensors("np")
    assert encoding == {"first": [[1]], "labels": labels}


def test_texts_of_different_lengths(small: Make) -> None:
    message = (
        r"^The texts have different lengths, so input_ids cannot be one array; use padding=True, and truncation=True "
    )
    message += r"where a text is longer than max_length\.$"
    for call in ({}, {"padding": "max_length", "max_length": 4}):
        with pytest.raises(InputError, match=message):
            small()(["a", "a b c"], return_tensors="np", **call)


class Stub:
    """A backend that returns its arguments."""

    def __init__(self, name: str):
        self.name = name

    def to_tensor(self, array: np.ndarray) -> tuple[str, str, list]:
        if array.dtype == np.int64 and array.max() > 9:
            raise InputError("An integer is too large.")
        return self.name, str(array.dtype), array.tolist()


@pytest.mark.parametrize(("kind", "backend"), [("pt", "pt"), ("tf", "tf"), ("jax", "flax"), ("flax", "flax")])
def test_fractions_are_float32_in_frameworks(monkeypatch: pytest.MonkeyPatch, kind: str, backend: str) -> None:
    monkeypatch.setattr(columns, "get_backend", Stub)
    for values, dtype in (
        ([0.75, 0.25], "float32"),
        ([np.float64(0.75), np.float64(0.25)], "float64"),
        ([1, 2], "int64"),
        ([True], "bool"),
    ):
        assert columns.to_tensor(values, "labels", kind) == (backend, dtype, values)
    with pytest.raises(InputError, match=r"^labels cannot be a tensor: An integer is too large\.$"):
        columns.to_tensor([10], "labels", kind)


def test_only_tensors_are_moved() -> None:
    class Tensor:
        def to(self, device: str) -> tuple[str, str]:
            return "moved", device

    encoding = BatchEncoding({"input_ids": Tensor(), "texts": ["a"]}).to("cuda")
    assert encoding == {"input_ids": ("moved", "cuda"), "texts": ["a"]}
    with pytest.raises(InputError, match=r"^This encoding has no PyTorch tensors to move; .* return_tensors='pt'\.$"):
        BatchEncoding({"input_ids": [[1]]}).to("cuda")
    assert BatchEncoding().to("cuda") == {}


# -- rows that do not fit together -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        (
            [{"input_ids": [A]}, {"input_ids": [B], "labels": 1}],
            "all have the same keys, but encoded_inputs[1] has 'labels' and encoded_inputs[0] does not.",
        ),
        (
            [{"input_ids": [A], "labels": 1}, {"input_ids": [B], "labels": 1}, {"input_ids": [C]}],
            "all have the same keys, but encoded_inputs[0] has 'labels' and encoded_inputs[2] does not.",
        ),
        ([{"input_ids": [A]}, [B]], "encoded_inputs[1] must be an encoding, got [6]."),
        ([{"input_ids": A}], "input_ids must have a list of ids for each text, got [5]."),
        ({"input_ids": [[A], [B]], "labels": [1]}, "labels must have 2 rows, as input_ids has, got [1]."),
        ({"input_ids": [[A], [B]], "labels": 1}, "labels must have 2 rows, as input_ids has, got 1."),
        (
            {"input_ids": [[A, B], [C]], "attention_mask": [[1, 1], [1, 1]]},
            "attention_mask[1] must have 1 values, one for each id, got 2.",
        ),
        (
            [{"input_ids": [A, B], "special_tokens_mask": [0]}],
            "special_tokens_mask[0] must have 2 values, one for each id, got 1.",
        ),
    ],
    ids=str,
)
def test_rows_that_do_not_fit_together(small: Make, encoded: Any, message: str) -> None:
    for kind in (None, "np"):
        with pytest.raises(InputError, match=re.escape(message)):
            small().pad(encoded, return_tensors=kind)


def test_a_mask_is_added_unless_refused(small: Make) -> None:
    tokenizer = small()
    for asked in (True, None):
        assert tokenizer.pad([{"input_ids": [A]}], return_attention_mask=asked)["attention_mask"] == [[1]]
        assert tokenizer("a", return_attention_mask=asked)["attention_mask"] == [1, 1, 1]
    assert list(tokenizer.pad([{"input_ids": [A]}], return_attention_mask=False)) == ["input_ids"]
    assert list(tokenizer("a", return_attention_mask=False)) == ["input_ids"]


# -- no pad token ------------------------------------------------------------------------------------------

NO_PAD = r"^This tokenizer has no pad_token, and one is needed here: set tokenizer.pad_token to a token of the "
NO_PAD += r"vocabulary, or add one with tokenizer\.add_special_tokens\({'pad_token': '\[PAD\]'}\)\.$"


def unset(small: Make) -> BaseTokenizer:
    tokenizer = small()
    tokenizer.pad_token = None
    return tokenizer


WITHOUT_PAD_TOKEN = pytest.mark.parametrize(
    "without", [lambda small: small(pad_token=None), unset], ids=["made", "unset"]
)


@WITHOUT_PAD_TOKEN
def test_padding_needs_a_pad_token(small: Make, without: Callable[[Make], BaseTokenizer]) -> None:
    tokenizer = without(small)
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == (None, None)
    assert "pad_token" not in tokenizer.special_tokens_map
    assert tokenizer.all_special_ids == [UNK, SEP, CLS, MASK]
    for padding in (True, "longest", "max_length"):
        for texts in (["a", "a b"], ["a", "b"]):
            with pytest.raises(InputError, match=NO_PAD):
                tokenizer(texts, padding=padding, max_length=4)
        with pytest.raises(InputError, match=NO_PAD):
            tokenizer.pad({"input_ids": [[A], [B, C]]}, padding=padding, max_length=4)
    assert tokenizer(["a", "a b"])["input_ids"] == [[CLS, A, SEP], [CLS, A, B, SEP]]
    assert tokenizer(["a", "b"], return_tensors="np")["input_ids"].tolist() == [[CLS, A, SEP], [CLS, B, SEP]]
    assert tokenizer.pad({"input_ids": [[A], [B]]}, padding=False)["input_ids"] == [[A], [B]]


@WITHOUT_PAD_TOKEN
def test_an_unset_pad_token_is_saved(small: Make, without: Callable[[Make], BaseTokenizer], tmp_path: Path) -> None:
    tokenizer = without(small)
    tokenizer.save_pretrained(tmp_path / "saved")
    for left_out in (None, "tokenizer.json"):
        if left_out:
            (tmp_path / "saved" / left_out).unlink()
        assert type(tokenizer).from_pretrained(tmp_path / "saved").pad_token is None
        again = type(tokenizer).from_pretrained(tmp_path / "saved", pad_token="[PAD]")
        assert again(["a", "a b"], padding=True)["input_ids"][0] == [CLS, A, SEP, PAD]


def test_a_pad_token_can_be_set_again(small: Make) -> None:
    tokenizer = unset(small)
    tokenizer.pad_token = "c"
    assert tokenizer(["a", "a b"], padding=True)["input_ids"][0] == [CLS, A, SEP, C]
    tokenizer.pad_token = None
    assert tokenizer.add_special_tokens({"pad_token": "<pad>"}) == 1
    assert tokenizer(["a", "a b"], padding=True)["input_ids"][0] == [CLS, A, SEP, len(SMALL)]


def test_rows_of_one_length_need_no_pad_token() -> None:
    ids, mask = pad_rows([[A, B], [C, A]], None)
    assert (ids.tolist(), mask.tolist()) == ([[A, B], [C, A]], [[1, 1], [1, 1]])
    with pytest.raises(InputError, match=NO_PAD):
        pad_rows([[A, B], [C]], None)


@pytest.mark.parametrize(
    ("encoded", "call", "expected"),
    [
        ([{"input_ids": np.array([A, B])}, {"input_ids": np.array([C])}], {}, [[A, B], [C, PAD]]),
        ({"input_ids": [[A, B], [C]]}, {"padding": False}, [[A, B], [C]]),
        ({"input_ids": [[A, B], [C]]}, {"padding_side": "left"}, [[A, B], [PAD, C]]),
        ({"input_ids": [A]}, {"padding": "max_length", "max_length": 3}, [A, PAD, PAD]),
        ({"input_ids": [[A]]}, {"pad_to_multiple_of": 3}, [[A, PAD, PAD]]),
        ({"input_ids": []}, {}, []),
        ([], {}, []),
    ],
)
def test_pad(small: Make, encoded: Any, call: dict[str, Any], expected: list) -> None:
    padded = small().pad(encoded, **call)
    assert padded["input_ids"] == expected
    mask = [[int(index != PAD) for index in row] for row in expected] if expected and expected[0] != A else None
    assert mask is None or padded["attention_mask"] == mask
    arrays = small().pad(
        {"input_ids": [[A, B], [C]], "offset_mapping": [[(0, 1), (1, 2)], [(0, 1)]]}, return_tensors="np"
    )
    assert arrays["offset_mapping"].tolist() == [[[0, 1], [1, 2]], [[0, 1], [0, 0]]]


@pytest.mark.parametrize(
    ("encoded", "call", "message"),
    [
        ({"labels": [1]}, {}, "^encoded_inputs must have input_ids, got labels"),
        ({"input_ids": [A]}, {"padding": "max_length"}, "^padding='max_length' needs max_length"),
        ({"input_ids": [A]}, {"padding": "wide"}, "^padding must be one of longest, max_length, got 'wide'"),
        ({"input_ids": [[A], [A, B]]}, {"padding": False, "return_tensors": "np"}, "^The texts have different lengths"),
    ],
)
def test_impossible_padding(small: Make, encoded: Any, call: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small().pad(encoded, **call)


def test_masks_of_special_tokens(small: Make) -> None:
    tokenizer = small()
    assert tokenizer.get_special_tokens_mask([A, B]) == [1, 0, 0, 1]
    assert tokenizer.get_special_tokens_mask([A], [B]) == [1, 0, 1, 0, 1]
    with pytest.raises(InputError, match="token_ids_1 must be left out"):
        tokenizer.get_special_tokens_mask([A], [B], already_has_special_tokens=True)
