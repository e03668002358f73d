"""Vectors: one for each token, or one for a whole text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.parameters import Head
from distilbert_core.pipelines.base import Options, Outputs, Pipeline, check_choice
from distilbert_core.tokenization.encodings import Encoding

POOLINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # token vectors [T, D] -> vector [D]
    "mean": lambda vectors: vectors.mean(axis=0),
    "cls": lambda vectors: vectors[0],
}


class FeatureExtractionPipeline(Pipeline):
    """The last hidden states of a text, as an array [T, D]; pooled, a vector [D].

    An input is a text. T counts [CLS] and [SEP], which belong to the mean as well. Arrays have no axis for the batch:
    Transformers' pipeline returns nested lists [1][T][D].

    Options:
        pooling: 'mean' (sentence embeddings) or 'cls' (the vector of [CLS]); None: all tokens.
        normalize: Give a pooled vector length 1, which is the default. True is an InputError without `pooling`.
        truncation: True: cut texts that are too long for the model. False: they are an InputError. Left out: cut them,
            with a warning.
    """

    task = "feature-extraction"
    head = Head.NONE
    defaults: ClassVar[Options] = {"pooling": None, "normalize": None, "truncation": None}

    def check_options(self, options: dict[str, Any]) -> None:
        """Raise InputError if an option is impossible."""
        super().check_options(options)
        check_choice("pooling", options["pooling"], (None, *POOLINGS))
        check_choice("normalize", options["normalize"], (None, True, False))
        if options["normalize"] and options["pooling"] is None:
            raise InputError(f"normalize needs pooling, which must be one of {', '.join(POOLINGS)}, got None.")

    def reduce(self, window: Encoding, outputs: Outputs, options: Options) -> np.ndarray:
        """Hidden states [T, D] -> a copy, or the pooled vector [D]."""
        vectors = outputs["last_hidden_state"]
        if options["pooling"] is None:
            return vectors.copy()
        vector = POOLINGS[options["pooling"]](vectors.astype(np.float64))
        if options["normalize"] in (None, True):
            vector /= np.linalg.norm(vector)
        return vector.astype(vectors.dtype)

    def combine(self, value: Any, windows: Sequence[Encoding], kept: Sequence[np.ndarray], options: Options) -> Any:
        """Return the array."""
        return kept[0]
