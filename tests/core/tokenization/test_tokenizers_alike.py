"""The two tokenizers against each other and, on random Unicode texts, against Transformers 4.53.3."""

from __future__ import annotations

import importlib.util
import json
import random
import runpy
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken
from tokenizers.normalizers import BertNormalizer

from distilbert_core import DEFAULT_MODEL, CheckpointError, DistilBertTokenizer, DistilBertTokenizerFast, InputError
from distilbert_core.files.hub import EMBEDDED_MODELS
from distilbert_core.tokenization import BaseTokenizer, BatchEncoding
from distilbert_core.tokenization.normalization import Normalizer
from distilbert_core.tokenization.special_tokens import token_fields
from support.fuzz_texts import digests, fuzz_texts
from support.paths import FIXTURES, TESTS

VOCAB = EMBEDDED_MODELS / DEFAULT_MODEL / "vocab.txt"
FUZZ: list[dict[str, Any]] = json.loads((FIXTURES / "oracle" / "tokenizer_fuzz.json").read_text())
ORDINARY = 5_000  # texts in the ordinary run; the long one takes all
TOKENIZERS = pytest.mark.parametrize(
    "tokenizer_class", [DistilBertTokenizerFast, DistilBertTokenizer], ids=["fast", "slow"]
)
SETTINGS = pytest.mark.parametrize("entry", FUZZ, ids=lambda entry: str(entry["tokenizer"]))


def rows(tokenizer: BaseTokenizer, texts: Iterator[str]) -> Iterator[list]:
    while batch := list(islice(texts, 1000)):
        for encoding in tokenizer(batch).encodings:
            yield [encoding.ids, encoding.tokens, encoding.offsets]


def check_digests(tokenizer_class: type[BaseTokenizer], entry: dict[str, Any], count: int) -> None:
    tokenizer = tokenizer_class(VOCAB, **entry["tokenizer"])
    found = list(digests(rows(tokenizer, fuzz_texts(count))))
    wrong = [index for index, pair in enumerate(zip(found, entry["digests"], strict=False)) if len(set(pair)) > 1]
    assert wrong == []
    assert len(found) == count / 100


@TOKENIZERS
@SETTINGS
def test_random_texts_as_in_transformers(tokenizer_class: type[BaseTokenizer], entry: dict[str, Any]) -> None:
    check_digests(tokenizer_class, entry, ORDINARY)


@pytest.mark.long
@TOKENIZERS
@SETTINGS
def test_many_random_texts_as_in_transformers(tokenizer_class: type[BaseTokenizer], entry: dict[str, Any]) -> None:
    check_digests(tokenizer_class, entry, entry["count"])


@TOKENIZERS
def test_another_option_gives_other_digests(tokenizer_class: type[BaseTokenizer]) -> None:
    entry = {"tokenizer": {"strip_accents": False}, "digests": FUZZ[0]["digests"]}
    with pytest.raises(AssertionError):
        check_digests(tokenizer_class, entry, 100)


# -- every character ---------------------------------------------------------------------------------------

STEPS = {"clean_text": "clean_text", "tokenize_chinese_chars": "handle_chinese_chars", "strip_accents": "strip_accents"}
STEPS |= {"do_lower_case": "lowercase"}


@pytest.mark.parametrize("step", STEPS)
def test_each_step_of_the_normaliser_on_every_character(step: str) -> None:
    here = Normalizer(**dict.fromkeys(STEPS, False) | {step: True})
    library = BertNormalizer(**dict.fromkeys(STEPS.values(), False) | {STEPS[step]: True})
    for start in range(0, 0x110000, 4096):
        characters = (chr(code) for code in range(start, start + 4096) if not 0xD800 <= code < 0xE000)
        text = "".join(f"a{character}b" for character in characters)
        normalised, origins = here(text)
        assert normalised == library.normalize_str(text)
        assert len(origins) == len(normalised)


@pytest.mark.long
def test_the_character_classes_equal_the_librarys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.util.find_spec("distilbert_core.tokenization.character_classes")
    assert module is not None
    assert module.origin is not None
    script = TESTS / "oracle" / "make_character_classes.py"
    monkeypatch.setattr("sys.argv", [str(script), "--out", str(tmp_path / "classes.py")])
    runpy.run_path(str(script), run_name="__main__")
    assert (tmp_path / "classes.py").read_text() == Path(module.origin).read_text()


# -- every option ------------------------------------------------------------------------------------------

ADDED = ("foo", "NewCased", "<e>", "na", "İ", "好", "the", "  x", "é")
PIECES = ("the", "new word", "NewCased", "naïve", "İst", "foo", "[MASK]", "<e>", "a foo b", "foobar", "  foo  foo",
          "unaffable", "<e><e>", "好", "the\x1cthe\u2003", "foo²the", *islice(fuzz_texts(400), 400))  # fmt: skip

added_tokens = st.lists(
    st.builds(
        AddedToken,
        st.sampled_from(ADDED),
        lstrip=st.booleans(),
        rstrip=st.booleans(),
        single_word=st.booleans(),
        normalized=st.booleans(),
        special=st.booleans(),
    ),
    max_size=4,
)
sides = st.sampled_from(["left", "right"])
some_text = st.lists(st.sampled_from(PIECES), max_size=6).map(" ".join)
calls = st.fixed_dictionaries(
    {
        "padding": st.sampled_from([False, True, "max_length"]),
        "truncation": st.sampled_from([False, True, "only_first", "only_second"]),
        "max_length": st.integers(2, 30),
        "stride": st.sampled_from([0, 0, 0, 1, 3, 9]),
        "return_overflowing_tokens": st.booleans(),
        "pad_to_multiple_of": st.none() | st.integers(1, 5),
        "add_special_tokens": st.booleans(),
        "padding_side": st.none() | sides,
        "split_special_tokens": st.booleans(),
        "return_token_type_ids": st.booleans(),
    }
)
DETAILS = {"return_offsets_mapping": True, "return_special_tokens_mask": True, "return_length": True}


def all_of(encoding: BatchEncoding) -> tuple[dict, list]:
    each = [(one.tokens, one.word_ids, one.sequence_ids, one.type_ids, one.n_sequences) for one in encoding.encodings]
    return dict(encoding), each


def outcome(action: Callable[[], Any]) -> Any:
    """What an action returns, or the type of its error; a warning is one in tests."""
    try:
        return action()
    except (InputError, CheckpointError, UserWarning) as error:
        return type(error)


@settings(deadline=None, max_examples=120)
@given(data=st.data(), call=calls, added=added_tokens, lower=st.booleans(), side=sides, split=st.booleans())
def test_any_call_gives_the_same(
    data: st.DataObject, call: dict[str, Any], added: list[AddedToken], lower: bool, side: str, split: bool
) -> None:
    one = st.lists(some_text, max_size=4) if split else some_text
    inputs = data.draw(st.lists(one | st.tuples(one, one), max_size=3))
    outcomes = []
    for tokenizer in TWO:
        tokenizer = type(tokenizer)(VOCAB, do_lower_case=lower, truncation_side=side)
        grown = tokenizer.add_tokens(added)
        encoding = outcome(lambda: all_of(tokenizer(inputs, is_split_into_words=split, **call, **DETAILS)))  # noqa: B023
        outcomes.append((grown, tokenizer.get_added_vocab(), encoding))
    assert outcomes[0] == outcomes[1]


# -- every state of the vocabulary -------------------------------------------------------------------------

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = ("a", "b", "foo", "##foo", "the", "é", "e", "<", "<e>", "[X]", ".", "##a", "A", " ", "")
STRANGE = (*ADDED, *SPECIAL, "", " ", "\t", "\u200b", " foo", "a b", "FOO", "E", "[X]", "$A", ":1")
SOME = ("a foo [X]", "<e>.[MASK] Foo", "a b\tthe é", "$A :1 \u200b", "[PAD] [CLS][SEP]")

some_token = st.sampled_from(STRANGE) | st.builds(
    AddedToken,
    st.sampled_from(STRANGE),
    lstrip=st.booleans(),
    rstrip=st.booleans(),
    normalized=st.booleans(),
    special=st.booleans(),
)
names = st.sampled_from(["unk_token", "sep_token", "pad_token", "cls_token", "mask_token"])
steps = st.lists(
    st.tuples(st.just("add_tokens"), st.lists(some_token, max_size=2), st.booleans())
    | st.tuples(st.just("add_special_tokens"), names, some_token)
    | st.tuples(st.just("add_special_tokens"), st.just("additional_special_tokens"), st.lists(some_token, max_size=2))
    | st.tuples(st.just("assign"), names, st.none() | some_token)
    | st.tuples(st.just("save"), st.booleans(), st.booleans()),
    max_size=5,
)


def take(tokenizer: BaseTokenizer, step: tuple[str, Any, Any], folder: Path) -> tuple[BaseTokenizer, Any]:
    """Return a tokenizer after a step, and what came of it."""
    kind, first, second = step
    if kind == "add_tokens":
        return tokenizer, outcome(lambda: tokenizer.add_tokens(first, special_tokens=second))
    if kind == "add_special_tokens":
        return tokenizer, outcome(lambda: tokenizer.add_special_tokens({first: second}))
    if kind == "assign":
        return tokenizer, outcome(lambda: setattr(tokenizer, first, second))
    before = state(tokenizer)
    tokenizer.save_pretrained(folder)
    if first:
        (folder / "tokenizer.json").unlink()
    again = type(tokenizer).from_pretrained(folder)
    assert state(again) == before
    return again, None


def state(tokenizer: BaseTokenizer) -> list[Any]:
    """All that is seen of a tokenizer."""
    added = {index: token_fields(token) for index, token in tokenizer.added_tokens_decoder.items()}
    ids = list(range(len(tokenizer)))
    return [
        (tokenizer.get_vocab(), tokenizer.special_tokens_map, tokenizer.pad_token_id, tokenizer.mask_token_id, added),
        all_of(tokenizer(SOME, return_special_tokens_mask=True)),
        outcome(lambda: all_of(tokenizer(SOME, padding=True, return_tensors=None))),
        [tokenizer.decode(ids, skip_special_tokens=skip) for skip in (False, True)],
    ]


@settings(deadline=None, max_examples=150)
@given(
    vocabulary=st.lists(st.sampled_from(WORDS), max_size=8, unique=True).flatmap(
        lambda words: st.permutations([*SPECIAL, *words])
    ),
    options=st.fixed_dictionaries(
        {},
        optional={
            "do_lower_case": st.booleans(),
            "do_basic_tokenize": st.just(False),
            "pad_token": st.none() | some_token,
            "mask_token": st.none() | some_token,
            "unk_token": some_token,
            "additional_special_tokens": st.lists(some_token, max_size=2),
        },
    ),
    steps=steps,
)
def test_any_vocabulary_and_any_change_of_it_give_the_same(
    vocabulary: list[str], options: dict[str, Any], steps: list[tuple[str, Any, Any]]
) -> None:
    results = []
    for cls in (DistilBertTokenizerFast, DistilBertTokenizer):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in vocabulary))
            tokenizer = outcome(lambda: cls(folder / "vocab.txt", **options))  # noqa: B023
            if not isinstance(tokenizer, BaseTokenizer):
                results.append([tokenizer])
                continue
            result = state(tokenizer)
            for index, step in enumerate(steps):
                tokenizer, came = take(tokenizer, step, folder / str(index))
                result += [came, state(tokenizer)]
            results.append(result)
    assert results[0] == results[1]


TWO = (DistilBertTokenizerFast(VOCAB), DistilBertTokenizer(VOCAB))


def test_real_sentences_give_the_same() -> None:
    texts = [
        text
        for entry in json.loads((FIXTURES / "oracle" / "tokenizer.json").read_text())
        for text in entry.get("text", ())
    ]
    assert len(texts) > 100
    fast, slow = (all_of(tokenizer(texts, **DETAILS)) for tokenizer in TWO)
    assert fast == slow


def test_ids_decode_to_the_same() -> None:
    chance = random.Random(0)
    for _ in range(300):
        ids = [chance.choice([chance.randrange(30522), 101, 102, 103, 1012, 1005, 1055]) for _ in range(12)] + [99999]
        for skip in (False, True):
            for clean_up in (False, True, None):
                fast, slow = (tokenizer.decode(ids, skip, clean_up) for tokenizer in TWO)
                assert fast == slow
        fast, slow = (
            tokenizer.convert_tokens_to_string(tokenizer.convert_ids_to_tokens(ids[:-1])) for tokenizer in TWO
        )
        assert fast == slow
