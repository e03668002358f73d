"""The commands `finetune` and `evaluate` of the command `distilbert`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from distilbert_cli.options import Decorator, command, complete_model, refuse, together
from distilbert_cli.writers import Layout, write
from distilbert_core import training
from distilbert_core.model.backends import BACKENDS, RUNNABLE
from distilbert_core.training import TASKS, Recipe
from distilbert_core.training.labels import BALANCED
from distilbert_core.training.metrics import Metrics

DIGITS = 4  # of a metric
FILE = click.Path(path_type=Path)
EVALUATION_NUMBERS = ("max_length", "doc_stride", "mask_probability", "dtype")
OF_ONE_TASK = {"doc_stride": "question-answering", "mask_probability": "masked-lm"}


def recipe_options(kind: type[Recipe], *names: str) -> Decorator:
    """Return the options for numbers of a kind of recipe; their help is that of the class and of its base."""
    helps = {name: help for ancestor in reversed(kind.__mro__) for name, help in _attributes(ancestor)}
    return together(
        *(
            click.option(
                f"--{field.name.replace('_', '-')}",
                type={"int": int, "float": float, "bool": bool}.get(str(field.type).removesuffix(" | None"), str),
                is_flag=field.type == "bool",
                default=field.default,
                help=helps[field.name],
                **OWN_FORMS.get(field.name, {}),
            )
            for field in fields(kind)
            if field.name in names
        )
    )


def _attributes(kind: type) -> Iterator[tuple[str, str]]:
    """Yield the attributes that the docstring of a class lists, and what it says of them."""
    text = re.split(r"^Raises:", inspect.cleandoc(kind.__doc__ or ""), flags=re.MULTILINE)[0]
    for name, help in re.findall(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", text, re.MULTILINE | re.DOTALL):
        yield name, " ".join(help.split())


def _pairs(given: Iterable[str], form: str) -> dict[str, str]:
    """Return names and values that are given as NAME=VALUE."""
    pairs = [value.rpartition("=") for value in given]
    if not all(name and value for name, _, value in pairs):
        raise click.BadParameter(f"write it as {form}.")
    names = [name.strip() for name, _, _ in pairs]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise click.BadParameter(f"{repeated} is given twice.")
    return dict(zip(names, (value.strip() for _, _, value in pairs), strict=True))


def _columns(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    return _pairs(given, "NAME=COLUMN, e.g. text=sentence")


def _class_weights(
    context: click.Context, parameter: click.Parameter, given: str | None
) -> str | dict[str, float] | None:
    if given is None or given == BALANCED:
        return given
    form = f"{BALANCED}, or as NAME=NUMBER,NAME=NUMBER, e.g. bad=1,good=3"
    try:
        return {name: float(number) for name, number in _pairs(given.split(","), form).items()}
    except ValueError:
        raise click.BadParameter(f"write it as {form}.") from None


# What options of some numbers of a recipe have beside what all have.
OWN_FORMS: dict[str, dict[str, Any]] = {
    "class_weights": {"callback": _class_weights, "metavar": f"{BALANCED}|NAME=NUMBER,..."}
}


def refuse_other_tasks(task: str) -> None:
    """Raise UsageError if an option of the running command has no effect on this task."""
    for name, other in OF_ONE_TASK.items():
        if task != other:
            refuse(f"is for --task {other}", name)


def backend_option(names: Iterable[str]) -> Decorator:
    """Return the option --backend, one of some names."""
    choice = click.Choice(list(names))
    return click.option("--backend", type=choice, help="Framework to run on.", show_default="the first installed")


TASK = click.option("--task", type=click.Choice(list(TASKS)), required=True, help="What the model learns.")
MODEL = click.option(
    "--model", metavar="FOLDER_OR_HUB_ID", required=True, help="Checkpoint.", shell_complete=complete_model
)
COLUMNS = click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="NAME=COLUMN",
    callback=_columns,
    help="Column of the files, where it is not called as the task calls it: text=sentence.",
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@command(
    "finetune",
    "distilbert finetune --task sequence-classification --model sst2-tiny --train train.tsv --eval dev.tsv "
    "--output ./new",
)
@TASK
@MODEL
@click.option("--train", type=FILE, required=True, help="File to learn from: .tsv, .csv, .jsonl, .txt, .conll, .json.")
@click.option("--eval", "eval_file", type=FILE, help="File to measure the model on.")
@click.option("--output", type=FILE, required=True, help="Folder to make: the best model, and how the run went.")
@backend_option(BACKENDS)
@COLUMNS
@click.option("--labels", metavar="NAME,NAME...", help="Names of the labels, in order.", show_default="those found")
@click.option("--new-head", is_flag=True, help="Replace the head that the checkpoint has for this task.")
@click.option("--resume", is_flag=True, help="Go on with a run that was stopped, with the same options.")
@recipe_options(Recipe, *(field.name for field in fields(Recipe)))
@AS_JSON
def finetune(task, model, train, eval_file, output, backend, columns, labels, new_head, resume, as_json, **numbers):
    """Train a checkpoint on a file.

    The columns of each task are in docs/finetuning.md. OUTPUT can be used as a model at once; its folder 'training'
    has metrics.jsonl, curve.png, and what --resume needs.
    """
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
        labels=labels and [name.strip() for name in labels.split(",")],
        new_head=new_head,
        resume=resume,
    )
    click.echo(f"{output}: the model of step {done.best_step} of {done.step}", err=True)
    print_metrics(done.metrics, as_json)


@command("evaluate", "distilbert evaluate --task sequence-classification --model sst2-tiny dev.tsv")
@click.argument("file", type=FILE)
@TASK
@MODEL
@backend_option(RUNNABLE)
@COLUMNS
@recipe_options(Recipe, *EVALUATION_NUMBERS)
@AS_JSON
def evaluate(file, task, model, backend, columns, as_json, **numbers):
    """Measure a checkpoint on a file."""
    refuse_other_tasks(task)
    recipe = Recipe(**numbers)
    print_metrics(training.evaluate(task, file, model=model, backend=backend, recipe=recipe, columns=columns), as_json)


def print_metrics(metrics: Metrics, as_json: bool) -> None:
    """Print metrics, rounded: one a line, or all as one JSON object."""
    if metrics:
        rounded: dict[str, Any] = {name: round(value, DIGITS) for name, value in metrics.items()}
        rows = [{"metric": name, "value": value} for name, value in rounded.items()]
        write([rounded] if as_json else rows, Layout(("metric", "value")), None, as_json)
