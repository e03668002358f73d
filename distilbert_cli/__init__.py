"""The `distilbert` command.

`commands` is the table of the commands, `options` holds the options that they share, `readers` reads their inputs and
`writers` writes their results. A module that needs time to import is imported by the command that needs it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

import distilbert_core
from distilbert_cli.commands import COMMANDS
from distilbert_cli.options import HELP_OPTIONS
from distilbert_core.errors import DistilBertError

INTERRUPTED = 130  # the exit status that shells use after Ctrl-C
TERMINATED = 143  # and after SIGTERM
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "distilbert")
# Settings of the frameworks; a variable that the user has set is kept.
ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",  # hides TensorFlow's messages at start-up
    # JAX keeps the programs that one command compiled for the next one.
    "JAX_COMPILATION_CACHE_DIR": str(CACHE / "jax"),
    "JAX_COMPILATION_CACHE_MAX_SIZE": str(2**30),  # bytes
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
}


class _Failure(click.ClickException):
    """An error in an input or a checkpoint, not in the usage: one line on standard error, exit status 1."""

    def show(self, file=None) -> None:
        line = " ".join(self.message.split()).encode("utf-8", "backslashreplace").decode()
        click.echo(f"distilbert: error: {line}", err=True, file=file)


class _Terminated(SystemExit):
    """The process was asked to end by SIGTERM; files that are being written are removed on the way out."""


@contextmanager
def _terminable() -> Iterator[None]:
    """Context manager: SIGTERM raises `_Terminated`, unless the program that calls us handles it in its own way."""

    def terminate(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # a second one ends the process at once
        raise _Terminated(TERMINATED)

    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class _Group(click.Group):
    """Commands that print errors in one line, and end quietly after Ctrl-C or when their output is closed."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)  # in the order of the table, not of the alphabet

    def invoke(self, context: click.Context) -> None:
        try:
            super().invoke(context)
            if sys.stdout is not None:
                sys.stdout.flush()
        except KeyboardInterrupt:
            raise click.exceptions.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # the reader of the pipe, such as `head`, has finished
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except (DistilBertError, OSError) as error:
            raise _Failure(str(error)) from error


@click.group(cls=_Group, commands=dict(COMMANDS), context_settings=HELP_OPTIONS, no_args_is_help=False)
@click.version_option(distilbert_core.__version__, message="distilbert %(version)s")
def distilbert() -> None:
    """DistilBERT in PyTorch, Keras and JAX/Flax.

    A command reads its texts from its arguments, from --file, or from standard input with one text per line.

    COMMAND --help describes a command and ends with an example.
    """
    warnings.showwarning = lambda message, *_: click.echo(f"distilbert: warning: {message}", err=True)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Words of the command line; default: the arguments of this process.

    Returns:
        The exit status: 0; 1 after an error; 2 after wrong usage; 130 after Ctrl-C; 143 after SIGTERM. The error has
        been printed.

    Example:
        >>> from distilbert_cli import main
        >>> main(["tokenize", "I love it!", "--json"])  # doctest: +ELLIPSIS
        {"text": "I love it!", "tokens": [{"token": "[CLS]", "id": 101, "start": 0, "end": 0}, ...
        0
    """
    try:
        with _terminable():
            return distilbert.main(arguments, prog_name="distilbert", standalone_mode=False) or 0
    except _Terminated:
        click.echo("distilbert: terminated.", err=True)
        return TERMINATED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return INTERRUPTED
