"""The protocol of KServe v2 (Open Inference Protocol), in JSON.

Texts are tensors of datatype BYTES. `TENSORS` says which tensors a task takes and returns: numbers as tensors where
every input has as many of them, and otherwise one JSON text for each input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

import distilbert_core
from distilbert_core.errors import shortened
from distilbert_core.files.json_files import to_json
from distilbert_serve.answering import Answering
from distilbert_serve.bodies import BODIES, Rows
from distilbert_serve.errors import RequestError
from distilbert_serve.http import answer_response, json_response, strict_router, to_bytes
from distilbert_serve.models import TASKS, ServedModel
from distilbert_serve.routes.tasks import call_of
from distilbert_serve.sentences import checked

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Output:
    """A tensor of an answer.

    Attributes:
        name: Its name.
        datatype: Its datatype.
        value: Function from the record of an input to its values, or None for the field `name`.
        axes: Sizes of the axes after that of the inputs; -1 for any.
    """

    name: str
    datatype: str
    value: Callable[[Record], Any] | None = None
    axes: tuple[int, ...] = ()

    def of(self, record: Record) -> Any:
        """Return the values for the record of an input."""
        return record[self.name] if self.value is None else self.value(record)


@dataclass(frozen=True)
class Tensors:
    """The tensors of a task. `inputs` are of datatype BYTES; the shape of each is [n], or [n, C] if it has choices."""

    inputs: tuple[str, ...]
    outputs: tuple[Output, ...]
    optional: tuple[str, ...] = ()


def _json(field: str) -> tuple[Output, ...]:
    return (Output(field, "BYTES", lambda record: to_json(record[field])),)


def _first(field: str) -> Callable[[Record], Any]:
    return lambda record: record["answers"][0][field]


TENSORS = {  # by the name of the route
    "predict": Tensors(
        ("text",),
        (Output("label", "BYTES"), Output("score", "FP64"), Output("logits", "FP32", axes=(-1,))),
        ("text_pair",),
    ),
    "zero-shot": Tensors(("text",), _json("predictions")),
    "fill-mask": Tensors(("text",), _json("predictions")),
    "tag": Tensors(("text",), _json("entities")),
    "answer": Tensors(
        ("question", "context"),
        (
            Output("answer", "BYTES", _first("answer")),
            Output("score", "FP64", _first("score")),
            Output("start", "INT64", _first("start")),
            Output("end", "INT64", _first("end")),
            *_json("answers"),
        ),
    ),
    "embed": Tensors(("text",), (Output("embedding", "FP32", axes=(-1,)),)),
    "choose": Tensors(
        ("prompt", "choices"),
        (Output("choice", "INT64"), Output("score", "FP64"), Output("scores", "FP64", axes=(-1,))),
    ),
}


class InputTensor(BaseModel):
    """A tensor of a request: texts."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: str
    shape: Rows[int]
    datatype: str
    parameters: dict[str, Any] | None = None
    data: list[Any]

    def rows(self) -> list[Any]:
        """Return the texts of each input: a text, or a list of texts.

        Raises:
            RequestError: Datatype, shape and data do not fit.
        """
        if self.datatype != "BYTES":
            raise RequestError(
                422, f"datatype of {shortened(self.name)} must be 'BYTES', got {shortened(self.datatype)}."
            )
        flat = [text for item in self.data for text in (item if isinstance(item, list) else [item])]
        if not 1 <= len(self.shape) <= 2 or min(self.shape) < 1 or prod(self.shape) != len(flat):
            raise RequestError(
                422,
                f"shape of {shortened(self.name)} must be [inputs] or [inputs, choices] for its {len(flat)} texts, got "
                f"{shortened(self.shape)}.",
            )
        if len(self.shape) == 1:
            return flat
        width = self.shape[1]
        return [flat[start : start + width] for start in range(0, len(flat), width)]


class OutputName(BaseModel):
    """A tensor that a request asks for."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: str
    parameters: dict[str, Any] | None = None


class InferBody(BaseModel):
    """Tensors of texts; `parameters` has the options of the task, and perhaps its name as `task`."""

    model_config = ConfigDict(extra="forbid", strict=True)
    expects: ClassVar[str] = "a list of tensors with name, shape, datatype and data"
    id: str | None = None
    inputs: Rows[InputTensor] = Field(min_length=1)
    outputs: Rows[OutputName] | None = None
    parameters: dict[str, Any] | None = None


def router(answering: Answering) -> APIRouter:
    """Return the routes."""
    routes = strict_router("KServe v2")
    models = answering.models

    @routes.get("/v2", summary="The server")
    async def server() -> Response:
        return json_response({"name": "distilbert", "version": distilbert_core.__version__, "extensions": []})

    @routes.get("/v2/health/live", summary="The process runs")
    async def live() -> Response:
        return json_response({"live": True})

    @routes.get("/v2/health/ready", summary="All models answer")
    async def ready() -> Response:
        return json_response({"ready": models.are_alive}, 200 if models.are_alive else 503)

    @routes.get("/v2/models/{name}", summary="The tensors of a model")
    async def metadata(name: str) -> Response:
        return json_response(describe(models[name]))

    @routes.get("/v2/models/{name}/ready", summary="The model answers")
    async def model_ready(name: str) -> Response:
        alive = models[name].scheduler.is_alive
        return json_response({"name": name, "ready": alive}, 200 if alive else 503)

    @routes.post("/v2/models/{name}/infer", summary="Answer tensors of texts")
    async def infer(name: str, body: InferBody, request: Request) -> Response:
        if "inference-header-content-length" in request.headers:
            raise RequestError(422, "Binary tensors are not supported; send the data of tensors in JSON.")
        parameters = dict(body.parameters or {})
        task = parameters.pop("task", TASKS[models[name].first.task])
        if not isinstance(task, str) or task not in TENSORS:
            raise RequestError(422, f"task must be one of {', '.join(TENSORS)}, got {shortened(task)}.")
        fields = sorted(parameters.keys() & {"inputs", "model"})
        if fields:
            raise RequestError(422, f"{', '.join(fields)} cannot be parameters: tensors and path say them.")
        asked = _asked(TENSORS[task], body.outputs)
        form = checked(BODIES[task], {**parameters, "inputs": _inputs(TENSORS[task], body.inputs), "model": name})
        call = replace(call_of(task, form), render=lambda records: _outputs(asked, records))
        answer = await answering(call, request.receive)
        head = {"model_name": name, **({} if body.id is None else {"id": body.id})}
        content = b'%s, "outputs": %s}' % (to_bytes(head)[:-1], answer.content)
        return answer_response(answer.with_content(content))

    infer.__annotations__["body"] = InferBody
    return routes


def describe(model: ServedModel) -> dict[str, Any]:
    """Return the metadata of a model: the tensors of the task of its head."""
    tensors = TENSORS[TASKS[model.first.task]]
    inputs = [{"name": name, "datatype": "BYTES", "shape": _shape(name)} for name in tensors.inputs]
    outputs = [
        {"name": output.name, "datatype": output.datatype, "shape": [-1, *output.axes]} for output in tensors.outputs
    ]
    name = model.source.name
    return {
        "name": name,
        "versions": [],
        "platform": f"distilbert_{model.first.framework}",
        "inputs": inputs,
        "outputs": outputs,
    }


def _shape(name: str) -> list[int]:
    return [-1, -1] if name == "choices" else [-1]


def _inputs(tensors: Tensors, given: Sequence[InputTensor]) -> list[Any]:
    """Return the inputs of a task route for the tensors of a request."""
    by_name = {tensor.name: tensor.rows() for tensor in given}
    needed, known = set(tensors.inputs), {*tensors.inputs, *tensors.optional}
    if not needed <= by_name.keys() <= known or len(by_name) < len(given):
        names = shortened([tensor.name for tensor in given])
        raise RequestError(422, f"inputs must be the tensors {', '.join(tensors.inputs)}, each once, got {names}.")
    if len(set(map(len, by_name.values()))) > 1:
        raise RequestError(422, "The tensors must have the same number of inputs, the first size of their shapes.")
    rows = [dict(zip(by_name, row, strict=True)) for row in zip(*by_name.values(), strict=True)]
    return [row["text"] if row.keys() == {"text"} else row for row in rows]


def _asked(tensors: Tensors, names: Sequence[OutputName] | None) -> list[Output]:
    """Return the outputs that a request asks for; all if it does not say."""
    known = {output.name: output for output in tensors.outputs}
    if names is None:
        return list(known.values())
    given = [asked.name for asked in names]
    if not set(given) <= known.keys() or len(set(given)) < len(given):
        raise RequestError(422, f"outputs must be among {', '.join(known)}, each once, got {shortened(given)}.")
    return [known[name] for name in given]


def _outputs(outputs: Sequence[Output], records: Sequence[Record]) -> bytes:
    """Return the field `outputs` of an answer, with the data of each tensor in one flat list."""
    tensors = []
    for output in outputs:
        rows = [output.of(record) for record in records]
        if output.axes:
            sizes = {len(row) for row in rows}
            if len(sizes) > 1 or getattr(rows[0], "ndim", 1) != 1:
                raise RequestError(422, f"{output.name} has another shape for each input; ask for one input at a time.")
            rows = [number for row in rows for number in (row.tolist() if hasattr(row, "tolist") else row)]
        shape = [len(records)] + [len(rows) // len(records)] * len(output.axes)
        tensors.append({"name": output.name, "datatype": output.datatype, "shape": shape, "data": rows})
    return to_bytes(tensors)
