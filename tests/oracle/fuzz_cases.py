"""What DistilBertTokenizerFast makes of many random texts, as digests of a hundred texts each.

The texts are those of tests/support/fuzz_texts.py, which the ordinary tests make again.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import transformers
from tokenizer_cases import load_tokenizer

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.fuzz_texts import digests, fuzz_texts

FILE_NAME = "tokenizer_fuzz.json"
BATCH = 1000  # texts encoded at once

# Arguments of the tokenizer, number of texts.
SETTINGS: tuple[tuple[dict[str, Any], int], ...] = (
    ({}, 200_000),
    ({"do_lower_case": False}, 20_000),
    ({"do_lower_case": True, "strip_accents": False, "tokenize_chinese_chars": False}, 20_000),
)


def encoded_rows(tokenizer: transformers.PreTrainedTokenizerFast, texts: Iterable[str]) -> Iterator[list]:
    """Yield [ids, tokens, offsets] for each text, special tokens included."""
    remaining = iter(texts)
    while batch := list(islice(remaining, BATCH)):
        for encoding in tokenizer.backend_tokenizer.encode_batch(batch):
            yield [encoding.ids, encoding.tokens, encoding.offsets]


def write_fuzz_fixture(vocab: Path, root: Path) -> None:
    """Write the fixture to its file below `root`, the digests of one tokenizer a line."""
    lines = []
    for settings, count in SETTINGS:
        found = list(digests(encoded_rows(load_tokenizer(vocab, settings), fuzz_texts(count))))
        lines.append(json.dumps({"tokenizer": settings, "count": count, "digests": found}, separators=(",", ":")))
    (root / FILE_NAME).write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="ascii")
