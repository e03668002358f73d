"""Tokenizers and encodings as scripts for Transformers use them; test_base.py has more values."""

from __future__ import annotations

import array
import copy
import inspect
import json
import logging
import pickle
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer

from distilbert_core import DEFAULT_MODEL, CheckpointError, DistilBertTokenizer, DistilBertTokenizerFast, InputError
from distilbert_core.files.hub import EMBEDDED_MODELS
from distilbert_core.tokenization import BaseTokenizer, BatchEncoding
from distilbert_core.tokenization.words import BasicTokenizer, WordpieceTokenizer
from support.paths import FIXTURES
from support.uploads import Uploads

TWO = (DistilBertTokenizerFast, DistilBertTokenizer)


@pytest.fixture(params=TWO, ids=["fast", "slow"])
def tokenizer_class(request: pytest.FixtureRequest) -> type[BaseTokenizer]:
    return request.param


@pytest.fixture
def tokenizer(tokenizer_class: type[BaseTokenizer]) -> BaseTokenizer:
    return tokenizer_class.from_pretrained("sst2-tiny")


FILM = [101, 1037, 2986, 2143, 102]  # a fine film
DULL = [101, 10634, 102]


# -- names -------------------------------------------------------------------------------------------------


def test_arguments_make_the_same_tokenizer(tokenizer_class: type[BaseTokenizer], tmp_path: Path) -> None:
    options = {"do_lower_case": False, "model_max_length": 9, "eos_token": "[EOS]", "padding_side": "left"}
    tokenizer = tokenizer_class.from_pretrained("sst2-tiny", **options)
    assert set(tokenizer.init_kwargs) >= set(inspect.signature(BaseTokenizer.__init__).parameters) - {"self", "kwargs"}
    file = tmp_path / "tokenizer.json"
    file.write_bytes(tokenizer.to_json())
    again = tokenizer_class(**{**tokenizer.init_kwargs, "tokenizer_file": file})
    assert again.files() == tokenizer.files()
    library = tokenizer_class(**{**tokenizer.init_kwargs, "tokenizer_object": Tokenizer.from_file(str(file))})
    assert library.files() == tokenizer.files()


@pytest.mark.parametrize("name", ["do_lower_case", "strip_accents", "tokenize_chinese_chars", "wordpieces_prefix"])
def test_options_of_the_engine_are_read_only(tokenizer: BaseTokenizer, name: str) -> None:
    before = getattr(tokenizer, name)
    with pytest.raises(InputError, match=rf"^{name} cannot be changed; load .*from_pretrained\(\.\.\., {name}=False\)"):
        setattr(tokenizer, name, False)
    assert getattr(tokenizer, name) == before == tokenizer.init_kwargs[name]


REFUSED = {
    "apply_chat_template": (["hello"], r" has no apply_chat_template\. DistilBERT is not a chat model: join the mess"),
    "max_len_single_sentence": (5, "^max_len_single_sentence must be 510, which follows from model_max_length, got 5;"),
    "chat_template": ("{}", "^chat_template must be None: DistilBERT is not a chat model"),
    "pad_token_id": (99999, r"^There is no token of id 99999; the ids are below len\(tokenizer\), 30522\."),
}


@pytest.mark.parametrize("name", REFUSED)
def test_unsupported_methods_suggest_a_replacement(tokenizer: BaseTokenizer, name: str) -> None:
    value, message = REFUSED[name]
    method = inspect.ismethod(getattr(tokenizer, name))
    with pytest.raises(InputError, match=message):
        getattr(tokenizer, name)(*value) if method else setattr(tokenizer, name, value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tags": ["a"]}, r"^tags must be None or \[\], got \['a'\]\. Write them into the README.md"),
        ({"save_format": "h5"}, r"^save_pretrained\(\) got an unexpected keyword argument 'save_format'"),
    ],
)
def test_arguments_of_saving_that_are_refused(
    tokenizer: BaseTokenizer, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(TypeError, match=message):
        tokenizer.save_pretrained(tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_len": 5}, r"^max_len must be None, got 5\. Give model_max_length\.$"),
        ({"add_prefix_space": True}, r"^add_prefix_space must be False or None, got True\. WordPiece has no tokens"),
        ({"lower": True}, r"^DistilBertTokenizer(Fast)?\.__init__\(\) got an unexpected keyword argument 'lower'$"),
    ],
)
def test_arguments_of_loading_that_are_refused(
    tokenizer_class: type[BaseTokenizer], options: dict[str, Any], message: str
) -> None:
    taken = {"use_fast": True, "from_slow": True, "trust_remote_code": False, "revision": None, "subfolder": None}
    assert tokenizer_class.from_pretrained("sst2-tiny", **taken).encode("dull") == DULL
    with pytest.raises(TypeError, match=message):
        tokenizer_class.from_pretrained("sst2-tiny", **options)


def test_arguments_of_decoding(tokenizer: BaseTokenizer) -> None:
    assert tokenizer.batch_decode([DULL], skip_special_tokens=True, spaces_between_special_tokens=True) == ["dull"]
    with pytest.raises(TypeError, match=r"^spaces_between_special_tokens must be True or None, got False\. Words and"):
        tokenizer.decode(DULL, spaces_between_special_tokens=False)
    with pytest.raises(TypeError, match=r"^decode\(\) got an unexpected keyword argument 'skip'$"):
        tokenizer.decode(DULL, skip=True)


def test_special_tokens_with_how_they_are_matched(tokenizer: BaseTokenizer) -> None:
    tokenizer.add_special_tokens({"eos_token": AddedToken("<e>", lstrip=True), "additional_special_tokens": ["<x>"]})
    extended = tokenizer.special_tokens_map_extended
    assert (extended["eos_token"].lstrip, extended["cls_token"].lstrip) == (True, False)
    assert [token.content for token in extended["additional_special_tokens"]] == ["<x>"]
    assert [token.content for token in tokenizer.all_special_tokens_extended] == tokenizer.all_special_tokens
    assert tokenizer("film  <e>", return_offsets_mapping=True)["offset_mapping"] == [(0, 0), (0, 4), (4, 9), (0, 0)]
    tokenizer.eos_token = tokenizer.pad_token = None
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (None, None)
    with pytest.raises(InputError, match=r"^This tokenizer has no pad_token, and one is needed here: "):
        tokenizer("film", padding="max_length", max_length=5)


# -- texts ---------------------------------------------------------------------------------------------------


class Series:
    """A column of a table: not a sequence for Python, as that of pandas."""

    def __init__(self, values: list[Any]):
        self.values = values

    def tolist(self) -> list[Any]:
        return self.values


class Tensor:
    """A tensor of texts, as that of TensorFlow: bytes in UTF-8."""

    def __init__(self, values: Any):
        self.values = values

    def numpy(self) -> Any:
        return self.values


TEXTS: dict[str, Callable[[list[str]], Any]] = {
    "array of texts": np.array,
    "array of objects": lambda texts: np.array(texts, object),
    "column": Series,
    "tuple": tuple,
    "texts of NumPy": lambda texts: [np.str_(text) for text in texts],
    "tensor": lambda texts: Tensor(np.array([text.encode() for text in texts], object)),
    "tensors": lambda texts: [Tensor(text.encode()) for text in texts],
}


@pytest.mark.parametrize("kind", TEXTS)
def test_texts_of_every_kind(tokenizer: BaseTokenizer, kind: str) -> None:
    make = TEXTS[kind]
    texts, pairs = ["a fine film", "naïve 你"], ["dull", "a"]
    assert tokenizer(make(texts)) == tokenizer(texts)
    assert tokenizer(make(texts), make(pairs)) == tokenizer(texts, pairs)
    assert tokenizer(make(texts), text_target=make(pairs))["labels"] == tokenizer(pairs)["input_ids"]
    words = [["fine", "film"], ["dull"]]
    assert tokenizer(list(map(make, words)), is_split_into_words=True) == tokenizer(words, is_split_into_words=True)


@pytest.mark.parametrize(
    ("text", "pair", "message"),
    [
        (np.array([b"a"]), None, r"^text\[0\] must be a text, got bytes; decode them: text\[0\]\.decode\('utf-8'\)\.$"),
        (np.array([1.5]), None, r"^text\[0\] must be a text or a pair of them, got 1\.5\.$"),
        (Series(["a", float("nan")]), None, r"^text\[1\] must be a text or a pair of them, got nan\.$"),
        (array.array("i", [1]), None, r"^text\[0\] must be a text or a pair of them, got 1\.$"),
        (
            (text for text in "ab"),
            None,
            "^text must be a text, a pair or a list of them, got generator; columns of",
        ),
        ("a", b"b", r"^text_pair must be a text, got bytes; decode them: text_pair\.decode\('utf-8'\)\.$"),
        (["a"], Series(["b", "c"]), "^text_pair must be like text: one text for one, or a list"),
    ],
)
def test_values_that_are_not_texts(tokenizer: BaseTokenizer, text: Any, pair: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tokenizer(text, pair)


def test_targets(tokenizer: BaseTokenizer) -> None:
    both = tokenizer("a fine film", text_target="dull", padding="max_length", max_length=6)
    assert both["input_ids"] == [*FILM, 0]
    assert both["labels"] == [*DULL, 0, 0, 0]
    assert tokenizer(text_target="dull") == tokenizer("dull")


# -- calls that leave nothing behind, and what they say ------------------------------------------------------

CALLS: list[dict[str, Any]] = [
    {"truncation": True, "max_length": 4, "padding": "max_length"},
    {"truncation": True, "max_length": 4, "stride": 3, "add_special_tokens": False, "return_overflowing_tokens": True},
    {"split_special_tokens": True, "return_tensors": "np"},
    {"truncation": "only_second", "max_length": 4},  # cannot be done
    {"max_length": 3, "padding_side": "left", "padding": True},
]


def test_uploading(tokenizer: BaseTokenizer, tmp_path: Path, uploads: Uploads) -> None:
    assert tokenizer.push_to_hub("mine", use_auth_token="t") == "commit"
    every = sorted(Path(name).name for name in tokenizer.save_pretrained(tmp_path / "folder", push_to_hub=True))
    written = tokenizer.save_pretrained(
        tmp_path, legacy_format=True, push_to_hub=True, repo_id="else", token="u", max_shard_size="1GB"
    )
    assert [call[1] for call in uploads if call[0] == "token"] == ["t", None, "u"]
    rest = sorted(Path(name).name for name in written)
    sent = [(call[2]["repo_id"], call[1]) for call in uploads if call[0] == "upload_folder"]
    assert sent == [("me/mine", every), ("me/folder", every), ("me/else", rest)]
    assert "vocab.txt" in rest


def test_a_weight_file_has_the_tokenizer_beside_it(tokenizer: BaseTokenizer, tmp_path: Path) -> None:
    cls = type(tokenizer)
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"has neither tokenizer.json nor vocab.txt beside pytorch_model\.bin\."):
        cls.from_pretrained(tmp_path / "pytorch_model.bin")
    tokenizer.save_pretrained(tmp_path)
    found = cls.from_pretrained(tmp_path / "pytorch_model.bin", model_max_length=7)
    assert (found.encode("a fine film"), found.model_max_length) == (tokenizer.encode("a fine film"), 7)


@pytest.mark.parametrize("own", [False, True])
def test_an_adapter_has_its_own_tokenizer_or_its_base_s(tokenizer: BaseTokenizer, tmp_path: Path, own: bool) -> None:
    settings = {"peft_type": "LORA", "base_model_name_or_path": DEFAULT_MODEL, "r": 2, "lora_alpha": 2}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    save_file({"base_model.model.classifier.bias": np.zeros(2, "f")}, tmp_path / "adapter_model.safetensors")
    cls = type(tokenizer)
    if own:
        cls.from_pretrained(DEFAULT_MODEL, do_lower_case=False).save_pretrained(tmp_path)
    for source in (tmp_path, tmp_path / "adapter_model.safetensors", tmp_path / "adapter_config.json"):
        found = cls.from_pretrained(source, model_max_length=9)
        assert (found.encode("a fine film"), found.model_max_length) == (tokenizer.encode("a fine film"), 9)
        assert (found.tokenize("A") == ["[UNK]"]) is own


@pytest.mark.parametrize("preset", ["kerashub_backbone", "kerashub_masked_lm"])
def test_tokenizer_of_a_preset_of_kerashub(tokenizer: BaseTokenizer, preset: str) -> None:
    pytest.importorskip("h5py")
    found = type(tokenizer).from_pretrained(FIXTURES / "checkpoints" / preset)
    assert found.tokenize("Word3 word41 x") == ["word3", "word41", "[UNK]"]


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_call_does_not_change_the_pickle(tokenizer: BaseTokenizer, call: dict[str, Any]) -> None:
    before = pickle.dumps(tokenizer)
    try:
        tokenizer(["a fine [MASK] film " * 200], **call)
    except InputError:
        assert call["truncation"] == "only_second"
    tokenizer.decode(FILM, skip_special_tokens=True)
    tokenizer.init_kwargs  # noqa: B018  the test is about the look-up
    assert pickle.dumps(tokenizer) == before
    assert tokenizer.encode("a fine film [MASK]") == [*FILM[:-1], 103, 102]


def test_windows_without_special_tokens_overlap_by_all_but_one(tokenizer: BaseTokenizer) -> None:
    call = {"truncation": True, "max_length": 3, "return_overflowing_tokens": True, "add_special_tokens": False}
    windows = tokenizer("a b c d e", stride=2, **call)
    assert [windows.tokens(row) for row in range(3)] == [list("abc"), list("bcd"), list("cde")]
    with pytest.raises(InputError, match=r"^stride must be smaller than the room for the text, 3 tokens, got 3\."):
        tokenizer("a b c d e", stride=3, **call)


LONG = "film " * 600
NOTES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, {}, "A text has 602 tokens, but model_max_length is 512, the most that the model takes"),
    ({}, {"max_length": 9}, "max_length=9 truncates longer texts, as truncation and padding are left out"),
    ({}, {"max_length": 9, "truncation": False}, "max_length=9 has no effect: it needs truncation=True"),
    ({}, {"max_length": 9, "padding": True}, "max_length=9 has no effect"),
    ({"model_max_length": int(1e30)}, {"truncation": True}, "truncation=True has no effect: this tokenizer has no"),
]


@pytest.mark.parametrize(("options", "call", "message"), NOTES, ids=str)
def test_options_without_effect_are_reported_once(
    tokenizer_class: type[BaseTokenizer],
    options: dict[str, Any],
    call: dict[str, Any],
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tokenizer = tokenizer_class.from_pretrained("sst2-tiny", **options)
    tokenizer(LONG, verbose=False, **call)
    tokenizer_class.from_pretrained("sst2-tiny", verbose=False, **options)(LONG, **call)
    assert caplog.records == []
    tokenizer(LONG, **call)
    tokenizer(LONG, **call)
    (record,) = caplog.records
    assert record.getMessage().startswith(message)
    assert (record.name, record.levelno) == ("distilbert_core.tokenization", logging.WARNING)


@pytest.mark.parametrize("call", [{"truncation": True}, {"max_length": 700, "padding": "max_length"}], ids=str)
def test_valid_calls_log_nothing(
    tokenizer: BaseTokenizer, call: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer(LONG, **call)
    assert caplog.records == []


class Member(StrEnum):
    """As an enumeration of Transformers."""

    LONGEST = "longest"
    LONGEST_FIRST = "longest_first"
    NUMPY = "np"


def test_members_of_enumerations(tokenizer: BaseTokenizer) -> None:
    call = {"padding": Member.LONGEST, "truncation": Member.LONGEST_FIRST, "return_tensors": Member.NUMPY}
    encoding = tokenizer(["a fine film", "dull"], max_length=4, **call)
    assert encoding["input_ids"].tolist() == [[101, 1037, 2986, 102], [*DULL, 0]]


# -- files ---------------------------------------------------------------------------------------------------

FORMATS = {
    None: {"tokenizer.json", "vocab.txt", "added_tokens.json"},
    True: {"vocab.txt", "added_tokens.json"},
    False: {"tokenizer.json"},
}


@pytest.mark.parametrize("legacy_format", FORMATS)
def test_formats_of_saving(tokenizer: BaseTokenizer, legacy_format: bool | None, tmp_path: Path) -> None:
    tokenizer.add_special_tokens({"eos_token": "<e>"})
    written = tokenizer.save_pretrained(save_directory=tmp_path, legacy_format=legacy_format, push_to_hub=False)
    assert {Path(path).name for path in written} == {
        "tokenizer_config.json",
        "special_tokens_map.json",
        *FORMATS[legacy_format],
    }
    for cls in TWO:
        again = cls.from_pretrained(pretrained_model_name_or_path=tmp_path, use_fast=False, trust_remote_code=False)
        assert (again.eos_token_id, again.name_or_path) == (30522, str(tmp_path))
        assert again.encode("film <e>") == [101, 2143, 30522, 102]
    prefixed = tokenizer.save_pretrained(tmp_path, filename_prefix="my")
    assert all(Path(path).name.startswith("my-") and Path(path).is_file() for path in prefixed)


def test_one_file_is_enough(tokenizer: BaseTokenizer, tmp_path: Path) -> None:
    cls = type(tokenizer)
    (tmp_path / "words.txt").write_bytes(tokenizer.files()["vocab.txt"])
    (tmp_path / "mine.json").write_bytes(tokenizer.to_json())
    for name in ("words.txt", "mine.json"):
        assert cls.from_pretrained(tmp_path / name, model_max_length=9).encode("A fine film") == FILM
    assert cls.from_pretrained(str(tmp_path / "words.txt"), do_lower_case=False).encode("A") == [101, 100, 102]


def test_stored_names_of_inputs(tokenizer: BaseTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    stored = json.loads(path.read_text()) | {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
    path.write_text(json.dumps(stored))
    cls = type(tokenizer)
    assert list(cls.from_pretrained(tmp_path)("a")) == ["input_ids", "attention_mask"]  # BERT's: no model here takes it
    asked = cls.from_pretrained(tmp_path, model_input_names=["input_ids", "token_type_ids"])
    assert list(asked("a")) == ["input_ids", "token_type_ids"]
    with pytest.raises(InputError, match=r"^model_input_names must be one of input_ids, .* got 'pixels'"):
        cls.from_pretrained(tmp_path, model_input_names=["pixels"])


# -- a new vocabulary ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [lambda texts: texts, lambda texts: (texts[:2], texts[2:])], ids=["texts", "batches"])
def test_a_new_vocabulary(tokenizer_class: type[BaseTokenizer], wrap: Callable[[list[str]], Any]) -> None:
    options = {"do_lower_case": False, "model_max_length": 20, "mask_token": None}
    tokenizer = tokenizer_class.from_pretrained("sst2-tiny", **options)
    tokenizer.add_special_tokens({"eos_token": AddedToken("<e>", lstrip=True)})
    tokenizer.add_tokens("ordinary")
    new = tokenizer.train_new_from_iterator(
        wrap(["Fine films", "fine film", "Fine"]),
        100,
        new_special_tokens=["<new>"],
        special_tokens_map={"[CLS]": "<s>", "<e>": "</s>"},
        show_progress=False,
    )
    assert type(new) is tokenizer_class
    assert new.all_special_tokens == ["</s>", "[UNK]", "[SEP]", "[PAD]", "<s>", "<new>"]
    assert new.additional_special_tokens == ["<new>"]
    assert (new.pad_token_id, new.unk_token_id, new.cls_token_id, new.sep_token_id) == (0, 1, 2, 3)
    assert new.tokenize("Fine film fines <new> </s> x") == ["Fine", "film", "fine", "##s", "<new>", " </s>", "[UNK]"]
    assert (new.model_max_length, new.do_lower_case) == (20, False)
    assert new.special_tokens_map_extended["eos_token"].lstrip
    assert tokenizer.all_special_tokens == ["<e>", "[UNK]", "[SEP]", "[PAD]", "[CLS]"]
    with pytest.raises(InputError, match=r"^special_tokens_map must rename special tokens, which are <e>.*; got <x>"):
        tokenizer.train_new_from_iterator(["a"], 20, special_tokens_map={"<x>": "<y>"})


# -- the two steps of the slow tokenizer -----------------------------------------------------------------------


def test_words_and_pieces() -> None:
    tokenizer = DistilBertTokenizer.from_pretrained("sst2-tiny", never_split=["Embeddings"])
    basic, pieces = tokenizer.basic_tokenizer, tokenizer.wordpiece_tokenizer
    text = "Embeddings, naïve Embeddings!"
    assert basic.tokenize(text) == ["embeddings", ",", "naive", "embeddings", "!"]
    assert basic.tokenize("a Embeddings 你b", never_split=["你b"]) == ["a", "Embeddings", "你b"]
    assert (basic.do_lower_case, basic.never_split) == (True, {"Embeddings"})
    assert pieces.tokenize("embeddings ok") == ["em", "##bed", "##ding", "##s", "ok"]
    assert (pieces.vocab, pieces.unk_token) == (tokenizer.vocab, "[UNK]")
    assert BasicTokenizer(do_lower_case=False, do_split_on_punc=False).tokenize(" A,b\tÉ ") == ["A,b", "É"]
    assert WordpieceTokenizer({"a": 0, "##b": 1}, "?", 2).tokenize("ab abb a") == ["a", "##b", "?", "a"]
    with pytest.raises(AttributeError, match="made with do_basic_tokenize=False"):
        DistilBertTokenizer(EMBEDDED_MODELS / "sst2-tiny" / "vocab.txt", do_basic_tokenize=False).basic_tokenizer  # noqa: B018


# -- what a call returns ---------------------------------------------------------------------------------------


def test_an_encoding_knows_its_texts(tokenizer: BaseTokenizer) -> None:
    one, pair = tokenizer(["a fine film"]), tokenizer([("a", ""), ("a", "b")], padding=True)
    assert (one.n_sequences, pair.n_sequences, pair.copy().n_sequences) == (1, 2, 2)
    assert one.is_fast
    assert pair.words(1) == pair.word_ids(1) == [None, 0, None, 0, None]
    assert isinstance(one, Mapping)
    made = BatchEncoding({"input_ids": FILM, "attention_mask": [1] * 5}, tensor_type="np", prepend_batch_axis=True)
    assert (made["input_ids"].shape, made.n_sequences, made.is_fast) == ((1, 5), None, False)
    with pytest.raises(InputError, match=r"^Tokens, words and characters are known only in the output"):
        made.tokens()
    assert made[:1]["input_ids"].tolist() == [FILM]
    assert BatchEncoding({"input_ids": FILM}, one.encodings[0]).tokens() == one.tokens()


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_copies_of_encodings(tokenizer: BaseTokenizer, again: Callable[[BatchEncoding], BatchEncoding]) -> None:
    encoding = tokenizer(["a fine film", "dull"], padding=True, return_tensors="np")
    same = again(encoding)
    assert type(same) is BatchEncoding
    np.testing.assert_array_equal(same["input_ids"], encoding["input_ids"])
    assert same.tokens(1) == encoding.tokens(1) == ["[CLS]", "dull", "[SEP]", "[PAD]", "[PAD]"]
    assert dict(**same).keys() == encoding.keys()


def test_the_entries_can_be_replaced(tokenizer: BaseTokenizer) -> None:
    encoding = tokenizer("a fine film")
    encoding.data = {**encoding.data, "labels": 1}
    assert (encoding.labels, list(encoding)) == (1, ["input_ids", "attention_mask", "labels"])
    assert type(encoding.data) is dict
    assert encoding.convert_to_tensors() is encoding
    assert encoding["input_ids"] == FILM


def test_encodings_are_moved_to_devices_only() -> None:
    class Moved:
        def to(self, device: Any, **how: Any) -> tuple[Any, dict[str, Any]]:
            return device, how

    encoding = BatchEncoding({"input_ids": Moved()})
    assert encoding.copy().to("cuda:1", non_blocking=True)["input_ids"] == ("cuda:1", {"non_blocking": True})
    assert encoding.copy().to(0)["input_ids"] == (0, {})
    with pytest.raises(InputError, match=r"^device must be a name, a number or a torch\.device, got <class 'float'>"):
        encoding.to(float)
