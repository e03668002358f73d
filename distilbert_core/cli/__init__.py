"""The `distilbert` command."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from itertools import combinations_with_replacement, islice
from pathlib import Path
from typing import TYPE_CHECKING

import distilbert_core
from distilbert_core.backends import BACKENDS, available_backends, load_backend
from distilbert_core.errors import BackendNotInstalledError, DistilBertError, InputError
from distilbert_core.hub import DEFAULT_MODEL

if TYPE_CHECKING:
    from distilbert_core.classification import Prediction, TextClassifier

CHUNK = 256  # texts that are read, answered and printed at a time


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status: 0, or 1 after an error that was printed."""
    options = _parser().parse_args(arguments)
    warnings.showwarning = lambda message, *_: print(f"distilbert: warning: {message}", file=sys.stderr)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's start-up chatter
    try:
        return options.run(options)
    except DistilBertError as error:
        print(f"distilbert: error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="distilbert", description="DistilBERT in PyTorch, Keras and JAX/Flax.")
    parser.add_argument("--version", action="version", version=f"distilbert {distilbert_core.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    predict = commands.add_parser(
        "predict",
        help="classify texts",
        description="Classify texts: those given, else the lines of --file, else the lines of standard input.",
    )
    predict.add_argument("text", nargs="*", help="a text to classify")
    predict.add_argument("--file", type=Path, metavar="FILE", help="a file with one text per line")
    predict.add_argument(
        "--backend",
        choices=[*BACKENDS, "all"],
        help="framework to run on; 'all' compares the three (default: the first that is installed)",
    )
    predict.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        metavar="FOLDER_OR_HUB_ID",
        help="checkpoint of a sequence classifier (default: the embedded %(default)s)",
    )
    predict.add_argument("--dtype", help="float32 (default), float64, bfloat16, float16, or auto: as stored")
    predict.add_argument("--device", help="where to run, as the framework names it")
    predict.add_argument("--json", action="store_true", help="print one JSON object per text")
    predict.set_defaults(run=_predict)
    return parser


def _predict(options: argparse.Namespace) -> int:
    from distilbert_core.classification import TextClassifier

    texts = _texts(options)
    classifiers = {
        name: TextClassifier(options.model, name, dtype=options.dtype, device=options.device)
        for name in _backends(options.backend)
    }
    show = _print_json if options.json else _print_table if options.backend == "all" else _print_lines
    for chunk in _with_progress(iter(lambda: list(islice(texts, CHUNK)), [])):
        show(chunk, _answer(classifiers, chunk))
        sys.stdout.flush()
    return 0


def _texts(options: argparse.Namespace) -> Iterator[str]:
    if options.text and options.file:
        raise InputError("Give texts or --file, not both.")
    if options.text:
        return iter(options.text)
    if options.file is None and sys.stdin.isatty():
        raise InputError('Nothing to classify: give a text ("I love it!"), --file, or lines on standard input.')
    return _lines(options.file)


def _lines(path: Path | None) -> Iterator[str]:
    try:
        with sys.stdin if path is None else path.open(encoding="utf-8") as lines:
            yield from (line.rstrip("\r\n") for line in lines)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path or 'standard input'} cannot be read as UTF-8 text: {error}") from error


def _backends(wanted: str | None) -> list[str]:
    """Return the backends to run, and say on standard error which of 'all' are not installed."""
    if wanted != "all":
        installed = available_backends()
        if wanted is None and not installed:
            commands = "; ".join(f"{backend.title}: {backend.install_command}" for backend in BACKENDS.values())
            raise BackendNotInstalledError(f"No backend is installed. {commands}")
        return [wanted or installed[0]]
    names = []
    for name in BACKENDS:
        try:
            load_backend(name)
            names.append(name)
        except BackendNotInstalledError as error:
            print(f"distilbert: {error}", file=sys.stderr)
    if not names:
        raise BackendNotInstalledError("No backend is installed.")
    return names


def _with_progress(chunks: Iterator[list[str]]) -> Iterator[list[str]]:
    """Pass chunks through; show progress where the answers go to a file and somebody watches."""
    if sys.stdout.isatty() or not sys.stderr.isatty():
        yield from chunks
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.completed:,} texts"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=None)
        for chunk in chunks:
            yield chunk
            progress.advance(task, len(chunk))


def _answer(classifiers: dict[str, TextClassifier], texts: list[str]) -> list[dict[str, Prediction]]:
    """Return for each text each backend's prediction."""
    answers = {name: list(classifier(texts)) for name, classifier in classifiers.items()}
    return [{name: predictions[i] for name, predictions in answers.items()} for i in range(len(texts))]


def _largest_difference(answers: Iterable[dict[str, Prediction]]) -> float:
    """Return the largest difference of a logit between two backends."""
    pairs = (pair for answer in answers for pair in combinations_with_replacement(answer.values(), 2))
    return max(float(abs(a.logits - b.logits).max()) for a, b in pairs)


def _print_lines(texts: list[str], answers: list[dict[str, Prediction]]) -> None:
    for text, answer in zip(texts, answers, strict=True):
        (prediction,) = answer.values()
        print(f"{prediction.label}\t{prediction.score:.4f}\t{text}")


def _print_json(texts: list[str], answers: list[dict[str, Prediction]]) -> None:
    for text, answer in zip(texts, answers, strict=True):
        fields = {name: {"label": p.label, "score": p.score, "logits": p.logits.tolist()} for name, p in answer.items()}
        if len(fields) == 1:
            line = {"text": text, **next(iter(fields.values()))}
        else:
            difference = _largest_difference([answer])
            line = {"text": text, "backends": fields, "largest_logit_difference": difference}
        print(json.dumps(line, ensure_ascii=False))


def _print_table(texts: list[str], answers: list[dict[str, Prediction]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for text, answer in zip(texts, answers, strict=True):
        table = Table("backend", "label", "score", "logits", box=box.SIMPLE, title=Text(text), title_justify="left")
        for name, prediction in answer.items():
            logits = " ".join(f"{logit:+.6f}" for logit in prediction.logits)
            table.add_row(BACKENDS[name].title, prediction.label, f"{prediction.score:.6f}", logits)
        console.print(table)
    console.print(f"largest logit difference between backends: {_largest_difference(answers):.1e}")


if __name__ == "__main__":
    sys.exit(main())
