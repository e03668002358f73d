"""Tokens that are added to a vocabulary: their ids, how a text is matched, and how they are stored."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken

from distilbert_core import CheckpointError, DistilBertTokenizer, DistilBertTokenizerFast, InputError
from distilbert_core.tokenization import BaseTokenizer
from support.vocabularies import (
    CLS,
    SEP,
    SMALL,
    UNK,
    A,
    B,
    C,
    D,
    E,
    Make,
    as_object,
    change_json,
    with_added_tokens,
    write_json,
    write_vocabulary,
)

# -- added tokens --------------------------------------------------------------------------------------------


def test_added_tokens_get_the_next_ids(small: Make) -> None:
    tokenizer = small()
    assert tokenizer.add_tokens(["new", "a", "Éx"]) == 2
    assert (len(tokenizer), tokenizer.vocab_size) == (16, 14)
    assert tokenizer.encode("newa NEW exa", add_special_tokens=False) == [14, A, 14, 15, A]
    assert tokenizer.add_tokens("new") == 0
    assert tokenizer.add_tokens(AddedToken("whole", single_word=True, normalized=False)) == 1
    assert tokenizer.encode("whole wholes WHOLE", add_special_tokens=False) == [16, UNK, UNK]


def test_special_tokens_are_matched_exactly(small: Make) -> None:
    tokenizer = small()
    assert tokenizer.add_special_tokens({"additional_special_tokens": ["<E>"], "mask_token": "<m>"}) == 2
    assert (tokenizer.additional_special_tokens, tokenizer.mask_token, tokenizer.mask_token_id) == (["<E>"], "<m>", 15)
    ids = tokenizer.encode("a<E>b<m><e>")
    assert ids == [CLS, A, 14, B, 15, UNK, E, UNK, SEP]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a b e"
    assert tokenizer.special_tokens_map["additional_special_tokens"] == ["<E>"]


def test_the_callers_token_is_not_changed(small: Make) -> None:
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


EMPTY = r"^A token must not be empty: it would take an id, but never be matched\.$"


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


def test_the_first_of_equal_tokens_is_normalised(small: Make, tmp_path: Path) -> None:
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


# -- added tokens in files -----------------------------------------------------------------------------------


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


NOT_TOGETHER = r"\.json: The vocabulary and the added tokens do not fit together: the added token "


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
        ({"id": 14, "content": ""}, r"tokenizer\.json: The token '' is empty when it is normalised"),
        ({"id": 14, "content": "\u200b"}, r"tokenizer\.json: The token '\\u200b' is empty when it is normalised"),
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
    with pytest.raises(
        CheckpointError, match=r"vocab\.txt: unk_token must be in the vocabulary, not only among .* got '<u>'\.$"
    ):
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
