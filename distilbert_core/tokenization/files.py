"""Reading and writing of a tokenizer's files."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any

from tokenizers import AddedToken

from distilbert_core.errors import CheckpointError, DistilBertError, shortened
from distilbert_core.files.boundary import found, reading
from distilbert_core.files.json_files import parse_object, read_content, read_json
from distilbert_core.files.limits import LIMITS, check_limit
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
        CheckpointError: The file is missing, empty, above a limit, or not UTF-8.
    """
    with reading(path, "a vocabulary, with one token in each line"):
        content = read_content(path, "a vocabulary, with one token in each line", "vocabulary_bytes")
        if not content:
            raise CheckpointError(f"{path} is an empty vocabulary.")
        check_limit("vocabulary_tokens", content.count(b"\n"), str(path))
        lines = content.decode().removesuffix("\n").split("\n")
        vocabulary = {token.rstrip("\r"): index for index, token in enumerate(lines)}
        check_limit("token_characters", max(map(len, vocabulary)), str(path))
    return vocabulary


def read_options(path: Path | None) -> dict[str, Any]:
    """Read a JSON object of options; without a file, return an empty one.

    Raises:
        CheckpointError: The file holds something else.
    """
    return {} if path is None else read_json(path)


def read_tokenizer_json(path: str | Path) -> str:
    """Read the text of tokenizer.json.

    Raises:
        CheckpointError: The file is missing, too large, or not UTF-8.
    """
    with reading(path, "a tokenizer.json"):
        return read_content(path, "a tokenizer.json").decode()


def parse_tokenizer_json(name: str | Path, text: str) -> dict[str, Any]:
    """Return the content of tokenizer.json.

    Args:
        name: Name of the file, for errors.
        text: Text of the file.

    Raises:
        CheckpointError: The text is not that of a tokenizer, or is above a limit.
    """
    content = parse_object(name, text)
    try:
        model, added = content["model"], content["added_tokens"]
        check_type("model", model, dict)
        check_type("added_tokens", added, list)
        vocabulary = model.get("vocab", {})
        check_type("model.vocab", vocabulary, dict | list)
        if isinstance(vocabulary, dict):
            check_ids(vocabulary.values(), "model.vocab")
        longest = model.get("max_input_chars_per_word", LONGEST_WORD)
        check_type("model.max_input_chars_per_word", longest, int)
        check_limit("word_characters", longest, "model.max_input_chars_per_word")
        if longest < 0:
            raise CheckpointError(f"model.max_input_chars_per_word must be 0 or more, got {shortened(longest)}.")
        check_limit("vocabulary_tokens", len(vocabulary), "model.vocab")
        check_limit("token_characters", max((len(token) for token in vocabulary), default=0), "model.vocab")
        check_limit("added_tokens", len(added), "added_tokens")
        check_ids([entry["id"] for entry in added], "added_tokens")
        for _, token in added_tokens_of(content):
            check_limit("token_characters", len(token.content), "added_tokens")
    except DistilBertError as error:
        raise CheckpointError(f"{name} is not a valid tokenizer.json: {error}") from error
    except Exception as error:
        raise not_tokenizer_json(name, error) from error
    return content


def not_tokenizer_json(name: str | Path, error: Exception) -> CheckpointError:
    """Return the error for a damaged tokenizer.json."""
    return CheckpointError(f"{name} is not a valid tokenizer.json ({found(error)}).")


def check_type(name: str, value: Any, kind: type | UnionType) -> None:
    """Raise CheckpointError if a value of a file does not have a type, which `True` and `False` share with no other."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        expected = getattr(kind, "__name__", str(kind))
        raise CheckpointError(f"{name} must be of type {expected}, got {shortened(value)}.")


def check_ids(ids: Collection[Any], name: str) -> None:
    """Raise CheckpointError if a value is not a possible id."""
    most = LIMITS["token_id"].most
    for index in ids:
        if type(index) is not int or not 0 <= index <= most:
            raise CheckpointError(f"{name} must have ids from 0 to {most}, got {shortened(index)}.")


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
