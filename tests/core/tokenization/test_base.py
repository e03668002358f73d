"""Both tokenizers: against Transformers 4.53.3, by the ids of a small vocabulary, and on any text."""

from __future__ import annotations

import hashlib
import inspect
import json
import pickle
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from distilbert_core import DEFAULT_MODEL, CheckpointError, DistilBertTokenizer, DistilBertTokenizerFast, InputError
from distilbert_core.errors import CheckpointWarning
from distilbert_core.files.hub import EMBEDDED_MODELS
from distilbert_core.tokenization import NO_MAX_LENGTH, BaseTokenizer, BatchEncoding, columns, read_vocabulary
from support.paths import FIXTURES

VOCAB = EMBEDDED_MODELS / DEFAULT_MODEL / "vocab.txt"  # that of bert-base-uncased
VOCAB_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"

ORACLE: list[dict[str, Any]] = json.loads((FIXTURES / "oracle" / "tokenizer.json").read_text())
CALLS = [entry for entry in ORACLE if "call" in entry]
DECODES = [entry for entry in ORACLE if "decode" in entry]
METHODS = [entry for entry in ORACLE if "methods" in entry]
PLACES = next(entry for entry in ORACLE if "places" in entry)

KEYWORDS_OF_TRANSFORMERS = {
    "text",
    "text_pair",
    "text_target",
    "text_pair_target",
    "add_special_tokens",
    "padding",
    "truncation",
    "max_length",
    "stride",
    "is_split_into_words",
    "pad_to_multiple_of",
    "padding_side",
    "return_tensors",
    "return_token_type_ids",
    "return_attention_mask",
    "return_overflowing_tokens",
    "return_special_tokens_mask",
    "return_offsets_mapping",
    "return_length",
    "verbose",
    "split_special_tokens",
}

SMALL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d", "e", "##x", "##y", "é", "A")
PAD, UNK, CLS, SEP, MASK, A, B, C, D, E, X, Y = range(12)


Make = Callable[..., BaseTokenizer]


def write_vocabulary(folder: Path, tokens: tuple[str, ...] = SMALL) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
    return folder


def change_json(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def write_json(folder: Path, name: str, data: Any) -> None:
    (folder / name).write_text(json.dumps(data))


def plain(encoding: BatchEncoding) -> dict[str, Any]:
    """An encoding as JSON gives it back, offsets as lists."""
    return json.loads(json.dumps(dict(encoding)))


@pytest.fixture(scope="module", params=[DistilBertTokenizerFast, DistilBertTokenizer], ids=["fast", "slow"])
def tokenizer_class(request: pytest.FixtureRequest) -> type[BaseTokenizer]:
    return request.param


@pytest.fixture
def small(tokenizer_class: type[BaseTokenizer], tmp_path: Path) -> Make:
    """Makes tokenizers of the small vocabulary."""
    folder = write_vocabulary(tmp_path / "small")
    return lambda **options: tokenizer_class(folder / "vocab.txt", **options)


@pytest.fixture(scope="module")
def base(tokenizer_class: type[BaseTokenizer]) -> BaseTokenizer:
    return tokenizer_class(VOCAB)


# -- Transformers 4.53.3 -----------------------------------------------------------------------------------


def test_the_vocabulary_is_that_of_the_oracle() -> None:
    assert hashlib.sha256(VOCAB.read_bytes()).hexdigest() == VOCAB_SHA256
    assert (len(CALLS), len(DECODES), len(METHODS), len(PLACES["places"])) == (34, 2, 4, 90)


def from_vocab(cls: type[BaseTokenizer], folder: Path, options: dict[str, Any]) -> BaseTokenizer:
    (folder / "vocab.txt").write_bytes(VOCAB.read_bytes())
    return cls.from_pretrained(folder, **options)


def from_tokenizer_file(cls: type[BaseTokenizer], folder: Path, options: dict[str, Any]) -> BaseTokenizer:
    (folder / "tokenizer.json").write_bytes(cls(VOCAB).files()["tokenizer.json"])
    return cls.from_pretrained(folder, **options)


def from_both(cls: type[BaseTokenizer], folder: Path, options: dict[str, Any]) -> BaseTokenizer:
    write_vocabulary(folder)  # another vocabulary, so that it is seen if it is read
    return from_tokenizer_file(cls, folder, options)


def from_saved(cls: type[BaseTokenizer], folder: Path, options: dict[str, Any]) -> BaseTokenizer:
    cls(VOCAB, **options).save_pretrained(folder)
    return cls.from_pretrained(folder)


def from_saved_vocab(cls: type[BaseTokenizer], folder: Path, options: dict[str, Any]) -> BaseTokenizer:
    cls(VOCAB, **options).save_pretrained(folder)
    (folder / "tokenizer.json").unlink()
    return cls.from_pretrained(folder)


SOURCES = (from_vocab, from_tokenizer_file, from_both, from_saved, from_saved_vocab)


@pytest.fixture(scope="module", params=SOURCES, ids=lambda source: source.__name__)
def load(tokenizer_class: type[BaseTokenizer], request: pytest.FixtureRequest, tmp_path_factory: Any) -> Make:
    """Makes tokenizers of the full vocabulary from one kind of files, each once."""
    made: dict[str, BaseTokenizer] = {}

    def make(options: dict[str, Any]) -> BaseTokenizer:
        key = json.dumps(options)
        if key not in made:
            made[key] = request.param(tokenizer_class, tmp_path_factory.mktemp("tokenizer"), options)
        return made[key]

    return make


@pytest.mark.parametrize("entry", CALLS, ids=lambda entry: f"{entry['tokenizer']}-{entry['call']}")
def test_calls_of_transformers(entry: dict[str, Any], load: Make) -> None:
    tokenizer, call = load(entry["tokenizer"]), entry["call"]
    texts, pairs, expected = entry["text"], entry["text_pair"], entry["expected"]
    encoding = tokenizer(texts, pairs, **call)
    assert list(encoding) == list(expected)
    assert plain(encoding) == expected
    if pairs is not None:
        assert plain(tokenizer(list(zip(texts, pairs, strict=True)), **call)) == expected
    if call.get("padding") is not True and "return_overflowing_tokens" not in call:  # each text for itself
        for row, text in enumerate(texts):
            single = plain(tokenizer(text, pairs and pairs[row], **call))
            assert single == {name: rows[row] for name, rows in expected.items()}


@pytest.mark.parametrize("entry", DECODES, ids=lambda entry: str(entry["decode"]))
def test_decoding_of_transformers(entry: dict[str, Any], load: Make) -> None:
    tokenizer, ids = load(entry["tokenizer"]), entry["ids"]
    assert tokenizer.batch_decode(ids, **entry["decode"]) == entry["expected"]
    assert [tokenizer.decode(np.array(row, np.int64), **entry["decode"]) for row in ids] == entry["expected"]


@pytest.mark.parametrize("entry", METHODS, ids=lambda entry: entry["methods"][0][0])
def test_methods_of_transformers(entry: dict[str, Any], load: Make) -> None:
    tokenizer = pickle.loads(pickle.dumps(load({})))  # to be changed
    for (name, arguments, options), expected in zip(entry["methods"], entry["expected"], strict=True):
        found = getattr(tokenizer, name)
        result = found(*arguments, **options) if callable(found) else found
        assert (name, arguments, options, json.loads(json.dumps(result))) == (name, arguments, options, expected)


def test_places_of_transformers(base: BaseTokenizer) -> None:
    encoding = base(*PLACES["pair"])
    for (method, arguments), expected in zip(PLACES["places"], PLACES["expected"], strict=True):
        result = getattr(encoding, method)(*arguments)
        assert (method, arguments, list(result) if isinstance(result, tuple) else result) == (
            method,
            arguments,
            expected,
        )


def test_all_keywords_of_transformers_are_accounted_for(
    tokenizer_class: type[BaseTokenizer],
    small: Make,
) -> None:
    here = set(inspect.signature(BaseTokenizer.__call__).parameters) - {"self"}
    assert here == KEYWORDS_OF_TRANSFORMERS
    with pytest.raises(TypeError, match="unexpected keyword argument 'truncate'"):
        small()("a", truncate=True)


# -- calls, by literal ids ---------------------------------------------------------------------------------

LEFT_PADDED = {"padding_side": "left"}
LEFT_CUT = {"truncation_side": "left"}
TWO = ["a", "a b c"]
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


def test_offsets_of_words_begin_anew_in_each(small: Make) -> None:
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

    monkeypatch.setattr(columns, "load_backend", Stub)
    assert small()("a", return_tensors=kind)["input_ids"] == (backend, [[CLS, A, SEP]])


def test_an_encoding_is_a_dict_and_an_object(small: Make) -> None:
    encoding = small()("a b")
    assert encoding.input_ids is encoding["input_ids"]
    assert {**encoding} == dict(encoding) == {"input_ids": [CLS, A, B, SEP], "attention_mask": [1, 1, 1, 1]}
    with pytest.raises(AttributeError, match=r"has no 'labels'; it has \['input_ids', 'attention_mask'\]"):
        encoding.labels  # noqa: B018  the look-up is what is tested
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


# -- ids to text, vocabulary -------------------------------------------------------------------------------


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
def test_negative_ids_are_no_tokens(small: Make, ids: Any) -> None:
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
def test_what_is_not_an_id(small: Make, ids: Any, message: str) -> None:
    tokenizer = small()
    with pytest.raises(InputError, match="^token_ids " + re.escape(message)):
        tokenizer.decode(ids)
    with pytest.raises(InputError, match="^ids " + re.escape(message)):
        tokenizer.convert_ids_to_tokens(ids)


def test_ids_without_a_token(small: Make) -> None:
    assert small().convert_ids_to_tokens([A, 99, 2**40]) == ["a", None, None]
    with pytest.raises(InputError, match=r"^ids must be an id or have shape \[tokens\], got \(1, 2\)\.$"):
        small().convert_ids_to_tokens([[A, B]])


def test_what_is_not_a_token(small: Make) -> None:
    for method in (small().convert_tokens_to_ids, small().convert_tokens_to_string):
        with pytest.raises(InputError, match=r"^tokens must be texts, got 3\.$"):
            method(["a", 3])


def test_spaces_are_cleaned_up_unless_asked_not_to(base: BaseTokenizer) -> None:
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


def test_vocabulary(small: Make) -> None:
    tokenizer = small()
    assert tokenizer.vocab_size == len(tokenizer) == len(SMALL)
    assert tokenizer.get_vocab() == {token: index for index, token in enumerate(SMALL)}
    assert tokenizer.convert_tokens_to_ids("##x") == X
    assert tokenizer.convert_tokens_to_ids(["a", "nothing", "[SEP]"]) == [A, UNK, SEP]
    assert tokenizer.convert_ids_to_tokens(X) == tokenizer.convert_ids_to_tokens(np.int64(X)) == "##x"
    assert tokenizer.convert_ids_to_tokens([CLS, A, SEP]) == ["[CLS]", "a", "[SEP]"]
    assert tokenizer.convert_ids_to_tokens(np.array([CLS, A, PAD]), skip_special_tokens=True) == ["a"]


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


def test_no_known_length(tokenizer_class: type[BaseTokenizer], small: Make) -> None:
    assert small().model_max_length == NO_MAX_LENGTH
    assert small(model_max_length=1e30).model_max_length == NO_MAX_LENGTH
    assert small(model_max_length=512).model_max_length == 512
    assert repr(small(model_max_length=512)).endswith("(vocab_size=14, model_max_length=512)")


# -- added tokens ------------------------------------------------------------------------------------------


def test_added_tokens_get_the_next_ids(small: Make) -> None:
    tokenizer = small()
    assert tokenizer.add_tokens(["new", "a", "Éx"]) == 2
    assert (len(tokenizer), tokenizer.vocab_size) == (16, 14)
    assert tokenizer.encode("newa NEW exa", add_special_tokens=False) == [14, A, 14, 15, A]
    assert tokenizer.add_tokens("new") == 0
    assert tokenizer.add_tokens(AddedToken("whole", single_word=True, normalized=False)) == 1
    assert tokenizer.encode("whole wholes WHOLE", add_special_tokens=False) == [16, UNK, UNK]


def test_special_tokens_are_found_as_they_are_written(small: Make) -> None:
    tokenizer = small()
    assert tokenizer.add_special_tokens({"additional_special_tokens": ["<E>"], "mask_token": "<m>"}) == 2
    assert (tokenizer.additional_special_tokens, tokenizer.mask_token, tokenizer.mask_token_id) == (["<E>"], "<m>", 15)
    ids = tokenizer.encode("a<E>b<m><e>")
    assert ids == [CLS, A, 14, B, 15, UNK, E, UNK, SEP]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a b e"
    assert tokenizer.special_tokens_map["additional_special_tokens"] == ["<E>"]


def test_the_token_of_the_caller_stays_as_it_is(small: Make) -> None:
    token = AddedToken("<E>")
    tokenizer = small()
    assert tokenizer.add_tokens([token], special_tokens=True) == 1
    assert (token.special, tokenizer.added_tokens_decoder[14].special) == (False, True)


def test_another_cls_token_stands_in_front(small: Make) -> None:
    tokenizer = small()
    tokenizer.add_special_tokens({"cls_token": "<s>", "sep_token": "b"})
    assert tokenizer.encode("a", "c") == tokenizer.build_inputs_with_special_tokens([A], [C]) == [14, A, B, C, B]


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ({"start_token": "<s>"}, "^special_tokens_dict must be one of bos_token, .* got 'start_token'"),
        ({"cls_token": ["<s>"]}, r"^cls_token must be a token, got \['<s>'\]"),
        ({"additional_special_tokens": "<s>"}, "^additional_special_tokens must be a list of tokens, got '<s>'"),
        ({"additional_special_tokens": [3]}, "^A token must be a text or an AddedToken, got 3"),
        ({"additional_special_tokens": ["<s>", ""]}, "^A token must not be empty"),
        (
            {"additional_special_tokens": None},
            "^additional_special_tokens must be a token, or a list of them, got None",
        ),
        ({"pad_token": ""}, "^A token must not be empty"),
        ({"pad_token": None}, "^pad_token must be a token, or a list of them, got None"),
    ],
)
def test_impossible_special_tokens(small: Make, tokens: dict[str, Any], message: str) -> None:
    tokenizer = small()
    with pytest.raises(InputError, match=message):
        tokenizer.add_special_tokens(tokens)
    assert len(tokenizer) == len(SMALL)


EMPTY = r"^A token must not be empty: it would take an id and be found in no text\.$"


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ("", EMPTY),
        (["new", ""], EMPTY),
        ([AddedToken("")], EMPTY),
        ([None], r"^A token must be a text or an AddedToken, got None\.$"),
        (
            [AddedToken("\u200b")],
            r"^The token '\\u200b' is empty when it is normalised, so no text has it; an ",
        ),
        ("\x00", r"^The token '\\x00' is empty when it is normalised, so no text has it; an AddedToken with "),
        ([AddedToken(" ", lstrip=True)], r"^The token ' ' is white space, so lstrip and rstrip must be False\.$"),
        ([AddedToken("\t", rstrip=True, normalized=False)], r"^The token '\\t' is white space, so lstrip and rstrip"),
    ],
    ids=str,
)
def test_impossible_tokens(small: Make, tokens: Any, message: str) -> None:
    tokenizer = small()
    with pytest.raises(InputError, match=message):
        tokenizer.add_tokens(tokens)
    assert len(tokenizer) == len(SMALL)


def test_white_space_can_be_a_token(small: Make) -> None:
    tokenizer = small()
    assert tokenizer.add_tokens([" ", AddedToken("\u200b", normalized=False)]) == 2
    assert tokenizer.encode("a b\u200bc", add_special_tokens=False) == [A, 14, B, 15, C]


def test_of_tokens_that_are_alike_the_first_is_normalised(small: Make, tmp_path: Path) -> None:
    tokenizer = small()
    with pytest.warns(UserWarning, match=r"'New' and 'NEW' are equal when .*, so 'NEW' is only matched in the "):
        assert tokenizer.add_tokens(["New", "NEW", "New"]) == 2
    ids = [14, 14, 15, 14]
    assert tokenizer.encode("new New NEW nEw", add_special_tokens=False) == ids
    tokenizer.save_pretrained(tmp_path)
    assert type(tokenizer).from_pretrained(tmp_path).encode("new New NEW nEw", add_special_tokens=False) == ids
    change_json(tmp_path / "tokenizer.json", lambda content: [
        entry.update(normalized=True) for entry in content["added_tokens"] if not entry["special"]])  # fmt: skip
    with pytest.warns(UserWarning, match="'New' and 'NEW' are equal"):
        loaded = type(tokenizer)(tokenizer_file=tmp_path / "tokenizer.json")
    assert loaded.encode("new New NEW nEw", add_special_tokens=False) == ids


def test_ids_with_gaps_have_no_room(tokenizer_class: type[BaseTokenizer], tmp_path: Path) -> None:
    tokenizer = tokenizer_class(write_vocabulary(tmp_path, ("c", *SMALL)) / "vocab.txt")
    assert tokenizer.add_tokens(["a", "c"]) == 0
    for add in (
        tokenizer.add_tokens,
        lambda tokens: tokenizer.add_special_tokens({"additional_special_tokens": tokens}),
    ):
        with pytest.raises(
            InputError, match=r"^new cannot be added: the vocabulary's ids have gaps \(vocab.txt repeats"
        ):
            add(["a", "new"])
    assert tokenizer.convert_ids_to_tokens(14) == "A"


# -- special tokens as attributes --------------------------------------------------------------------------


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


def test_words_that_are_unknown_become_the_unk_token(small: Make, tmp_path: Path) -> None:
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
def test_what_a_special_token_cannot_be(small: Make, name: str, value: Any, message: str) -> None:
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


# -- added tokens in files ---------------------------------------------------------------------------------


def with_added_tokens(tokenizer: BaseTokenizer) -> BaseTokenizer:
    tokenizer.add_tokens(["new", AddedToken("xx", single_word=True), AddedToken("É", normalized=False, rstrip=True)])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<e>", "d"]})
    return tokenizer


@pytest.mark.parametrize("left_out", [(), ("tokenizer.json",), ("vocab.txt", "added_tokens.json"),
                                      ("tokenizer.json", "added_tokens.json")], ids=str)  # fmt: skip
@pytest.mark.parametrize("reader", [DistilBertTokenizerFast, DistilBertTokenizer], ids=["fast", "slow"])
def test_added_tokens_are_saved_and_loaded(
    small: Make, reader: type[BaseTokenizer], left_out: tuple[str, ...], tmp_path: Path
) -> None:
    tokenizer = with_added_tokens(small())
    paths = tokenizer.save_pretrained(tmp_path / "saved")
    for name in left_out:
        (tmp_path / "saved" / name).unlink()
    assert {Path(path).name for path in paths} - set(left_out) == {path.name for path in (tmp_path / "saved").iterdir()}
    same = reader.from_pretrained(tmp_path / "saved")
    text = "newa xx É a<e>d xxx"
    assert same.encode(text) == tokenizer.encode(text) == [CLS, 14, A, 15, 16, A, 17, D, UNK, SEP]
    assert same.get_added_vocab() == tokenizer.get_added_vocab()
    assert same.all_special_tokens == tokenizer.all_special_tokens
    assert same.decode(same.encode(text), skip_special_tokens=True) == "new a xx É a"


def test_added_tokens_json_alone(tokenizer_class: type[BaseTokenizer], tmp_path: Path) -> None:
    folder = write_vocabulary(tmp_path)
    write_json(folder, "added_tokens.json", {"later": 15, "new": 14})
    tokenizer = tokenizer_class.from_pretrained(folder)
    assert tokenizer.encode("new Later a") == [CLS, 14, 15, A, SEP]
    write_json(folder, "added_tokens.json", {"new": 20})
    with pytest.raises(CheckpointError, match=r"added token 'new' must have the id 20, .* would get 14"):
        tokenizer_class.from_pretrained(folder)


def test_files_that_disagree_about_an_added_token(tokenizer_class: type[BaseTokenizer], tmp_path: Path) -> None:
    folder = write_vocabulary(tmp_path)
    write_json(folder, "added_tokens.json", {"new": 14})
    write_json(folder, "tokenizer_config.json", {"added_tokens_decoder": {"14": {"content": "old"}}})
    message = r"the added token of id 14 is 'old' in tokenizer_config\.json, but 'new' in added_tokens\.json\.$"
    with pytest.raises(CheckpointError, match=message):
        tokenizer_class.from_pretrained(folder)


@pytest.mark.parametrize("left_out", [(), ("tokenizer.json",), ("tokenizer_config.json",)], ids=str)
def test_how_a_stored_special_token_is_matched(small: Make, left_out: tuple[str, ...], tmp_path: Path) -> None:
    tokenizer = small(mask_token=AddedToken("[MASK]", lstrip=True))
    expected = [(0, 0), (0, 1), (1, 8), (9, 10), (0, 0)]
    tokenizer.save_pretrained(tmp_path)
    for name in left_out:
        (tmp_path / name).unlink()
    same = type(tokenizer).from_pretrained(tmp_path)
    for one in (tokenizer, same):
        assert one("a [MASK] a", return_offsets_mapping=True)["offset_mapping"] == expected
    same.mask_token = "[MASK]"
    assert same("a [MASK] a", return_offsets_mapping=True)["offset_mapping"] == expected


def test_a_special_token_stored_as_an_object(tokenizer_class: type[BaseTokenizer], tmp_path: Path) -> None:
    folder = write_vocabulary(tmp_path)
    write_json(folder, "special_tokens_map.json", {"mask_token": as_object("[MASK]") | {"lstrip": True}})
    tokenizer = tokenizer_class.from_pretrained(folder)
    assert tokenizer("a [MASK]", return_offsets_mapping=True)["offset_mapping"][2] == (1, 8)
    described = {"4": as_object("[MASK]") | {"special": True, "rstrip": True}}
    write_json(folder, "tokenizer_config.json", {"added_tokens_decoder": described})
    tokenizer = tokenizer_class.from_pretrained(folder)
    assert tokenizer("a [MASK] ", return_offsets_mapping=True)["offset_mapping"][2] == (2, 9)


@pytest.mark.parametrize("extra", [["<e>", "d"], {"image_token": "<e>", "other_token": "d"}])
def test_further_special_tokens_of_transformers_5(
    tokenizer_class: type[BaseTokenizer], extra: Any, tmp_path: Path
) -> None:
    folder = write_vocabulary(tmp_path)
    write_json(folder, "tokenizer_config.json", {"extra_special_tokens": extra})
    tokenizer = tokenizer_class.from_pretrained(folder)
    assert tokenizer.additional_special_tokens == ["<e>", "d"]
    assert tokenizer.encode("a<e>d") == [CLS, A, 14, D, SEP]


NOT_TOGETHER = "^The vocabulary and the added tokens do not fit together: the added token "


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"id": 20, "content": "new"},
            NOT_TOGETHER + "'new' must have the id 20, but it would get 14",
        ),
        (
            {"id": 3, "content": "new"},
            NOT_TOGETHER + "'new' must have the id 3, but it would get 14",
        ),
        (
            {"id": 14, "content": "a"},
            NOT_TOGETHER + "'a' must have the id 14, but it would get 5",
        ),
        ({"id": 14, "content": ""}, "^The token '' is empty when it is normalised"),
        ({"id": 14, "content": "\u200b"}, r"^The token '\\u200b' is empty when it is normalised"),
    ],
    ids=str,
)
def test_added_tokens_of_a_file_that_cannot_be(
    tokenizer_class: type[BaseTokenizer], change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    DistilBertTokenizerFast(write_vocabulary(tmp_path) / "vocab.txt").save_pretrained(tmp_path)
    token = as_object("") | {"special": False, "normalized": True} | change
    file = change_json(tmp_path / "tokenizer.json", lambda content: content["added_tokens"].append(token))
    with pytest.raises(CheckpointError, match=message):
        tokenizer_class(tokenizer_file=file)


def test_an_unk_token_that_only_was_added(tokenizer_class: type[BaseTokenizer], tmp_path: Path) -> None:
    folder = write_vocabulary(tmp_path)
    write_json(folder, "tokenizer_config.json", {"unk_token": "<u>", "added_tokens_decoder": {"14": as_object("<u>")}})
    with pytest.raises(CheckpointError, match=r"^unk_token must be in the vocabulary, not only among .* got '<u>'\.$"):
        tokenizer_class.from_pretrained(folder)


def test_many_added_tokens_are_read_in_little_time(tokenizer_class: type[BaseTokenizer], tmp_path: Path) -> None:
    """Looking at all those before for each took minutes."""
    folder = write_vocabulary(tmp_path)
    tokens = {f"new{index}": len(SMALL) + index for index in range(3000)}
    write_json(folder, "added_tokens.json", tokens)
    start = time.perf_counter()
    tokenizer = tokenizer_class.from_pretrained(folder)
    assert time.perf_counter() - start < 5  # 0.2 s
    assert len(tokenizer) == len(SMALL) + 3000


def test_special_tokens_beyond_the_vocabulary(
    tokenizer_class: type[BaseTokenizer], small: Make, tmp_path: Path
) -> None:
    tokenizer = small(additional_special_tokens=["<e>"])
    tokenizer.add_special_tokens({"mask_token": "<m>"})
    tokenizer.save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "tokenizer.json").unlink()
    same = tokenizer_class.from_pretrained(tmp_path / "saved")
    assert (same.mask_token, same.mask_token_id, same.additional_special_tokens) == ("<m>", 15, ["<e>"])
    assert same.encode("a<m><e>") == tokenizer.encode("a<m><e>") == [CLS, A, 15, 14, SEP]


# -- other ways to split -----------------------------------------------------------------------------------


def test_tokens_never_split(small: Make, tokenizer_class: type[BaseTokenizer], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^never_split must be a list of tokens, got 'ab'\.$"):
        small(never_split="ab")
    if tokenizer_class.is_fast:
        with pytest.raises(InputError, match="never_split is for DistilBertTokenizer"):
            small(never_split=["##x"])
        file = tmp_path / "tokenizer.json"
        file.write_bytes(small().to_json())
        with pytest.raises(InputError, match="never_split is for DistilBertTokenizer"):
            tokenizer_class(tokenizer_file=file, never_split=["##x"])
        return
    tokenizer = small(never_split=["##x", "A", "@@"])
    assert tokenizer.encode("##x a##x A a @@", add_special_tokens=False) == [X, A, UNK, UNK, UNK, 13, A, UNK]
    assert tokenizer.encode("##xA", add_special_tokens=False) == [UNK, UNK, UNK]


def test_no_basic_tokenization(small: Make) -> None:
    tokenizer = small(do_basic_tokenize=False)
    assert tokenizer.encode("A ax, é  a", add_special_tokens=False) == [13, UNK, 12, A]


def test_another_prefix(tokenizer_class: type[BaseTokenizer], tmp_path: Path) -> None:
    folder = write_vocabulary(tmp_path, ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "@x"))
    tokenizer = tokenizer_class(folder / "vocab.txt", wordpieces_prefix="@")
    assert tokenizer.encode("ax", add_special_tokens=False) == [5, 6]
    assert tokenizer.decode([5, 6, 5]) == "ax a"
    tokenizer.save_pretrained(folder)
    assert tokenizer_class.from_pretrained(folder).encode("ax", add_special_tokens=False) == [5, 6]
    (folder / "tokenizer.json").unlink()
    assert tokenizer_class.from_pretrained(folder).encode("ax", add_special_tokens=False) == [5, 6]


@pytest.mark.parametrize(
    ("saved", "options", "message"),
    [
        ({}, {"do_basic_tokenize": False}, "do_basic_tokenize must be True, as in tokenizer_file, or be left out"),
        ({"do_basic_tokenize": False}, {"do_basic_tokenize": True}, "do_basic_tokenize must be False, as in "),
        ({}, {"wordpieces_prefix": "@"}, "wordpieces_prefix must be '##', as in tokenizer_file, or be left out"),
    ],
)  # fmt: skip
def test_what_the_file_says_cannot_be_changed(
    small: Make, saved: dict[str, Any], options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    tokenizer = small(**saved)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError, match=f"^{message}"):
        type(tokenizer).from_pretrained(tmp_path, **options)
    same = {"do_basic_tokenize": saved.get("do_basic_tokenize", True), "wordpieces_prefix": "##"}
    assert type(tokenizer).from_pretrained(tmp_path, **same).encode("A,") == tokenizer.encode("A,")


def test_a_stored_option_that_the_file_contradicts(small: Make, tmp_path: Path) -> None:
    tokenizer = small()
    tokenizer.save_pretrained(tmp_path)
    change_json(tmp_path / "tokenizer_config.json", lambda content: content.update(do_basic_tokenize=False))
    assert type(tokenizer).from_pretrained(tmp_path).encode("A,a") == [CLS, A, UNK, A, SEP]


def test_options_without_a_normaliser(small: Make) -> None:
    message = (
        r"^Options without effect: clean_text, do_lower_case; this tokenizer does not normalise texts as BERT's does\.$"
    )
    with pytest.warns(CheckpointWarning, match=message):
        tokenizer = small(do_basic_tokenize=False, do_lower_case=True, clean_text=True, strip_accents=False)
    assert tokenizer.encode("A") == [CLS, 13, SEP]


def test_options_for_another_normaliser(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_bytes(DistilBertTokenizerFast(write_vocabulary(tmp_path) / "vocab.txt").to_json())
    change_json(file, lambda content: content.update(normalizer={"type": "Lowercase"}))
    with pytest.warns(CheckpointWarning, match=r"^Options without effect: do_lower_case; "):
        assert DistilBertTokenizerFast(tokenizer_file=file, do_lower_case=False).encode("A") == [CLS, A, SEP]


def test_how_long_a_word_may_be(small: Make, tmp_path: Path) -> None:
    tokenizer = small()
    tokenizer.save_pretrained(tmp_path)
    file = change_json(tmp_path / "tokenizer.json", lambda content: content["model"].update(max_input_chars_per_word=2))
    other = type(tokenizer)(tokenizer_file=file)
    assert (tokenizer.encode("ax axy"), other.encode("ax axy")) == ([CLS, A, X, A, X, Y, SEP], [CLS, A, X, UNK, SEP])
    assert json.loads(other.to_json())["model"]["max_input_chars_per_word"] == 2


# -- padding of what was tokenized before ------------------------------------------------------------------


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


# -- files -------------------------------------------------------------------------------------------------

TEXT = "A É ax 你\x00 [MASK]"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"do_lower_case": False},
        {"strip_accents": False},
        {"strip_accents": True, "do_lower_case": False},
        {"tokenize_chinese_chars": False},
        {"clean_text": False},
        {"model_max_length": 4},
        {"padding_side": "left", "truncation_side": "left"},
        {"cls_token": "a", "sep_token": "b", "pad_token": "c", "mask_token": "d", "unk_token": "e"},
    ],
    ids=str,
)
def test_saved_and_loaded(
    tokenizer_class: type[BaseTokenizer], small: Make, options: dict[str, Any], tmp_path: Path
) -> None:
    tokenizer = small(**options)
    files = tokenizer.files()
    call = {"truncation": True, "max_length": 6, "padding": "max_length"}
    expected = tokenizer(TEXT, **call)
    assert tokenizer.files() == files  # what a call asked for is not stored
    tokenizer.save_pretrained(tmp_path / "new" / "folder")
    folder = tmp_path / "new" / "folder"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    same = tokenizer_class.from_pretrained(folder)
    assert same.files() == files
    assert same(TEXT, **call) == expected
    assert same(TEXT)["input_ids"] == tokenizer(TEXT)["input_ids"]
    for name, value in options.items():
        assert getattr(same, name, value) == value
    assert pickle.loads(pickle.dumps(tokenizer))(TEXT, **call) == expected


def test_the_vocabulary_alone_is_saved(small: Make, tmp_path: Path) -> None:
    tokenizer = small()
    tokenizer.add_tokens("new")
    assert tokenizer.save_vocabulary(tmp_path / "v", "my") == (str(tmp_path / "v" / "my-vocab.txt"),)
    assert read_vocabulary(tmp_path / "v" / "my-vocab.txt") == {token: index for index, token in enumerate(SMALL)}


def test_both_write_the_same_files(tmp_path: Path) -> None:
    vocab = write_vocabulary(tmp_path) / "vocab.txt"
    options = {"do_lower_case": False, "model_max_length": 9}
    fast, slow = (
        with_added_tokens(cls(vocab, **options)).files() for cls in (DistilBertTokenizerFast, DistilBertTokenizer)
    )
    stored = [json.loads(content.pop("tokenizer.json")) for content in (fast, slow)]
    assert stored[0] == stored[1]
    assert fast == slow


def test_a_tokenizer_of_another_kind_is_not_for_the_slow_one(tmp_path: Path) -> None:
    content = json.loads(DistilBertTokenizerFast(write_vocabulary(tmp_path) / "vocab.txt").to_json())
    content["normalizer"] = {"type": "Lowercase"}
    write_json(tmp_path, "tokenizer.json", content)
    assert DistilBertTokenizerFast.from_pretrained(tmp_path).encode("A É") == [CLS, A, 12, SEP]
    with pytest.raises(CheckpointError, match=r"is not of BERT's kind: .*'Lowercase'.*DistilBertTokenizerFast can"):
        DistilBertTokenizer.from_pretrained(tmp_path)
    write_json(tmp_path, "tokenizer.json", content | {"normalizer": None, "decoder": None})
    with pytest.raises(CheckpointError, match=r"is not of BERT's kind: .*'BertPreTokenizer', None\);"):
        DistilBertTokenizer.from_pretrained(tmp_path)


def test_another_decoder_is_not_for_the_slow_one(tmp_path: Path) -> None:
    DistilBertTokenizerFast(write_vocabulary(tmp_path) / "vocab.txt").save_pretrained(tmp_path)
    file = change_json(tmp_path / "tokenizer.json", lambda content: content["decoder"].update(prefix="@"))
    assert DistilBertTokenizerFast(tokenizer_file=file).decode([A, X]) == "a ##x"
    message = (
        r"is not of BERT's kind: the prefix of its decoder must be that of its model, '##', got '@'; DistilBertToken"
    )
    with pytest.raises(CheckpointError, match=message):
        DistilBertTokenizer(tokenizer_file=file)


def test_written_files(small: Make) -> None:
    files = small(model_max_length=512).files()
    assert files["vocab.txt"].decode() == "".join(f"{token}\n" for token in SMALL)
    special = {
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    }
    assert json.loads(files["special_tokens_map.json"]) == special
    assert json.loads(files["tokenizer_config.json"]) == {
        **special,
        "tokenizer_class": "DistilBertTokenizer",
        "model_max_length": 512,
        "padding_side": "right",
        "truncation_side": "right",
        "do_lower_case": True,
        "strip_accents": None,
        "tokenize_chinese_chars": True,
        "clean_text": True,
        "clean_up_tokenization_spaces": True,
        "added_tokens_decoder": {
            str(SMALL.index(token)): as_object(token) | {"special": True} for token in special.values()
        },
    }
    stored = json.loads(files["tokenizer.json"])
    assert (stored["truncation"], stored["padding"]) == (None, None)
    assert stored["model"]["vocab"] == {token: index for index, token in enumerate(SMALL)}


def test_options_of_the_caller_come_before_stored_ones(tokenizer_class: type[BaseTokenizer], tmp_path: Path) -> None:
    folder = write_vocabulary(tmp_path)
    write_json(folder, "tokenizer_config.json", {"do_lower_case": False, "model_max_length": 4})
    assert tokenizer_class.from_pretrained(folder)("A")["input_ids"] == [CLS, 13, SEP]
    tokenizer = tokenizer_class.from_pretrained(folder, do_lower_case=True)
    assert tokenizer("A")["input_ids"] == [CLS, A, SEP]
    assert tokenizer.model_max_length == 4
    tokenizer.save_pretrained(folder)
    cased = tokenizer_class.from_pretrained(folder, do_lower_case=False)  # over the one in tokenizer.json
    assert cased("A")["input_ids"] == [CLS, 13, SEP]


HUB_OPTIONS = {  # as the Hub's tokenizer_config.json have it, with options that mean nothing here
    "added_tokens_decoder": {"0": {"content": "[PAD]", "lstrip": False, "special": True}},
    "clean_up_tokenization_spaces": True,
    "do_basic_tokenize": True,
    "do_lower_case": False,
    "model_max_length": 512,
    "never_split": None,
    "strip_accents": None,
    "tokenizer_class": "DistilBertTokenizer",
    "name_or_path": "distilbert-base-cased",
}


def as_object(token: str) -> dict[str, Any]:
    return {"content": token, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}


@pytest.mark.parametrize(
    ("special", "options", "expected"),
    [
        ({}, {}, ("[CLS]", "[MASK]")),
        ({"cls_token": "d", "mask_token": "e"}, {}, ("d", "e")),
        ({"cls_token": as_object("d"), "mask_token": as_object("e")}, {}, ("d", "e")),
        ({}, {"cls_token": as_object("d"), "mask_token": "e"}, ("d", "e")),
        ({"cls_token": as_object("c")}, {"cls_token": "d"}, ("d", "[MASK]")),
        ({"cls_token": "d", "additional_special_tokens": ["b"]}, {"mask_token": None}, ("d", None)),
        ({}, {"cls_token": None}, ("[CLS]", "[MASK]")),
    ],
)
def test_stored_options(
    tokenizer_class: type[BaseTokenizer],
    special: dict[str, Any],
    options: dict[str, Any],
    expected: tuple[str, str | None],
    tmp_path: Path,
) -> None:
    folder = write_vocabulary(tmp_path)
    write_json(folder, "special_tokens_map.json", special)
    write_json(folder, "tokenizer_config.json", HUB_OPTIONS | options)
    tokenizer = tokenizer_class.from_pretrained(folder)
    assert (tokenizer.cls_token, tokenizer.mask_token) == expected
    assert tokenizer.model_max_length == 512
    assert tokenizer("A")["input_ids"] == [SMALL.index(expected[0]), SMALL.index("A"), SEP]


def test_what_a_file_was_saved_with_is_not_done(tokenizer_class: type[BaseTokenizer], tmp_path: Path) -> None:
    backend = DistilBertTokenizerFast(write_vocabulary(tmp_path) / "vocab.txt").backend_tokenizer
    backend.enable_padding(length=7)
    backend.enable_truncation(3)
    backend.save(str(tmp_path / "tokenizer.json"))
    tokenizer = tokenizer_class(tokenizer_file=tmp_path / "tokenizer.json")
    assert tokenizer("a b c")["input_ids"] == [CLS, A, B, C, SEP]
    assert json.loads(tokenizer.to_json())["padding"] is None


def test_a_length_in_exponential_notation(tokenizer_class: type[BaseTokenizer], tmp_path: Path) -> None:
    folder = write_vocabulary(tmp_path)
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 1e30}')
    assert tokenizer_class.from_pretrained(folder)("a", truncation=True)["input_ids"] == [CLS, A, SEP]


def test_a_repeated_token_has_the_id_of_its_last_line(tokenizer_class: type[BaseTokenizer], tmp_path: Path) -> None:
    """Its first line is a gap in the ids, and must be one in the file that is written."""
    tokenizer = tokenizer_class(write_vocabulary(tmp_path, ("c", *SMALL, "d", "e")) / "vocab.txt")
    ids = {token: index + 1 for index, token in enumerate(SMALL)} | {"d": len(SMALL) + 1, "e": len(SMALL) + 2}
    assert tokenizer.get_vocab() == ids
    (tmp_path / "vocab.txt").write_bytes(tokenizer.files()["vocab.txt"])
    assert read_vocabulary(tmp_path / "vocab.txt") == ids


@pytest.mark.parametrize("text", ["\r\n".join(SMALL), "\n".join(SMALL), "\n".join(SMALL) + "\n"])
def test_line_ends_of_a_vocabulary(text: str, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes(text.encode())
    assert read_vocabulary(tmp_path / "vocab.txt") == {t: i for i, t in enumerate(SMALL)}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "has neither tokenizer.json nor vocab.txt$"),
        ({"vocab.txt": b""}, "vocab.txt is an empty vocabulary"),
        ({"vocab.txt": b"\xff\xfe"}, "vocab.txt cannot be read as a vocabulary"),
        ({"vocab.txt": b"a\nb\n"}, r"lacks the special token\(s\) \[UNK\], \[SEP\], \[PAD\], \[CLS\], \["),
        ({"vocab.txt": "\n".join(SMALL[:4]).encode()}, r"lacks the special token\(s\) \[MASK\]\.$"),
        ({"tokenizer.json": b""}, "tokenizer.json is not a valid tokenizer.json"),
        ({"tokenizer.json": b'{"model": {}}'}, "tokenizer.json is not a valid tokenizer.json"),
        ({"tokenizer.json": b"\xff"}, "tokenizer.json is not a valid tokenizer.json"),
        ({"vocab.txt": b"a", "tokenizer_config.json": b"{"}, "tokenizer_config.json is not valid JSON"),
        ({"vocab.txt": b"a", "tokenizer_config.json": b"[]"}, "must hold a JSON object, got list"),
        ({"vocab.txt": b"a", "special_tokens_map.json": b"\xff"}, "map.json is not valid JSON"),
        ({"vocab.txt": b"a", "special_tokens_map.json": b"3"}, "must hold a JSON object, got int"),
    ],
)  # fmt: skip
def test_damaged_files(
    tokenizer_class: type[BaseTokenizer], files: dict[str, bytes], message: str, tmp_path: Path
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message.replace("json$", r"json\.$").replace("txt$", r"txt\.$")):
        tokenizer_class.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, InputError, "^Give vocab_file or tokenizer_file; got neither"),
        ({"vocab_file": VOCAB, "tokenizer_file": VOCAB}, InputError, "^Give vocab_file or tokenizer_file; got both"),
        ({"vocab_file": "missing.txt"}, CheckpointError, r"^missing\.txt cannot be read as a vocabulary"),
        ({"tokenizer_file": "missing.json"}, CheckpointError, r"^missing\.json is not a valid tokenizer\.json"),
        ({"vocab_file": VOCAB.parent}, CheckpointError, "cannot be read as a vocabulary"),
        (
            {"vocab_file": VOCAB, "padding_side": "up"},
            InputError,
            "^padding_side must be one of right, left, got 'up'",
        ),
        (
            {"vocab_file": VOCAB, "truncation_side": None},
            InputError,
            "^truncation_side must be one of right, left",
        ),
        (
            {"vocab_file": VOCAB, "model_max_length": -1},
            InputError,
            "^model_max_length must be a number of tokens",
        ),
        (
            {"vocab_file": VOCAB, "model_max_length": "9"},
            InputError,
            "^model_max_length must be a number of tokens",
        ),
        (
            {"vocab_file": VOCAB, "mask_token": "<mask>"},
            CheckpointError,
            r"lacks the special token\(s\) <mask>",
        ),
        ({"vocab_file": VOCAB, "lower": True}, TypeError, "unexpected keyword argument 'lower'"),
    ],
)
def test_impossible_options(
    tokenizer_class: type[BaseTokenizer], options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        tokenizer_class(**options)


# -- one call and the next ---------------------------------------------------------------------------------


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


# -- any text ----------------------------------------------------------------------------------------------

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
