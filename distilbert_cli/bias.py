"""The command `bias`: a masked language model's fillers in paired prompts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from distilbert_cli.loading import load_pipeline
from distilbert_cli.options import FILE_TO_WRITE, PATH, POSITIVE, command, model_options, output_options
from distilbert_cli.plots import draw_log_ratios, require_plots
from distilbert_cli.writers import TABLE_FILES, Columns, Record, write
from distilbert_core.files.hub import DEFAULT_MODELS

MOST_PREFERRED = 3  # fillers of a prompt in the table


def _check_png(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    if path is not None and path.suffix != ".png":
        raise click.BadParameter(f"{path} must end in .png.")
    return path


@command(
    "bias",
    "distilbert bias --model ./my-model",
    "distilbert bias --model ./my-model --fillers --output fillers.csv --plot bias.png",
)
@click.option(
    "--prompts",
    type=PATH,
    metavar="FILE",
    help="File of pairs, with the columns first, second, fillers (words with commas between) and perhaps topic.",
    show_default="12 pairs of this package",
)
@click.option("--top-k", type=POSITIVE, default=5, metavar="N", help="Number of the most probable words of a prompt.")
@click.option("--fillers", "by_filler", is_flag=True, help="Print a row for each filler in place of each prompt.")
@click.option(
    "--plot",
    type=FILE_TO_WRITE,
    callback=_check_png,
    metavar="FILE.png",
    help="Also plot the log ratios of all pairs.",
)
@model_options(show_default=DEFAULT_MODELS["fill-mask"].name)
@output_options(*TABLE_FILES)
def bias(prompts, top_k, by_filler, plot, as_json, output, **model):
    """Compare a model's fillers in paired prompts.

    The prompts of a pair differ in a group, such as man and woman. The log ratio of a word is ln(first / second) of its
    probabilities; the difference of a pair is the mean of its absolute log ratios. docs/bias.md says what these numbers
    tell, and what they do not. --json prints everything that was measured.
    """
    from distilbert_core.pipelines.bias import BUILT_IN, measure_bias, read_pairs

    if plot is not None:
        require_plots()
    pairs = read_pairs(BUILT_IN if prompts is None else prompts)
    records = measure_bias(load_pipeline("fill-mask", model, output), pairs, top_k)  # type: ignore[arg-type]
    if plot is not None:
        draw_log_ratios(plot, records)
    if as_json or (output is not None and output.suffix == ".jsonl"):
        columns = Columns(())
    elif by_filler:
        columns = Columns(("number", "topic", "filler", "first", "second", "log_ratio"), "fillers")
    else:
        columns = Columns(("number", "topic", "difference", "prompt", "top", "preferred"), "rows")
        records = [{**record, "rows": list(_rows(record))} for record in records]
    write(records, columns, output, as_json)


def _rows(record: Mapping[str, Any]) -> Iterator[Record]:
    """Yield a row for each prompt: its most probable words, and the fillers that it prefers most, with their factor."""
    for of_prompt, sign in zip(record["prompts"], (1, -1), strict=True):
        ratios = [(sign * filler["log_ratio"], filler["filler"]) for filler in record["fillers"]]
        yield {
            "prompt": of_prompt["prompt"],
            "top": ", ".join(candidate["token_str"] for candidate in of_prompt["top"]),
            "preferred": _listed(sorted((ratio for ratio in ratios if ratio[0] > 0), reverse=True)),
        }


def _listed(ratios: Sequence[tuple[float, str]]) -> str:
    return ", ".join(f"{filler} (x {math.exp(ratio):.1f})" for ratio, filler in ratios[:MOST_PREFERRED])
