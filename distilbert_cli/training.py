"""The commands `finetune` and `evaluate`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import click

from distilbert_cli.options import (
    COLUMNS,
    JSON,
    PATH,
    POSITIVE,
    REVISION,
    WORDS,
    Decorator,
    backend_option,
    checkpoint_option,
    command,
    parse_pairs,
    refuse,
    task_option,
    together,
)
from distilbert_cli.writers import Columns, write
from distilbert_core import training
from distilbert_core.model.backends import RUNNABLE
from distilbert_core.training import TASKS, Recipe
from distilbert_core.training.labels import BALANCED
from distilbert_core.training.metrics import Metrics
from distilbert_core.training.run import SAVE_EVERY
from distilbert_core.training.tasks.glue import GLUE

DIGITS = 4  # of a metric
EVALUATION_NUMBERS = ("max_length", "doc_stride", "mask_probability", "dtype")
TASK_OF_NUMBER = {"doc_stride": "question-answering", "mask_probability": "masked-lm"}


# -- the numbers of a recipe ----------------------------------------------------------------------------------------


def _class_weights(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> str | dict[str, float] | None:
    if value is None or value == BALANCED:
        return value
    form = f"{BALANCED} or NAME=NUMBER,NAME=NUMBER, e.g. bad=1,good=3"
    try:
        return {name: float(number) for name, number in parse_pairs(value.split(","), form).items()}
    except ValueError:
        raise click.BadParameter(f"write {form}.") from None


# Further settings of the options for some numbers.
SETTINGS: dict[str, dict[str, Any]] = {
    "class_weights": {"callback": _class_weights, "metavar": f"{BALANCED}|NAME=NUMBER,..."}
}


def recipe_options(kind: type[Recipe], *names: str) -> Decorator:
    """Return an option for each number of a recipe. Its help text is the description in the recipe's docstring.

    Args:
        kind: Class of the recipe. The descriptions are read from the section Attributes of its docstring and of its
            base classes' docstrings.
        *names: Names of the numbers.
    """
    helps = {name: help for ancestor in reversed(kind.__mro__) for name, help in _attributes(ancestor)}
    return together(
        *(
            click.option(
                f"--{field.name.replace('_', '-')}",
                type={"int": int, "float": float, "bool": bool}.get(str(field.type).removesuffix(" | None"), str),
                is_flag=field.type == "bool",
                default=field.default,
                help=helps[field.name],
                **SETTINGS.get(field.name, {}),
            )
            for field in fields(kind)
            if field.name in names
        )
    )


def _attributes(kind: type) -> Iterator[tuple[str, str]]:
    """Yield the names and descriptions in the section Attributes of a docstring."""
    text = re.split(r"^Raises:", inspect.cleandoc(kind.__doc__ or ""), flags=re.MULTILINE)[0]
    for name, help in re.findall(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", text, re.MULTILINE | re.DOTALL):
        yield name, " ".join(help.split())


def refuse_other_tasks(task: str) -> None:
    """Raise UsageError if an option of the running command belongs to another task."""
    for name, other in TASK_OF_NUMBER.items():
        if task != other:
            refuse(f"is for --task {other}", name)


# -- options of a run -----------------------------------------------------------------------------------------------

EVAL = click.option("--eval", "eval_file", type=PATH, metavar="FILE", help="File to measure the model on.")
NEW_HEAD = click.option("--new-head", is_flag=True, help="Initialise a new head, even if the checkpoint has one.")
RESUME = together(
    click.option("--resume", is_flag=True, help="Continue a run that was interrupted; give the same options."),
    click.option(
        "--save-every",
        type=POSITIVE,
        default=SAVE_EVERY,
        metavar="N",
        help="Steps between two states from which an interrupted run continues, beside those after evaluations.",
    ),
    click.option("--keep-states", type=POSITIVE, default=1, metavar="N", help="Number of states to keep."),
)
TASK = task_option(TASKS, "Task of the model.", required=False)
TASK_OF_GLUE = click.option(
    "--glue",
    type=click.Choice(list(GLUE)),
    metavar="NAME",
    help=f"In place of --task, a task of GLUE with its columns, labels and metrics: {', '.join(GLUE)}.",
)


def task_of(task: str | None, glue: str | None) -> str:
    """Return the name of the task that --task or --glue names, or raise UsageError."""
    if (task is None) == (glue is None):
        raise click.UsageError("Give either --task or --glue; --help lists the tasks.")
    if task is None:
        refuse("cannot be combined with --glue, whose labels are GLUE's", "labels")
        return f"glue/{glue}"
    return task


def output_folder(content: str) -> Decorator:
    """Return the option --output of a run; `content` names the model that the folder will hold."""
    return click.option(
        "--output",
        type=PATH,
        required=True,
        metavar="FOLDER",
        help=f"Folder to create, for {content} and the record of the run.",
    )


# -- the commands ---------------------------------------------------------------------------------------------------


@command(
    "finetune",
    "distilbert finetune --task sequence-classification --model sst2-tiny --train train.tsv --eval dev.tsv "
    "--output ./new",
    "distilbert finetune --glue sst2 --model sst2-tiny --train GLUE/SST-2 --output ./sst2",
)
@TASK
@TASK_OF_GLUE
@checkpoint_option(help="Checkpoint to start from.", required=True)
@click.option(
    "--train",
    type=PATH,
    required=True,
    metavar="FILE",
    help="File to learn from: .tsv, .csv, .jsonl, .parquet, .txt, .conll or .json; a pattern for several, in quotes, "
    "such as 'train-*.jsonl'; a folder of distilbert prepare; or a data set of the Hub and its split, such as "
    "stanfordnlp/sst2:train. With --glue also GLUE's folder of the task, whose evaluation data are then measured too.",
)
@EVAL
@output_folder("the best model")
@backend_option()
@REVISION
@COLUMNS
@click.option(
    "--labels",
    type=WORDS,
    metavar="NAME,NAME...",
    help="Names of the labels, in order.",
    show_default="the labels in the file",
)
@NEW_HEAD
@RESUME
@recipe_options(Recipe, *(field.name for field in fields(Recipe)))
@JSON
def finetune(
    task,
    glue,
    model,
    train,
    eval_file,
    output,
    backend,
    revision,
    columns,
    labels,
    new_head,
    resume,
    save_every,
    keep_states,
    as_json,
    **numbers,
):
    """Train a checkpoint on a file.

    docs/finetuning.md lists the columns of each task. OUTPUT is a checkpoint that every command can load. Its folder
    'training' contains metrics.jsonl, curve.png and the state for --resume.
    """
    task = task_of(task, glue)
    refuse_other_tasks(task)
    done = training.finetune(
        task,
        train,
        model=model,
        output=output,
        eval=eval_file,
        backend=backend,
        recipe=Recipe(**numbers),
        columns=columns,
        labels=labels,
        new_head=new_head,
        resume=resume,
        save_every=save_every,
        keep_states=keep_states,
        revision=revision,
    )
    click.echo(f"{output}: the model after step {done.best_step} of {done.step}", err=True)
    print_metrics(done.metrics, as_json)


@command(
    "evaluate",
    "distilbert evaluate --task sequence-classification --model sst2-tiny dev.tsv",
    "distilbert evaluate --glue sst2 --model sst2-tiny GLUE/SST-2",
)
@click.argument("file", type=PATH)
@TASK
@TASK_OF_GLUE
@checkpoint_option(help="Checkpoint to measure.", required=True)
@backend_option(RUNNABLE)
@REVISION
@COLUMNS
@recipe_options(Recipe, *EVALUATION_NUMBERS)
@JSON
def evaluate(file, task, glue, model, backend, revision, columns, as_json, **numbers):
    """Measure a checkpoint on a file.

    With --glue, FILE may be the folder of the task.
    """
    task = task_of(task, glue)
    refuse_other_tasks(task)
    metrics = training.evaluate(
        task, file, model=model, backend=backend, recipe=Recipe(**numbers), columns=columns, revision=revision
    )
    print_metrics(metrics, as_json)


def print_metrics(metrics: Metrics, as_json: bool) -> None:
    """Print metrics with 4 decimals: one per line, or all as one JSON object."""
    if metrics:
        rounded: dict[str, Any] = {name: round(value, DIGITS) for name, value in metrics.items()}
        rows = [{"metric": name, "value": value} for name, value in rounded.items()]
        write([rounded] if as_json else rows, Columns(("metric", "value")), None, as_json)
