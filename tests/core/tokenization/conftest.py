"""Fixtures of the tests of tokenizers."""

from __future__ import annotations

from pathlib import Path

import pytest

from distilbert_core import DistilBertTokenizer, DistilBertTokenizerFast
from distilbert_core.tokenization import BaseTokenizer
from support.vocabularies import VOCAB, Make, write_vocabulary


@pytest.fixture(scope="module", params=[DistilBertTokenizerFast, DistilBertTokenizer], ids=["fast", "slow"])
def tokenizer_class(request: pytest.FixtureRequest) -> type[BaseTokenizer]:
    return request.param


@pytest.fixture
def small(tokenizer_class: type[BaseTokenizer], tmp_path: Path) -> Make:
    """Makes tokenizers of the small vocabulary."""
    folder = write_vocabulary(tmp_path / "small")
    return lambda **options: tokenizer_class(folder / "vocab.txt", **options)


@pytest.fixture(scope="module")
def base(tokenizer_class: type[BaseTokenizer]) -> BaseTokenizer:
    return tokenizer_class(VOCAB)
