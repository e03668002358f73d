"""The command `bench`: which backend, runtime and dtype is the fastest for a model on this machine."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import click

from distilbert_cli.contest import GOALS, Choice, Contest, Result, choose, list_contestants, missing_library
from distilbert_cli.options import (
    EMBEDDED,
    FILE_TO_WRITE,
    POSITIVE,
    REVISION,
    CommaSeparated,
    checkpoint_option,
    command,
    file_option,
    refuse,
)
from distilbert_cli.plots import draw_bars, require_plots
from distilbert_cli.readers import read_texts
from distilbert_cli.samples import sample_texts
from distilbert_cli.turns import Spread, machine
from distilbert_cli.writers import Columns, write
from distilbert_core.errors import DistilBertError
from distilbert_core.files.atomic import replace_files
from distilbert_core.files.hub import find_file
from distilbert_core.model.backends import RUNNABLE
from distilbert_core.model.heads import Head
from distilbert_core.model.runtimes import RUNTIMES
from distilbert_core.pipelines.measuring import Job, measured_task
from distilbert_core.pipelines.progress import bar_delay, progress_bar

DTYPES = ("float32", "bfloat16", "float16", "float64")
COMMANDS = {"text-classification": "predict", "token-classification": "tag", "feature-extraction": "embed"}
TITLES = {"batches": "texts/s in batches", "single": "texts/s, one at a time"}
EXPORTED_FILES = {group[0] for runtime in RUNTIMES.values() for group in runtime.files}
DIFFERENCE = {"predict": "logits", "tag": "logits", "embed": "vectors"}


def _several(names: Sequence[str]) -> CommaSeparated:
    """Return the type of an option that lists some of these names."""

    def known(word: str) -> str:
        if word not in names:
            raise ValueError(word)
        return word

    return CommaSeparated(known, f"some of {', '.join(names)}, separated by commas")


def _file_to_write(suffix: str, help: str) -> Callable[[Any], Any]:
    """Return the option that names a file with a suffix to write."""

    def check(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
        if path is not None and path.suffix != f".{suffix}":
            raise click.BadParameter(f"{path} must end in .{suffix}.")
        return path

    return click.option(f"--{suffix}", type=FILE_TO_WRITE, callback=check, metavar=f"FILE.{suffix}", help=help)


@command(
    "bench",
    "distilbert bench",
    "distilbert bench --model ./my-model --file reviews.csv --column review --json bench.json --png bench.png",
)
@checkpoint_option(**EMBEDDED)
@REVISION
@file_option("texts from a .csv, .tsv, .jsonl or .parquet file, or from any other file with one text per line")
@click.option("--column", default="text", metavar="NAME", help="Column that holds the texts.")
@click.option("--texts", "limit", type=POSITIVE, default=256, metavar="N", help="Read the first N texts of the file.")
@click.option(
    "--backends",
    type=_several(RUNNABLE),
    metavar="NAME,NAME...",
    help="Backends and runtimes to compare. onnx and openvino need a model that is exported to ONNX; without one, the "
    "model is exported for the comparison. litert needs a model that is exported to LiteRT.",
    show_default="all that are installed",
)
@click.option(
    "--dtypes", type=_several(DTYPES), default="float32,bfloat16", metavar="NAME,NAME...", help="Dtypes to compare."
)
@click.option(
    "--exported",
    multiple=True,
    metavar="FOLDER",
    help="Exported model to compare too, such as one in int8. Repeat the option for more models.",
)
@click.option("--rounds", type=POSITIVE, default=5, metavar="N", help="Turns of each contestant.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=1.0,
    metavar="S",
    help="Minimum duration of a turn in batches, and of a turn with one text at a time.",
)
@click.option("--device", metavar="NAME", help="Device to run on, as the framework names it: cuda:1, gpu:1.")
@click.option("--batch-tokens", type=POSITIVE, metavar="N", help="Maximum number of tokens in a batch, with padding.")
@_file_to_write("json", "Also write all measurements to this file.")
@_file_to_write("png", "Also plot them.")
def bench(
    model, revision, file, column, limit, backends, dtypes, exported, rounds, seconds, device, batch_tokens, **to
):
    """Find the fastest way to run a checkpoint.

    Measures texts per second in batches, and the time of one text. The contestants are processes that take turns, and
    their outputs are compared with those in float64. The last lines are the commands to use. Without --file the texts
    are built in; they have the lengths of reviews.
    """
    if file is None:
        refuse("needs --file", "column", "limit")
    if to["png"] is not None:
        require_plots()
    hub = {} if revision is None else {"revision": revision}
    head = find_head(model, hub)
    task = measured_task(head)
    job = Job(
        task,
        model,
        framework="",
        dtype="",
        texts=sample_texts() if file is None else list(islice(read_texts((), file, column), limit)),
        revision=revision,
        device=device,
        batch_tokens=batch_tokens,
    )
    contestants = list_contestants(
        [name for name in RUNNABLE if missing_library(name) is None] if backends is None else backends,
        dtypes,
        model,
        any(find_file(model, name, **hub) is not None for name in EXPORTED_FILES),
        exported,
    )
    if backends is None:
        for name in RUNNABLE:
            if missing_library(name) is not None:
                click.echo(f"distilbert: note: {name}: {missing_library(name)}", err=True)
    if not contestants:
        raise DistilBertError("There is nothing to compare: none of the backends is installed and has these dtypes.")
    if head not in (Head.SEQUENCE_CLASSIFICATION, Head.TOKEN_CLASSIFICATION, Head.BASE):
        click.echo(f"distilbert: note: a {head.architecture} is measured without its head, as embed.", err=True)
    export = Export(model, revision, head if task != "feature-extraction" else Head.BASE)
    contest = Contest(job, rounds, seconds, export.words)
    with progress_bar(contest.steps(contestants), bar_delay(None, streaming=False)) as advance:
        results, reference = contest.run(contestants, advance, _warn)
    for result in results:
        if result.problem is not None:
            click.echo(f"distilbert: note: {result.name}: {result.problem}", err=True)
    measured = [result for result in results if result.problem is None]
    if not measured:
        raise DistilBertError(f"None of {len(results)} contestants could be measured; the lines above say why.")
    choices = choose(measured)
    advice = [(choice, commands_of(choice, job, export, file, column)) for choice in choices]
    cpu = machine()
    click.echo(
        f"{model}, {COMMANDS[task]}, {len(job.texts)} texts; {cpu['cores']} cores, {', '.join(cpu['instructions'])}; "
        f"reference: {reference}"
    )
    write(table_rows(measured), Columns(column_names(task)), None, False)
    for choice, lines in advice:
        click.echo(sentence_of(choice, len(job.texts), DIFFERENCE[COMMANDS[task]]))
        for line in lines:
            click.echo(f"  {line}")
    if to["json"] is not None:
        settings = {"texts": len(job.texts), "rounds": rounds, "seconds": seconds, "batch_tokens": batch_tokens}
        record = {
            "model": model,
            "command": COMMANDS[task],
            "settings": settings,
            "machine": cpu,
            "reference": reference,
            "results": [result_record(result, measured[0]) for result in results],
            "advice": [
                {"goal": choice.goal, "name": choice.result.name, "commands": lines} for choice, lines in advice
            ],
        }
        content = (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()
        replace_files(to["json"].parent, {to["json"].name: content})
    if to["png"] is not None:
        best = {choice.result.name for choice in choices}
        panels = {
            TITLES[goal]: ("texts/s", {result.name: Spread.of(result.rates(goal)) for result in measured})
            for goal in GOALS
        }
        draw_bars(to["png"], panels, best.__contains__)


def _warn(message: str) -> None:
    click.echo(f"distilbert: warning: {message}", err=True)


def find_head(model: str, hub: dict[str, Any]) -> Head:
    """Return the head that a checkpoint's configuration names, or the base model.

    Raises:
        CheckpointError: The checkpoint does not exist, or has no configuration.
    """
    from distilbert_core.model.checkpoint_loading import find_config

    architectures = find_config(model, **hub).architectures or ()
    return next((head for head in Head if head.architecture in architectures), Head.BASE)


class Export:
    """The command that exports a model to ONNX.

    Args:
        model: Folder, embedded model or Hub id.
        revision: Its revision on the Hub, if any.
        head: Head of the exported model.

    Attributes:
        folder: Folder that the advice names.
    """

    def __init__(self, model: str, revision: str | None, head: Head):
        self.model, self.revision, self.head = model, revision, head
        self.folder = f"./{Path(model).name}-onnx"

    @property
    def words(self) -> tuple[str, ...]:
        """The words after `distilbert`, without the folder, which comes last."""
        hub = () if self.revision is None else ("--revision", self.revision)
        options = ("--to", "onnx", "--dtype", "float32", "--head", self.head.architecture, *hub)
        return ("convert", *options, self.model)


# -- what is printed --------------------------------------------------------------------------------------------------


def column_names(task: str) -> tuple[str, ...]:
    """Return the names of the columns of the table."""
    return (
        "name",
        "texts/s",
        "times as fast",
        "ms of one text",
        "ms, 99 %",
        "one text: times as fast",
        "peak memory",
        f"{DIFFERENCE[COMMANDS[task]]} off by",
        "answers changed",
    )


def table_rows(results: Sequence[Result]) -> Any:
    """Yield a record with the columns of the table for each result. Ratios are to the first one."""
    for result in results:
        speed = Spread.of(result.speeds).median
        values = (
            result.name,
            f"{speed:.4g}",
            *_ratio(result, results[0], "batches"),
            f"{1000 * result.percentile(50):.4g}",
            f"{1000 * result.percentile(99):.4g}",
            *_ratio(result, results[0], "single"),
            "-" if result.peak is None else f"{result.peak / 1e6:,.0f} MB",
            f"{result.difference:.1e}",
            "-" if result.changed is None else str(result.changed),
        )
        task = "feature-extraction" if result.changed is None else "text-classification"
        yield dict(zip(column_names(task), values, strict=True))


def _ratio(result: Result, first: Result, goal: str) -> tuple[str]:
    return ("1" if result is first else str(result.times_as_fast(first, goal)),)


def sentence_of(choice: Choice, texts: int, outputs: str) -> str:
    """Return a line that names the best contestant for a goal."""
    result = choice.result
    if choice.goal == "batches":
        what, value = "Most texts per second", f"{Spread.of(result.speeds).median:.4g}"
    else:
        what, value = "Shortest time of one text", f"{1000 * result.percentile(50):.3g} ms"
    line = f"{what}: {result.name}, {value}"
    if choice.gain is not None:
        changed = "" if result.changed is None else f", {result.changed} of {texts} answers changed"
        return f"{line}, {choice.gain} times as fast, but {outputs} off by {result.difference:.1e}{changed}:"
    equal = ", ".join(one.name for one in choice.equal)
    return f"{line} (in some turns as fast: {equal}):" if equal else f"{line}:"


def commands_of(choice: Choice, job: Job, export: Export, file: Path | None, column: str) -> list[str]:
    """Return the command lines that run the model as the chosen contestant does."""
    contestant = choice.result.contestant
    hub = [] if job.revision is None or contestant.model != job.model else ["--revision", job.revision]
    model = export.folder if contestant.model is None else contestant.model
    words = ["distilbert", COMMANDS[job.task], "--model", model, *hub, "--backend", contestant.backend]
    if contestant.dtype != "float32":
        words += ["--dtype", contestant.dtype]
    if job.device is not None:
        words += ["--device", job.device]
    if job.batch_tokens is not None:
        words += ["--batch-tokens", str(job.batch_tokens)]
    if file is not None and choice.goal == "batches":
        words += ["--file", str(file), *(() if column == "text" else ("--column", column))]
    lines = [shlex.join(words)]
    return lines if contestant.model is not None else [shlex.join(["distilbert", *export.words, model]), *lines]


def result_record(result: Result, first: Result) -> dict[str, Any]:
    """Return the measurements of a contestant for JSON. Ratios are to the first one."""
    contestant = result.contestant
    names = {"name": result.name, "backend": contestant.backend, "dtype": contestant.dtype, "model": contestant.model}
    if result.problem is not None:
        return {**names, "problem": result.problem}
    return {
        **names,
        "texts_per_second": vars(Spread.of(result.speeds)),
        "milliseconds_per_text": {
            "median": 1000 * result.percentile(50),
            "99 %": 1000 * result.percentile(99),
            "measured": sum(map(len, result.latencies)),
        },
        "times_as_fast": {goal: vars(result.times_as_fast(first, goal)) for goal in GOALS},
        "turns": len(result.speeds),
        "first_result_seconds": result.first,
        "peak_bytes": result.peak,
        "largest_difference": result.difference,
        "answers_changed": result.changed,
    }
