"""Fixtures of small runs of fine-tuning."""

from __future__ import annotations

from functools import cache

import pytest

from distilbert_core import DistilBertTokenizerFast, Head
from support.checkpoints import save_random, small_config
from support.runs import TEXTS, run


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A file of six texts with their labels, of which the recipe's steps see each four times."""
    rows = [f"{text}\t{('good', 'bad')[number % 2]}" for number, text in enumerate(TEXTS)]
    file = tmp_path_factory.mktemp("data") / "data.tsv"
    file.write_text("\n".join(["text\tlabel", *rows]) + "\n")
    return file


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A checkpoint with dropout, a tokenizer, and no head."""
    folder = tmp_path_factory.mktemp("base")
    tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
    config = small_config(vocab_size=len(tokenizer), max_position_embeddings=32, dropout=0.1)
    save_random(folder, config, Head.BASE)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def whole(data, base, tmp_path_factory):
    """A function that returns the folder of a backend's run that nothing disturbed."""

    @cache
    def folder_of(framework):
        folder = tmp_path_factory.mktemp("whole") / framework.name
        run(framework, data, base, folder)
        return folder

    return folder_of
