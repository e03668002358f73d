"""Labels that a call chooses, scored by a model of natural language inference."""

from __future__ import annotations

import reprlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.model.heads import Head
from distilbert_core.pipelines.base import Pipeline
from distilbert_core.pipelines.options import FLAG_OFF, RUNNING, TOKENIZING, Older, Option, Options, check_text, warn
from distilbert_core.pipelines.running import Outputs, Text
from distilbert_core.pipelines.scores import best, softmax
from distilbert_core.tokenization.engine import Encoding

Labels = str | Sequence[str]


class ZeroShotClassificationPipeline(Pipeline):
    """Labels of texts, chosen at a call: {'sequence', 'labels', 'scores'}, the best label first.

    An input is a text. The model is a sequence classifier of natural language inference: for each label it reads a
    pair of the text and a sentence that names the label. If a pair is too long, the text is cut, not the sentence. The
    pairs of all inputs are batched together. Results equal those of Transformers 4.53.3.

    Options:
        candidate_labels: The labels: a list of texts, or a text with commas between the labels.
        hypothesis_template: The sentence, with {} for the label.
        multi_label: Several labels may be true: the score of each is its probability of entailment against
            contradiction. False: the scores of a text sum to 1.
        truncation, max_length, add_special_tokens: As in `Pipeline`.
        multi_class: Older name of multi_label.
    """

    task = "zero-shot-classification"
    head = Head.SEQUENCE_CLASSIFICATION
    option_table: ClassVar[Mapping[str, Option]] = {
        "candidate_labels": Option(None, lambda name, value: _labels(value)),
        "hypothesis_template": Option("This example is {}.", check_text),
        "multi_label": FLAG_OFF,
        **TOKENIZING,
        **RUNNING,
    }
    older: ClassVar[Mapping[str, Older]] = {"multi_class": lambda value, given: {"multi_label": value}}

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.entailment_id == -1:
            warn(
                f"No label of this model begins with 'entail' ({', '.join(map(str, self.config.label2id))}): the last "
                "one is taken for it. Name the labels in config.label2id."
            )

    @property
    def entailment_id(self) -> int:
        """Index of the label of entailment; -1 if no label begins with 'entail'."""
        labels = self.config.label2id.items()
        return next((index for label, index in labels if label.lower().startswith("entail")), -1)

    def __call__(  # type: ignore[override]  # named as in Transformers
        self, sequences: Any, candidate_labels: Labels | None = None, **options: Any
    ) -> Any:
        """Return the labels of one input, of a list of them, or lazily of any other iterable.

        Args:
            sequences: A text, a list of texts, or another iterable.
            candidate_labels: The labels: a list of texts, or a text with commas between the labels.
            **options: Options of the task.

        Raises:
            InputError: An input or an option is impossible.
            TypeError: An option is unknown, or the labels are missing.
        """
        if candidate_labels is not None:
            options["candidate_labels"] = candidate_labels
        return super().__call__(sequences, **options)

    def prepare_options(self, options: Options) -> dict[str, Any]:
        """Return the options with labels as a list."""
        prepared = super().prepare_options(options)
        template = options["hypothesis_template"]
        try:
            different = template.format("a") != template.format("b")
        except (LookupError, ValueError):
            different = False
        if not different:
            raise InputError(f"hypothesis_template must have {{}} where a label stands, got {template!r}.")
        if options["candidate_labels"] is None:
            return prepared
        return {**prepared, "candidate_labels": _labels(options["candidate_labels"])}

    def read(self, value: Any, options: Options) -> list[Text]:
        """Return a pair of the text and a sentence for each label."""
        if options["candidate_labels"] is None:
            raise TypeError(f"{self.task} needs candidate_labels: a list of texts, or a text with commas between them.")
        (text,) = super().read(value, options)
        if not text:
            raise InputError(f"{self.task} takes a text that is not empty, got {text!r}.")
        return [(str(text), options["hypothesis_template"].format(label)) for label in options["candidate_labels"]]

    def tokenizer_options(self, options: Options) -> dict[str, Any]:
        """Cut the text, not the sentence."""
        chosen = super().tokenizer_options(options)
        return {**chosen, "truncation": "only_first" if chosen["truncation"] is True else chosen["truncation"]}

    def reduce(self, window: Encoding, outputs: Outputs, options: Options) -> np.ndarray:
        """Return the logits [L] of a pair."""
        return outputs["logits"].astype(np.float64)

    def combine(self, value: str, windows: Sequence[Encoding], kept: Sequence[np.ndarray], options: Options) -> Any:
        """Return the labels, the best first."""
        labels, logits = options["candidate_labels"], np.stack(kept)  # [candidates, L]
        entailment = self.entailment_id
        if options["multi_label"] or len(labels) == 1:
            contradiction = -1 if entailment == 0 else 0
            scores = softmax(logits[:, [contradiction, entailment]])[:, 1]
        else:
            scores = softmax(logits[:, entailment])
        order = best(scores, None).tolist()
        return {"sequence": value, "labels": [labels[i] for i in order], "scores": scores[order].tolist()}


def _labels(value: Any) -> list[str]:
    """Return the labels, or raise InputError."""
    labels = [label.strip() for label in value.split(",") if label.strip()] if isinstance(value, str) else value
    is_list = isinstance(labels, Collection) and not isinstance(labels, Mapping) and len(labels) > 0
    if not is_list or not all(isinstance(label, str) and label.strip() for label in labels):
        raise InputError(
            "candidate_labels must be a list of texts, or a text with commas between them, at least one; got "
            f"{reprlib.repr(value)}."
        )
    return list(labels)
