"""Texts to labels with any backend: tokenize, run, and say what the logits mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.config import DistilBertConfig
from distilbert_core.inference import load_inference
from distilbert_core.parameters import Head
from distilbert_core.tokenization import DistilBertTokenizerFast

BATCH_SIZE = 32


@dataclass(frozen=True)
class Prediction:
    """What a sequence classifier makes of one text: the best label, its score, and all logits [L]."""

    label: str
    score: float
    logits: np.ndarray


def interpret(config: DistilBertConfig, logits: np.ndarray) -> Prediction:
    """Return the best label of logits [L] and its score.

    The score is the softmax probability; the sigmoid for multi-label models and for those with one label; and the
    number itself for regression.

    Example:
        >>> import numpy as np
        >>> from distilbert_core import DistilBertConfig
        >>> from distilbert_core.classification import interpret
        >>> prediction = interpret(DistilBertConfig(), np.array([0.0, np.log(3.0)]))
        >>> prediction.label, round(prediction.score, 2)
        ('LABEL_1', 0.75)
    """
    logits = logits.astype(np.float64)
    if config.problem_type == "regression":
        scores = logits
    elif config.problem_type == "multi_label_classification" or config.num_labels == 1:
        scores = np.exp(-np.logaddexp(0, -logits))
    else:
        scores = np.exp(logits - np.logaddexp.reduce(logits))
    best = int(logits.argmax())
    return Prediction(config.id2label[best], float(scores[best]), logits)


class TextClassifier:
    """A sequence classifier with its tokenizer, on one backend.

    Args:
        source: Folder, embedded model or Hub id.
        backend: 'pt', 'tf' or 'flax'.
        **kwargs: Keywords of `from_pretrained`: where to look, `dtype`, `device`.

    Raises:
        BackendNotInstalledError: The backend's framework is not installed.
        CheckpointError: There is no such checkpoint, or it is damaged.

    Example:
        >>> from distilbert_core.classification import TextClassifier
        >>> classifier = TextClassifier("sst2-tiny", "pt")
        >>> [prediction.label for prediction in classifier(["What a lovely film."])]
        ['POSITIVE']
    """

    def __init__(self, source: str | Path, backend: str, **kwargs: Any):
        self.model = load_inference(backend, Head.SEQUENCE_CLASSIFICATION, source, **kwargs)
        self.tokenizer = DistilBertTokenizerFast.from_pretrained(source)

    def __call__(self, texts: Iterable[str]) -> Iterator[Prediction]:
        """Yield a prediction for each text, in order, holding one batch of texts at a time."""
        texts = iter(texts)
        while batch := list(islice(texts, BATCH_SIZE)):
            yield from self._classify(batch)

    def _classify(self, texts: Sequence[str]) -> Iterator[Prediction]:
        longest = self.model.config.max_position_embeddings
        encoding = self.tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="np")
        for logits in self.model(**encoding)["logits"]:  # [L]
            yield interpret(self.model.config, logits)
