"""The commands `student` and `distill`."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from distilbert_cli.options import (
    COLUMNS,
    FORCE,
    HEADS,
    JSON,
    PATH,
    REVISION,
    CommaSeparated,
    backend_option,
    checkpoint_argument,
    checkpoint_option,
    command,
    head_option,
    task_option,
    together,
)
from distilbert_cli.training import EVAL, NEW_HEAD, RESUME, output_folder, print_metrics, recipe_options
from distilbert_core.errors import DistilBertError, InputError
from distilbert_core.files.records import decoded_lines
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.tokenization import DistilBertTokenizerFast
from distilbert_core.training import distillation
from distilbert_core.training.distillation import DistillationRecipe
from distilbert_core.training.distillation.distilling import DISTILLATION_TASKS
from weight_conversion.students import corpus_vocabulary, make_student
from weight_conversion.weights import Weights

WIDTHS = ("dim", "hidden_dim", "n_heads")
NUMBERS = tuple(field.name for field in fields(DistillationRecipe) if field.name not in ("doc_stride", "class_weights"))

SIZE_OPTIONS = together(
    click.option(
        "--layers",
        type=CommaSeparated(int, "numbers separated by commas, e.g. 0,2,4"),
        metavar="N,N...",
        help="Layers of the teacher to keep.",
        show_default="every second layer, from layer 0",
    ),
    click.option("--dim", type=int, metavar="N", help="Width of the student.", show_default="the teacher's"),
    click.option(
        "--hidden-dim", type=int, metavar="N", help="Width of its feed-forward layers.", show_default="the teacher's"
    ),
    click.option(
        "--n-heads",
        type=int,
        metavar="N",
        help="Number of its attention heads.",
        show_default="the width divided by the teacher's head size",
    ),
)


# -- student --------------------------------------------------------------------------------------------------------


@command("student", "distilbert student sst2-tiny ./student --layers 0,2,4")
@checkpoint_argument("teacher")
@click.argument("destination", type=PATH)
@SIZE_OPTIONS
@head_option("Model class of the student.", "the class of the teacher")
@click.option(
    "--vocabulary-of",
    type=PATH,
    multiple=True,
    metavar="FILE",
    help="Keep only the tokens of this text file; repeat the option for more files.",
)
@click.option("--vocabulary-size", type=int, metavar="N", help="Keep only the N most frequent of these tokens.")
@REVISION
@FORCE
def student(teacher, destination, head, vocabulary_of, vocabulary_size, revision, force, **sizes):
    """Make a smaller model out of a larger one.

    The student starts with a part of the teacher's weights: some of its layers, tokens and widths.

    TEACHER is an embedded model, a Hub id, or a folder with a DistilBERT or a BERT in any format.
    """
    if vocabulary_size is not None and not vocabulary_of:
        raise InputError("--vocabulary-size needs --vocabulary-of: the files in which the tokens are counted.")
    ids = None
    if vocabulary_of:
        tokenizer = DistilBertTokenizerFast.from_pretrained(teacher, revision=revision)
        ids = corpus_vocabulary(tokenizer, _lines(vocabulary_of), vocabulary_size)
    made = make_student(
        teacher, destination, vocabulary=ids, head=HEADS.get(head), force=force, revision=revision, **sizes
    )
    _report(destination, made)


def _lines(files: Iterable[Path]) -> Iterator[str]:
    for file in files:
        yield from decoded_lines(file)


def _report(destination: Path, made: Weights) -> None:
    for note in made.notes:
        click.echo(note, err=True)
    config = made.config
    click.echo(f"{destination}: {made.head.architecture}, {config.n_layers} layers of width {config.dim}.", err=True)


# -- distill --------------------------------------------------------------------------------------------------------


@command(
    "distill",
    "distilbert distill --task sequence-classification --teacher sst2-tiny --layers 0,2,4 --data texts.tsv "
    "--output ./new",
)
@task_option(DISTILLATION_TASKS, "Task of the teacher.")
@checkpoint_option("--teacher", help="Checkpoint of the teacher.", required=True)
@checkpoint_option(
    "--student", "student_source", help="Checkpoint of the student.", show_default="made from the teacher"
)
@click.option(
    "--student-config",
    type=PATH,
    metavar="FILE",
    help="Make the student with the number of layers and the widths of this config.json.",
)
@SIZE_OPTIONS
@click.option(
    "--data",
    type=PATH,
    multiple=True,
    required=True,
    metavar="FILE",
    help="File to learn from: .txt, .tsv, .csv, .jsonl or .parquet; a pattern for several, in quotes; a folder of "
    "distilbert prepare; or a data set of the Hub and its split (owner/name:train). Repeat the option for more.",
)
@EVAL
@output_folder("the best student")
@backend_option()
@REVISION
@COLUMNS
@NEW_HEAD
@click.option("--teacher-dtype", metavar="NAME", help="Dtype the teacher runs in.", show_default="the student's")
@click.option(
    "--cache", type=PATH, metavar="FOLDER", help="Keep the teacher's outputs here, for other students of the same data."
)
@click.option(
    "--top-k", type=int, metavar="N", help="Keep the N largest logits per token in the cache.", show_default="all"
)
@RESUME
@recipe_options(DistillationRecipe, *NUMBERS)
@JSON
def distill(task, data, teacher, student_source, student_config, output, eval_file, as_json, **options):
    """Distil a teacher into a smaller student.

    Without --student, the student is made from the teacher in a folder beside OUTPUT. OUTPUT is a checkpoint that every
    command can load. Its folder 'training' contains metrics.jsonl, curve.png and the state for --resume. See
    docs/distillation.md.
    """
    numbers, sizes = ({name: options.pop(name) for name in names} for names in (NUMBERS, ("layers", *WIDTHS)))
    is_new = student_source is None and not options["resume"]
    if student_source is None:
        student_source = output.with_name(f"{output.name}-student")
        if is_new:
            if student_config is not None:
                sizes = _config_sizes(student_config, teacher, options["revision"]) | {
                    name: value for name, value in sizes.items() if value is not None
                }
            head = DISTILLATION_TASKS[task].head
            made = make_student(teacher, student_source, head=head, revision=options["revision"], **sizes)
            _report(student_source, made)
    elif student_config is not None or any(value is not None for value in sizes.values()):
        raise InputError(
            "--student is a finished model: leave out --student, or leave out --student-config, --layers, --dim, "
            "--hidden-dim and --n-heads."
        )
    try:
        done = distillation.distill(
            task,
            data,
            teacher=teacher,
            student=student_source,
            output=output,
            eval=eval_file,
            recipe=DistillationRecipe(**numbers),
            **options,
        )
    except DistilBertError:
        if is_new and not output.exists():  # the run did not begin: remove the student, so that it can be repeated
            shutil.rmtree(student_source)
        raise
    click.echo(f"{output}: the student after step {done.best_step} of {done.step}", err=True)
    print_metrics(done.metrics, as_json)


def _config_sizes(file: Path, teacher: str, revision: str | None) -> dict[str, Any]:
    """Return the sizes of a student that has a given configuration. Its layers are spread evenly over the teacher's.

    Raises:
        InputError: The file is not a configuration, or has more layers than the teacher.
    """
    try:
        config = DistilBertConfig.from_json_file(file)
    except DistilBertError as error:
        raise InputError(f"{file} is not a valid config.json: {error}") from error
    whole = DistilBertConfig.from_pretrained(teacher, revision=revision)
    if config.n_layers > whole.n_layers:
        raise InputError(f"{file} has n_layers={config.n_layers}, but {teacher} has only {whole.n_layers} layers.")
    layers = [layer * whole.n_layers // config.n_layers for layer in range(config.n_layers)]
    return {"layers": layers, **{name: getattr(config, name) for name in WIDTHS}}
