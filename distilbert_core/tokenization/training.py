"""Making the vocabulary of a new tokenizer from texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken, Tokenizer
from tokenizers.trainers import WordPieceTrainer

from distilbert_core.errors import InputError
from distilbert_core.tokenization import files
from distilbert_core.tokenization.special_tokens import ADDITIONAL, Token

if TYPE_CHECKING:
    from distilbert_core.tokenization.accessors import Accessors


def train(
    tokenizer: Accessors,
    texts: Iterable[Any],
    vocab_size: int,
    length: int | None,
    new: Iterable[Token],
    names: Mapping[str, str],
    options: Mapping[str, Any],
) -> tuple[Tokenizer, dict[str, Any]]:
    """Return the engine of a tokenizer with another vocabulary, and its special tokens by argument name.

    Args:
        tokenizer: Whose normaliser, splitting and special tokens the new one has.
        texts: Texts, or lists of texts.
        vocab_size: Number of tokens, at most.
        length: Number of items in `texts`, for the progress bar.
        new: More special tokens.
        names: New special token by the old one.
        options: Further arguments of `WordPieceTrainer`.

    Raises:
        InputError: The tokenizer's vocabulary is not one of WordPiece, or `names` has an unknown token.
    """
    content = json.loads(tokenizer.to_json())
    if content["model"]["type"] != "WordPiece":
        raise InputError(f"Only a WordPiece vocabulary can be trained here, this is {content['model']['type']}.")
    unknown = [name for name in names if name not in tokenizer.all_special_tokens]
    if unknown:
        raise InputError(
            f"special_tokens_map must rename special tokens, which are {', '.join(tokenizer.all_special_tokens)}; got "
            f"{', '.join(unknown)}."
        )

    def renamed(token: AddedToken) -> AddedToken:
        fields = files.token_fields(token)
        return AddedToken(**{**fields, "content": names.get(token.content, token.content)})

    unk_token = names.get(tokenizer.unk_token, tokenizer.unk_token)
    content["model"] |= {"vocab": {}, "unk_token": unk_token}
    content |= {"added_tokens": [], "post_processor": None}
    engine = Tokenizer.from_str(json.dumps(content))
    kept = [renamed(token) for _, token in sorted(tokenizer.added_tokens_decoder.items()) if token.special]
    trainer = WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=[*kept, *new],
        continuing_subword_prefix=content["model"]["continuing_subword_prefix"],
        **options,
    )
    engine.train_from_iterator(texts, trainer, length=length)
    special: dict[str, Any] = {ADDITIONAL: []}
    for name, value in tokenizer.special_tokens_map_extended.items():
        special[name] = list(map(renamed, value)) if isinstance(value, list) else renamed(value)
    special[ADDITIONAL] += new
    return engine, special
