"""A part of the vocabulary: the tokens that a corpus needs, and a tokenizer of these."""

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
    """Return the ids of the tokens that a corpus needs: a `vocabulary` for `make_student`.

    Special tokens and those of a single character, at the beginning of a word or within one, are always among them.
    With the tokenizer of the student then:

    - A word of which all tokens were kept is split as before. Without `size` those are all words of the corpus.
    - Any other word is spelt with what was kept. It becomes [UNK] only if it did before, or if it has a character that
      was no token by itself at such a place (the first of a word, or within one).

    Args:
        tokenizer: The teacher's.
        texts: The corpus; may be a generator.
        size: Number of ids to return, the most frequent ones besides those that are always there; of equal frequency
            the lower. None: all that occur.

    Returns:
        Ids in ascending order, at most `size`.

    Raises:
        InputError: `texts` is a single text, or `size` has no room for the tokens that are always there.

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
    """Return the ids of a vocabulary in ascending order, checked; None: all tokens are kept."""
    if vocabulary is None:
        return None
    ids = sorted({int(index) for index in vocabulary})
    if not ids or ids[0] < 0 or ids[-1] >= config.vocab_size:
        found = f"ids from {ids[0]} to {ids[-1]}" if ids else "none"
        raise InputError(f"vocabulary must hold ids from 0 to {config.vocab_size - 1}, got {found}.")
    if config.pad_token_id is not None and config.pad_token_id not in ids:
        raise InputError(f"vocabulary must hold the padding token, id {config.pad_token_id}.")
    return ids


def trim_tokenizer(sidecars: Mapping[str, bytes], ids: Sequence[int]) -> dict[str, bytes]:
    """Return the files with those of a tokenizer that knows some of the tokens, numbered anew."""
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
    del options["added_tokens_decoder"]  # the engine knows them
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
