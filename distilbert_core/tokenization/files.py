"""Reading and writing of a tokenizer's files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken

from distilbert_core.errors import CheckpointError
from distilbert_core.tokenization.special_tokens import added_token

PREFIX = "##"  # of a token that continues a word
LONGEST_WORD = 100  # characters; a longer word is unknown

NORMALIZER_OPTIONS = {  # name in tokenizer.json -> argument
    "clean_text": "clean_text",
    "handle_chinese_chars": "tokenize_chinese_chars",
    "strip_accents": "strip_accents",
    "lowercase": "do_lower_case",
}
NORMALIZER_DEFAULTS = {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}


@dataclass(frozen=True)
class Specification:
    """The vocabulary and the options of an engine.

    Attributes:
        vocabulary: Id of each token.
        unk_token: Stands for a word that the vocabulary cannot spell.
        prefix: Beginning of a token that continues a word.
        basic: Normalise texts, and split them at punctuation too.
        normalizer: Options of the normaliser that differ from the defaults, named as in tokenizer.json.
        longest_word: Largest number of characters of a word; a longer one is unknown.
    """

    vocabulary: Mapping[str, int]
    unk_token: str
    prefix: str
    basic: bool
    normalizer: Mapping[str, bool | None]
    longest_word: int = LONGEST_WORD


# -- reading ----------------------------------------------------------------------------------------------------


def read_vocabulary(path: str | Path) -> dict[str, int]:
    """Read vocab.txt: the id of a token is the number of its line, from 0.

    Raises:
        CheckpointError: The file is missing, empty, or not UTF-8.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} cannot be read as a vocabulary ({error}).") from error
    vocabulary = {token.rstrip("\r"): index for index, token in enumerate(text.removesuffix("\n").split("\n"))}
    if not text:
        raise CheckpointError(f"{path} is an empty vocabulary.")
    return vocabulary


def read_json(path: Path | None) -> dict[str, Any]:
    """Read a JSON object; without a file, return an empty one.

    Raises:
        CheckpointError: The file holds something else.
    """
    if path is None:
        return {}
    try:
        options = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}).") from error
    if not isinstance(options, dict):
        raise CheckpointError(f"{path} must hold a JSON object, got {type(options).__name__}.")
    return options


def read_text(path: str | Path) -> str:
    """Read the text of tokenizer.json.

    Raises:
        CheckpointError: The file is missing or is not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise not_tokenizer_json(path, error) from error


def parse_tokenizer_json(name: str | Path, text: str) -> dict[str, Any]:
    """Return the content of tokenizer.json.

    Args:
        name: Name of the file, for errors.
        text: Text of the file.

    Raises:
        CheckpointError: The text is not that of a tokenizer.
    """
    try:
        content = json.loads(text)
        if not isinstance(content["model"], dict) or not isinstance(content["added_tokens"], list):
            raise TypeError("model must be an object, and added_tokens a list")
    except (ValueError, LookupError, TypeError) as error:
        raise not_tokenizer_json(name, error) from error
    return content


def not_tokenizer_json(name: str | Path, error: Exception) -> CheckpointError:
    """Return the error for a damaged tokenizer.json."""
    return CheckpointError(f"{name} is not a valid tokenizer.json ({type(error).__name__}: {error}).")


def added_tokens_of(content: Mapping[str, Any]) -> list[tuple[int, AddedToken]]:
    """Return the added tokens of tokenizer.json with their ids, sorted by id."""
    return [
        (entry["id"], added_token(entry)) for entry in sorted(content["added_tokens"], key=lambda entry: entry["id"])
    ]


# -- writing ----------------------------------------------------------------------------------------------------


def prefixed(name: str, prefix: str | None) -> str:
    """Return the name of a file with a prefix."""
    return f"{prefix}-{name}" if prefix else name


def render_vocabulary(vocabulary: Mapping[str, int]) -> bytes:
    """Return vocab.txt."""
    tokens = {index: token for token, index in vocabulary.items()}
    last = max(tokens)
    # An id without a token gets a line that repeats the last token: of equal lines, readers use the last one.
    return "".join(f"{tokens.get(index, tokens[last])}\n" for index in range(last + 1)).encode()


def render_json(content: Mapping[str, Any]) -> bytes:
    """Return a JSON object with sorted keys."""
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()
