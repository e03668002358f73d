"""Functions that open a checkpoint and read everything in it, for `support.watched`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import h5py  # noqa: F401  imported here, as the first import takes memory and time that no checkpoint asks for
import msgpack  # noqa: F401
from safetensors import safe_open  # noqa: F401

from distilbert_core.errors import DistilBertError
from distilbert_core.files.checkpoint import Checkpoint
from distilbert_core.model.checkpoint_loading import find_config
from distilbert_core.model.heads import Head, parameter_table
from distilbert_core.model.report import LoadingReport
from distilbert_core.tokenization import DistilBertTokenizer
from weight_conversion import convert


def _all(*functions: Callable[[], object]) -> None:
    """Call all functions, and raise the first of their errors. An error that is not ours comes first."""
    errors: list[Exception] = []
    for function in functions:
        try:
            function()
        except Exception as error:
            errors.append(error)
    for error in sorted(errors, key=lambda error: isinstance(error, DistilBertError)):
        raise error


def convert_and_load(path: Path, folder: Path) -> None:
    """Convert a checkpoint, and do what `from_pretrained` does before a framework is called."""

    def load() -> None:
        config = find_config(path)
        checkpoint = Checkpoint(path)
        report = LoadingReport.of(parameter_table(config, Head.SEQUENCE_CLASSIFICATION), checkpoint.shapes)
        for name in report.entries.values():
            checkpoint.read(name)

    def load_tokenizer() -> None:
        with suppress(DistilBertError):  # the files of a tokenizer have tests of their own
            DistilBertTokenizer.from_pretrained(path if path.is_dir() else path.parent)

    _all(lambda: convert(path, folder / "new"), load, load_tokenizer)
