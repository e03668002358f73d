"""The tokenizer and the preprocessor of a preset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distilbert_core.errors import DistilBertError
from distilbert_core.files.json_files import read_content
from distilbert_core.files.links import refuse_link
from distilbert_core.files.names import TOKENIZER_FILES
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from weight_conversion.formats.kerashub.preset import (
    PREPROCESSOR,
    TASK_MODELS,
    TOKENIZER,
    VOCABULARY,
    keras_object,
    settings_of,
)
from weight_conversion.sidecars import load_tokenizer

if TYPE_CHECKING:
    from distilbert_core.tokenization import DistilBertTokenizer

VOCABULARY_FILE, TOKENIZER_CONFIG = "vocab.txt", "tokenizer_config.json"  # the Hub's
TOKENIZER_CLASSES = ("DistilBert", "Bert", "PreTrained", "Tokenizers")  # prefixes of the names of equivalent classes
SPECIAL_TOKENS = {
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "mask_token": "[MASK]",
}


def sidecars(path: Path) -> dict[str, bytes]:
    """Return the vocabulary and the settings of the tokenizer of a preset as files of the Hub."""
    vocabulary, config = path.parent / VOCABULARY, settings_of(path.with_name(TOKENIZER))
    if not vocabulary.is_file() or not config:
        return {}
    settings = {
        "do_lower_case": bool(config.get("lowercase")),
        "strip_accents": bool(config.get("strip_accents")),
        "tokenize_chinese_chars": bool(config.get("split_on_cjk", True)),
        "unk_token": config.get("oov_token", "[UNK]"),
        "model_max_length": settings_of(path.with_name(PREPROCESSOR)).get("sequence_length"),
    }
    settings = {name: value for name, value in settings.items() if value is not None}
    refuse_link(vocabulary, path.parent)
    tokens = read_content(vocabulary, limit="vocabulary_bytes")
    return {VOCABULARY_FILE: tokens, TOKENIZER_CONFIG: json.dumps(settings, indent=2).encode()}


def preset_tokenizer(files: Mapping[str, bytes]) -> tuple[DistilBertTokenizer | None, list[str]]:
    """Return the tokenizer for a preset, None if KerasHub cannot have it, and notes on the parts that are lost."""
    from distilbert_core.tokenization import DistilBertTokenizer

    present = {name: files[name] for name in TOKENIZER_FILES if name in files}
    if not present.keys() & {VOCABULARY_FILE, TOKENIZER}:
        return None, [f"Left out, as KerasHub's tokenizer needs a vocabulary: {', '.join(present)}."] if present else []
    try:
        tokenizer = load_tokenizer(DistilBertTokenizer, present)
    except DistilBertError as error:
        return None, [f"The tokenizer was left out, as it could not be read: {error}"]
    vocabulary = tokenizer.specification().vocabulary
    named = {name: getattr(tokenizer, name) for name in SPECIAL_TOKENS}
    if named != SPECIAL_TOKENS or not vocabulary.keys() >= {*SPECIAL_TOKENS.values(), tokenizer.unk_token}:
        got = ", ".join(f"{name}={token!r}" for name, token in named.items())
        wanted = ", ".join(SPECIAL_TOKENS.values())
        return None, [f"The tokenizer was left out: KerasHub's has {wanted} in its vocabulary, this one {got}."]
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        return None, ["The tokenizer was left out: KerasHub's has a token for each id, this one has gaps."]
    return tokenizer, _lost(tokenizer, present)


def _lost(tokenizer: DistilBertTokenizer, files: Mapping[str, bytes]) -> list[str]:
    """Return notes on the parts of a tokenizer that a preset cannot hold."""
    ordinary = {*SPECIAL_TOKENS.values(), tokenizer.unk_token}
    added = [
        f"{token.content} ({index})"
        for index, token in tokenizer.added_tokens_decoder.items()
        if token.content not in ordinary
    ]
    basic, normalizer = tokenizer.specification().basic, _normalizer(tokenizer)
    kind = json.loads(files.get(TOKENIZER_CONFIG, b"{}")).get("tokenizer_class")
    settings = {
        "do_basic_tokenize=False": not basic,
        "clean_text=False": not normalizer["clean_text"],
        f"never_split={list(tokenizer.never_split)}": tokenizer.never_split,
        f"padding_side={tokenizer.padding_side!r}": tokenizer.padding_side != "right",
        f"truncation_side={tokenizer.truncation_side!r}": tokenizer.truncation_side != "right",
        f"tokenizer_class={kind!r}": kind is not None and not str(kind).startswith(TOKENIZER_CLASSES),
    }
    notes = []
    if added:
        notes.append(f"Dropped, as KerasHub's tokenizer has no added tokens: {', '.join(added)}.")
    if any(settings.values()):
        unusual = ", ".join(name for name, differs in settings.items() if differs)
        notes.append(f"Settings of the tokenizer that KerasHub's does not have: {unusual}.")
    return notes


def _normalizer(tokenizer: DistilBertTokenizer) -> dict[str, bool | None]:
    """Return the options of the normalizer of a tokenizer, with the names of tokenizer.json."""
    from distilbert_core.tokenization.files import NORMALIZER_DEFAULTS

    return NORMALIZER_DEFAULTS | dict(tokenizer.specification().normalizer)


def tokens_in_order(tokenizer: DistilBertTokenizer) -> list[str]:
    """Return the tokens of a vocabulary by ascending id."""
    vocabulary = tokenizer.specification().vocabulary
    return sorted(vocabulary, key=vocabulary.__getitem__)


def preset_preprocessor(tokenizer: DistilBertTokenizer, config: DistilBertConfig, head: Head) -> dict[str, Any]:
    """Return the description of a preprocessor; the base model has that of a text classifier."""
    task = TASK_MODELS.get(head, TASK_MODELS[Head.SEQUENCE_CLASSIFICATION])
    specification, normalizer = tokenizer.specification(), _normalizer(tokenizer)
    lowercase, strip_accents = (specification.basic and normalizer[name] for name in ("lowercase", "strip_accents"))
    settings = {
        "config_file": TOKENIZER,
        "vocabulary": None,  # it has its own file
        "sequence_length": None,
        "lowercase": lowercase,
        "strip_accents": lowercase if strip_accents is None else strip_accents,
        "split": True,
        "suffix_indicator": specification.prefix,
        "oov_token": specification.unk_token,
        "special_tokens": None,
        "special_tokens_in_strings": False,
    }
    if not (specification.basic and normalizer["handle_chinese_chars"]):
        settings["split_on_cjk"] = False  # KerasHub reads it, but does not write it
    fields = {
        "tokenizer": keras_object("distil_bert_tokenizer", "int32", settings),
        "config_file": PREPROCESSOR,
        "sequence_length": min(config.max_position_embeddings, tokenizer.model_max_length),
        "truncate": "round_robin",
        **task.masking,
    }
    return keras_object(f"{task.name}_preprocessor", "float32", fields)
