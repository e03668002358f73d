"""`DistilBertTokenizerFast`: WordPiece on the `tokenizers` library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.processors import TemplateProcessing

from distilbert_core.files.names import TOKENIZER_FILE, VOCAB_FILE
from distilbert_core.tokenization.base import BaseTokenizer
from distilbert_core.tokenization.encodings import Truncation
from distilbert_core.tokenization.engine import Encoding
from distilbert_core.tokenization.files import (
    LONGEST_WORD,
    NORMALIZER_DEFAULTS,
    Specification,
    not_tokenizer_json,
)
from distilbert_core.tokenization.library_engine import make_engine, render_engine, set_template
from distilbert_core.tokenization.slow import DistilBertTokenizer


class DistilBertTokenizerFast(BaseTokenizer):
    """WordPiece on the `tokenizers` library: fast, and the reference for `DistilBertTokenizer`.

    `BaseTokenizer` describes the arguments.

    Example:
        >>> from distilbert_core import DistilBertTokenizerFast
        >>> tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
        >>> tokenizer("I love it!")["input_ids"]
        [101, 1045, 2293, 2009, 999, 102]
    """

    is_fast = True
    backend_tokenizer: Tokenizer
    slow_tokenizer_class = DistilBertTokenizer
    vocab_files_names: Mapping[str, str] = {"vocab_file": VOCAB_FILE, "tokenizer_file": TOKENIZER_FILE}

    def _make_engine(self, specification: Specification) -> Tokenizer:
        return make_engine(specification)

    def _read_engine(
        self, name: str | Path, text: str, content: dict[str, Any], normalizer: Mapping[str, bool]
    ) -> Tokenizer:
        content.clear()  # the library parses the text again; a large vocabulary would take its memory twice
        try:
            engine = Tokenizer.from_str(text)
        except Exception as error:  # the library raises plain Exception for any fault of the file
            raise not_tokenizer_json(name, error) from error
        engine.no_padding()  # files may hold the options of a call
        engine.no_truncation()
        if isinstance(engine.normalizer, BertNormalizer):
            for option, value in normalizer.items():
                setattr(engine.normalizer, option, value)
        return engine

    def _update_special_tokens(self) -> None:
        model = self.backend_tokenizer.model
        if isinstance(model, WordPiece):
            model.unk_token = self.unk_token
        set_template(self.backend_tokenizer, self.cls_token, self.sep_token)

    def _encode(
        self, texts: Sequence[Any], words: bool, special: bool, truncation: Truncation | None, split_special: bool
    ) -> Sequence[Encoding]:
        template = self.backend_tokenizer.post_processor
        if not special:  # the library would still subtract the template's tokens from the room for the stride
            self.backend_tokenizer.post_processor = TemplateProcessing("$A", "$A $B:1", [])
        try:
            return super()._encode(texts, words, special, truncation, split_special)
        finally:
            self.backend_tokenizer.post_processor = template

    @property
    def decoder(self) -> Any:
        """The decoder of the `tokenizers` library."""
        return self.backend_tokenizer.decoder

    @property
    def _tokenizer(self) -> Tokenizer:
        return self.backend_tokenizer  # the name in Transformers, which libraries read

    def _normalize(self, text: str) -> str:
        normalizer = self.backend_tokenizer.normalizer
        return normalizer.normalize_str(text) if normalizer else text

    def _join(self, tokens: Sequence[str], clean_up: bool) -> str:
        decoder = self.backend_tokenizer.decoder
        if isinstance(decoder, WordPieceDecoder):
            decoder = WordPieceDecoder(prefix=decoder.prefix, cleanup=clean_up)
        return decoder.decode(list(tokens)) if decoder else " ".join(tokens)

    def specification(self) -> Specification:
        """Return the vocabulary and the options of the engine."""
        engine, options = self.backend_tokenizer, self.normalizer_options()
        longest_word = getattr(engine.model, "max_input_chars_per_word", LONGEST_WORD)
        vocabulary = engine.get_vocab(with_added_tokens=False)
        return Specification(vocabulary, self.unk_token, self.wordpieces_prefix, bool(options), options, longest_word)

    def normalizer_options(self) -> dict[str, bool | None]:
        """Return the options of BERT's normaliser; none for another normaliser, or without one."""
        normalizer = self.backend_tokenizer.normalizer
        basic = isinstance(normalizer, BertNormalizer)
        return {name: getattr(normalizer, name) for name in NORMALIZER_DEFAULTS} if basic else {}

    def _is_in_vocabulary(self, token: str) -> bool:
        return self.backend_tokenizer.model.token_to_id(token) is not None

    def _prefix(self) -> str:
        return getattr(self.backend_tokenizer.model, "continuing_subword_prefix", "")

    def to_json(self) -> bytes:
        """Return tokenizer.json."""
        with self._lock:  # a call in another thread may have changed the template
            return render_engine(self.backend_tokenizer)
