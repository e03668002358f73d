"""Tasks with the tokenizer and the configuration of the model that ships with the package."""

from __future__ import annotations

from distilbert_core import DEFAULT_MODEL, DistilBertConfig, DistilBertTokenizerFast
from distilbert_core.training import TASKS, Recipe

TOKENIZER = DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL)
CONFIG = DistilBertConfig.from_pretrained(DEFAULT_MODEL)


def make(name: str, labels=None, **recipe):
    kind = TASKS[name]
    return kind(TOKENIZER, CONFIG.updated(**kind.config_fields(labels)), Recipe(**recipe))


def ids(text: str) -> list[int]:
    """Return the ids of tokens with spaces between."""
    found = TOKENIZER.convert_tokens_to_ids(text.split())
    assert TOKENIZER.unk_token_id not in found
    return found


def letters(count: int) -> str:
    """'a b c ...', each letter a token."""
    return " ".join("abcdefghijklmnopqrstuvwxyz"[:count])


def asked(answer: str, context: str, question: str = "who"):
    return {
        "question": question,
        "context": context,
        "answers": {"text": [answer], "answer_start": [context.index(answer)]},
    }
