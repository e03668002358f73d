"""Loads the pipeline that a command asks for, and pairs its answers with the inputs."""

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
        output: File for the answers, if any. With a file, a terminal shows a progress bar.

    Raises:
        BackendNotInstalledError: The framework of the backend is not installed, or no framework is.
        CheckpointError: The checkpoint does not exist, is damaged, or has the head of another task.
        InputError: The framework does not know the device.
    """
    from distilbert_core.pipelines import pipeline

    progress = True if output is not None and sys.stderr.isatty() else None
    try:
        with _without_garbage_collection():
            return pipeline(task, progress=progress, **model)
    except DistilBertError:
        raise
    except (RuntimeError, ValueError, AssertionError) as error:  # the frameworks' errors for an unknown device
        if model["device"] is None:
            raise
        raise InputError(f"--device {model['device']} cannot be used: {error}") from error


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Context manager: disable the garbage collector while a framework is imported.

    The import creates hundreds of thousands of objects that stay. Scanning them again and again takes a fifth of the
    time of a short command, so the first call also freezes them. Later calls do not: objects that exist by then may be
    garbage of the first model.
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
    name: str, inputs: Iterable[Any], model: dict[str, Any], output: Path | None, **asked: Any
) -> Iterator[dict[str, Any]]:
    """Load a pipeline, and return an iterator over the records of inputs.

    Args:
        name: Name of the command in `distilbert_core.pipelines.records.FORMS`.
        inputs: Inputs of the pipeline.
        model: Keywords of `pipeline`.
        output: File for the answers, if any.
        **asked: Options of the task, by the names in `FORMS`.

    Raises:
        DistilBertError: As `load_pipeline`; while iterating, also for an input that the pipeline rejects.
    """
    from distilbert_core.pipelines.records import FORMS

    form = FORMS[name]
    pipe = load_pipeline(form.task, model, output)
    pairs = with_inputs(pipe.stream, inputs, **form.options(asked))
    return (form.record(pipe, value, result, asked) for value, result in pairs)


def with_inputs(answer: Any, inputs: Iterable[Any], **options: Any) -> Iterator[tuple[Any, Any]]:
    """Return an iterator over pairs of an input and its answer.

    Args:
        answer: Function from an iterable of inputs to an iterator over answers. It may read ahead.
        inputs: Its inputs.
        **options: Its keywords.
    """
    inputs, kept = tee(inputs)  # buffers the inputs that were read ahead of their answers
    return zip(kept, answer(inputs, **options), strict=True)
