"""The `distilbert` command. Nothing heavy is imported before a command needs it, so that help and completion are quick.

`commands` holds the commands, `options` what they share, `readers` where inputs come from, `writers` where results go.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import click

import distilbert_core
from distilbert_cli.commands import COMMANDS, LAZY_COMMANDS
from distilbert_cli.options import HELP_OPTIONS
from distilbert_core.errors import DistilBertError

INTERRUPTED = 130  # as shells report a command that Ctrl-C ended
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "distilbert")
# What the frameworks read from the environment, where it does not say otherwise.
ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",  # TensorFlow's start-up chatter
    # JAX keeps what one command compiles for those that follow.
    "JAX_COMPILATION_CACHE_DIR": str(CACHE / "jax"),
    "JAX_COMPILATION_CACHE_MAX_SIZE": str(2**30),  # bytes
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
}


class _Failure(click.ClickException):
    """An error that is the input's or the checkpoint's, not the usage's: one line on standard error, exit status 1."""

    def show(self, file=None) -> None:
        click.echo(f"distilbert: error: {' '.join(self.message.split())}", err=True, file=file)


class _Group(click.Group):
    """Commands that end quietly where nobody reads on or Ctrl-C is pressed, and whose errors are one line."""

    def invoke(self, context: click.Context) -> None:
        try:
            super().invoke(context)
            sys.stdout.flush()
        except KeyboardInterrupt:
            raise click.exceptions.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # whoever read our output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except (DistilBertError, OSError) as error:
            raise _Failure(str(error)) from error


@click.group(cls=_Group, commands={**COMMANDS, **LAZY_COMMANDS}, context_settings=HELP_OPTIONS, no_args_is_help=False)
@click.version_option(distilbert_core.__version__, message="distilbert %(version)s")
def distilbert() -> None:
    """DistilBERT in PyTorch, Keras and JAX/Flax.

    Texts are given as arguments, else they come from --file, else they are the lines of standard input.
    """
    warnings.showwarning = lambda message, *_: click.echo(f"distilbert: warning: {message}", err=True)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Words of the command line; those of this process if left out.

    Returns:
        The exit status: 0, 1 after an error, 2 after wrong usage, 130 after Ctrl-C. What went wrong has been printed.

    Example:
        >>> from distilbert_cli import main
        >>> main(["tokenize", "I love it!", "--json"])  # doctest: +ELLIPSIS
        {"text": "I love it!", "tokens": [{"token": "[CLS]", "id": 101, "start": 0, "end": 0}, ...
        0
    """
    try:
        return distilbert.main(arguments, prog_name="distilbert", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
