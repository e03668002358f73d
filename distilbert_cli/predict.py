"""The command `predict`: text classification on one backend, or on all of them side by side."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations_with_replacement, tee
from pathlib import Path
from typing import Any

import click

from distilbert_cli.loading import load_pipeline, with_inputs
from distilbert_cli.options import EMBEDDED, POSITIVE, TEXTS, command, model_options, output_options, refuse
from distilbert_cli.readers import command_texts, read_records
from distilbert_cli.writers import TABLE_FILES, Columns, Record, write
from distilbert_core.errors import BackendNotInstalledError
from distilbert_core.files.json_files import to_json
from distilbert_core.model.backends import BACKENDS, RUNNABLE, load_backend

Predictor = Callable[[Iterable[Any]], Iterator[Record]]


@command(
    "predict",
    'distilbert predict "A lovely film." "Two hours I will not get back."',
    'distilbert predict "I love it!" --backend all',
)
@TEXTS
@click.option(
    "--pair-column", metavar="NAME", help="Column that holds the second text of each pair, for a model of text pairs."
)
@click.option("--top-k", type=POSITIVE, metavar="N", help="Return the N best labels.")
@click.option("--all-scores", is_flag=True, help="Return all labels, the best first.")
@model_options((*RUNNABLE, "all"), **EMBEDDED)
@output_options(*TABLE_FILES)
def predict(texts, file, column, pair_column, top_k, all_scores, as_json, output, **model):
    """Classify texts.

    --backend all runs every installed backend and compares their logits.
    """
    if model["framework"] == "all":
        if top_k or all_scores or output or pair_column:
            raise click.UsageError(
                "--backend all cannot be combined with --top-k, --all-scores, --pair-column or --output."
            )
        lines = command_texts(texts, file, column)
        predictors = {name: load_predictor({**model, "framework": name}) for name in installed_backends()}
        return print_comparison(side_by_side(lines, predictors), as_json)
    if texts and not file:
        refuse("needs --file", "column", "pair_column")
    if all_scores:
        refuse("cannot be combined with --all-scores", "top_k")
    columns = {"text": column} if pair_column is None else {"text": column, "text_pair": pair_column}
    rows = read_records([(text,) for text in texts], file, list(columns.values()))
    inputs = (dict(zip(columns, row, strict=True)) for row in rows)
    predictor = load_predictor(model, sys.maxsize if all_scores else top_k, output)
    records = ({**row, **prediction} for row, prediction in with_inputs(predictor, inputs))
    return write(records, Columns(("label", "score", *columns), "predictions"), output, as_json)


def load_predictor(model: dict[str, Any], top_k: int | None = None, output: Path | None = None) -> Predictor:
    """Load a sequence classifier.

    Args:
        model: Keywords of `pipeline`.
        top_k: Number of labels to list; None: the best label only.
        output: File for the predictions, if any.

    Returns:
        A function from texts to one prediction per text: the best 'label' with its 'score', the 'logits' [L], and with
        `top_k` the best 'predictions'.

    Raises:
        DistilBertError: As `load_pipeline`.
    """
    from distilbert_core.pipelines import TextClassificationPipeline
    from distilbert_core.pipelines.records import prediction

    pipe = load_pipeline("text-classification", model, output)
    assert isinstance(pipe, TextClassificationPipeline)

    def predict_all(inputs: Iterable[Any]) -> Iterator[Record]:
        for logits in pipe.stream_scores(inputs, function_to_apply="none"):  # [L]
            yield prediction(pipe.config, logits, top_k)

    return predict_all


def installed_backends() -> list[str]:
    """Return the names of the installed backends, and report the others on standard error.

    Raises:
        BackendNotInstalledError: No backend is installed.
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
    """Yield the predictions of every backend for each text, and the largest difference between their logits."""
    texts, *copies = tee(inputs, len(predictors) + 1)
    streams = [predictor(copy) for predictor, copy in zip(predictors.values(), copies, strict=True)]
    for text, *predictions in zip(texts, *streams, strict=True):
        pairs = combinations_with_replacement([prediction["logits"] for prediction in predictions], 2)
        yield {
            "text": text,
            "backends": dict(zip(predictors, predictions, strict=True)),
            "largest_logit_difference": max(float(abs(a - b).max()) for a, b in pairs),
        }


def print_comparison(records: Iterable[Record], as_json: bool) -> None:
    """Print JSON lines; or a table for each text, and the largest difference over all texts at the end."""
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
