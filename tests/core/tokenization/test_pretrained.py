"""Loading and saving of tokenizers: files, stored options, damaged files."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from distilbert_core import CheckpointError, DistilBertTokenizer, DistilBertTokenizerFast, InputError
from distilbert_core.tokenization import BaseTokenizer, read_vocabulary
from support.vocabularies import (
    CLS,
    SEP,
    SMALL,
    VOCAB,
    A,
    B,
    C,
    Make,
    X,
    as_object,
    change_json,
    with_added_tokens,
    write_json,
    write_vocabulary,
)

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


def test_the_slow_tokenizer_refuses_other_models(tmp_path: Path) -> None:
    content = json.loads(DistilBertTokenizerFast(write_vocabulary(tmp_path) / "vocab.txt").to_json())
    content["normalizer"] = {"type": "Lowercase"}
    write_json(tmp_path, "tokenizer.json", content)
    assert DistilBertTokenizerFast.from_pretrained(tmp_path).encode("A É") == [CLS, A, 12, SEP]
    with pytest.raises(CheckpointError, match=r"is not of BERT's kind: .*'Lowercase'.*DistilBertTokenizerFast can"):
        DistilBertTokenizer.from_pretrained(tmp_path)
    write_json(tmp_path, "tokenizer.json", content | {"normalizer": None, "decoder": None})
    with pytest.raises(CheckpointError, match=r"is not of BERT's kind: .*'BertPreTokenizer', None\);"):
        DistilBertTokenizer.from_pretrained(tmp_path)


def test_the_slow_tokenizer_refuses_another_decoder(tmp_path: Path) -> None:
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


def test_stored_padding_and_truncation_are_ignored(tokenizer_class: type[BaseTokenizer], tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "has neither tokenizer.json nor vocab.txt$"),
        ({"vocab.txt": b""}, "vocab.txt is an empty vocabulary"),
        ({"vocab.txt": b"\xff\xfe"}, "vocab.txt cannot be read as a vocabulary"),
        ({"vocab.txt": b"a\nb\n"}, r"lacks the special token\(s\) \[UNK\], \[SEP\], \[PAD\], \[CLS\], \["),
        ({"vocab.txt": "\n".join(SMALL[:4]).encode()}, r"lacks the special token\(s\) \[MASK\]\.$"),
        ({"tokenizer.json": b""}, "tokenizer.json is not valid JSON"),
        ({"tokenizer.json": b'{"model": {}}'}, "tokenizer.json is not a valid tokenizer.json"),
        ({"tokenizer.json": b"\xff"}, "tokenizer.json cannot be read as a tokenizer.json: it is not UTF-8"),
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
        ({"tokenizer_file": "missing.json"}, CheckpointError, r"^missing\.json cannot be read as a tokenizer\.json"),
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
