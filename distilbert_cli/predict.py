"""What `distilbert predict` makes of texts: on one backend, or on all of them side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import combinations_with_replacement, tee
from pathlib import Path
from typing import Any

import click

from distilbert_cli.loading import load_pipeline
from distilbert_cli.writers import Record, to_json
from distilbert_core.errors import BackendNotInstalledError
from distilbert_core.model.backends import BACKENDS, load_backend

Predictor = Callable[[Iterable[Any]], Iterator[Record]]


def load_predictor(model: dict[str, Any], top_k: int | None = None, output: Path | None = None) -> Predictor:
    """Load a sequence classifier.

    Args:
        model: Keywords of `pipeline`.
        top_k: How many labels to list; None: only the best.
        output: File that the predictions go to, if any.

    Returns:
        A function from texts to predictions, one for each: the best 'label' with its 'score', the 'logits' [L], and
        with `top_k` the best 'predictions'.

    Raises:
        DistilBertError: As `load_pipeline`.
    """
    from distilbert_core.pipelines import TextClassificationPipeline
    from distilbert_core.pipelines.scores import best
    from distilbert_core.pipelines.text_classification import label_scores

    pipe = load_pipeline("text-classification", model, output)
    assert isinstance(pipe, TextClassificationPipeline)

    def predict(inputs: Iterable[Any]) -> Iterator[Record]:
        for logits in pipe.stream_scores(inputs, function_to_apply="none"):  # [L]
            scores = label_scores(pipe.config, logits).tolist()
            order = best(logits, None).tolist()
            ranked = [{"label": pipe.config.label_name(index), "score": scores[index]} for index in order]
            yield {**ranked[0], "logits": logits, **({} if top_k is None else {"predictions": ranked[:top_k]})}

    return predict


def installed_backends() -> list[str]:
    """Return the backends that are installed, and say on standard error which are not.

    Raises:
        BackendNotInstalledError: None is.
    """
    names = []
    for name in BACKENDS:
        try:
            load_backend(name)
            names.append(name)
        except BackendNotInstalledError as error:
            click.echo(f"distilbert: {error}", err=True)
    if not names:
        raise BackendNotInstalledError("No backend is installed.")
    return names


def side_by_side(inputs: Iterable[Any], predictors: dict[str, Predictor]) -> Iterator[Record]:
    """Yield for each text what every backend predicts, and the largest difference of a logit between two of them."""
    texts, *copies = tee(inputs, len(predictors) + 1)
    streams = [predict(copy) for predict, copy in zip(predictors.values(), copies, strict=True)]
    for text, *predictions in zip(texts, *streams, strict=True):
        pairs = combinations_with_replacement([prediction["logits"] for prediction in predictions], 2)
        yield {
            "text": text,
            "backends": dict(zip(predictors, predictions, strict=True)),
            "largest_logit_difference": max(float(abs(a - b).max()) for a, b in pairs),
        }


def print_comparison(records: Iterable[Record], as_json: bool) -> None:
    """Print JSON lines, or a table for each text and then the largest difference of all."""
    if as_json:
        for record in records:
            click.echo(to_json(record))
        return
    largest = 0.0
    for record in records:
        _print_table(record)
        largest = max(largest, record["largest_logit_difference"])
    click.echo(f"largest logit difference between backends: {largest:.1e}")


def _print_table(record: Record) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    title = Text(record["text"])
    table = Table("backend", "label", "score", "logits", box=box.SIMPLE, title=title, title_justify="left")
    for name, prediction in record["backends"].items():
        logits = " ".join(f"{logit:+.6f}" for logit in prediction["logits"])
        table.add_row(BACKENDS[name].title, Text(prediction["label"]), f"{prediction['score']:.6f}", logits)
    Console(highlight=False).print(table)
