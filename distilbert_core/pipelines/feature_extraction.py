"""Vectors of tokens, or of whole texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.model.backends import BACKENDS
from distilbert_core.model.heads import Head
from distilbert_core.pipelines.base import Pipeline
from distilbert_core.pipelines.options import RUNNING, TOKENIZING, Older, Option, Options, one_of, unpack
from distilbert_core.pipelines.running import Outputs
from distilbert_core.tokenization.columns import to_tensor
from distilbert_core.tokenization.engine import Encoding

POOLINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # token vectors [T, D] -> vector [D]
    "mean": lambda vectors: vectors.mean(axis=0),
    "cls": lambda vectors: vectors[0],
}


class FeatureExtractionPipeline(Pipeline):
    """The last hidden states of a text, nested lists of the shape [1, T, D]; pooled, a vector: an array [D].

    An input is a text. T includes [CLS] and [SEP], and so does the mean. A head of the model is not used.

    Options:
        pooling: 'mean' (sentence embeddings) or 'cls' (the vector of [CLS]); None: all tokens.
        normalize: Scale a pooled vector to length 1, which is the default. True is an InputError without `pooling`.
        return_tensors: 'np' for an array [1, T, D], True for a tensor of the framework; False: nested lists, and an
            array for a pooled vector.
        padding: 'max_length': append vectors of zeros up to `max_length` vectors. Other values have no effect.
        truncation, max_length, add_special_tokens: As in `Pipeline`.
        tokenize_kwargs: A dict of these three and padding.
    """

    task = "feature-extraction"
    head = Head.BASE
    option_table: ClassVar[Mapping[str, Option]] = {
        "pooling": Option(None, one_of(None, *POOLINGS)),
        "normalize": Option(None, one_of(None, True, False)),
        "return_tensors": Option(False, one_of(True, False, "np", "pt", "tf", "jax")),
        "padding": Option(False, one_of(True, False, "longest", "do_not_pad", "max_length")),
        **TOKENIZING,
        **RUNNING,
    }
    older: ClassVar[Mapping[str, Older]] = {"tokenize_kwargs": unpack("tokenize_kwargs", (*TOKENIZING, "padding"))}

    def prepare_options(self, options: Options) -> dict[str, Any]:
        """Return the options, or raise InputError if `normalize` is given without `pooling`."""
        if options["normalize"] and options["pooling"] is None:
            raise InputError(f"normalize needs pooling, which must be one of {', '.join(POOLINGS)}, got None.")
        return super().prepare_options(options)

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
        """Return the vectors in the form that the options ask for."""
        (vectors,) = kept
        if options["pooling"] is None:
            missing = options["max_length"] - len(vectors) if options["padding"] == "max_length" else 0
            vectors = np.pad(vectors, ((0, missing), (0, 0)))[None]  # [1, T, D]
        match options["return_tensors"]:
            case False:
                return vectors.tolist() if options["pooling"] is None else vectors
            case True:
                return to_tensor(vectors, "vectors", self.tensors)
            case kind:
                return to_tensor(vectors, "vectors", kind)

    @property
    def tensors(self) -> str:
        """Kind of the tensors of the framework; NumPy arrays for an exported model."""
        return self.framework if self.framework in BACKENDS else "np"
