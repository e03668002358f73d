"""`DistilBertTokenizerFast`: WordPiece on the `tokenizers` library."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from distilbert_core.errors import CheckpointError
from distilbert_core.tokenization.base import BaseTokenizer
from distilbert_core.tokenization.encodings import Truncation
from distilbert_core.tokenization.files import (
    LONGEST_WORD,
    NORMALIZER_DEFAULTS,
    TOKENIZER_FILE,
    VOCAB_FILE,
    Specification,
)
from distilbert_core.tokenization.slow import DistilBertTokenizer


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
    slow_tokenizer_class = DistilBertTokenizer
    vocab_files_names: Mapping[str, str] = {"vocab_file": VOCAB_FILE, "tokenizer_file": TOKENIZER_FILE}

    def _make_engine(self, specification: Specification) -> Tokenizer:
        return make_backend(specification)

    def _read_engine(
        self, where: str | Path, text: str, content: Mapping[str, Any], normalizer: Mapping[str, bool]
    ) -> Tokenizer:
        try:
            tokenizer = Tokenizer.from_str(text)
        except Exception as error:  # the library raises plain Exception for whatever is wrong with the file
            raise CheckpointError(f"{where} is no valid tokenizer.json ({error}).") from error
        tokenizer.no_padding()  # files may hold what some call asked for
        tokenizer.no_truncation()
        if isinstance(tokenizer.normalizer, BertNormalizer):
            for name, value in normalizer.items():
                setattr(tokenizer.normalizer, name, value)
        return tokenizer

    def _tell_special_tokens(self) -> None:
        model = self.backend_tokenizer.model
        if isinstance(model, WordPiece):
            model.unk_token = self.unk_token
        set_frame(self.backend_tokenizer, self.cls_token, self.sep_token)

    def _encode(
        self, texts: Sequence[Any], words: bool, special: bool, truncation: Truncation | None, split_special: bool
    ) -> list[Any]:
        frame = self.backend_tokenizer.post_processor
        if not special:  # the library would take the frame's tokens from the room for the stride all the same
            self.backend_tokenizer.post_processor = TemplateProcessing("$A", "$A $B:1", [])
        try:
            return super()._encode(texts, words, special, truncation, split_special)
        finally:
            self.backend_tokenizer.post_processor = frame

    @property
    def decoder(self) -> Any:
        """The decoder of the `tokenizers` library."""
        return self.backend_tokenizer.decoder

    @property
    def _tokenizer(self) -> Tokenizer:
        return self.backend_tokenizer  # its name in Transformers, which libraries read

    def _normalize(self, text: str) -> str:
        normalizer = self.backend_tokenizer.normalizer
        return normalizer.normalize_str(text) if normalizer else text

    def _join(self, tokens: Sequence[str], clean_up: bool) -> str:
        decoder = self.backend_tokenizer.decoder
        if isinstance(decoder, WordPieceDecoder):
            decoder = WordPieceDecoder(prefix=decoder.prefix, cleanup=clean_up)
        return decoder.decode(list(tokens)) if decoder else " ".join(tokens)

    def specification(self) -> Specification:
        """Return vocabulary and options."""
        engine, options = self.backend_tokenizer, self.normalizer_options()
        longest_word = getattr(engine.model, "max_input_chars_per_word", LONGEST_WORD)
        vocabulary = engine.get_vocab(with_added_tokens=False)
        return Specification(vocabulary, self.unk_token, self.wordpieces_prefix, bool(options), options, longest_word)

    def normalizer_options(self) -> dict[str, bool | None]:
        """Return the options of BERT's normaliser; none if there is another or none."""
        normalizer = self.backend_tokenizer.normalizer
        basic = isinstance(normalizer, BertNormalizer)
        return {name: getattr(normalizer, name) for name in NORMALIZER_DEFAULTS} if basic else {}

    def _prefix(self) -> str:
        return getattr(self.backend_tokenizer.model, "continuing_subword_prefix", "")

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
            max_input_chars_per_word=specification.longest_word,
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
    single = [_piece(cls, 0), {"Sequence": {"id": "A", "type_id": 0}}, _piece(sep, 0)]
    frame = {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}, _piece(sep, 1)],
        "special_tokens": {
            token: {"id": token, "ids": [tokenizer.token_to_id(token)], "tokens": [token]} for token in (cls, sep)
        },
    }
    processor = TemplateProcessing()
    processor.__setstate__(json.dumps(frame).encode())  # its constructor takes no tokens with spaces, ':' or '$'
    tokenizer.post_processor = processor


def _piece(token: str, text: int) -> dict[str, Any]:
    return {"SpecialToken": {"id": token, "type_id": text}}


def render_backend(tokenizer: Tokenizer) -> bytes:
    """Return tokenizer.json, without the truncation that a call sets."""
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    tokenizer.no_truncation()
    return tokenizer.to_str(pretty=True).encode()
