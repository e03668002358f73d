"""What a request may cost, before its texts are tokenized: windows, tokens and results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from string import Formatter
from typing import Any

from distilbert_core.errors import InputError, shortened
from distilbert_core.pipelines import Pipeline, QuestionAnsweringPipeline

WINDOW = 8  # what a window costs beside its tokens, in tokens


def check_template(template: str) -> None:
    """Raise InputError if a template has other fields than {}; a width in one makes a text of any length.

    Args:
        template: The template of a hypothesis.

    Example:
        >>> from distilbert_serve.estimates import check_template
        >>> check_template("It is {}.")
        >>> check_template("{:>999999999}")
        Traceback (most recent call last):
        distilbert_core.errors.InputError: hypothesis_template must have {} and no other fields, got '{:>999999999}'.
    """
    try:
        fields = [(name, spec, conversion) for _, name, spec, conversion in Formatter().parse(template)]
    except ValueError:
        fields = [("?", "", None)]
    if any(name is not None and (name, spec, conversion) != ("", "", None) for name, spec, conversion in fields):
        raise InputError(f"hypothesis_template must have {{}} and no other fields, got {shortened(template)}.")


def most_tokens(pipe: Pipeline, texts: Iterable[Sequence[Any]], options: Mapping[str, Any]) -> int:
    """Return an upper bound of the tokens in all windows of a request, and of what the windows cost.

    A character is at most one token. The tokenizer makes windows of a whole text, also where only the first one is
    read.

    Args:
        pipe: The pipeline.
        texts: The texts of each input, from `Pipeline.read`.
        options: The options of the pipeline.
    """
    total = 0
    for group in texts:
        for text in group:
            first, second = text if isinstance(text, tuple) else ("", text)
            if isinstance(pipe, QuestionAnsweringPipeline):
                length, stride = options["max_seq_len"], options["doc_stride"]
                first, second = (first, second) if pipe.tokenizer.padding_side == "right" else (second, first)
                fixed = len(pipe.tokenizer(first, verbose=False)["input_ids"]) + 1
            else:
                length, stride, fixed = options["max_length"], options.get("stride") or 0, 2
                second = f"{first} {second}" if isinstance(second, str) else " ".join(second)
            new = max(length - fixed - stride, 1)  # tokens of a window that no other one has
            windows = -(-len(second) // new) or 1
            total += min(windows * length, len(second) + length) if windows == 1 else windows * (length + WINDOW)
    return total


def most_results(pipe: Pipeline, windows: Iterable[Any], options: Mapping[str, Any]) -> int:
    """Return how many candidates, answers or numbers of vectors a request has at most.

    Args:
        pipe: The pipeline.
        windows: The token windows of all inputs.
        options: The options of the pipeline.
    """
    match pipe.task:
        case "fill-mask":
            mask = pipe.tokenizer.mask_token_id
            return options["top_k"] * sum(window.ids.count(mask) for window in windows)
        case "question-answering":
            return options["top_k"] * sum(1 for _ in windows)
        case "feature-extraction" if options["pooling"] is None:
            length = options["max_length"] if options["padding"] == "max_length" else 0
            return sum(max(len(window), length) for window in windows)
    return 0
