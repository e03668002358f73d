"""Small requests that would cost much: they are refused before their texts are tokenized."""

from __future__ import annotations

import re
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from distilbert_core.errors import InputError
from distilbert_serve.estimates import check_template, most_tokens
from support.pipelines import load
from support.serving import Server

LONG = "a " * 90_000
QUESTION = {"question": "b " * 300, "context": LONG}
# Path, body, status, message.
COSTLY: dict[str, tuple[str, Any, int, str]] = {
    "windows of one new token": ("/tag", {"inputs": LONG, "stride": 508}, 413, "possible tokens in all windows"),
    "a question that leaves little room": (
        "/models/answers",
        {"inputs": QUESTION, "parameters": {"doc_stride": 0, "max_seq_len": 305}},
        413,
        "possible tokens in all windows",
    ),
    "short windows": (
        "/models/moods",
        {"inputs": [LONG] * 3, "parameters": {"max_length": 3}},
        413,
        "possible tokens in all windows",
    ),
    "a width in the template": (
        "/zero-shot",
        {"inputs": "a", "labels": ["b"], "template": "{:>999999999999}"},
        422,
        r"must have \{\} and no other fields, got '\{:>999999999999\}'",
    ),
    "an attribute in the template": (
        "/models/inference",
        {"inputs": "a", "parameters": {"candidate_labels": ["b"], "hypothesis_template": "{0.__class__} {}"}},
        422,
        "no other fields",
    ),
    "a long template": ("/zero-shot", {"inputs": "a", "labels": ["b"], "template": "{}" * 9000}, 413, "in an option"),
    "many pairs": ("/zero-shot", {"inputs": ["a"] * 1000, "labels": ["b"] * 200}, 413, "200000 pairs of a text and a"),
    "many pairs in one text": (
        "/models/inference",
        {"inputs": ["a"] * 1000, "parameters": {"candidate_labels": "b," * 400}},
        413,
        "401000 pairs of a text and a label",
    ),
    "many candidates": ("/fill-mask", {"inputs": "[MASK] " * 100, "top_k": 30_000}, 413, "3000000 possible results"),
    "many answers": (
        "/answer",
        {"inputs": {"question": "a", "context": "b"}, "top_k": 10**9},
        413,
        "1000000000 possible results",
    ),
    "many vectors": (
        "/embed",
        {"inputs": ["a " * 600] * 50, "pooling": "none", "model": "vectors"},
        413,
        "25600 possible results",
    ),
    "padded vectors": (
        "/models/vectors",
        {"inputs": ["a"] * 50, "parameters": {"pooling": "none", "padding": "max_length"}},
        413,
        "25600 possible results",
    ),
}


@pytest.mark.parametrize("name", COSTLY)
def test_costly_requests_are_refused(name: str, server: Server) -> None:
    path, body, status, message = COSTLY[name]
    tracemalloc.start()
    try:
        reply = server.ask(path, body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert reply.status == status, reply.body
    assert re.search(message, reply.error), reply.error
    assert peak < 100 << 20


@pytest.mark.parametrize("template", ["{}", "a {} b {}", "{{ {} }}"])
def test_plain_templates(template: str) -> None:
    check_template(template)


@pytest.mark.parametrize("template", ["{0}", "{a}", "{!r}", "{:5}", "{", "}", "{} {:{}}"])
def test_other_templates(template: str) -> None:
    with pytest.raises(InputError, match=r"must have \{\} and no other fields"):
        check_template(template)


TEXTS = ["", "a", "a " * 600, "東" * 700, "ab" * 400, "unaffable embeddings " * 90]


@pytest.mark.parametrize("options", [{}, {"max_length": 9}, {"aggregation_strategy": "max", "stride": 100}])
def test_the_bound_holds_for_tags(options: dict[str, Any], folders: dict[str, Path], backend: str) -> None:
    pipe = load("token-classification", folders["entities"], backend)
    prepared = pipe.with_defaults(options)
    for text in TEXTS:
        texts = [pipe.read(text, prepared)]
        (windows,) = pipe.tokenize(texts, prepared)
        made = sum(len(window) + sum(map(len, window.overflowing)) for window in windows[:1])
        assert made <= most_tokens(pipe, texts, prepared)


@pytest.mark.parametrize("options", [{}, {"max_seq_len": 30, "doc_stride": 3}, {"max_seq_len": 12, "doc_stride": 0}])
def test_the_bound_holds_for_questions(options: dict[str, Any], folders: dict[str, Path], backend: str) -> None:
    pipe = load("question-answering", folders["answers"], backend)
    prepared = pipe.with_defaults(options)
    for text in TEXTS[1:]:
        texts = [pipe.read({"question": "Who is it?", "context": text}, prepared)]
        (windows,) = pipe.tokenize(texts, prepared)
        assert sum(map(len, windows)) <= most_tokens(pipe, texts, prepared)
