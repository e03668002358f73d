"""A part of the vocabulary: the tokens that a corpus needs, and a tokenizer with only these tokens."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from distilbert_core.errors import InputError
from distilbert_core.files.names import (
    SPECIAL_TOKENS_FILE,
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
    TOKENIZER_FILES,
)
from distilbert_core.model.config import DistilBertConfig
from weight_conversion.sidecars import load_tokenizer

if TYPE_CHECKING:
    from distilbert_core.tokenization.base import BaseTokenizer

TEXTS_AT_ONCE = 1000


def corpus_vocabulary(tokenizer: BaseTokenizer, texts: Iterable[str], size: int | None = None) -> list[int]:
    """Return the ids of the tokens that a corpus needs, as a `vocabulary` for `make_student`.

    Special tokens and tokens of a single character, at the start of a word or inside a word, are always included. The
    tokenizer of the student then splits texts as follows:

    - A word whose tokens were all kept is split as before. Without `size` this holds for all words of the corpus.
    - Any other word is split into kept tokens. It becomes [UNK] only if it was [UNK] before, or if one of its
      characters was not a token on its own at the same position (at the start of a word or inside it).

    Args:
        tokenizer: Tokenizer of the teacher.
        texts: The corpus; may be a generator.
        size: Number of ids to return: the tokens that are always included, then the most frequent ones, the lower id
            first if two are equally frequent. None: all tokens of the corpus.

    Returns:
        Ids in ascending order, at most `size`.

    Raises:
        InputError: `texts` is a single text, or `size` is smaller than the number of tokens that are always included.

    Example:
        >>> from distilbert_core import DistilBertTokenizerFast
        >>> from weight_conversion import corpus_vocabulary
        >>> tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
        >>> characters = corpus_vocabulary(tokenizer, [])
        >>> more = corpus_vocabulary(tokenizer, ["A fine film.", "Fine, a film!"], size=len(characters) + 1)
        >>> tokenizer.convert_ids_to_tokens(sorted(set(more) - set(characters)))
        ['film']
    """
    if isinstance(texts, str):
        raise InputError("texts must be several texts, such as a list, got one text.")
    prefix = tokenizer.specification().prefix
    always = set(tokenizer.all_special_ids)
    always |= {index for index, token in tokenizer.added_tokens_decoder.items() if token.special}
    always |= {index for token, index in tokenizer.get_vocab().items() if len(token.removeprefix(prefix)) == 1}
    if size is not None and size < len(always):
        raise InputError(
            f"size must be at least {len(always)}, the number of special tokens and characters, got {size}."
        )
    counts: Counter[int] = Counter()
    source = iter(texts)
    while batch := list(islice(source, TEXTS_AT_ONCE)):
        for ids in tokenizer(batch, verbose=False)["input_ids"]:
            counts.update(ids)
    occurring = sorted(counts.keys() - always, key=lambda index: (-counts[index], index))
    room = None if size is None else size - len(always)
    return sorted([*always, *occurring[:room]])


def kept_ids(config: DistilBertConfig, vocabulary: Iterable[int] | None) -> list[int] | None:
    """Return the ids to keep in ascending order, checked; None if all tokens are kept."""
    if vocabulary is None:
        return None
    ids = sorted({int(index) for index in vocabulary})
    if not ids or ids[0] < 0 or ids[-1] >= config.vocab_size:
        got = f"ids from {ids[0]} to {ids[-1]}" if ids else "none"
        raise InputError(f"vocabulary must hold ids from 0 to {config.vocab_size - 1}, got {got}.")
    if config.pad_token_id is not None and config.pad_token_id not in ids:
        raise InputError(f"vocabulary must hold the padding token, id {config.pad_token_id}.")
    return ids


def trim_tokenizer(sidecars: Mapping[str, bytes], ids: Sequence[int]) -> dict[str, bytes]:
    """Return sidecars whose tokenizer has only some of the tokens, with new ids.

    Args:
        sidecars: Content of the files of the teacher by name.
        ids: Ids of the tokens to keep, in the order of their new ids.

    Raises:
        InputError: A special token is missing, or an id is not the id of a token.
    """
    from distilbert_core.tokenization import DistilBertTokenizerFast

    tokenizer = load_tokenizer(DistilBertTokenizerFast, sidecars)
    renumbered = {old: new for new, old in enumerate(ids)}
    lost = [token for token in tokenizer.all_special_tokens if tokenizer.vocab[token] not in renumbered]
    if lost:
        raise InputError(f"vocabulary must hold the special tokens, it lacks {', '.join(lost)}.")
    unnamed = sorted(set(ids) - set(tokenizer.vocab.values()))
    if unnamed:
        raise InputError(f"vocabulary must hold ids of tokens, the tokenizer has none for {unnamed[:8]}.")

    files = tokenizer.files()
    engine = json.loads(files[TOKENIZER_FILE])
    stored = engine["model"]["vocab"]
    engine["model"]["vocab"] = {token: renumbered[old] for token, old in stored.items() if old in renumbered}
    engine["added_tokens"] = [
        token | {"id": renumbered[token["id"]]} for token in engine["added_tokens"] if token["id"] in renumbered
    ]
    options = json.loads(files[TOKENIZER_CONFIG_FILE])
    del options["added_tokens_decoder"]  # tokenizer.json has them
    trimmed = load_tokenizer(
        DistilBertTokenizerFast,
        {
            TOKENIZER_FILE: json.dumps(engine).encode(),
            TOKENIZER_CONFIG_FILE: json.dumps(options).encode(),
            SPECIAL_TOKENS_FILE: files[SPECIAL_TOKENS_FILE],
        },
    )
    others = {name: content for name, content in sidecars.items() if name not in TOKENIZER_FILES}
    return others | trimmed.files()
