"""The forms of Hugging Face's inference endpoints: {"inputs": ..., "parameters": {...}} at `/` and at `/models/NAME`.

`huggingface_hub.InferenceClient(base_url)` calls them. The answer is what the pipeline returns, in the shape that the
client reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from distilbert_core.errors import shortened
from distilbert_core.pipelines import ALIASES, PIPELINE_CLASSES
from distilbert_core.pipelines.options import RUNNING
from distilbert_serve.answering import Answering, Call
from distilbert_serve.errors import RequestError
from distilbert_serve.http import answer_response, strict_router, to_bytes
from distilbert_serve.models import ServedModel

SIMILARITY = "sentence-similarity"
# Options of the endpoints that choose how a request is run there. They have no effect here.
ENDPOINT_OPTIONS = frozenset({"use_cache", "wait_for_model"})
SERVERS_OPTIONS = frozenset({*RUNNING, "return_tensors"})  # the server chooses them


class HubBody(BaseModel):
    """Inputs of a task with its parameters; those of feature extraction may stand beside `inputs`."""

    model_config = ConfigDict(extra="allow", strict=True)
    expects: ClassVar[str] = "an input of the task, or a list of them"
    inputs: Any
    parameters: dict[str, Any] | None = None
    options: dict[str, Any] | None = None

    @property
    def all_parameters(self) -> dict[str, Any]:
        """The parameters that are given, from both places."""
        unknown = set(self.options or ()) - ENDPOINT_OPTIONS
        if unknown:
            raise RequestError(
                422, f"Unknown options {shortened(sorted(unknown))}; the options of a task are its parameters."
            )
        given = {**(self.model_extra or {}), **(self.parameters or {})}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class HubTask:
    """A task as the endpoints have it.

    Attributes:
        defaults: Options of the pipeline that a request does not give.
        result: Function from the pipeline's result for an input to the one of the endpoint.
        is_nested: The answer to one input is a list of one result too.
    """

    defaults: Mapping[str, Any] = field(default_factory=dict)
    result: Callable[[Any], Any] = lambda result: result
    is_nested: bool = False


ALL_LABELS = 1 << 20  # more than a model has
HUB_TASKS: dict[str, HubTask] = {
    "text-classification": HubTask({"top_k": ALL_LABELS}, is_nested=True),
    "token-classification": HubTask({"aggregation_strategy": "simple"}),
    "question-answering": HubTask(),
    "fill-mask": HubTask(),
    "feature-extraction": HubTask(
        {"pooling": "mean"}, lambda result: result[0] if isinstance(result, list) else result, is_nested=True
    ),
    "zero-shot-classification": HubTask(
        result=lambda result: [
            {"label": label, "score": score} for label, score in zip(result["labels"], result["scores"], strict=True)
        ]
    ),
    "multiple-choice": HubTask(),
}


def router(answering: Answering) -> APIRouter:
    """Return the routes."""
    routes = strict_router("Hugging Face")

    async def answer(body: HubBody, request: Request, name: str | None, task: str | None) -> Response:
        call = hub_call(answering, body.inputs, body.all_parameters, name, task)
        return answer_response(await answering(call, request.receive))

    @routes.post("/", summary="The task that the model has, or that the inputs are for")
    async def root(body: HubBody, request: Request) -> Response:
        return await answer(body, request, None, None)

    @routes.post("/pipeline/{task}", summary="A task by name")
    async def of_task(task: str, body: HubBody, request: Request) -> Response:
        return await answer(body, request, None, task)

    @routes.post("/models/{name}", summary="The same for a model by name")
    async def of_model(name: str, body: HubBody, request: Request) -> Response:
        return await answer(body, request, name, None)

    @routes.post("/models/{name}/pipeline/{task}", summary="A task and a model by name")
    async def of_both(name: str, task: str, body: HubBody, request: Request) -> Response:
        return await answer(body, request, name, task)

    for endpoint in (root, of_task, of_model, of_both):
        endpoint.__annotations__["body"] = HubBody
    return routes


def hub_call(
    answering: Answering,
    inputs: Any,
    parameters: Mapping[str, Any],
    name: str | None = None,
    task: str | None = None,
    render: Callable[[Any], Any] = to_bytes,
) -> Call:
    """Return the call for the inputs and parameters of an endpoint.

    Args:
        answering: Its models decide the task, where the inputs do not tell it.
        inputs: One input, or a list of them.
        parameters: Options of the task, by the names of the pipeline.
        name: Name of the model; None: the only one that can do the task.
        task: Name of the task; None: the task that the inputs are for, or that of the model's head.
        render: Function from the results to the content of the answer.

    Raises:
        RequestError: The task or the model is unknown, or a parameter is not one of the task.
    """
    if task is None:
        task = _task_of(inputs, parameters)
    if task == SIMILARITY:
        return _similarity_call(inputs, parameters, name, render)
    model = answering.models.find(name, task if task is None else _known(task))
    task = model.first.task if task is None else _known(task)
    row, is_one = HUB_TASKS[task], not isinstance(inputs, list)
    refused = sorted(SERVERS_OPTIONS & parameters.keys())
    if refused:
        raise RequestError(422, f"{', '.join(refused)} cannot be given in a request; the server chooses it.")
    options = _embedding_options(parameters, model) if task == "feature-extraction" else dict(parameters)

    def content(results: list[Any]) -> Any:
        shaped = [row.result(result) for result in results]
        return render(shaped[0] if is_one and not row.is_nested else shaped)

    values = [inputs] if is_one else inputs
    return Call(task, values, {**row.defaults, **options}, render=content, model=model.source.name)


def _known(task: str) -> str:
    """Return the name of a task, or raise RequestError."""
    task = ALIASES.get(task, task)
    if task not in PIPELINE_CLASSES:
        known = ", ".join([*PIPELINE_CLASSES, *ALIASES, SIMILARITY])
        raise RequestError(404, f"Unknown task {shortened(task)}; the tasks are {known}.")
    return task


def _task_of(inputs: Any, parameters: Mapping[str, Any]) -> str | None:
    """Return the task that inputs and parameters are for; None if they could be for several."""
    first = inputs[0] if isinstance(inputs, list) and inputs else inputs
    fields = first.keys() if isinstance(first, Mapping) else set()
    if "source_sentence" in fields:
        return SIMILARITY
    if "question" in fields:
        return "question-answering"
    if "choices" in fields:
        return "multiple-choice"
    if "candidate_labels" in parameters:
        return "zero-shot-classification"
    return "feature-extraction" if VECTOR_PARAMETERS & parameters.keys() else None


# Parameters of feature extraction that no pipeline has; they have the names of text-embeddings-inference.
VECTOR_PARAMETERS = frozenset({"normalize", "truncate", "truncation_direction", "dimensions", "encoding_format"})


def _embedding_options(parameters: Mapping[str, Any], model: ServedModel) -> dict[str, Any]:
    """Return the options of the pipeline for parameters of feature extraction."""
    options = dict(parameters)
    truncate = options.pop("truncate", None)
    if truncate is not None:
        options["truncation"] = truncate
    expected = {"truncation_direction": ("Right", "right"), "dimensions": (model.first.config.dim,)}
    for name, allowed in {**expected, "encoding_format": ("float",)}.items():
        value = options.pop(name, allowed[0])
        if value not in allowed:
            raise RequestError(422, f"{name} must be {allowed[0]!r}, got {shortened(value)}.")
    if options.get("pooling") == "none":
        options["pooling"] = None  # one vector for each token
    return options


def _similarity_call(
    inputs: Any, parameters: Mapping[str, Any], name: str | None, render: Callable[[Any], Any]
) -> Call:
    """Return the call that compares a sentence with others: the cosines of their vectors."""
    match inputs:
        case {"source_sentence": str(source), "sentences": [_, *_] as others, **rest} if not rest and all(
            isinstance(other, str) for other in others
        ):
            pass
        case _:
            raise RequestError(
                422,
                "inputs must be an object with a text source_sentence and a list of texts sentences, got "
                f"{shortened(inputs)}.",
            )
    if parameters:
        raise RequestError(422, f"{SIMILARITY} has no parameters, got {shortened(sorted(parameters))}.")

    def content(vectors: Sequence[np.ndarray]) -> Any:
        first, *more = vectors
        return render([float(first @ other) for other in more])

    return Call("feature-extraction", [source, *others], {"pooling": "mean"}, render=content, model=name)
