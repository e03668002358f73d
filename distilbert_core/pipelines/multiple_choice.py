"""The best of several endings."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.parameters import Head
from distilbert_core.pipelines.base import Options, Outputs, Pipeline, Text
from distilbert_core.pipelines.scores import softmax
from distilbert_core.tokenization.encodings import Encoding


class MultipleChoicePipeline(Pipeline):
    """The choice that fits a prompt best: {'choice', 'text', 'score', 'scores'}.

    An input is a dict with a text 'prompt' and a list of texts 'choices'; the model reads each as the pair (prompt,
    choice). 'choice' is the index of the best, 'text' is that choice, 'score' its probability, and 'scores' are the
    probabilities of all.

    Options:
        truncation: True: cut pairs that are too long for the model, the longer text first. False: they are an
            InputError. Left out: cut them, with a warning.
    """

    task = "multiple-choice"
    head = Head.MULTIPLE_CHOICE
    defaults: ClassVar[Options] = {"truncation": None}

    def read(self, value: Any, options: Options) -> list[Text]:
        """Return the pairs of prompt and choice."""
        match value:
            case {"prompt": str(prompt), "choices": [_, *_] as choices, **rest} if not rest:
                if all(isinstance(choice, str) for choice in choices):
                    return [(prompt, choice) for choice in choices]
        raise InputError(
            f"{self.task} takes a dict with a text 'prompt' and a list of texts 'choices', got {reprlib.repr(value)}."
        )

    def inputs(self, windows: Sequence[Encoding]) -> dict[str, np.ndarray]:
        """Return rows of one choice each [B, 1, T]: the model scores each by itself."""
        return {name: array[:, None] for name, array in super().inputs(windows).items()}

    def reduce(self, window: Encoding, outputs: Outputs, options: Options) -> np.ndarray:
        """Keep the logit [1] of a choice."""
        return outputs["logits"].astype(np.float64)

    def combine(self, value: Any, windows: Sequence[Encoding], kept: Sequence[np.ndarray], options: Options) -> Any:
        """Return the best choice."""
        scores = softmax(np.concatenate(kept))  # [C]
        choice = int(scores.argmax())
        return {
            "choice": choice,
            "text": value["choices"][choice],
            "score": float(scores[choice]),
            "scores": scores.tolist(),
        }
