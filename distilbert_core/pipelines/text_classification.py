"""Labels of texts, or of pairs of texts."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from distilbert_core.checks import positive_integer
from distilbert_core.errors import InputError
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.pipelines.base import Pipeline
from distilbert_core.pipelines.options import RUNNING, TOKENIZING, Older, Option, Options, check_flag, one_of, warn
from distilbert_core.pipelines.running import Outputs, Text
from distilbert_core.pipelines.scores import best, sigmoid, softmax
from distilbert_core.tokenization.engine import Encoding

FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "softmax": softmax,
    "sigmoid": sigmoid,
    "none": lambda logits: logits.astype(np.float64),
}
# Values of top_k other than a number and None.
BEST = ""  # the best label, not in a list
IN_ORDER = "in order"  # all labels, by their indices


def label_scores(config: DistilBertConfig, logits: np.ndarray, function_to_apply: str | None = None) -> np.ndarray:
    """Return the scores of a sequence classifier's labels.

    Args:
        config: The model's configuration.
        logits: [..., L].
        function_to_apply: 'softmax', 'sigmoid' or 'none'. None: the function that the model was trained with: 'none'
            for regression, the sigmoid for multi-label models and for models with one label, else the softmax.

    Returns:
        [..., L] float64.

    Example:
        >>> import numpy as np
        >>> from distilbert_core import DistilBertConfig
        >>> from distilbert_core.pipelines.text_classification import label_scores
        >>> label_scores(DistilBertConfig(), np.log([1.0, 3.0])).round(2).tolist()
        [0.25, 0.75]
    """
    if function_to_apply is None:
        if config.problem_type == "regression":
            function_to_apply = "none"
        elif config.problem_type == "multi_label_classification" or config.num_labels == 1:
            function_to_apply = "sigmoid"
        else:
            function_to_apply = "softmax"
    return FUNCTIONS[function_to_apply](logits)


def _check_top_k(name: str, value: Any) -> None:
    if value not in (BEST, IN_ORDER):
        positive_integer(name, value)


def _top_k_of(return_all_scores: Any, given: Options) -> dict[str, Any]:
    """Return the present option for `return_all_scores`."""
    check_flag("return_all_scores", return_all_scores)
    warn("return_all_scores is deprecated: give top_k=None for the scores of all labels, sorted.", UserWarning)
    return {"top_k": IN_ORDER if return_all_scores else BEST}


class TextClassificationPipeline(Pipeline):
    """Labels of texts: {'label', 'score'}.

    An input is a text, a pair (text, text_pair) as a tuple, or a dict with 'text' and perhaps 'text_pair'.

    As in Transformers, the result of one bare text is a list of one label, unless the call gives `top_k`.

    Options:
        top_k: Number of labels, in a list, the best first; None, or more than the model has: all. Left out: the best
            label, not in a list.
        function_to_apply: 'softmax', 'sigmoid' or 'none'; left out: the function that `label_scores` chooses.
        truncation, max_length, add_special_tokens: As in `Pipeline`.
        return_all_scores: Older form of top_k. True: all labels by their indices; False: the best label.
    """

    task = "text-classification"
    head = Head.SEQUENCE_CLASSIFICATION
    option_table: ClassVar[Mapping[str, Option]] = {
        "top_k": Option(BEST, _check_top_k, takes_none=True),
        "function_to_apply": Option(None, one_of(None, *FUNCTIONS)),
        **TOKENIZING,
        **RUNNING,
    }
    older: ClassVar[Mapping[str, Older]] = {"return_all_scores": _top_k_of}

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Return the labels of one input, of a list of them, or lazily of any other iterable."""
        result = super().__call__(inputs, **options)
        return [result] if isinstance(inputs, str) and "top_k" not in options else result

    def stream_scores(self, inputs: Iterable[Any], **options: Any) -> Iterator[np.ndarray]:
        """Return an iterator over the scores [L] of inputs, float64: the score of each label by its index.

        Args:
            inputs: Any iterable of inputs of the task.
            **options: Options of the task other than `top_k`.

        Raises:
            InputError: An input or an option is impossible.
            TypeError: An option is unknown.
        """
        if "top_k" in options:
            raise TypeError("Unknown keyword argument(s): top_k. stream_scores gives the scores of all labels.")
        return self._stream(inputs, self.with_defaults(options), lambda value, windows, kept, options: kept[0])

    def read(self, value: Any, options: Options) -> list[Text]:
        """Return the text or pair of an input."""
        match value:
            case str():
                return [value]
            case (str(), str()) if isinstance(value, tuple):
                return [value]
            case [[str(text), str(pair)]] if isinstance(value, list):  # as early versions of Transformers had it
                return [(text, pair)]
            case {"text": str(text), **rest} if rest in ({}, {"text_pair": None}):
                return [text]
            case {"text": str(text), "text_pair": str(pair), **rest} if not rest:
                return [(text, pair)]
        raise InputError(
            f"{self.task} takes a text, a tuple of two texts or a dict with 'text' and 'text_pair', got "
            f"{reprlib.repr(value)}."
        )

    def reduce(self, window: Encoding, outputs: Outputs, options: Options) -> np.ndarray:
        """Logits [L] -> scores [L]."""
        return label_scores(self.config, outputs["logits"], options["function_to_apply"])

    def combine(self, value: Any, windows: Sequence[Encoding], kept: Sequence[np.ndarray], options: Options) -> Any:
        """Return the best labels with their scores."""
        (scores,) = kept
        top_k = options["top_k"]
        order = range(len(scores)) if top_k == IN_ORDER else best(scores, 1 if top_k == BEST else top_k).tolist()
        labels = [{"label": self.config.label_name(i), "score": float(scores[i])} for i in order]
        return labels[0] if top_k == BEST else labels
