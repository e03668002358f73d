"""The command `prepare`."""

from __future__ import annotations

import os

import click

from distilbert_cli.options import (
    COLUMNS,
    JSON,
    PATH,
    POSITIVE,
    REVISION,
    WORDS,
    checkpoint_option,
    command,
    task_option,
)
from distilbert_cli.training import NEW_HEAD, recipe_options
from distilbert_cli.writers import Columns, write
from distilbert_core import training
from distilbert_core.training import TASKS, Recipe
from distilbert_core.training.preparing import PURPOSES

STORABLE = {name: task for name, task in TASKS.items() if task.stored_target is not None}


@command(
    "prepare",
    "distilbert prepare --task masked-lm --for distill --model ./student 'corpus-*.txt.gz' --output ./tokens",
)
@click.argument("data", type=PATH, nargs=-1, required=True)
@task_option(STORABLE, "Task of the model.")
@click.option(
    "--for",
    "purpose",
    type=click.Choice(list(PURPOSES)),
    default="finetune",
    help="Command that will learn from the tokens. For distill, lines of a document are joined into full rows, and "
    "labels may be missing.",
)
@checkpoint_option(help="Checkpoint to train, for its tokenizer and its labels.", required=True)
@click.option("--output", type=PATH, required=True, metavar="FOLDER", help="Folder to create, or to complete.")
@COLUMNS
@click.option(
    "--labels",
    type=WORDS,
    metavar="NAME,NAME...",
    help="Names of the labels, in order.",
    show_default="those of the checkpoint's head, or the labels in the files",
)
@NEW_HEAD
@recipe_options(Recipe, "max_length")
@click.option(
    "--processes", type=POSITIVE, metavar="N", help="Processes that tokenize.", show_default="one for each core"
)
@REVISION
@JSON
def prepare(data, task, purpose, model, output, columns, labels, new_head, max_length, processes, revision, as_json):
    """Tokenize a corpus for many runs.

    DATA is a file, a pattern for several in quotes, or a data set of the Hub; several follow one another. OUTPUT gets
    the tokens in files of one width with checksums, which the other commands take in place of a file. A command that
    was interrupted goes on when it is repeated. See docs/data.md.
    """
    shards = training.prepare(
        task,
        list(data),
        purpose=purpose,
        model=model,
        output=output,
        columns=columns,
        labels=labels,
        new_head=new_head,
        max_length=max_length,
        processes=processes or os.cpu_count() or 1,
        revision=revision,
    )
    index = shards.index
    numbers = {"rows": shards.rows, "tokens": shards.tokens, "files": len(index["shards"]), "cut": index["cut"]}
    rows = [{"quantity": name, "number": number} for name, number in numbers.items()]
    write([numbers] if as_json else rows, Columns(("quantity", "number")), None, as_json)
