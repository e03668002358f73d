"""Options of how a text is split: words that stay whole, the prefix, the normaliser, long words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from distilbert_core import DistilBertTokenizerFast, InputError
from distilbert_core.errors import CheckpointWarning
from distilbert_core.tokenization import BaseTokenizer
from support.vocabularies import CLS, SEP, UNK, A, Make, X, Y, change_json, write_vocabulary


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
def test_options_cannot_contradict_the_file(
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
