"""The engine of the `tokenizers` library: `tokenizers.Tokenizer`, made from a specification, and as tokenizer.json."""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from distilbert_core.tokenization.files import NORMALIZER_DEFAULTS, Specification


def make_engine(specification: Specification) -> Tokenizer:
    """Return an engine of the `tokenizers` library."""
    vocabulary = specification.vocabulary
    engine = Tokenizer(
        WordPiece(
            vocabulary if isinstance(vocabulary, dict) else dict(vocabulary),
            unk_token=specification.unk_token,
            continuing_subword_prefix=specification.prefix,
            max_input_chars_per_word=specification.longest_word,
        )
    )
    if specification.basic:
        options: dict[str, Any] = NORMALIZER_DEFAULTS | dict(specification.normalizer)
        engine.normalizer = BertNormalizer(**options)
        engine.pre_tokenizer = BertPreTokenizer()
    else:
        engine.pre_tokenizer = WhitespaceSplit()
    engine.decoder = WordPieceDecoder(prefix=specification.prefix)
    return engine


def set_template(engine: Tokenizer, cls: str, sep: str) -> None:
    """Make the engine add special tokens: [CLS] A [SEP] for a text, [CLS] A [SEP] B [SEP] for a pair."""
    single = [_piece(cls, 0), {"Sequence": {"id": "A", "type_id": 0}}, _piece(sep, 0)]
    template = {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}, _piece(sep, 1)],
        "special_tokens": {
            token: {"id": token, "ids": [engine.token_to_id(token)], "tokens": [token]} for token in (cls, sep)
        },
    }
    processor = TemplateProcessing()
    processor.__setstate__(json.dumps(template).encode())  # its constructor takes no tokens with spaces, ':' or '$'
    engine.post_processor = processor


def _piece(token: str, type_id: int) -> dict[str, Any]:
    return {"SpecialToken": {"id": token, "type_id": type_id}}


def render_engine(engine: Tokenizer) -> bytes:
    """Return tokenizer.json, without the truncation of a call."""
    engine = Tokenizer.from_str(engine.to_str())
    engine.no_truncation()
    return engine.to_str(pretty=True).encode()
