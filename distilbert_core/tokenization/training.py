"""Training: a WordPiece vocabulary from texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tokenizers import AddedToken, Tokenizer
from tokenizers.trainers import WordPieceTrainer

from distilbert_core.errors import InputError


def train_engine(
    tokenizer_json: bytes,
    texts: Iterable[Any],
    vocab_size: int,
    length: int | None,
    special_tokens: Sequence[str | AddedToken],
    unk_token: str,
    options: Mapping[str, Any],
) -> Tokenizer:
    """Return an engine with the normaliser and the splitting of another one, and a new vocabulary.

    Args:
        tokenizer_json: tokenizer.json of the other engine.
        texts: Texts, or lists of texts.
        vocab_size: Largest number of tokens.
        length: Number of items in `texts`, for the progress bar.
        special_tokens: The special tokens, which get the first ids.
        unk_token: The token of unknown words.
        options: Further arguments of `WordPieceTrainer`.

    Raises:
        InputError: The other engine's vocabulary is not one of WordPiece.
    """
    content = json.loads(tokenizer_json)
    if content["model"]["type"] != "WordPiece":
        raise InputError(f"Only a WordPiece vocabulary can be trained here, this is {content['model']['type']}.")
    content["model"] |= {"vocab": {}, "unk_token": unk_token}
    content |= {"added_tokens": [], "post_processor": None}
    engine = Tokenizer.from_str(json.dumps(content))
    trainer = WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=list(special_tokens),
        continuing_subword_prefix=content["model"]["continuing_subword_prefix"],
        **options,
    )
    engine.train_from_iterator(texts, trainer, length=length)
    return engine
