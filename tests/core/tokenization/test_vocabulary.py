"""From tokens to ids and back, and vocabulary files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from distilbert_core import InputError
from distilbert_core.tokenization import BaseTokenizer, read_vocabulary
from support.vocabularies import CLS, PAD, SEP, SMALL, UNK, A, B, Make, X, write_vocabulary

# -- ids to text, vocabulary ---------------------------------------------------------------------------------


def test_ids_without_a_token(small: Make) -> None:
    assert small().convert_ids_to_tokens([A, 99, 2**40]) == ["a", None, None]
    with pytest.raises(InputError, match=r"^ids must be an id or have shape \[tokens\], got \(1, 2\)\.$"):
        small().convert_ids_to_tokens([[A, B]])


def test_impossible_tokens_to_convert(small: Make) -> None:
    for method in (small().convert_tokens_to_ids, small().convert_tokens_to_string):
        with pytest.raises(InputError, match=r"^tokens must be texts, got 3\.$"):
            method(["a", 3])


def test_vocabulary(small: Make) -> None:
    tokenizer = small()
    assert tokenizer.vocab_size == len(tokenizer) == len(SMALL)
    assert tokenizer.get_vocab() == {token: index for index, token in enumerate(SMALL)}
    assert tokenizer.convert_tokens_to_ids("##x") == X
    assert tokenizer.convert_tokens_to_ids(["a", "nothing", "[SEP]"]) == [A, UNK, SEP]
    assert tokenizer.convert_ids_to_tokens(X) == tokenizer.convert_ids_to_tokens(np.int64(X)) == "##x"
    assert tokenizer.convert_ids_to_tokens([CLS, A, SEP]) == ["[CLS]", "a", "[SEP]"]
    assert tokenizer.convert_ids_to_tokens(np.array([CLS, A, PAD]), skip_special_tokens=True) == ["a"]


# -- added tokens --------------------------------------------------------------------------------------------


def test_ids_with_gaps_are_refused(tokenizer_class: type[BaseTokenizer], tmp_path: Path) -> None:
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


# -- files ---------------------------------------------------------------------------------------------------


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
