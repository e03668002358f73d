"""Timeouts, disconnects, full queues, and a model that is loaded again while requests run."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from distilbert_core.pipelines import Pipeline
from support.serving import Server, running, sources


class Gate:
    """Holds a model before each batch, and counts its windows."""

    def __init__(self, pipe: Pipeline, monkeypatch: pytest.MonkeyPatch):
        self.open = threading.Event()
        self.reached = threading.Event()
        self.windows: list[int] = []
        run = pipe.inference.run_ragged

        def gated(texts: Any, selected: Any = None) -> Any:
            self.windows.append(len(texts.lengths))
            self.reached.set()
            assert self.open.wait(20)
            return run(texts, selected)

        monkeypatch.setattr(pipe.inference, "run_ragged", gated)


@contextmanager
def held(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """A server whose model waits, with one request in it."""
    gate = Gate(server.models["moods"].first, monkeypatch)
    first = threading.Thread(target=server.ask, args=("/predict", {"inputs": "first"}))
    first.start()
    try:
        assert gate.reached.wait(10)
        yield gate
    finally:
        gate.open.set()
        first.join(20)


def until(condition: Any) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def scheduler_of(server: Server) -> Any:
    return server.models["moods"].scheduler


@pytest.fixture
def moods(folders: dict[str, Path], backend: str) -> Any:
    return sources({"moods": folders["moods"]}, backend)


def test_a_request_that_takes_too_long_is_given_up(moods: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(moods, timeout=0.3) as server, held(server, monkeypatch) as gate:
        late = server.ask("/predict", {"inputs": ["a", "b"]})
        assert late.status == 504
        assert late.error == "The request took longer than 0.3 s; send fewer or shorter texts."
        gate.open.set()
        assert server.ask("/predict", {"inputs": "c"}).status == 200
        assert gate.windows == [1, 1]  # a and b were dropped
        until(lambda: scheduler_of(server)._tokens == 0)


def test_a_body_that_does_not_arrive_is_given_up(moods: Any) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
    with running(moods, timeout=0.3) as server:
        answer = server.raw_answer(head)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'{"error": "The body took longer than 0.3 s to arrive."}' in answer


def test_a_full_queue_is_429_and_recovers(moods: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(moods, queue_tokens=20) as server:
        with held(server, monkeypatch):
            waits = threading.Thread(target=server.ask, args=("/predict", {"inputs": ["a b c d e f g"]}))
            waits.start()
            until(lambda: scheduler_of(server)._tokens > 10)
            busy = server.ask("/predict", {"inputs": "a b c d e f g h i j"})
            assert busy.status == 429
            assert int(busy.headers["Retry-After"]) >= 1
            assert "tokens wait, at most 20 may; try again in" in busy.error
        waits.join(10)
        assert server.ask("/predict", {"inputs": "a b c d e f g h i j"}).status == 200
        large = server.ask("/predict", {"inputs": "a b c d e f g h i j k l m n o p q r s t u v w"})
        assert large.status == 413
        assert large.error == "The request has 25 tokens, at most 20 are allowed; split it."


def test_the_work_of_a_client_that_goes_is_dropped(moods: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps({"inputs": ["gone"] * 5}).encode()
    head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with running(moods) as server, held(server, monkeypatch) as gate:
        busy = scheduler_of(server)._tokens
        with server.raw(head % len(body) + body):
            until(lambda: scheduler_of(server)._tokens > busy)
        until(lambda: scheduler_of(server)._tokens == busy)
        with server.raw(head % len(body) + body[:9]):  # in the middle of its body
            pass
        gate.open.set()
        assert server.ask("/predict", {"inputs": "stays"}).json["text"] == "stays"
        assert gate.windows == [1, 1]


def test_large_and_small_requests_share_batches(moods: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(moods, batch_tokens=40) as server:
        with held(server, monkeypatch) as gate:
            done: list[str] = []

            def ask(name: str, inputs: Any) -> None:
                assert server.ask("/predict", {"inputs": inputs}).status == 200
                done.append(name)

            large = threading.Thread(target=ask, args=("large", ["a b c"] * 300))
            large.start()
            until(lambda: scheduler_of(server)._tokens > 1000)
            small = threading.Thread(target=ask, args=("small", "d"))
            small.start()
            until(lambda: len(scheduler_of(server)._queue) == 2)
            gate.open.set()
            small.join(20)
            large.join(20)
        assert done == ["small", "large"]


def test_a_large_request_is_tokenized_in_portions(moods: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(moods) as server:
        pipe = server.models["moods"].first
        counts: list[int] = []
        tokenize = pipe.tokenize

        def counted(texts: Any, options: Any) -> Any:
            counts.append(len(texts))
            return tokenize(texts, options)

        monkeypatch.setattr(pipe, "tokenize", counted)
        texts = [f"{index} " + "a " * 10_000 for index in range(7)]
        reply = server.ask("/predict", {"inputs": texts, "truncation": True})
        assert [record["text"] for record in reply.json] == texts
        assert counts == [2, 2, 2, 1]
        bad = server.ask("/", {"inputs": [*texts, 5]})
        assert bad.error.startswith("inputs[7]: ")


def test_other_options_share_a_batch(moods: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(moods) as server:
        with held(server, monkeypatch) as gate:
            options: list[dict[str, Any]] = [{}, {"top_k": 2}, {"all_scores": True}]
            replies: dict[int, Any] = {}

            def ask(index: int) -> None:
                replies[index] = server.ask("/predict", {"inputs": f"text {index}", **options[index]}).json

            threads = [threading.Thread(target=ask, args=(index,)) for index in range(3)]
            for thread in threads:
                thread.start()
            until(lambda: len(scheduler_of(server)._queue) == 3)
        for thread in threads:
            thread.join(10)
        assert gate.windows == [1, 3]
        assert [len(replies[index].get("predictions", ())) for index in range(3)] == [0, 2, 5]


# -- load -----------------------------------------------------------------------------------------------------------


def clients(server: Server, expected: dict[str, Any], requests: int, seed: int) -> list[str]:
    """Send requests one after another, some of which are given up; return what is wrong with the answers."""
    rng = random.Random(seed)
    texts = list(expected)
    faults = []
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for _ in range(requests):
            chosen = rng.sample(texts, rng.choice((1, 1, 1, 2, 5)))
            body = {"inputs": chosen, "model": "moods"}
            if rng.random() < 0.1:
                with suppress(httpx.TimeoutException):
                    client.post("/predict", json=body, timeout=rng.choice((0.0005, 0.002, 0.005)))
                continue
            reply = client.post("/predict", json=body)
            if reply.status_code != 200:
                faults.append(f"{reply.status_code} {reply.text[:200]}")
                continue
            records = reply.json()
            right = len(records) == len(chosen) and all(
                record["text"] == text
                and abs(record["score"] - expected[text]["score"]) < 1e-5
                and record["label"] == expected[text]["label"]
                for record, text in zip(records, chosen, strict=True)
            )
            if not right:
                faults.append(f"{chosen} got {records}"[:400])
    return faults


def load_test(server: Server, requests: int, threads: int, reloads: int) -> None:
    """Ask from many threads, while clients go and the model is loaded again: no answer is lost, doubled or swapped."""
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    texts = [" ".join(words[: 1 + n % 10]) + f" {n}" for n in range(200)]
    expected = {text: server.ask("/predict", {"inputs": text, "model": "moods"}).json for text in texts}
    faults: list[str] = []
    running_threads = [
        threading.Thread(target=lambda seed=seed: faults.extend(clients(server, expected, requests // threads, seed)))
        for seed in range(threads)
    ]
    for thread in running_threads:
        thread.start()
    for _ in range(reloads):
        assert server.ask("/models/moods/reload", {}).status == 200
    for thread in running_threads:
        thread.join()
    assert faults == []
    until(lambda: scheduler_of(server)._tokens == scheduler_of(server)._expected == scheduler_of(server)._waiting == 0)
    assert server.ask("/predict", {"inputs": texts[0], "model": "moods"}).status == 200


def test_no_answer_is_lost_doubled_or_swapped(moods: Any) -> None:
    with running(moods, allow_reload=True) as server:
        load_test(server, requests=300, threads=8, reloads=2)


@pytest.mark.long
def test_no_answer_of_20_000_is_lost_doubled_or_swapped(moods: Any) -> None:
    with running(moods, allow_reload=True) as server:
        load_test(server, requests=20_000, threads=32, reloads=20)
