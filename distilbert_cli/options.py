"""How commands are declared, and every option that more than one of them has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from distilbert_core.errors import shortened
from distilbert_core.files.hub import DEFAULT_MODEL, EMBEDDED_MODELS
from distilbert_core.model.backends import BACKENDS, RUNNABLE
from distilbert_core.model.heads import Head

HELP_OPTIONS = {"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 110}

Decorator = Callable[[Any], Any]


# -- declaring a command --------------------------------------------------------------------------------------------


def command(name: str, *examples: str) -> Decorator:
    """Return a decorator that makes a function a command whose help ends with examples."""
    lines = "".join(f"\n  {example}" for example in examples)
    return click.command(name, epilog=f"\b\nExample:{lines}", context_settings=HELP_OPTIONS)


def together(*options: Decorator) -> Decorator:
    """Return one decorator for several options; help lists them in this order."""
    return lambda function: reduce(lambda decorated, option: option(decorated), reversed(options), function)


def refuse(reason: str, *names: str) -> None:
    """Raise UsageError if the user gave one of these options of the running command.

    Args:
        reason: Why it cannot be used; it follows the option in the message, such as 'needs --file'.
        *names: Names of the options' parameters.
    """
    context = click.get_current_context()
    for parameter in context.command.params:
        given = context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
        if parameter.name in names and given:
            raise click.UsageError(f"{parameter.opts[-1]} {reason}.")


# -- kinds of values ------------------------------------------------------------------------------------------------


class FilePath(click.Path):
    """A path; one with a NUL, which no file can have, is wrong usage."""

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        """Return the path that an option or an argument has."""
        if "\0" in str(value):
            self.fail(f"{shortened(str(value))} has a NUL, which no path can have.", parameter, context)
        return super().convert(value, parameter, context)


PATH = FilePath(path_type=Path)
FILE_TO_WRITE = FilePath(dir_okay=False, path_type=Path)
POSITIVE = click.IntRange(min=1)


class CommaSeparated(click.ParamType):
    """A list in one word, such as `0,2,4`."""

    name = "list"

    def __init__(self, item: Callable[[str], Any] = str, form: str = "values separated by commas"):
        self.item = item
        self.form = form

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the list; click calls this for a default too, which may be a list already."""
        if not isinstance(value, str):
            return value
        try:
            return [self.item(word.strip()) for word in value.split(",")]
        except ValueError:
            self.fail(f"write {self.form}.", param, ctx)


WORDS = CommaSeparated()


def parse_pairs(values: Iterable[str], form: str) -> dict[str, str]:
    """Return names and values that are written as NAME=VALUE.

    Args:
        values: The words of the user.
        form: How to write it; part of the message.

    Raises:
        BadParameter: A name or a value is missing, or a name is repeated.
    """
    pairs = [value.rpartition("=") for value in values]
    if not all(name and value for name, _, value in pairs):
        raise click.BadParameter(f"write {form}.")
    names = [name.strip() for name, _, _ in pairs]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise click.BadParameter(f"{repeated} is given twice.")
    return dict(zip(names, (value.strip() for _, _, value in pairs), strict=True))


# -- the checkpoint, and how it runs --------------------------------------------------------------------------------

HEADS = {head.architecture: head for head in Head}


def complete_model(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the embedded models whose names begin with a word, and let the shell add folders."""
    names = sorted(path.name for path in EMBEDDED_MODELS.iterdir() if path.name.startswith(incomplete))
    folders = CompletionItem(incomplete, type="dir")
    return [folders, *map(CompletionItem, names)]  # in this order: in bash, `dir` removes the items before it


def checkpoint_argument(name: str, **settings: Any) -> Decorator:
    """Return an argument that names a checkpoint."""
    return click.argument(name, shell_complete=complete_model, **settings)


def checkpoint_option(*names: str, help: str = "Checkpoint to load.", **settings: Any) -> Decorator:
    """Return an option that names a checkpoint: --model, unless there are other names."""
    return click.option(
        *(names or ("--model",)), metavar="FOLDER_OR_HUB_ID", help=help, shell_complete=complete_model, **settings
    )


EMBEDDED: dict[str, Any] = {"default": DEFAULT_MODEL}

REVISION = click.option("--revision", metavar="NAME", help="Branch, tag or commit of a checkpoint on the Hub.")


def backend_option(
    names: Iterable[str] = BACKENDS,
    *,
    help: str = "Backend to run on.",
    show_default: str = "the first one installed",
    parameter: str = "backend",
    **settings: Any,
) -> Decorator:
    """Return the option --backend, one of some names; `parameter` is the argument of the command that receives it."""
    choice = click.Choice(list(names))
    return click.option("--backend", parameter, type=choice, help=help, show_default=show_default, **settings)


def head_option(help: str, show_default: str) -> Decorator:
    """Return the option --head, whose value is one of `HEADS`."""
    return click.option("--head", type=click.Choice(list(HEADS)), help=help, show_default=show_default)


def model_options(backends: tuple[str, ...] = RUNNABLE, **model: Any) -> Decorator:
    """Return the options that choose a model and how it runs: the keywords of `distilbert_core.pipelines.pipeline`.

    Args:
        backends: The values of --backend.
        **model: Settings of the option --model: `default`, or `show_default` for the default of the pipeline.
    """
    return together(
        checkpoint_option(**model),
        REVISION,
        backend_option(
            backends,
            help="Backend to run on; onnx, openvino and litert are for a model that was exported.",
            parameter="framework",
        ),
        click.option(
            "--dtype",
            metavar="NAME",
            help="float32, float64, bfloat16 or float16; auto keeps the dtype of the checkpoint.",
            show_default="float32",
        ),
        click.option("--device", metavar="NAME", help="Device to run on, as the framework names it: cuda:1, gpu:1."),
        click.option(
            "--batch-tokens", type=POSITIVE, metavar="N", help="Maximum number of tokens in a batch, with padding."
        ),
    )


# -- where data comes from ------------------------------------------------------------------------------------------


def file_option(content: str) -> Decorator:
    """Return the option --file; `content` describes the file."""
    return click.option("--file", type=PATH, metavar="FILE", help=f"Read {content}. The file may be gzipped (.gz).")


TEXTS = together(
    click.argument("texts", nargs=-1, metavar="[TEXT]..."),
    file_option(
        "a .csv, .tsv, .jsonl or .parquet file with a column of texts, or any other file with one text per line"
    ),
    click.option("--column", default="text", metavar="NAME", help="Column that holds the texts."),
)


def _columns(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    return parse_pairs(values, "NAME=COLUMN, e.g. text=sentence")


COLUMNS = click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="NAME=COLUMN",
    callback=_columns,
    help="Name of a column in the files, if it differs from the task's name for it: text=sentence. Repeat the option "
    "for more columns.",
)


def task_option(names: Iterable[str], help: str, required: bool = True) -> Decorator:
    """Return the option --task, one of some names."""
    return click.option("--task", type=click.Choice(list(names)), required=required, help=help)


# -- where results go -----------------------------------------------------------------------------------------------

FORCE = click.option("--force", is_flag=True, help="Replace files that exist already.")


def json_option(help: str = "Print one JSON object.", **settings: Any) -> Decorator:
    """Return the option --json."""
    return click.option("--json", "as_json", is_flag=True, help=help, **settings)


JSON = json_option()


def output_options(*suffixes: str) -> Decorator:
    """Return the options --json and --output of a command that writes records.

    Args:
        *suffixes: Suffixes of the files that can hold its records.
    """

    def check_suffix(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
        if path is not None and path.suffix not in suffixes:
            raise click.BadParameter(f"{path} must end in {' or '.join(suffixes)}.")
        return check_format(context, parameter, path)

    def check_format(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        """Return an option's value. click reads the two options in turn, so the second one sees both."""
        values = {**context.params, str(parameter.name): value}
        if values.get("as_json") and values.get("output") and values["output"].suffix != ".jsonl":
            raise click.UsageError(
                f"--json cannot be combined with --output {values['output']}; write to a .jsonl file instead."
            )
        return value

    return together(
        json_option("Print one JSON object per line.", callback=check_format),
        click.option(
            "--output",
            type=FILE_TO_WRITE,
            callback=check_suffix,
            metavar="FILE",
            help=f"Write a {' or '.join(suffixes)} file instead. The file appears only when it is complete.",
        ),
    )
