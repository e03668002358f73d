"""The commands `student` and `distill` of the command `distilbert`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from distilbert_cli.conversion import FORCE_HELP, HEADS
from distilbert_cli.options import Decorator, command, complete_model, together
from distilbert_cli.training import AS_JSON, COLUMNS, FILE, backend_option, print_metrics, recipe_options
from distilbert_core.errors import DistilBertError, InputError
from distilbert_core.model.backends import BACKENDS
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.tokenization import DistilBertTokenizerFast
from distilbert_core.training.distillation import DistillationRecipe
from distilbert_core.training.distillation.distilling import TASKS
from weight_conversion.student import corpus_vocabulary, make_student
from weight_conversion.weights import Weights

WIDTHS = ("dim", "hidden_dim", "n_heads")
NUMBERS = tuple(field.name for field in fields(DistillationRecipe) if field.name not in ("doc_stride", "class_weights"))
MODEL = "FOLDER_OR_HUB_ID"


def _numbers(context: click.Context, parameter: click.Parameter, given: str | None) -> list[int] | None:
    try:
        return None if given is None else [int(number) for number in given.split(",")]
    except ValueError:
        raise click.BadParameter("write it as numbers with commas between them, e.g. 0,2,4.") from None


def width_options() -> Decorator:
    """Return the options that say what of its teacher a student keeps."""
    return together(
        click.option(
            "--layers",
            metavar="N,N...",
            callback=_numbers,
            help="The teacher's layers to keep.",
            show_default="every other one, from the first",
        ),
        click.option("--dim", type=int, help="Width of the student.", show_default="the teacher's"),
        click.option("--hidden-dim", type=int, help="Width of its feed-forward layers.", show_default="the teacher's"),
        click.option("--n-heads", type=int, help="Number of its heads.", show_default="as many as there is room for"),
    )


@command("student", "distilbert student sst2-tiny ./student --layers 0,2,4")
@click.argument("teacher", shell_complete=complete_model)
@click.argument("destination", type=FILE)
@width_options()
@click.option("--head", type=click.Choice(list(HEADS)), help="Class of the student.", show_default="the teacher's")
@click.option("--vocabulary-of", type=FILE, multiple=True, metavar="FILE", help="Keep the tokens of a text file only.")
@click.option("--vocabulary-size", type=int, metavar="N", help="Keep so many of them, the most frequent.")
@click.option("--force", is_flag=True, help=FORCE_HELP)
def student(teacher, destination, head, vocabulary_of, vocabulary_size, force, **widths):
    """Make a smaller model out of a larger one.

    It begins as a part of that: some of its layers, tokens and widths.

    TEACHER is a folder with weights of any format, BERT's too, an embedded model or a Hub id.
    """
    if vocabulary_size is not None and not vocabulary_of:
        raise InputError("--vocabulary-size needs --vocabulary-of, the texts whose tokens are counted.")
    ids = None
    if vocabulary_of:
        tokenizer = DistilBertTokenizerFast.from_pretrained(teacher)
        ids = corpus_vocabulary(tokenizer, _lines(vocabulary_of), vocabulary_size)
    made = make_student(teacher, destination, vocabulary=ids, head=HEADS.get(head), force=force, **widths)
    _report(destination, made)


def _lines(files: tuple[Path, ...]) -> Iterator[str]:
    for file in files:
        with file.open(encoding="utf-8") as lines:
            yield from lines


def _report(destination: Path, made: Weights) -> None:
    for note in made.notes:
        click.echo(note, err=True)
    config = made.config
    click.echo(f"{destination}: {made.head.architecture}, {config.n_layers} layers of width {config.dim}.", err=True)


@command(
    "distill",
    "distilbert distill --task sequence-classification --teacher sst2-tiny --layers 0,2,4 --data texts.tsv "
    "--output ./new",
)
@click.option("--task", type=click.Choice(list(TASKS)), required=True, help="What the teacher predicts.")
@click.option("--teacher", metavar=MODEL, required=True, help="Its checkpoint.", shell_complete=complete_model)
@click.option("--student", "given", metavar=MODEL, help="The student.", show_default="made of the teacher")
@click.option("--student-config", type=FILE, help="config.json of a student to make: its layers and widths.")
@width_options()
@click.option(
    "--data",
    type=FILE,
    multiple=True,
    required=True,
    help="File to learn from: .txt, .tsv, .csv, .jsonl. More than one may be given.",
)
@click.option("--eval", "eval_file", type=FILE, help="File to measure the student on.")
@click.option("--output", type=FILE, required=True, help="Folder to make: the best student, and how the run went.")
@backend_option(BACKENDS)
@COLUMNS
@click.option("--new-head", is_flag=True, help="Replace the head that the student has.")
@click.option("--teacher-dtype", metavar="NAME", help="What the teacher computes in.", show_default="the student's")
@click.option("--cache", type=FILE, metavar="FOLDER", help="Keep what the teacher says, for the next student.")
@click.option("--top-k", type=int, metavar="N", help="Keep N logits of each token there.", show_default="all")
@click.option("--resume", is_flag=True, help="Go on with a run that was stopped, with the same options.")
@recipe_options(DistillationRecipe, *NUMBERS)
@AS_JSON
def distill(task, teacher, given, student_config, data, eval_file, output, as_json, **options):
    """Train a student to say what its teacher says.

    Without --student one is made of the teacher, in a folder beside OUTPUT. OUTPUT can be used as a model at once; its
    folder 'training' has metrics.jsonl, curve.png, and what --resume needs. See docs/distillation.md.
    """
    from distilbert_core.training import distillation

    numbers, wanted = ({name: options.pop(name) for name in names} for names in (NUMBERS, ("layers", *WIDTHS)))
    made = None
    if given is None:
        given = output.with_name(f"{output.name}-student")
        if not options["resume"]:
            if student_config is not None:
                wanted = _parts_of(student_config, teacher, wanted)
            made = make_student(teacher, given, head=TASKS[task].head, **wanted)
            _report(given, made)
    elif student_config is not None or any(value is not None for value in wanted.values()):
        raise InputError("--student is a model as it is: leave it out, or --student-config, --layers and the widths.")
    recipe = DistillationRecipe(**numbers)
    try:
        done = distillation.distill(
            task, data, teacher=teacher, student=given, output=output, eval=eval_file, recipe=recipe, **options
        )
    except DistilBertError:
        if made is not None and not output.exists():  # nothing was begun: the same can be tried again
            shutil.rmtree(given)
        raise
    click.echo(f"{output}: the student of step {done.best_step} of {done.step}", err=True)
    print_metrics(done.metrics, as_json)


def _parts_of(file: Path, teacher: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return what of the teacher a student with a configuration has: its layers evenly over the teacher's.

    Raises:
        InputError: The file is no configuration, or has more layers than the teacher.
    """
    try:
        config = DistilBertConfig.from_dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} is no config.json: {error}") from error
    whole = DistilBertConfig.from_pretrained(teacher)
    if config.n_layers > whole.n_layers:
        raise InputError(f"{file} has n_layers={config.n_layers}, more than the {whole.n_layers} of {teacher}.")
    parts = {name: getattr(config, name) for name in WIDTHS}
    parts["layers"] = [layer * whole.n_layers // config.n_layers for layer in range(config.n_layers)]
    return parts | {name: value for name, value in given.items() if value is not None}
