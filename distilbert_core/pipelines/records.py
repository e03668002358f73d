"""How each task is asked and answered outside of Python: one table for the command line and the server.

A record is a dict of JSON values and arrays: the input, and what the pipeline says about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from distilbert_core.model.config import DistilBertConfig
from distilbert_core.pipelines.base import Pipeline
from distilbert_core.pipelines.options import Options
from distilbert_core.pipelines.scores import best
from distilbert_core.pipelines.text_classification import label_scores

Record = dict[str, Any]
Asked = Mapping[str, Any]  # options by the names that a user gives them


@dataclass(frozen=True)
class Form:
    """A task as the command line and the server have it.

    Attributes:
        task: The task of the pipeline.
        options: Function from the options that a user gives to the options of the pipeline.
        record: Function from the pipeline, an input, its result, and the options that the user gave, to the record.
        takes_logits: The result that `record` takes is the logits of the input's only window, not the pipeline's.
    """

    task: str
    options: Callable[[Asked], dict[str, Any]]
    record: Callable[[Pipeline, Any, Any, Asked], Record]
    takes_logits: bool = False

    def answer(self, pipeline: Pipeline, value: Any, windows: Any, kept: Any, options: Options, asked: Asked) -> Record:
        """Return the record of an input, as `Pipeline.combine` returns its result.

        Args:
            pipeline: The pipeline of the task.
            value: The input.
            windows: Its token windows.
            kept: What `Pipeline.reduce` returned for each of them.
            options: The options of the pipeline.
            asked: The options that the user gave.
        """
        result = kept[0] if self.takes_logits else pipeline.combine(value, windows, kept, options)
        return self.record(pipeline, value, result, asked)


def prediction(config: DistilBertConfig, logits: np.ndarray, top_k: int | None = None) -> Record:
    """Return the fields of a classified text: the best 'label', its 'score', and the 'logits'.

    Args:
        config: The configuration of the classifier.
        logits: [L].
        top_k: Number of labels under 'predictions', the best first; None: that field is left out.

    Example:
        >>> import numpy as np
        >>> from distilbert_core import DistilBertConfig
        >>> from distilbert_core.pipelines.records import prediction
        >>> prediction(DistilBertConfig(), np.array([0.0, 2.0]))["label"]
        'LABEL_1'
    """
    scores = label_scores(config, logits).tolist()
    ranked = [{"label": config.label_name(i), "score": scores[i]} for i in best(logits, None).tolist()]
    return {**ranked[0], "logits": logits, **({} if top_k is None else {"predictions": ranked[:top_k]})}


def _classified(pipeline: Pipeline, value: Any, logits: np.ndarray, asked: Asked) -> Record:
    top_k = logits.size if asked.get("all_scores") else asked.get("top_k")
    fields = value if isinstance(value, Mapping) else {"text": value}
    return {**fields, **prediction(pipeline.config, logits, top_k)}


def _zero_shot(pipeline: Pipeline, text: str, result: Mapping[str, Any], asked: Asked) -> Record:
    pairs = zip(result["labels"], result["scores"], strict=True)
    return {"text": text, "predictions": [{"label": label, "score": score} for label, score in pairs]}


def _filled(pipeline: Pipeline, text: str, result: list[Any], asked: Asked) -> Record:
    """Return the candidates of all masks in one list. The pipeline nests them only if a text has several masks."""
    masks = result if isinstance(result[0], list) else [result]
    candidates = [{"mask": number, **candidate} for number, mask in enumerate(masks, 1) for candidate in mask]
    return {"text": text, "predictions": candidates}


def _answered(pipeline: Pipeline, value: Mapping[str, str], result: Any, asked: Asked) -> Record:
    return {"question": value["question"], "answers": result if isinstance(result, list) else [result]}


def _embedding_options(asked: Asked) -> dict[str, Any]:
    pooling = asked.get("pooling", "mean")
    if pooling == "none":
        return {"pooling": None, "return_tensors": "np"}
    return {"pooling": pooling, "normalize": asked.get("normalize", True)}


def _embedded(pipeline: Pipeline, text: str, array: np.ndarray, asked: Asked) -> Record:
    return {"text": text, "embedding": array[0] if asked.get("pooling") == "none" else array}


# By the name of the command and of the route.
FORMS: dict[str, Form] = {
    "predict": Form("text-classification", lambda asked: {"function_to_apply": "none"}, _classified, takes_logits=True),
    "zero-shot": Form(
        "zero-shot-classification",
        lambda asked: {
            "candidate_labels": asked["labels"],
            "hypothesis_template": asked.get("template"),
            "multi_label": asked.get("multi_label"),
        },
        _zero_shot,
    ),
    "fill-mask": Form("fill-mask", lambda asked: {name: asked.get(name) for name in ("top_k", "targets")}, _filled),
    "tag": Form(
        "token-classification",
        lambda asked: {"aggregation_strategy": asked.get("aggregation", "simple"), "stride": asked.get("stride")},
        lambda pipeline, text, entities, asked: {"text": text, "entities": entities},
    ),
    "answer": Form(
        "question-answering",
        lambda asked: {
            "top_k": asked.get("top_k"),
            "handle_impossible_answer": asked.get("impossible"),
            "max_answer_len": asked.get("max_answer_len"),
        },
        _answered,
    ),
    "embed": Form("feature-extraction", _embedding_options, _embedded),
    "choose": Form("multiple-choice", lambda asked: {}, lambda pipeline, value, result, asked: {**value, **result}),
}
