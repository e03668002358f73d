"""A model of a few lines in NumPy whose outputs at padding are NaN, and pipelines on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from distilbert_core import DEFAULT_MODEL, DistilBertConfig, DistilBertTokenizerFast, Head
from distilbert_core.model.inference import Inference
from distilbert_core.pipelines import PIPELINE_CLASSES, Pipeline

TOKENIZER = DistilBertTokenizerFast.from_pretrained(DEFAULT_MODEL)
WIDTH = {Head.BASE: 4, Head.MASKED_LM: 30522}  # of the outputs; the number of labels for other heads


class FakeInference(Inference):
    """Outputs of a token depend on its id alone; those of padding are NaN; those of a row are the sum of its tokens."""

    backend = "fake"

    def __init__(self, head: Head, **config):
        self.head = head
        self.fake_config = DistilBertConfig(**config)
        self.shapes: list[tuple[int, ...]] = []

    @property
    def config(self) -> DistilBertConfig:
        return self.fake_config

    def run(self, **arrays):
        ids, mask = arrays["input_ids"], arrays["attention_mask"]
        self.shapes.append(ids.shape)
        said = np.sin(ids[..., None] * np.arange(1, 1 + WIDTH.get(self.head, self.config.num_labels)))
        rows = np.sum(said * mask[..., None], axis=-2)
        each = np.where(mask[..., None] == 1, said, np.nan)
        match self.head:
            case Head.BASE:
                return {"last_hidden_state": each}
            case Head.MASKED_LM | Head.TOKEN_CLASSIFICATION:
                return {"logits": each}
            case Head.QUESTION_ANSWERING:
                return {"start_logits": each[..., 0], "end_logits": each[..., 1]}
            case Head.MULTIPLE_CHOICE:
                return {"logits": rows[..., 0]}
        return {"logits": rows}


CONFIG = {"zero-shot-classification": {"id2label": {0: "contradiction", 1: "neutral", 2: "entailment"}}}


def make(task: str, options: dict[str, Any] | None = None, **config: Any) -> Pipeline:
    """The pipeline of a task on a `FakeInference`."""
    cls = PIPELINE_CLASSES[task]
    return cls(FakeInference(cls.head, **{**CONFIG.get(task, {}), **config}), TOKENIZER, **(options or {}))


SENTENCES = [
    " ".join(["word", "naïve", "東京", "unaffable", "[MASK]"][: 1 + i % 5] * (1 + i * 7 % 11)) for i in range(40)
]
