"""Stand-ins for what the command reads and runs."""

from __future__ import annotations

import io
import sys

import numpy as np

from distilbert_core import DEFAULT_MODEL, DistilBertConfig, DistilBertTokenizerFast, Head
from distilbert_core.model.inference import Inference

COMMAND = [sys.executable, "-m", "distilbert_cli"]
GOOD, BAD = DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL).convert_tokens_to_ids(["good", "bad"])


class WordCounter(Inference):
    """A sequence classifier whose logits are how often a text says 'bad' and 'good'."""

    backend = "pt"
    head = Head.SEQUENCE_CLASSIFICATION
    config = DistilBertConfig.from_pretrained(DEFAULT_MODEL)

    def __init__(self):
        pass

    def run(self, input_ids, attention_mask):
        return {"logits": np.stack([(input_ids == word).sum(axis=1) for word in (BAD, GOOD)], axis=1).astype(float)}


def stand_in_stdin(monkeypatch, content: bytes, terminal: bool = False) -> None:
    stream = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8")
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", stream)
