"""The models of a server, by name: what each can answer, and loading them again."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distilbert_core.errors import DistilBertError, InputError, did_you_mean, listed, shortened
from distilbert_core.model.backends import EXPORTED, default_backend
from distilbert_core.model.dtypes import dtype_name
from distilbert_core.model.heads import Head
from distilbert_core.model.packing import Ragged
from distilbert_core.pipelines import PIPELINE_CLASSES, Pipeline, pipeline
from distilbert_core.pipelines.records import FORMS
from distilbert_core.pipelines.zero_shot_classification import ZeroShotClassificationPipeline
from distilbert_serve.batching import Scheduler
from distilbert_serve.errors import RequestError
from distilbert_serve.metrics import Metrics
from distilbert_serve.settings import Settings

TASKS = {form.task: name for name, form in FORMS.items()}  # task of a pipeline -> name of the route
CPU_TOKENS, ACCELERATOR_TOKENS = 1024, 16384  # of a batch
QUEUED_BATCHES = 64
WARM_UP_TOKENS = 32  # of each text
LABELLED = (Head.SEQUENCE_CLASSIFICATION, Head.TOKEN_CLASSIFICATION)  # heads whose labels have names


@dataclass(frozen=True)
class Source:
    """Where a model comes from.

    Attributes:
        name: Its name in requests.
        place: Folder, embedded model or Hub id.
        backend: 'pt', 'tf', 'flax', 'onnx' or 'openvino'.
        loading: Further keywords of `pipeline`.
    """

    name: str
    place: str
    backend: str
    loading: Mapping[str, Any]


def sources_of(models: Iterable[str], backends: Sequence[str] = (), **loading: Any) -> list[Source]:
    """Return the sources of models as the command line names them.

    Args:
        models: Each is a folder, an embedded model or a Hub id, or NAME=PLACE. Without a name, a model has the last
            part of its place.
        backends: Names of backends; none: the first installed one. With several, each model is loaded once for each,
            under NAME@BACKEND.
        **loading: Further keywords of `pipeline`.

    Raises:
        InputError: Two models have one name.

    Example:
        >>> from distilbert_serve.models import sources_of
        >>> [source.name for source in sources_of(["mood=./models/7", "sst2-tiny"], ["pt", "tf"])]
        ['mood@pt', 'mood@tf', 'sst2-tiny@pt', 'sst2-tiny@tf']
    """
    backends = list(backends) or [default_backend()]
    found: dict[str, Source] = {}
    for model in models:
        name, equals, place = model.partition("=")
        if not equals or "/" in name:
            place = model
            name = Path(model).resolve().name if Path(model).is_dir() else model.rstrip("/").rpartition("/")[2]
        if not name or not place:
            raise InputError(f"--model must be FOLDER_OR_HUB_ID or NAME=FOLDER_OR_HUB_ID, got {model!r}.")
        if Path(place).is_dir():  # a relative path could be a Hub id once the folder has gone
            place = str(Path(place).absolute())
        for backend in backends:
            full = name if len(backends) == 1 else f"{name}@{backend}"
            if full in found:
                raise InputError(f"Two models are called {full!r}; give NAME=FOLDER_OR_HUB_ID for one of them.")
            found[full] = Source(full, place, backend, loading)
    return list(found.values())


def load_pipelines(source: Source) -> dict[str, Pipeline]:
    """Return the pipelines of a model by task, that of its head first. They share the model and the tokenizer.

    Args:
        source: Where the model comes from.

    Raises:
        DistilBertError: As `pipeline`.
    """
    try:
        first = pipeline(None, source.place, framework=source.backend, progress=False, **source.loading)
    except DistilBertError:
        raise
    except (RuntimeError, ValueError, AssertionError) as error:  # the frameworks' errors for an unknown device
        if "device" not in source.loading:
            raise
        raise InputError(f"--device {source.loading['device']} cannot be used: {error}") from error
    pipelines = {first.task: first}
    for task, cls in PIPELINE_CLASSES.items():
        if task not in pipelines and _can_answer(cls, first):
            model = first.inference if cls.head is first.head else first.model  # its base model
            pipelines[task] = cls(model, first.tokenizer, progress=False)
    return pipelines


def _can_answer(cls: type[Pipeline], first: Pipeline) -> bool:
    """Return whether a task is possible with the model of a pipeline for its head."""
    if cls.head is Head.BASE:
        return first.framework not in EXPORTED  # a graph has no outputs beside those of its head
    if cls is ZeroShotClassificationPipeline:
        return cls.head is first.head and any(name.lower().startswith("entail") for name in first.config.label2id)
    return cls.head is first.head


class ServedModel:
    """A model that answers requests.

    Args:
        source: Where it comes from.
        settings: The settings of the server.
        metrics: Where to count.

    Attributes:
        source: Where it comes from.
        pipelines: Its pipelines by task, that of its head first. `reload` replaces the dict; requests that have begun
            keep the pipeline that they have.
        scheduler: Runs its requests.

    Raises:
        DistilBertError: As `pipeline`.
    """

    def __init__(self, source: Source, settings: Settings, metrics: Metrics):
        self.source = source
        self.pipelines = load_pipelines(source)
        first = self.first
        on_cpu = first.framework in EXPORTED or "cpu" in str(first.device).lower()
        batch_tokens = settings.batch_tokens or (CPU_TOKENS if on_cpu else ACCELERATOR_TOKENS)
        self._warm_up(first, batch_tokens)
        self.scheduler = Scheduler(
            source.name,
            batch_tokens,
            settings.queue_tokens or QUEUED_BATCHES * batch_tokens,
            settings.max_wait / 1000,
            metrics,
        )
        self._loading = threading.Lock()

    @property
    def first(self) -> Pipeline:
        """The pipeline of the model's head."""
        return next(iter(self.pipelines.values()))

    def reload(self) -> None:
        """Load the model again from its source. Requests are answered by the former one until then.

        Raises:
            DistilBertError: As `pipeline`; the former model stays.
        """
        with self._loading:
            pipelines = load_pipelines(self.source)
            self._warm_up(next(iter(pipelines.values())), self.scheduler.batch_tokens)
            self.pipelines = pipelines

    def pipeline_for(self, task: str) -> Pipeline:
        """Return the pipeline of a task, or raise RequestError if the model cannot do it."""
        if task not in self.pipelines:
            raise RequestError(
                422,
                f"{self.source.name} is a {self.first.head.architecture} and cannot do {task}; it can do "
                f"{', '.join(self.pipelines)}.",
            )
        return self.pipelines[task]

    def describe(self) -> dict[str, Any]:
        """Return what `GET /models` says about the model."""
        first = self.first
        labels = [first.config.label_name(index) for index in range(first.config.num_labels)]
        return {
            "name": self.source.name,
            "tasks": [TASKS[task] for task in self.pipelines],
            "backend": first.framework,
            "dtype": "unknown" if first.dtype is None else dtype_name(first.dtype),
            "labels": labels if first.head in LABELLED else [],
            "max_tokens": first.max_length,
        }

    def _warm_up(self, pipe: Pipeline, batch_tokens: int) -> None:
        """Run batches of several sizes, so that what a framework compiles for each is there before the requests."""
        ids = [pipe.tokenizer.special_id(name) for name in ("cls_token", "mask_token", "sep_token")]
        row = (ids * (WARM_UP_TOKENS // len(ids) + 1))[: min(WARM_UP_TOKENS, pipe.max_length)]
        count = 1
        while count * len(row) <= max(batch_tokens, len(row)):
            texts = Ragged.from_rows([row] * count)
            pipe.inference.run_ragged(texts, pipe.selected_tokens(texts))
            count *= 2


class Models:
    """The models of a server.

    Args:
        sources: Where they come from.
        settings: The settings of the server.
        metrics: Where to count.

    Raises:
        DistilBertError: A model cannot be loaded.
    """

    def __init__(self, sources: Iterable[Source], settings: Settings, metrics: Metrics):
        self._models: dict[str, ServedModel] = {}
        try:
            for source in sources:
                self._models[source.name] = ServedModel(source, settings, metrics)
        except BaseException:
            self.close(0)
            raise

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    def __getitem__(self, name: str) -> ServedModel:
        """Return a model by name, or raise RequestError."""
        if name not in self._models:
            known = list(self._models)
            raise RequestError(
                404, f"Unknown model {shortened(name)}; there are {listed(known)}.{did_you_mean(name, known)}"
            )
        return self._models[name]

    def find(self, name: str | None, task: str | None = None) -> ServedModel:
        """Return the model of a request.

        Args:
            name: Its name; None: the only model that can do the task.
            task: The task; None: any.

        Raises:
            RequestError: The model is unknown, no model can do the task, or several can.
        """
        if name is not None:
            return self[name]
        able = [model for model in self if task is None or task in model.pipelines]
        if not able:
            raise RequestError(404, f"No model here can do {task}; the tasks are {', '.join(self.tasks)}.")
        if len(able) > 1:
            raise RequestError(422, f"Give model, one of {listed([model.source.name for model in able])}.")
        return able[0]

    @property
    def tasks(self) -> list[str]:
        """The tasks that some model can do."""
        return list(dict.fromkeys(task for model in self for task in model.pipelines))

    @property
    def are_alive(self) -> bool:
        """Whether the threads of all models run."""
        return all(model.scheduler.is_alive for model in self)

    def close(self, timeout: float | None = None) -> bool:
        """Finish all accepted requests, and stop; return whether that was possible in `timeout` seconds."""
        finished = [model.scheduler.close(timeout) for model in self]  # each of them, also after one that was late
        return all(finished)
