"""From the options that say which model runs to its answers."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distilbert_core.errors import DistilBertError, InputError

if TYPE_CHECKING:
    from distilbert_core.pipelines import Pipeline


def load_pipeline(task: str, model: dict[str, Any], output: Path | None = None) -> Pipeline:
    """Load a pipeline.

    Args:
        task: Name of the task.
        model: Keywords of `pipeline`.
        output: File that its answers go to, if any: whoever waits for it sees a progress bar.

    Raises:
        BackendNotInstalledError: The backend's framework, or any at all, is not installed.
        CheckpointError: There is no such checkpoint, it is damaged, or it is none for this task.
        InputError: The framework has no such device.
    """
    from distilbert_core.pipelines import pipeline

    progress = True if output is not None and sys.stderr.isatty() else None
    try:
        with _without_garbage_collection():
            return pipeline(task, progress=progress, **model)
    except DistilBertError:
        raise
    except (
        RuntimeError,
        ValueError,
        AssertionError,
    ) as error:  # what the frameworks raise for a device unknown to them
        if model["device"] is None:
            raise
        raise InputError(f"--device {model['device']} cannot be used: {error}") from error


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Within this, nobody looks for garbage, and after the first time not among what there is by then.

    To import a framework makes hundreds of thousands of objects that stay. Going through them time and again, and once
    more when the process ends, takes a fifth of the time of a short command. What is there at a second time may be
    garbage of the first, and must not stay.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if gc.get_freeze_count() == 0:
            gc.freeze()
        if enabled:
            gc.enable()


def answers(
    task: str, inputs: Iterable[Any], model: dict[str, Any], output: Path | None, **options: Any
) -> Iterator[tuple[Any, Any]]:
    """Load a pipeline, and return an iterator over inputs with their results; see `load_pipeline`."""
    return with_inputs(load_pipeline(task, model, output).stream, inputs, **options)


def with_inputs(answer: Any, inputs: Iterable[Any], **options: Any) -> Iterator[tuple[Any, Any]]:
    """Return an iterator over inputs with what `answer`, a function from an iterable to an iterator, makes of them."""
    asked, given = tee(inputs)  # holds those between that which is being answered and the last that was read
    return zip(given, answer(asked, **options), strict=True)
