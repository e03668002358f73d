"""The speed of a pipeline, measured in a process of its own: texts per second, the time of one text, memory, outputs.

    python distilbert_core/pipelines/measuring.py

The first line of standard input is a `Job` as JSON. The process loads the pipeline, computes all texts once, and
answers with a line of JSON: {'first', 'outputs', 'warnings'}, or {'problem'}. Each further line is a number of seconds,
and the answer has the measurements of a turn: {'texts_per_second', 'latencies', 'peak_bytes'}.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from distilbert_core.errors import DistilBertError
from distilbert_core.model.heads import Head
from distilbert_core.pipelines import pipeline
from distilbert_core.pipelines.base import Pipeline
from distilbert_core.pipelines.feature_extraction import FeatureExtractionPipeline
from distilbert_core.pipelines.options import Options
from distilbert_core.pipelines.running import Outputs
from distilbert_core.pipelines.text_classification import TextClassificationPipeline
from distilbert_core.pipelines.token_classification import TokenClassificationPipeline
from distilbert_core.tokenization.engine import Encoding

PR_SET_PDEATHSIG = 1  # of Linux' prctl
SINGLES = 32  # different texts of which the time is measured one by one


class _LabelLogits(TextClassificationPipeline):
    """The logits [L] of a text."""

    def reduce(self, window: Encoding, outputs: Outputs, options: Options) -> np.ndarray:
        return outputs["logits"].copy()

    def combine(self, value: Any, windows: Sequence[Encoding], kept: Sequence[np.ndarray], options: Options) -> Any:
        return kept[0]


class _TokenLogits(TokenClassificationPipeline):
    """The logits [T, L] of the tokens of a text."""

    def reduce(self, window: Encoding, outputs: Outputs, options: Options) -> np.ndarray:
        return outputs["logits"].copy()

    def combine(self, value: Any, windows: Sequence[Encoding], kept: Sequence[np.ndarray], options: Options) -> Any:
        return kept[0]


PIPELINES: dict[str, tuple[type[Pipeline], dict[str, Any]]] = {  # task -> class and options of the pipeline
    "text-classification": (_LabelLogits, {}),
    "token-classification": (_TokenLogits, {}),
    "feature-extraction": (FeatureExtractionPipeline, {"pooling": "mean"}),
}
TASKS = {Head.SEQUENCE_CLASSIFICATION: "text-classification", Head.TOKEN_CLASSIFICATION: "token-classification"}


def measured_task(head: Head) -> str:
    """Return the task by which a checkpoint with a head is measured: one that takes plain texts.

    Example:
        >>> from distilbert_core import Head
        >>> from distilbert_core.pipelines.measuring import measured_task
        >>> measured_task(Head.TOKEN_CLASSIFICATION), measured_task(Head.MASKED_LM)
        ('token-classification', 'feature-extraction')
    """
    return TASKS.get(head, "feature-extraction")


@dataclass(frozen=True)
class Job:
    """What a process measures.

    Attributes:
        task: One of `PIPELINES`.
        model: Folder, embedded model or Hub id.
        framework: Backend or runtime.
        dtype: Dtype of the computation.
        texts: The texts, at least one.
        revision: Revision of a checkpoint on the Hub.
        device: Device as the framework names it; None: its default.
        batch_tokens: Maximum tokens of a batch; None: the default of pipelines.
    """

    task: str
    model: str
    framework: str
    dtype: str
    texts: Sequence[str] = field(repr=False)
    revision: str | None = None
    device: str | None = None
    batch_tokens: int | None = None


class Measuring:
    """A loaded pipeline, and the measurements of it.

    Args:
        job: What to measure.

    Raises:
        DistilBertError: As `distilbert_core.pipelines.pipeline`.

    Example:
        >>> from distilbert_core.pipelines.measuring import Job, Measuring
        >>> measuring = Measuring(Job("text-classification", "sst2-tiny", "pt", "float32", ["Good.", "Not so good."]))
        >>> [logits.argmax().item() for logits in measuring.outputs()]
        [1, 0]
        >>> measuring.turn(seconds=0)["texts_per_second"] > 0
        True
    """

    def __init__(self, job: Job):
        cls, options = PIPELINES[job.task]
        given: dict[str, Any] = {"revision": job.revision, "batch_tokens": job.batch_tokens}
        self.texts = list(job.texts)
        self.pipeline = pipeline(
            job.task,
            job.model,
            framework=job.framework,
            dtype=job.dtype,
            device=job.device,
            pipeline_class=cls,
            progress=False,
            **options,
            **{name: value for name, value in given.items() if value is not None},
        )
        self.singles = spread_by_length(self.texts, SINGLES)

    def outputs(self) -> list[np.ndarray]:
        """Return the outputs of all texts, computed in batches: logits [L] or [T, L], or a vector [D]."""
        return list(self.pipeline.stream(self.texts))

    def time_of_one(self, text: str) -> float:
        """Compute one text by itself, and return the seconds that this takes."""
        start = time.perf_counter()
        list(self.pipeline.stream([text]))
        return time.perf_counter() - start

    def prepare(self) -> list[np.ndarray]:
        """Compute everything once, so that no turn compiles a program; return the outputs of all texts."""
        outputs = self.outputs()
        for text in self.singles:
            self.time_of_one(text)
        return outputs

    def turn(self, seconds: float) -> dict[str, Any]:
        """Measure for some seconds in batches, and for as long one text at a time.

        Args:
            seconds: Minimum duration of each half. All texts are computed at least once.

        Returns:
            'texts_per_second' in batches, 'latencies' in seconds of one text at a time, and 'peak_bytes', the maximum
            memory of the process, or None if the system does not tell.
        """
        passes = _repeat(self.outputs, seconds)
        rounds = _repeat(lambda: [self.time_of_one(text) for text in self.singles], seconds)
        return {
            "texts_per_second": len(self.texts) * len(passes) / sum(duration for duration, _ in passes),
            "latencies": list(chain.from_iterable(latencies for _, latencies in rounds)),
            "peak_bytes": peak_memory(),
        }


def _repeat(work: Callable[[], Any], seconds: float) -> list[tuple[float, Any]]:
    """Repeat some work until the time is over, at least once; return the duration and the result of each time."""
    done: list[tuple[float, Any]] = []
    begin = time.perf_counter()
    while not done or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        result = work()
        done.append((time.perf_counter() - start, result))
    return done


def spread_by_length(texts: Sequence[str], most: int) -> list[str]:
    """Return at most `most` of the texts, at equal distances in the order of their lengths.

    Example:
        >>> from distilbert_core.pipelines.measuring import spread_by_length
        >>> spread_by_length(["aaaa", "a", "aaa", "aa", "aaaaa"], 3)
        ['a', 'aaa', 'aaaaa']
    """
    ordered = sorted(texts, key=len)
    count = min(most, len(ordered))
    return [ordered[round(index)] for index in np.linspace(0, len(ordered) - 1, count)]


def peak_memory() -> int | None:
    """Return the maximum memory of this process so far in bytes, or None if the system does not tell."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


# -- the process ------------------------------------------------------------------------------------------------------


def serve(lines: Iterator[str], answer: Callable[[dict[str, Any]], None]) -> None:
    """Measure the job of the first line, and a turn for each further line.

    Args:
        lines: Lines of JSON, as the module describes them.
        answer: Is called with each answer.
    """
    job = Job(**json.loads(next(lines)))
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            start = time.perf_counter()
            measuring = Measuring(job)
            outputs = [array.tolist() for array in measuring.prepare()]
            answer({"first": time.perf_counter() - start, "outputs": outputs, "warnings": _our_warnings(caught)})
            for line in lines:
                answer(measuring.turn(json.loads(line)))
    except DistilBertError as error:
        answer({"problem": str(error)})
    except Exception as error:  # of any framework
        answer({"problem": f"{type(error).__name__}: {error}"})


def _our_warnings(caught: Sequence[warnings.WarningMessage]) -> list[str]:
    """Return the messages of this package's warnings, without repetitions."""
    ours = (warning for warning in caught if warning.category.__module__ == DistilBertError.__module__)
    return list(dict.fromkeys(str(warning.message) for warning in ours))


def _end_with_parent() -> None:
    """Let the system kill this process when its parent ends, as it may be stopped then and would stay for ever."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Serve standard input and output."""
    _end_with_parent()
    # Messages of libraries go to standard error, so that they do not mix with the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdin.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    serve(iter(sys.stdin), lambda record: print(json.dumps(record), file=answers, flush=True))


if __name__ == "__main__":
    main()
