"""Masked language modelling: the masked tokens of a text.

Shapes: B batch, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.inference import Inference
from distilbert_core.model.inputs import IGNORE_INDEX
from distilbert_core.model.packed_batches import Batch
from distilbert_core.tokenization.base import BaseTokenizer
from distilbert_core.tokenization.batching import token_batches
from distilbert_core.training import metrics
from distilbert_core.training.batches import mask_tokens
from distilbert_core.training.features import Feature
from distilbert_core.training.metrics import Metrics
from distilbert_core.training.recipe import Recipe
from distilbert_core.training.tasks.base import Row, Task


class MaskedLM(Task):
    """The masked tokens of a text."""

    name = "masked-lm"
    head = Head.MASKED_LM
    columns = ("text",)
    metric = "loss"
    stored_target = ""
    evaluation_tokens = 1024  # each has a logit for every word

    def __init__(self, tokenizer: BaseTokenizer, config: DistilBertConfig, recipe: Recipe):
        super().__init__(tokenizer, config, recipe)
        special = set(tokenizer.all_special_ids)
        self.special = np.array(sorted(special))
        self.words = np.array([i for i in range(min(len(tokenizer), config.vocab_size)) if i not in special])

    def encode(self, rows: Sequence[Row]) -> list[Feature]:
        """Return the tokens of each text that has a token to mask."""
        texts = [row["text"] for row in rows]
        windows = self.tokenizer(texts, truncation=True, max_length=self.max_length).encodings
        return [
            Feature(window.ids, None, row, cut=bool(window.overflowing))
            for row, window in enumerate(windows)
            if not np.isin(window.ids, self.special).all()
        ]

    def batch(self, features: Sequence[Feature], seed: Sequence[int]) -> Batch:
        """Return the model's arguments with some tokens masked. Labels [B, T] are -100 for all others."""
        inputs = self.inputs(features)
        ids, labels = mask_tokens(
            np.random.default_rng(seed),
            inputs["input_ids"],
            np.isin(inputs["input_ids"], self.special),
            self.tokenizer.special_id("mask_token"),
            self.words,
            self.recipe.mask_probability,
        )
        return {**inputs, "input_ids": ids, "labels": labels}

    def evaluate(self, inference: Inference, rows: Sequence[Row], features: Sequence[Feature]) -> Metrics:
        """Return cross-entropy, perplexity and accuracy on masked tokens. Every call masks the same tokens."""
        total, correct, count = 0.0, 0, 0
        sizes = [feature.size for feature in features]
        for index, batch in enumerate(token_batches(sizes, self.evaluation_tokens)):
            arrays = self.batch([features[i] for i in batch], [0, index])
            labels = arrays.pop("labels")
            hidden = labels != IGNORE_INDEX
            logits = inference(**arrays, tokens=hidden)["logits"].astype(np.float64)  # [hidden, V]
            right = np.take_along_axis(logits, labels[hidden][:, None], axis=1)[:, 0]
            highest = logits.max(axis=1)
            total += float((np.log(np.exp(logits - highest[:, None]).sum(axis=1)) + highest - right).sum())
            correct += int((logits.argmax(axis=1) == labels[hidden]).sum())
            count += int(hidden.sum())
        return metrics.masked_lm(total, correct, count)
