"""The task routes answer with the records of the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from oracle.pipeline_cases import CHOICES, MANY_NAMES, NAMES, QUESTION, SHORT_QUESTION, TEXTS

from distilbert_cli import main
from distilbert_core.pipelines import pipeline
from support.serving import Server

WORDS = [text for text in TEXTS if text]
# Route, checkpoint, inputs, options; and the arguments of the command with the same options.
CASES: list[tuple[str, str, list[Any], dict[str, Any], list[str]]] = [
    ("predict", "moods", WORDS, {}, []),
    ("predict", "moods", WORDS, {"top_k": 2}, ["--top-k", "2"]),
    ("predict", "moods", WORDS, {"all_scores": True}, ["--all-scores"]),
    ("predict", "moods", [{"text": "How old?", "text_pair": "Nobody knows."}], {}, ["--pair-column", "text_pair"]),
    ("zero-shot", "inference", WORDS, {"labels": ["a", "bee"]}, ["--labels", "a,bee"]),
    (
        "zero-shot",
        "inference",
        WORDS,
        {"labels": ["x", "y"], "template": "It is {}!", "multi_label": True},
        ["--labels", "x,y", "--template", "It is {}!", "--multi-label"],
    ),
    ("fill-mask", "masked_lm", ["[MASK] is [MASK].", "Paris is [MASK]."], {}, []),
    (
        "fill-mask",
        "masked_lm",
        ["Paris is [MASK]."],
        {"top_k": 2, "targets": ["good", "bad"]},
        ["--top-k", "2", "--targets", "good,bad"],
    ),
    ("tag", "entities", [name for name in NAMES if name], {}, []),
    ("tag", "entities", NAMES[:2], {"aggregation": "none"}, ["--aggregation", "none"]),
    ("tag", "entities", [MANY_NAMES * 3], {"stride": 20}, ["--stride", "20"]),
    ("answer", "answers", [QUESTION, SHORT_QUESTION], {}, []),
    (
        "answer",
        "answers",
        [SHORT_QUESTION],
        {"top_k": 3, "impossible": True, "max_answer_len": 4},
        ["--top-k", "3", "--impossible", "--max-answer-len", "4"],
    ),
    ("embed", "vectors", WORDS, {}, []),
    ("embed", "vectors", WORDS, {"normalize": False, "pooling": "cls"}, ["--no-normalize", "--pooling", "cls"]),
    ("embed", "vectors", WORDS[:2], {"pooling": "none"}, ["--pooling", "none"]),
    ("choose", "choices", [CHOICES, {"prompt": "Who?", "choices": ["I", "you"]}], {}, []),
]


def close(a: Any, b: Any) -> bool:
    """Whether two JSON values are equal up to rounding (measured: 4e-7)."""
    if isinstance(a, float) or isinstance(b, float):
        return abs(a - b) < 1e-5
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(close(a[name], b[name]) for name in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(close, a, b))
    return a == b


@pytest.mark.parametrize(("route", "model", "inputs", "options", "arguments"), CASES)
def test_records_are_those_of_the_command_line(
    route: str,
    model: str,
    inputs: list[Any],
    options: dict[str, Any],
    arguments: list[str],
    server: Server,
    folders: dict[str, Path],
    backend: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": x} if isinstance(x, str) else x) + "\n" for x in inputs))
    command = [route, "--file", str(rows), "--model", str(folders[model]), "--backend", backend, "--json", *arguments]
    assert main(command) == 0
    expected = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    many = server.ask(f"/{route}", {"inputs": inputs, "model": model, **options})
    assert many.status == 200, many.body
    assert close(many.json, expected)
    assert many.headers["Distilbert-Model"] == model
    one = server.ask(f"/{route}", {"inputs": inputs[0], "model": model, **options})
    assert close(one.json, expected[0])


@pytest.mark.parametrize("name", ["moods", "entities", "answers", "masked_lm", "choices"])
def test_the_base_model_of_every_head_embeds(name: str, server: Server, folders: dict[str, Path], backend: str) -> None:
    embed = pipeline("feature-extraction", folders[name], framework=backend)
    reply = server.ask("/embed", {"inputs": "a text", "model": name})
    assert close(reply.json["embedding"], embed("a text", pooling="mean").tolist())


def test_the_only_model_for_a_task_needs_no_name(server: Server) -> None:
    assert server.ask("/tag", {"inputs": "Zoë"}).headers["Distilbert-Model"] == "entities"
    several = server.ask("/embed", {"inputs": "Zoë"})
    assert several.status == 422
    assert several.error.startswith("Give model, one of moods, entities, answers, ")


def test_a_text_that_is_cut_is_said(server: Server) -> None:
    long = "word " * 600
    cut = server.ask("/predict", {"inputs": ["short", long], "model": "moods"})
    assert cut.status == 200
    assert cut.headers["Distilbert-Note"] == "inputs[1] has more than 512 tokens; the rest was not read."
    meant = server.ask("/predict", {"inputs": long, "model": "moods", "truncation": True})
    assert (meant.status, meant.headers["Distilbert-Note"]) == (200, None)
    refused = server.ask("/predict", {"inputs": long, "model": "moods", "truncation": False})
    assert refused.status == 422
    assert "602 tokens, more than the model's 512; give truncation=True" in refused.error


def test_a_target_that_is_not_a_token_is_said(server: Server) -> None:
    reply = server.ask("/fill-mask", {"inputs": "[MASK]", "targets": ["unaffable", "good"]})
    assert "The target 'unaffable' is not a token" in reply.headers["Distilbert-Note"]


@pytest.mark.parametrize(
    ("route", "body", "status", "message"),
    [
        ("predict", {}, 422, r"^inputs must be a text, an object with text and text_pair, or .*; it is missing\.$"),
        ("predict", {"inputs": 5}, 422, r"^inputs must be a text, an object .*, got 5\.$"),
        ("predict", {"inputs": []}, 422, r"^inputs must hold at least one input"),
        ("predict", {"inputs": ["a", None]}, 422, r"got \['a', None\]\.$"),
        ("predict", {"inputs": {"text": "a", "pair": "b"}}, 422, r"^inputs must be a text"),
        ("predict", {"inputs": "a", "top_k": 0}, 422, r"^top_k must be greater than 0, got 0\.$"),
        ("predict", {"inputs": "a", "top_k": "2"}, 422, r"^top_k must be a valid integer, got '2'\.$"),
        ("predict", {"inputs": "a", "topk": 2}, 422, r"^Unknown field 'topk'; .* Did you mean 'top_k'\?$"),
        ("predict", {"inputs": "a", "model": "mods"}, 404, r"^Unknown model 'mods'; .* Did you mean 'moods'\?$"),
        (
            "predict",
            {"inputs": "a", "model": "answers"},
            422,
            r"^answers is a DistilBertForQuestionAnswering and cannot",
        ),
        ("predict", [], 422, r"^The body must be a JSON object with the fields inputs, model, truncation, top_k"),
        ("predict", "text", 422, r"^The body must be a JSON object"),
        ("zero-shot", {"inputs": "a"}, 422, r"^labels is missing; give it\.$"),
        ("zero-shot", {"inputs": "a", "labels": []}, 422, r"^labels must be"),
        ("zero-shot", {"inputs": ["a", ""], "labels": ["b"]}, 422, r"^inputs\[1\]: .* takes a text that is not empty"),
        ("zero-shot", {"inputs": "a", "labels": ["b"], "template": "x"}, 422, r"hypothesis_template must have \{\}"),
        ("fill-mask", {"inputs": "no mask"}, 422, r"^'no mask' has no \[MASK\]\.$"),
        ("tag", {"inputs": "a", "aggregation": "mean"}, 422, r"^aggregation must be 'none', 'simple', "),
        ("tag", {"inputs": "a", "stride": 600}, 422, r"^stride must be at most 509"),
        (
            "answer",
            {"inputs": {"question": "a"}},
            422,
            r"^inputs must be an object with the texts question and context",
        ),
        ("answer", {"inputs": {"question": "a", "context": ""}}, 422, r"^context must not be empty"),
        ("choose", {"inputs": {"prompt": "a", "choices": []}}, 422, r"takes a dict with a text 'prompt' and a list"),
    ],
)
def test_bad_requests(route: str, body: Any, status: int, message: str, server: Server) -> None:
    model = {"predict": "moods", "zero-shot": "inference"}.get(route)
    if isinstance(body, dict) and model and "model" not in body:
        body = {**body, "model": model}
    reply = server.ask(f"/{route}", body)
    assert reply.status == status, reply.body
    assert re.search(message, reply.error), reply.error
