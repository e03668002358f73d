"""Calls of both tokenizers by the ids of a small vocabulary, one call after another, and any text."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distilbert_core import InputError
from distilbert_core.tokenization import NO_MAX_LENGTH, BaseTokenizer, BatchEncoding, columns
from support.vocabularies import CLS, LEFT_CUT, LEFT_PADDED, MASK, PAD, SEP, TWO, UNK, A, B, C, D, E, Make, X, Y

# -- calls, by literal ids -----------------------------------------------------------------------------------


PAIR = [("a b c", "d e")]


@pytest.mark.parametrize(
    ("options", "texts", "call", "ids"),
    [
        ({}, "a b", {}, [CLS, A, B, SEP]),
        ({}, ["a b"], {}, [[CLS, A, B, SEP]]),
        ({}, "ax xa axy", {}, [CLS, A, X, UNK, A, X, Y, SEP]),
        ({}, "", {}, [CLS, SEP]),
        ({}, "", {"add_special_tokens": False}, []),
        ({}, "a [MASK] [UNK]", {"add_special_tokens": False}, [A, MASK, UNK]),
        ({}, [], {}, []),
        ({}, ("a", "b c"), {}, [[CLS, A, SEP], [CLS, B, C, SEP]]),
        ({}, [("a", "b c")], {}, [[CLS, A, SEP, B, C, SEP]]),
        ({}, [["a", "b"], "c"], {}, [[CLS, A, SEP, B, SEP], [CLS, C, SEP]]),
        # Normalisation.
        ({}, "A É", {}, [CLS, A, E, SEP]),
        ({"do_lower_case": False}, "A a", {}, [CLS, 13, A, SEP]),
        ({"do_lower_case": False}, "É é", {}, [CLS, UNK, 12, SEP]),
        ({"strip_accents": False}, "É", {}, [CLS, 12, SEP]),
        ({"do_lower_case": False, "strip_accents": True}, "A é", {}, [CLS, 13, E, SEP]),
        ({}, "a你b", {}, [CLS, A, UNK, B, SEP]),
        ({"tokenize_chinese_chars": False}, "a你b", {}, [CLS, UNK, SEP]),
        ({}, "a\x00b\tc", {}, [CLS, UNK, C, SEP]),
        # Words.
        ({}, ["ax", "b"], {"is_split_into_words": True}, [CLS, A, X, B, SEP]),
        ({}, [["ax", "b"], ["c"]], {"is_split_into_words": True}, [[CLS, A, X, B, SEP], [CLS, C, SEP]]),
        ({}, [(["a"], ["b", "c"])], {"is_split_into_words": True}, [[CLS, A, SEP, B, C, SEP]]),
        ({}, [], {"is_split_into_words": True}, [CLS, SEP]),
        ({}, [[], ["a"]], {"is_split_into_words": True}, [[CLS, SEP], [CLS, A, SEP]]),
        # Padding.
        ({}, TWO, {"padding": True}, [[CLS, A, SEP, PAD, PAD], [CLS, A, B, C, SEP]]),
        ({}, TWO, {"padding": "longest"}, [[CLS, A, SEP, PAD, PAD], [CLS, A, B, C, SEP]]),
        ({}, TWO, {"padding": "do_not_pad"}, [[CLS, A, SEP], [CLS, A, B, C, SEP]]),
        (LEFT_PADDED, TWO, {"padding": True}, [[PAD, PAD, CLS, A, SEP], [CLS, A, B, C, SEP]]),
        ({}, "a", {"padding": "max_length", "max_length": 5}, [CLS, A, SEP, PAD, PAD]),
        (LEFT_PADDED, "a", {"padding": "max_length", "max_length": 4}, [PAD, CLS, A, SEP]),
        ({"model_max_length": 4}, "a", {"padding": "max_length"}, [CLS, A, SEP, PAD]),
        ({}, "a b c", {"padding": "max_length", "max_length": 4}, [CLS, A, B, C, SEP]),
        ({}, "a", {"padding": True, "pad_to_multiple_of": 4}, [CLS, A, SEP, PAD]),
        ({}, "a", {"padding": "max_length", "max_length": 4, "pad_to_multiple_of": 5}, [CLS, A, SEP, 0, 0]),
        ({"pad_token": "e"}, "a", {"padding": "max_length", "max_length": 4}, [CLS, A, SEP, E]),
        # Truncation.
        ({}, "a b c d", {"truncation": True, "max_length": 4}, [CLS, A, B, SEP]),
        ({}, "a b c d", {"truncation": True, "max_length": 2}, [CLS, SEP]),
        ({}, "a b c d", {"truncation": True, "max_length": 0, "add_special_tokens": False}, []),
        (LEFT_CUT, "a b c d", {"truncation": True, "max_length": 4}, [CLS, C, D, SEP]),
        ({}, "a b c d", {"truncation": "longest_first", "max_length": 4}, [CLS, A, B, SEP]),
        ({}, "a b c d", {"truncation": "only_first", "max_length": 4}, [CLS, A, B, SEP]),
        ({}, "a b", {"truncation": True}, [CLS, A, B, SEP]),
        ({"model_max_length": 3}, "a b", {"truncation": True}, [CLS, A, SEP]),
        ({"model_max_length": 3}, "a b", {"truncation": True, "max_length": 9}, [CLS, A, B, SEP]),
        ({"model_max_length": 3}, "a b", {}, [CLS, A, B, SEP]),
        *(
            ({}, "a b", {"truncation": off, "max_length": 3}, [CLS, A, B, SEP])
            for off in (False, "do_not_truncate")
        ),
        ({}, "a b", {"max_length": 3}, [CLS, A, SEP]),  # as in Transformers 4.53 and 5.23
        ({}, "a b", {"truncation": None, "max_length": 3, "padding": "do_not_pad"}, [CLS, A, SEP]),
        ({}, "a b", {"max_length": 3, "padding": True}, [CLS, A, B, SEP]),
        ({}, "a b", {"max_length": 3, "padding": "max_length"}, [CLS, A, B, SEP]),
        ({}, PAIR, {"truncation": True, "max_length": 6}, [[CLS, A, B, SEP, D, SEP]]),
        ({}, PAIR, {"truncation": "only_first", "max_length": 6}, [[CLS, A, SEP, D, E, SEP]]),
        ({}, PAIR, {"truncation": "only_second", "max_length": 7}, [[CLS, A, B, C, SEP, D, SEP]]),
        ({}, PAIR, {"truncation": True, "max_length": 3}, [[CLS, SEP, SEP]]),
        (LEFT_CUT, PAIR, {"truncation": "only_first", "max_length": 7}, [[CLS, B, C, SEP, D, E, SEP]]),
        (
            LEFT_PADDED | LEFT_CUT,
            TWO,
            {"truncation": True, "max_length": 4, "padding": "max_length"},
            [[PAD, CLS, A, SEP], [CLS, B, C, SEP]],
        ),
        # Other special tokens.
        ({"cls_token": "d", "sep_token": "e"}, [("a", "b")], {}, [[D, A, E, B, E]]),
        ({"unk_token": "c"}, "z", {}, [CLS, C, SEP]),
    ],
)  # fmt: skip
def test_ids(
    small: Make,
    options: dict[str, Any],
    texts: Any,
    call: dict[str, Any],
    ids: list[Any],
) -> None:
    tokenizer = small(**options)
    encoding = tokenizer(texts, **call)
    assert encoding["input_ids"] == ids
    pad = tokenizer.pad_token_id
    rows = ids if ids and isinstance(ids[0], list) else [ids]
    mask = [[int(index != pad) for index in row] for row in rows]
    assert encoding["attention_mask"] == (mask if rows is ids else mask[0])


def test_all_outputs(small: Make) -> None:
    asked = dict.fromkeys(("special_tokens_mask", "offsets_mapping", "length"), True)
    encoding = small()(["ax b", "c"], padding=True, **{f"return_{name}": value for name, value in asked.items()})
    assert dict(encoding) == {
        "input_ids": [[CLS, A, X, B, SEP], [CLS, C, SEP, PAD, PAD]],
        "attention_mask": [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]],
        "special_tokens_mask": [[1, 0, 0, 0, 1], [1, 0, 1, 1, 1]],
        "offset_mapping": [
            [(0, 0), (0, 1), (1, 2), (3, 4), (0, 0)],
            [(0, 0), (0, 1), (0, 0), (0, 0), (0, 0)],
        ],
        "length": [5, 5],
    }
    assert dict(small()("a", return_attention_mask=False)) == {"input_ids": [CLS, A, SEP]}


def test_offsets_begin_at_0_in_each_word(small: Make) -> None:
    encoding = small()(["ax", "by"], is_split_into_words=True, return_offsets_mapping=True)
    assert encoding["offset_mapping"] == [(0, 0), (0, 1), (1, 2), (0, 1), (1, 2), (0, 0)]
    assert encoding.word_ids() == [None, 0, 0, 1, 1, None]


def test_tokens_words_and_sequences(small: Make) -> None:
    encoding = small()([("ax b", "c"), ("d", "")], padding=True)
    assert encoding.tokens() == ["[CLS]", "a", "##x", "b", "[SEP]", "c", "[SEP]"]
    assert encoding.word_ids() == [None, 0, 0, 1, None, 0, None]
    assert encoding.sequence_ids() == [None, 0, 0, 0, None, 1, None]
    assert encoding.tokens(1)[:3] == ["[CLS]", "d", "[SEP]"]
    with pytest.raises(IndexError):
        encoding.tokens(2)


@pytest.mark.parametrize(("texts", "batch"), [(["ax b", "c"], 2), ("ax b", 1), ([("a", "b")], 1), ([], 0)])
def test_arrays(small: Make, texts: Any, batch: int) -> None:
    asked = {"return_special_tokens_mask": True, "return_offsets_mapping": True, "return_length": True}
    arrays = small()(texts, padding=True, return_tensors="np", **asked)
    lists = small()([texts] if isinstance(texts, str) else texts, padding=True, **asked)
    for name, array in arrays.items():
        assert array.dtype == np.int64
        assert len(array) == batch
        np.testing.assert_array_equal(array, np.array(lists[name], np.int64).reshape(array.shape))


@pytest.mark.parametrize(("kind", "backend"), [("pt", "pt"), ("tf", "tf"), ("jax", "flax"), ("flax", "flax")])
def test_tensors_are_made_by_the_backend(small: Make, monkeypatch: pytest.MonkeyPatch, kind: str, backend: str) -> None:
    class Stub:
        def __init__(self, name: str):
            self.name = name

        def to_tensor(self, array: np.ndarray) -> tuple[str, list]:
            assert array.dtype == np.int64
            return self.name, array.tolist()

    monkeypatch.setattr(columns, "get_backend", Stub)
    assert small()("a", return_tensors=kind)["input_ids"] == (backend, [[CLS, A, SEP]])


def test_an_encoding_is_a_dict_and_an_object(small: Make) -> None:
    encoding = small()("a b")
    assert encoding.input_ids is encoding["input_ids"]
    assert {**encoding} == dict(encoding) == {"input_ids": [CLS, A, B, SEP], "attention_mask": [1, 1, 1, 1]}
    with pytest.raises(AttributeError, match=r"has no 'labels'; it has \['input_ids', 'attention_mask'\]"):
        encoding.labels  # noqa: B018  the test is about the look-up
    same = pickle.loads(pickle.dumps(encoding))
    assert (type(same), dict(same), same.tokens()) == (BatchEncoding, dict(encoding), encoding.tokens())


def test_encode_and_tokenize(small: Make) -> None:
    tokenizer = small()
    assert tokenizer.encode("a", "b") == [CLS, A, SEP, B, SEP]
    assert tokenizer.encode("a b c", truncation=True, max_length=3) == [CLS, A, SEP]
    assert tokenizer.encode("a", return_tensors="np").tolist() == [[CLS, A, SEP]]
    assert tokenizer.tokenize("ax z") == ["a", "##x", "[UNK]"]
    assert tokenizer.tokenize("a", "b", add_special_tokens=True) == ["[CLS]", "a", "[SEP]", "b", "[SEP]"]


@pytest.mark.parametrize(
    ("texts", "call", "message"),
    [
        (None, {}, "^text must be a text, a pair or a list of them, got NoneType"),
        (5, {}, "^text must be a text, a pair or a list of them, got int"),
        ({"a": "b"}, {}, "^text must be a text, a pair or a list of them, got dict"),
        (["a", None], {}, r"^text\[1\] must be a text or a pair of them, got None"),
        (["a", 5], {}, r"^text\[1\] must be a text or a pair of them, got 5"),
        ([("a", "b", "c")], {}, r"^text\[0\] must be a text or a pair of them, got \('a', 'b', 'c'\)"),
        (b"abc", {}, r"^text must be a text, got bytes; decode them: text\.decode\('utf-8'\)\.$"),
        (["a", b"abc"], {}, r"^text\[1\] must be a text, got bytes; decode them: text\[1\]\.decode\('utf-8'\)\.$"),
        ("a", {"text_pair": ["b"]}, r"^text\[0\] must be a text or a pair of them"),
        (["a", "b"], {"text_pair": ["c"]}, "^text_pair must be like text"),
        (["a", "b"], {"text_pair": "cd"}, "^text_pair must be like text"),
        ("a b", {"is_split_into_words": True}, "^text must be a text, a pair or a list of them, got str"),
        ([["a"], "b"], {"is_split_into_words": True}, r"^text\[1\] must be a text split into words"),
        ("lone \ud800 surrogate", {}, "^A text holds lone surrogates, or truncation=False is impossible"),
        # Padding and truncation.
        ("a", {"padding": "right"}, "^padding must be one of longest, max_length, got 'right'"),
        ("a", {"padding": None}, "^padding must be one of longest, max_length, got None"),
        ("a", {"padding": "max_length"}, "^padding='max_length' needs max_length"),
        ("a", {"padding": True, "pad_to_multiple_of": -8}, "^pad_to_multiple_of must be a number .* got -8"),
        ("a", {"padding": True, "pad_to_multiple_of": 1.5}, "^pad_to_multiple_of must be a number of tokens"),
        ("a", {"padding": "max_length", "max_length": -1}, "^max_length must be a number of tokens, got -1"),
        ("a", {"truncation": "first"}, "^truncation must be one of longest_first, .* got 'first'"),
        ("a", {"truncation": ["only_first"]}, "^truncation must be one of longest_first"),
        *(
            ("a", {"truncation": True, "max_length": value}, f"^max_length must be a number .* got {value!r}")
            for value in (-1, 2.0, "9", True)
        ),
        ("a", {"truncation": True, "max_length": 1}, "^max_length must leave room for 2 .* got 1"),
        (PAIR, {"truncation": True, "max_length": 2}, "^max_length must leave room for 3 .* got 2"),
        ("a b c", {"truncation": True, "max_length": 4, "stride": 2}, "^stride must be smaller .*, 2 tokens, got 2"),
        ("a b c", {"truncation": True, "max_length": 4, "stride": -1}, "^stride must be a number of tokens, got -1"),
        ("a", {"padding": True, "padding_side": "up"}, "^padding_side must be one of right, left, got 'up'"),
        (PAIR, {"truncation": "only_first", "max_length": 4}, "truncation='only_first' is impossible"),
        ("a b c", {"truncation": "only_second", "max_length": 3}, "truncation='only_second' is impossible"),
        # Tensors.
        ("a", {"return_tensors": "torch"}, "^return_tensors must be one of np, .* got 'torch'"),
    ],
)  # fmt: skip
def test_impossible_calls(small: Make, texts: Any, call: dict[str, Any], message: str) -> None:
    tokenizer = small()
    with pytest.raises(InputError, match=message):
        tokenizer(texts, **call)
    assert tokenizer("a b")["input_ids"] == [CLS, A, B, SEP]


# -- ids to text, vocabulary ---------------------------------------------------------------------------------


def test_no_known_length(tokenizer_class: type[BaseTokenizer], small: Make) -> None:
    assert small().model_max_length == NO_MAX_LENGTH
    assert small(model_max_length=1e30).model_max_length == NO_MAX_LENGTH
    assert small(model_max_length=512).model_max_length == 512
    assert repr(small(model_max_length=512)).endswith("(vocab_size=14, model_max_length=512)")


# -- one call and the next -----------------------------------------------------------------------------------


def test_a_call_leaves_no_trace(small: Make) -> None:
    tokenizer = small()
    texts = ["a b c", "d"]
    expected = tokenizer(texts)
    tokenizer(texts, padding="max_length", max_length=9, truncation=True)
    assert tokenizer(texts) == expected
    assert tokenizer.tokenize("a b c") == ["a", "b", "c"]
    tokenizer(texts, truncation=True, max_length=3)
    assert tokenizer.encode("a b c") == expected["input_ids"][0]
    assert texts == ["a b c", "d"]


def test_pickled_tokenizers_work(small: Make) -> None:
    tokenizer = small(padding_side="left", model_max_length=4)
    again = pickle.loads(pickle.dumps(tokenizer))
    call = {"padding": True, "truncation": True, "return_tensors": "np"}
    np.testing.assert_array_equal(
        again(["a b c", "d"], **call)["input_ids"], tokenizer(["a b c", "d"], **call)["input_ids"]
    )


@pytest.mark.parametrize("shared", [True, False])
def test_two_threads(small: Make, shared: bool) -> None:
    texts = ["a b c d e", "a", "b c"] * 5
    first = small(padding_side="left")
    second = first if shared else small()
    work = [
        (first, {"padding": "max_length", "max_length": 11}),
        (second, {"truncation": True, "max_length": 3}),
    ]
    expected = [tokenizer(texts, **call) for tokenizer, call in work]
    wrong: list[Any] = []
    start = threading.Barrier(len(work))

    def run(index: int) -> None:
        tokenizer, call = work[index]
        start.wait()
        wrong.extend(got for _ in range(200) if (got := tokenizer(texts, **call)) != expected[index])

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(work))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# -- any text ------------------------------------------------------------------------------------------------


texts = st.text() | st.text(alphabet="aA eé.,'##[]MASK\u4f60\u0301\u200b\n\x00", max_size=40)
any_text = settings(deadline=None, max_examples=200)


@any_text
@given(text=texts, pair=st.none() | texts)
def test_any_text_gives_ids_of_the_vocabulary(base: BaseTokenizer, text: str, pair: str | None) -> None:
    encoding = base(text, pair, return_offsets_mapping=True, return_special_tokens_mask=True)
    ids = encoding["input_ids"]
    assert all(0 <= index < base.vocab_size for index in ids)
    assert (ids[0], ids[-1]) == (base.cls_token_id, base.sep_token_id)
    assert encoding["attention_mask"] == [1] * len(ids)
    assert all(len(values) == len(ids) for values in encoding.values())
    sources = {None: "", 0: text, 1: pair or ""}
    for (start, end), sequence in zip(encoding["offset_mapping"], encoding.sequence_ids(), strict=True):
        assert 0 <= start <= end <= len(sources[sequence])
    for skip in (False, True):
        assert isinstance(base.decode(ids, skip_special_tokens=skip), str)
    assert base.convert_tokens_to_ids(base.convert_ids_to_tokens(ids)) == ids


@any_text
@given(
    batch=st.lists(texts, min_size=1, max_size=5),
    side=st.sampled_from(["left", "right"]),
    truncation=st.booleans(),
    max_length=st.integers(2, 20),
    multiple=st.none() | st.integers(1, 9),
)
def test_any_batch_is_padded_to_one_length(
    base: BaseTokenizer,
    batch: list[str],
    side: str,
    truncation: bool,
    max_length: int,
    multiple: int | None,
) -> None:
    cut = {"truncation": truncation, "max_length": max_length}
    rows = base(batch, **cut)["input_ids"]
    base.padding_side = side
    try:
        padded = base(batch, padding=True, pad_to_multiple_of=multiple, return_tensors="np", **cut)
    finally:
        base.padding_side = "right"
    longest, step = max(map(len, rows)), multiple or 1
    width = -(-longest // step) * step
    assert padded["input_ids"].shape == padded["attention_mask"].shape == (len(batch), width)
    assert longest <= max_length or not truncation
    for row, ids, mask in zip(rows, padded["input_ids"], padded["attention_mask"], strict=True):
        real = slice(len(row)) if side == "right" else slice(width - len(row), None)
        assert ids[real].tolist() == row
        assert mask[real].all()
        assert mask.sum() == len(row)
        assert (ids[mask == 0] == base.pad_token_id).all()
