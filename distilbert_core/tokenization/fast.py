"""`DistilBertTokenizerFast`: WordPiece on the `tokenizers` library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from distilbert_core.errors import CheckpointError, InputError
from distilbert_core.tokenization.base import BaseTokenizer
from distilbert_core.tokenization.files import LONGEST_WORD, NORMALIZER_DEFAULTS, Specification


class DistilBertTokenizerFast(BaseTokenizer):
    """WordPiece on the `tokenizers` library: fast, and the reference.

    For the arguments see `BaseTokenizer`, which both share.

    Example:
        >>> from distilbert_core import DistilBertTokenizerFast
        >>> tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
        >>> tokenizer("I love it!")["input_ids"]
        [101, 1045, 2293, 2009, 999, 102]
    """

    is_fast = True

    def _make_engine(self, specification: Specification) -> Tokenizer:
        if self.never_split:
            raise InputError(
                "never_split is for DistilBertTokenizer; here, add_tokens gives tokens that are not split."
            )
        return make_backend(specification)

    def _read_engine(self, tokenizer_file: str | Path, normalizer: Mapping[str, bool]) -> Tokenizer:
        try:
            tokenizer = Tokenizer.from_file(str(tokenizer_file))
        except Exception as error:  # the library raises plain Exception for whatever is wrong with the file
            raise CheckpointError(f"{tokenizer_file} is no valid tokenizer.json ({error}).") from error
        tokenizer.no_padding()  # files may hold what some call asked for
        tokenizer.no_truncation()
        if isinstance(tokenizer.normalizer, BertNormalizer):
            for name, value in normalizer.items():
                setattr(tokenizer.normalizer, name, value)
        return tokenizer

    def _set_frame(self) -> None:
        set_frame(self.backend_tokenizer, self.cls_token, self.sep_token)

    def _join(self, tokens: Sequence[str], clean_up: bool) -> str:
        decoder = self.backend_tokenizer.decoder
        if isinstance(decoder, WordPieceDecoder):
            decoder = WordPieceDecoder(prefix=decoder.prefix, cleanup=clean_up)
        return decoder.decode(list(tokens)) if decoder else " ".join(tokens)

    def specification(self) -> Specification:
        """Return vocabulary and options."""
        engine = self.backend_tokenizer
        normalizer = engine.normalizer
        basic = isinstance(normalizer, BertNormalizer)
        options = {name: getattr(normalizer, name) for name in NORMALIZER_DEFAULTS} if basic else {}
        prefix = getattr(engine.model, "continuing_subword_prefix", "")
        return Specification(engine.get_vocab(with_added_tokens=False), self.unk_token, prefix, basic, options)

    def to_json(self) -> bytes:
        """Return tokenizer.json."""
        return render_backend(self.backend_tokenizer)


def make_backend(specification: Specification) -> Tokenizer:
    """Return a tokenizer of the `tokenizers` library."""
    tokenizer = Tokenizer(
        WordPiece(
            dict(specification.vocabulary),
            unk_token=specification.unk_token,
            continuing_subword_prefix=specification.prefix,
            max_input_chars_per_word=LONGEST_WORD,
        )
    )
    if specification.basic:
        options: dict[str, Any] = NORMALIZER_DEFAULTS | dict(specification.normalizer)
        tokenizer.normalizer = BertNormalizer(**options)
        tokenizer.pre_tokenizer = BertPreTokenizer()
    else:
        tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.decoder = WordPieceDecoder(prefix=specification.prefix)
    return tokenizer


def set_frame(tokenizer: Tokenizer, cls: str, sep: str) -> None:
    """Let [CLS] A [SEP], or [CLS] A [SEP] B [SEP], be what a text or pair becomes."""
    tokenizer.post_processor = TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B:1 {sep}:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (cls, sep)],
    )


def render_backend(tokenizer: Tokenizer) -> bytes:
    """Return tokenizer.json, without the truncation that a call sets."""
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    tokenizer.no_truncation()
    return tokenizer.to_str(pretty=True).encode()
