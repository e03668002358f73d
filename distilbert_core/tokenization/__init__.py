"""Tokenizers turn texts into ids and back: one interface, and two implementations with the same results."""

from distilbert_core.tokenization.auto import AutoTokenizer
from distilbert_core.tokenization.base import BaseTokenizer
from distilbert_core.tokenization.batch_encoding import BatchEncoding, CharSpan, TokenSpan
from distilbert_core.tokenization.fast import DistilBertTokenizerFast
from distilbert_core.tokenization.files import read_vocabulary
from distilbert_core.tokenization.options import NO_MAX_LENGTH
from distilbert_core.tokenization.slow import DistilBertTokenizer

__all__ = [
    "NO_MAX_LENGTH",
    "AutoTokenizer",
    "BaseTokenizer",
    "BatchEncoding",
    "CharSpan",
    "DistilBertTokenizer",
    "DistilBertTokenizerFast",
    "TokenSpan",
    "read_vocabulary",
]
