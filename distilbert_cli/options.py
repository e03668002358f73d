"""What several commands share: their options, their examples, and what a shell may complete."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from distilbert_core.files.hub import DEFAULT_MODEL, EMBEDDED_MODELS
from distilbert_core.model.backends import RUNNABLE

HELP_OPTIONS = {"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 110}

Decorator = Callable[[Any], Any]


def command(name: str, *examples: str) -> Decorator:
    """Return a decorator that makes a function a command whose help ends with examples."""
    lines = "".join(f"\n  {example}" for example in examples)
    return click.command(name, epilog=f"\b\nExample:{lines}", context_settings=HELP_OPTIONS)


def together(*options: Decorator) -> Decorator:
    """Return one decorator for several options; help lists them in this order."""
    return lambda function: reduce(lambda decorated, option: option(decorated), reversed(options), function)


def refuse(reason: str, *names: str) -> None:
    """Raise UsageError if one of the running command's options was given, which would have no effect.

    Args:
        reason: What follows the option in the message, such as 'needs --file'.
        *names: Names of the options' parameters.
    """
    context = click.get_current_context()
    for parameter in context.command.params:
        given = context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
        if parameter.name in names and given:
            raise click.UsageError(f"{parameter.opts[-1]} {reason}.")


def complete_model(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the embedded models that begin so, and let the shell add folders."""
    names = sorted(path.name for path in EMBEDDED_MODELS.iterdir() if path.name.startswith(incomplete))
    folders = CompletionItem(incomplete, type="dir")
    return [folders, *map(CompletionItem, names)]  # in this order: for bash, folders clear what is there


def model_options(backends: tuple[str, ...] = RUNNABLE, **model: Any) -> Decorator:
    """Return the options that say which model runs and how: the keywords of `distilbert_core.pipelines.pipeline`.

    Args:
        backends: What --backend may be.
        **model: Keywords of the option --model: `default`, or `show_default` for what the pipeline takes.
    """
    return together(
        click.option(
            "--model",
            metavar="FOLDER_OR_HUB_ID",
            help="Checkpoint to use.",
            shell_complete=complete_model,
            **model,
        ),
        click.option(
            "--backend",
            "framework",
            type=click.Choice(backends),
            help="Framework to run on; onnx and openvino are for an exported model.",
            show_default="the first that is installed",
        ),
        click.option(
            "--dtype",
            metavar="NAME",
            help="float32, float64, bfloat16, float16, or auto: as stored.",
            show_default="float32",
        ),
        click.option("--device", metavar="NAME", help="Where to run, as the framework names it."),
        click.option(
            "--batch-tokens", type=click.IntRange(min=1), metavar="N", help="Most tokens in a batch, padding included."
        ),
    )


DEFAULT_TO_EMBEDDED: dict[str, Any] = {"default": DEFAULT_MODEL}


def file_option(text: str) -> Decorator:
    """Return the option --file; `text` says what the file holds."""
    file = click.Path(path_type=Path)
    return click.option("--file", type=file, metavar="FILE", help=f"{text} Any of them may be gzipped (.gz).")


TEXTS = together(
    click.argument("texts", nargs=-1, metavar="[TEXT]..."),
    file_option("A .csv, .tsv or .jsonl file with a column of texts, or any other with one text per line."),
    click.option("--column", default="text", metavar="NAME", help="Column of the texts."),
)


def output_options(*suffixes: str) -> Decorator:
    """Return the options that say where results go; `suffixes` are those of files that can hold them."""

    def check_suffix(context: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
        if path is not None and path.suffix not in suffixes:
            raise click.BadParameter(f"{path} must end in {' or '.join(suffixes)}.")
        return check_format(context, parameter, path)

    def check_format(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        """Return an option's value; of the two, the one that comes last sees the other."""
        given = {**context.params, str(parameter.name): value}
        if given.get("as_json") and given.get("output") and given["output"].suffix != ".jsonl":
            raise click.UsageError(f"--json does not go with --output {given['output']}; write to .jsonl instead.")
        return value

    return together(
        click.option("--json", "as_json", is_flag=True, callback=check_format, help="Print one JSON object per line."),
        click.option(
            "--output",
            type=click.Path(dir_okay=False, path_type=Path),
            callback=check_suffix,
            metavar="FILE",
            help=f"Write a {' or '.join(suffixes)} file instead; it appears whole or not at all.",
        ),
    )
