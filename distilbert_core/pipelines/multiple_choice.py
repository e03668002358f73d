"""The best of several choices."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.model.heads import Head
from distilbert_core.pipelines.base import Pipeline
from distilbert_core.pipelines.options import RUNNING, TOKENIZING, Option, Options
from distilbert_core.pipelines.running import Outputs, Text
from distilbert_core.pipelines.scores import softmax
from distilbert_core.tokenization.engine import Encoding


class MultipleChoicePipeline(Pipeline):
    """The choice that fits a prompt best: {'choice', 'text', 'score', 'scores'}.

    An input is a dict with a text 'prompt' and a list of texts 'choices'. The model reads a pair (prompt, choice) for
    each choice. 'choice' is the index of the best choice, 'text' the choice itself, 'score' its probability, and
    'scores' are the probabilities of all choices.

    Options:
        truncation, max_length, add_special_tokens: As in `Pipeline`.
    """

    task = "multiple-choice"
    head = Head.MULTIPLE_CHOICE
    option_table: ClassVar[Mapping[str, Option]] = {**TOKENIZING, **RUNNING}

    def read(self, value: Any, options: Options) -> list[Text]:
        """Return the pairs of prompt and choice."""
        match value:
            case {"prompt": str(prompt), "choices": [_, *_] as choices, **rest} if not rest:
                if all(isinstance(choice, str) for choice in choices):
                    return [(prompt, choice) for choice in choices]
        raise InputError(
            f"{self.task} takes a dict with a text 'prompt' and a list of texts 'choices', got {reprlib.repr(value)}."
        )

    def reduce(self, window: Encoding, outputs: Outputs, options: Options) -> np.ndarray:
        """Return the logit [1] of a choice, which the model scores by itself."""
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
