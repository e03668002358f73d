"""Requests of the KServe v2 protocol, with the tensors of each task."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from oracle.pipeline_cases import CHOICES, SHORT_QUESTION

from distilbert_serve.routes.kserve import TENSORS
from support.serving import Server

INPUTS: dict[str, tuple[str, dict[str, list[Any]], dict[str, Any]]] = {  # route -> model, tensors, parameters
    "predict": ("moods", {"text": ["a", "b c", "d"]}, {}),
    "zero-shot": ("inference", {"text": ["a", "b c"]}, {"labels": ["x", "y"]}),
    "fill-mask": ("masked_lm", {"text": ["[MASK] a", "[MASK]"]}, {"top_k": 2}),
    "tag": ("entities", {"text": ["Zoë met José.", "no"]}, {"aggregation": "none"}),
    "answer": ("answers", {name: [text, text] for name, text in SHORT_QUESTION.items()}, {}),
    "embed": ("vectors", {"text": ["a", "b c"]}, {"pooling": "cls"}),
    "choose": ("choices", {"prompt": ["a", "b"], "choices": [CHOICES["choices"][:2]] * 2}, {}),
}


def tensor(name: str, rows: list[Any]) -> dict[str, Any]:
    shape = list(np.shape(rows))
    return {"name": name, "shape": shape, "datatype": "BYTES", "data": np.ravel(rows).tolist()}


def infer(server: Server, model: str, *tensors: dict[str, Any], **more: Any) -> Any:
    return server.ask(f"/v2/models/{model}/infer", {"inputs": list(tensors), **more})


@pytest.mark.parametrize("route", INPUTS)
def test_tensors_hold_the_records_of_the_task(route: str, server: Server) -> None:
    model, columns, parameters = INPUTS[route]
    tensors = [tensor(name, rows) for name, rows in columns.items()]
    reply = infer(server, model, *tensors, parameters={"task": route, **parameters}, id="7")
    assert reply.status == 200, reply.body
    assert (reply.json["model_name"], reply.json["id"]) == (model, "7")
    names = list(columns)
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    inputs = [row["text"] if names == ["text"] else row for row in rows]
    records = server.ask(f"/{route}", {"inputs": inputs, "model": model, **parameters}).json
    described = server.ask(f"/v2/models/{model}").json["outputs"]
    for output, declared, found in zip(TENSORS[route].outputs, described, reply.json["outputs"], strict=False):
        assert (found["name"], found["datatype"]) == (output.name, output.datatype)
        assert len(found["shape"]) == 1 + len(output.axes)
        assert found["shape"][0] == len(records)
        assert len(found["data"]) == np.prod(found["shape"])
        if route not in ("zero-shot",):  # the metadata is that of the head
            assert (declared["name"], len(declared["shape"])) == (found["name"], len(found["shape"]))
        expected = [output.of(record) for record in records]
        if output.datatype == "BYTES" and output.value is not None and output.name != "answer":
            assert [list(json.loads(row)[0]) for row in found["data"]] == [list(json.loads(row)[0]) for row in expected]
        elif output.datatype == "BYTES":
            assert found["data"] == expected
        else:
            np.testing.assert_allclose(found["data"], np.ravel(expected), atol=1e-5)


def test_outputs_can_be_chosen_and_texts_have_pairs(server: Server) -> None:
    pair = [tensor("text", ["a", "b"]), tensor("text_pair", ["c", "d"])]
    reply = infer(server, "moods", *pair, outputs=[{"name": "label"}])
    assert [output["name"] for output in reply.json["outputs"]] == ["label"]


def test_nested_data(server: Server) -> None:
    nested = {"name": "choices", "shape": [1, 2], "datatype": "BYTES", "data": [["b", "c"]]}
    assert infer(server, "choices", tensor("prompt", ["a"]), nested).status == 200


def test_health_and_metadata(server: Server) -> None:
    assert server.ask("/v2").json["name"] == "distilbert"
    assert server.ask("/v2/health/live").json == {"live": True}
    assert server.ask("/v2/health/ready").json == {"ready": True}
    assert server.ask("/v2/models/moods/ready").json == {"name": "moods", "ready": True}
    assert server.ask("/v2/models/none/ready").status == 404
    assert server.ask("/v2/models/choices").json["inputs"] == [
        {"name": "prompt", "datatype": "BYTES", "shape": [-1]},
        {"name": "choices", "datatype": "BYTES", "shape": [-1, -1]},
    ]


@pytest.mark.parametrize(
    ("tensors", "more", "message"),
    [
        ([], {}, "^inputs must be"),
        ([{**tensor("text", ["a"]), "datatype": "FP32"}], {}, r"^datatype of 'text' must be 'BYTES', got 'FP32'"),
        ([{**tensor("text", ["a"]), "shape": [2]}], {}, r"^shape of 'text' must be .* for its 1 texts, got \[2\]"),
        ([{**tensor("text", ["a"]), "shape": [-1, -1]}], {}, r"^shape of 'text' must be"),
        ([{**tensor("text", ["a"]), "shape": []}], {}, r"^shape of 'text' must be"),
        ([{**tensor("text", ["a"]), "data": [5]}], {}, r"^inputs must be a text"),
        ([tensor("texts", ["a"])], {}, r"^inputs must be the tensors text, each once, got \['texts'\]"),
        ([tensor("text", ["a"])] * 2, {}, r"each once"),
        ([tensor("text", ["a"]), tensor("text_pair", ["a", "b"])], {}, r"same number of inputs"),
        ([tensor("text", ["a"])], {"outputs": [{"name": "x"}]}, r"^outputs must be among label, score, logits"),
        ([tensor("text", ["a"])], {"outputs": [{"name": "label"}] * 2}, r"each once, got \['label', 'label'\]"),
        ([tensor("text", ["a"])], {"parameters": {"model": "x"}}, r"^model cannot be parameters"),
        ([tensor("text", ["a"])], {"parameters": {"task": "sum"}}, r"^task must be one of predict, "),
        ([tensor("text", ["a"])], {"parameters": {"task": "tag"}}, r"cannot do token-classification"),
        ([tensor("text", ["a"])], {"parameters": {"top": 2}}, r"^Unknown field 'top'"),
        ([tensor("text", ["a"])], {"parameters": {"task": ["x"]}}, r"^task must be one of"),
    ],
)
def test_bad_requests(tensors: list[Any], more: dict[str, Any], message: str, server: Server) -> None:
    reply = infer(server, "moods", *tensors, **more)
    assert reply.status == 422, reply.body
    assert re.search(message, reply.error), reply.error


def test_ragged_results_need_one_input_at_a_time(server: Server) -> None:
    ragged = infer(server, "vectors", tensor("text", ["a", "b c d"]), parameters={"pooling": "none"})
    assert (ragged.status, "another shape" in ragged.error) == (422, True)


def test_binary_tensors_are_refused(server: Server) -> None:
    body = {"inputs": [tensor("text", ["a"])]}
    reply = server.ask("/v2/models/moods/infer", body, Inference_Header_Content_Length="9")
    assert reply.error == "Binary tensors are not supported; send the data of tensors in JSON."
