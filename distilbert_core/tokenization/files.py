"""The files of a tokenizer: what they hold, reading and writing."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tokenizers import AddedToken

from distilbert_core.errors import CheckpointError
from distilbert_core.files.conversion import open_tokenizer
from distilbert_core.files.hub import ADAPTER_CONFIG, WEIGHT_SUFFIXES, find_file, offline_note, split_hub_options
from distilbert_core.tokenization.special_tokens import ADDITIONAL, MAY_BE_UNSET, SPECIAL_TOKENS, TOKEN_NAMES, Token

if TYPE_CHECKING:
    from distilbert_core.tokenization.base import BaseTokenizer

    Tokenizer = TypeVar("Tokenizer", bound=BaseTokenizer)

VOCAB_FILE = "vocab.txt"
TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
ADDED_TOKENS_FILE = "added_tokens.json"

NOT_IN_FORMAT = {  # the argument `legacy_format` -> files that are not written
    True: (TOKENIZER_FILE,),
    False: (VOCAB_FILE, ADDED_TOKENS_FILE),
}

PREFIX = "##"  # of a token that continues a word
LONGEST_WORD = 100  # characters; a longer word is unknown

STORED_OPTIONS = (  # arguments that tokenizer_config.json or special_tokens_map.json may hold
    *TOKEN_NAMES,
    ADDITIONAL,
    "do_lower_case",
    "do_basic_tokenize",
    "never_split",
    "clean_text",
    "strip_accents",
    "tokenize_chinese_chars",
    "wordpieces_prefix",
    "clean_up_tokenization_spaces",
    "model_max_length",
    "padding_side",
    "truncation_side",
    "split_special_tokens",
    "model_input_names",
)

NORMALIZER_OPTIONS = {  # name in tokenizer.json -> argument
    "clean_text": "clean_text",
    "handle_chinese_chars": "tokenize_chinese_chars",
    "strip_accents": "strip_accents",
    "lowercase": "do_lower_case",
}
NORMALIZER_DEFAULTS = {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}


@dataclass(frozen=True)
class Specification:
    """What an engine is made from.

    Attributes:
        vocabulary: Id of each token.
        unk_token: Stands for a word that the vocabulary cannot spell.
        prefix: What a token that continues a word begins with.
        basic: Normalise, and split at punctuation too.
        normalizer: Options of the normaliser, named as in tokenizer.json, that are not the default.
        longest_word: Characters that a word may have; a longer one is unknown.
    """

    vocabulary: Mapping[str, int]
    unk_token: str
    prefix: str
    basic: bool
    normalizer: Mapping[str, bool | None]
    longest_word: int = LONGEST_WORD


# -- reading ----------------------------------------------------------------------------------------------------


def load(cls: type[Tokenizer], source: str | Path, kwargs: Mapping[str, Any]) -> Tokenizer:
    """Load a tokenizer; see `BaseTokenizer.from_pretrained`."""
    where, options = split_hub_options(kwargs)
    where = {name: value for name, value in where.items() if value is not None}
    file = Path(source).expanduser()
    beside = ""
    if file.is_file() and file.name.endswith((*WEIGHT_SUFFIXES, ADAPTER_CONFIG)):
        source, beside = file.parent, f" beside {file.name}"
    elif file.is_file():
        argument = "tokenizer_file" if file.suffix == ".json" else "vocab_file"
        return cls(**{"name_or_path": source, argument: file, **options})
    tokenizer_file = find_file(source, TOKENIZER_FILE, **where)
    vocab_file = None if tokenizer_file else find_file(source, VOCAB_FILE, **where)
    lacking = tokenizer_file is None and vocab_file is None
    if _is_kerashub(tokenizer_file) or (lacking and find_file(source, ADAPTER_CONFIG, **where) is not None):
        return cast("Tokenizer", open_tokenizer(cls, source, where, options))
    if lacking:
        note = offline_note(source, where)
        raise CheckpointError(f"{source} has neither {TOKENIZER_FILE} nor {VOCAB_FILE}{beside}{note}.")
    stored = read_json(find_file(source, SPECIAL_TOKENS_FILE, **where))
    stored |= read_json(find_file(source, TOKENIZER_CONFIG_FILE, **where))
    if extra := stored.get("extra_special_tokens"):  # their name in Transformers 5, where each may have a name, too
        stored[ADDITIONAL] = stored.get(ADDITIONAL) or list(extra.values() if isinstance(extra, dict) else extra)
    if tokenizer_file is not None:
        stored.pop("do_basic_tokenize", None)  # Transformers stores it and goes by tokenizer.json
    known = {name: stored[name] for name in STORED_OPTIONS if stored.get(name) is not None}
    known |= {name: None for name in MAY_BE_UNSET if name in stored and stored[name] is None}
    added: dict[int, Token] = {
        int(index): added_token(token) for index, token in stored.get("added_tokens_decoder", {}).items()
    }
    described = None if tokenizer_file else {str(token) for token in added.values()}
    for content, index in read_json(find_file(source, ADDED_TOKENS_FILE, **where)).items():
        token = added.setdefault(index, content)
        if str(token) != content:
            raise CheckpointError(
                f"{source}: the added token of id {index} is {str(token)!r} in {TOKENIZER_CONFIG_FILE}, but "
                f"{content!r} in {ADDED_TOKENS_FILE}."
            )
    for name in known.keys() & {*TOKEN_NAMES, ADDITIONAL}:
        known[name] = _special_token(known[name], described)
    if "model_input_names" in known:  # some files have them as BERT's, whose models take token types
        known["model_input_names"] = [name for name in known["model_input_names"] if name != "token_type_ids"]
    found = {"vocab_file": vocab_file, "tokenizer_file": tokenizer_file, "added_tokens_decoder": added}
    return cls(**{"name_or_path": source, **found, **known, **options})


def _is_kerashub(path: Path | None) -> bool:
    """Return whether a tokenizer.json is of a preset of KerasHub, which has its vocabulary elsewhere."""
    return path is not None and path.stat().st_size < 1 << 16 and b'"registered_name": "keras_hub>' in path.read_bytes()


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
    """Read a JSON object; an empty one if there is no file.

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
    """Read tokenizer.json as a text.

    Raises:
        CheckpointError: It is missing or is not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is no valid tokenizer.json ({type(error).__name__}: {error}).") from error


def tokenizer_content(where: str | Path, text: str) -> dict[str, Any]:
    """Return the content of tokenizer.json, given as a text.

    Raises:
        CheckpointError: It is something else; the message calls it `where`.
    """
    try:
        content = json.loads(text)
        if not isinstance(content["model"], dict) or not isinstance(content["added_tokens"], list):
            raise TypeError("model must be an object, and added_tokens a list")
    except (ValueError, LookupError, TypeError) as error:
        raise CheckpointError(f"{where} is no valid tokenizer.json ({type(error).__name__}: {error}).") from error
    return content


def added_tokens_of(content: Mapping[str, Any]) -> list[tuple[int, AddedToken]]:
    """Return the added tokens of tokenizer.json with their ids, in the order of these."""
    return [
        (entry["id"], added_token(entry)) for entry in sorted(content["added_tokens"], key=lambda entry: entry["id"])
    ]


def _special_token(stored: Any, described: Container[str] | None) -> Any:
    """Return a stored special token, or a list of them.

    Args:
        stored: A text, an object that says how the token is matched, or a list of these.
        described: The tokens whose matching another file describes, which counts more; None: all.
    """
    if isinstance(stored, list):
        return [_special_token(entry, described) for entry in stored]
    if not isinstance(stored, dict):
        return stored
    content = stored.get("content")
    return content if described is None or content in described else added_token({**stored, "special": True})


def new_token(content: str, special: bool) -> AddedToken:
    """Return an added token of a text: a special one is matched in the text as it is."""
    return AddedToken(content, special=special, normalized=not special)


def added_token(stored: Mapping[str, Any]) -> AddedToken:
    """Return an added token from its stored form."""
    options = {name: value for name, value in stored.items() if name not in ("content", "__type", "id")}
    return AddedToken(stored["content"], **options)


# -- writing ----------------------------------------------------------------------------------------------------


def render(tokenizer: BaseTokenizer) -> dict[str, bytes]:
    """Return the content of the tokenizer's files by name."""
    specification = tokenizer.specification()
    added = tokenizer.added_tokens_decoder
    options: dict[str, Any] = {
        "tokenizer_class": "DistilBertTokenizer",
        "model_max_length": tokenizer.model_max_length,
        "padding_side": tokenizer.padding_side,
        "truncation_side": tokenizer.truncation_side,
        "clean_up_tokenization_spaces": tokenizer.clean_up_tokenization_spaces,
        "added_tokens_decoder": {str(index): token_fields(token) for index, token in added.items()},
        **{name: None for name in MAY_BE_UNSET if name in SPECIAL_TOKENS},
        **tokenizer.special_tokens_map,
    }
    if specification.basic:
        normalizer = NORMALIZER_DEFAULTS | dict(specification.normalizer)
        options |= {NORMALIZER_OPTIONS[name]: value for name, value in normalizer.items()}
    else:
        options["do_basic_tokenize"] = False
    if specification.prefix != PREFIX:
        options["wordpieces_prefix"] = specification.prefix
    if tokenizer.never_split:
        options["never_split"] = list(tokenizer.never_split)
    if tokenizer.split_special_tokens:
        options["split_special_tokens"] = True
    if tuple(tokenizer.model_input_names) != type(tokenizer).model_input_names:
        options["model_input_names"] = list(tokenizer.model_input_names)
    beyond = {token.content: index for index, token in added.items() if token.content not in specification.vocabulary}
    return {
        TOKENIZER_CONFIG_FILE: _json(options),
        SPECIAL_TOKENS_FILE: _json(tokenizer.special_tokens_map),
        VOCAB_FILE: render_vocabulary(specification.vocabulary),
        **({ADDED_TOKENS_FILE: _json(beyond)} if beyond else {}),
        TOKENIZER_FILE: tokenizer.to_json(),
    }


def prefixed(name: str, prefix: str | None) -> str:
    """Return the name of a file with a prefix."""
    return f"{prefix}-{name}" if prefix else name


def render_vocabulary(vocabulary: Mapping[str, int]) -> bytes:
    """Return vocab.txt."""
    tokens = {index: token for token, index in vocabulary.items()}
    last = max(tokens)
    # The line of an id without a token repeats the last one, whose last line alone counts.
    return "".join(f"{tokens.get(index, tokens[last])}\n" for index in range(last + 1)).encode()


def token_fields(token: AddedToken) -> dict[str, Any]:
    """Return an added token as it is stored."""
    names = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
    return {name: getattr(token, name) for name in names}


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()
