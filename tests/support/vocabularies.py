"""The vocabularies of the tests of tokenizers, and their files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from distilbert_core import DEFAULT_MODEL
from distilbert_core.files.hub import EMBEDDED_MODELS
from distilbert_core.tokenization import BaseTokenizer, BatchEncoding

VOCAB = EMBEDDED_MODELS / DEFAULT_MODEL / "vocab.txt"  # that of bert-base-uncased
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


LEFT_PADDED = {"padding_side": "left"}
LEFT_CUT = {"truncation_side": "left"}
TWO = ["a", "a b c"]


def with_added_tokens(tokenizer: BaseTokenizer) -> BaseTokenizer:
    tokenizer.add_tokens(["new", AddedToken("xx", single_word=True), AddedToken("É", normalized=False, rstrip=True)])
    tokenizer.add_special_tokens({"additional_special_tokens": ["<e>", "d"]})
    return tokenizer


def as_object(token: str) -> dict[str, Any]:
    return {"content": token, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
