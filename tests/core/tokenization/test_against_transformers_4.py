"""Both tokenizers give what Transformers 4.53.3 gave, from the fixture of tests/oracle."""

from __future__ import annotations

import hashlib
import inspect
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert_core.tokenization import BaseTokenizer
from support.paths import FIXTURES
from support.vocabularies import VOCAB, Make, plain, write_vocabulary

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
