"""One tokenizer in many threads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from distilbert_core import DistilBertTokenizer, DistilBertTokenizerFast
from support.threads import at_once

TEXTS = ["a lovely film", "dull", "two lost hours of my life, and a waste of time " * 3]
CALLS: list[dict[str, Any]] = [
    {},
    {"truncation": True, "max_length": 5},
    {"truncation": True, "max_length": 7, "stride": 2, "return_overflowing_tokens": True},
    {"padding": True, "return_special_tokens_mask": True},
    {"padding": "max_length", "max_length": 40},
    {"add_special_tokens": False},
    {"add_special_tokens": False, "truncation": True, "max_length": 6},
    {"return_offsets_mapping": True},
]


@pytest.mark.parametrize("kind", [DistilBertTokenizer, DistilBertTokenizerFast])
def test_sixteen_threads_get_the_answers_of_one(kind: Any, tmp_path: Path) -> None:
    tokenizer = kind.from_pretrained("sst2-tiny")
    calls = CALLS if tokenizer.is_fast else [call for call in CALLS if "return_offsets_mapping" not in call]
    serial = [dict(tokenizer(TEXTS, **call)) for call in calls]
    files = tokenizer.files()

    def encode(first: int) -> None:
        for step in range(2 * len(calls)):
            number = (first + step) % len(calls)
            assert dict(tokenizer(TEXTS, **calls[number])) == serial[number]

    def save() -> None:
        for _ in range(3):
            assert tokenizer.files() == files
            tokenizer.save_pretrained(tmp_path)
            kind.from_pretrained(tmp_path)

    at_once([lambda first=first: encode(first) for first in range(16)] + [save])
