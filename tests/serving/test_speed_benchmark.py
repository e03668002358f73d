"""The clients of benchmarks/serving.py: answers in the order of the requests, and errors about other ones."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest

from support.paths import BENCHMARKS
from support.serving import Server


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import serving

    yield serving
    for name in ("serving", "contests", "worker"):
        sys.modules.pop(name, None)


def test_answers_have_the_order_of_the_requests(benchmark: ModuleType, server: Server) -> None:
    _, port = server.address
    texts = [f"text {index}" for index in range(40)]
    ours = benchmark.SERVERS["ours"]
    bodies = [
        benchmark._request(benchmark.Server(ours.words, "/tag", ours.body, ours.score), text, port) for text in texts
    ]
    seconds, answers = asyncio.run(benchmark.load(port, bodies, clients=8))
    assert [json.loads(answer)["text"] for answer in answers] == texts
    assert len(seconds) == 40
    assert min(seconds) > 0


def test_another_status_stops_it(benchmark: ModuleType, server: Server) -> None:
    _, port = server.address
    wrong = benchmark._request(benchmark.SERVERS["infinity"], "a", port)
    with pytest.raises(SystemExit, match=r"^http/1\.1 404 not found: .*Unknown path '/classify'"):
        asyncio.run(benchmark.load(port, [wrong], clients=1))


def test_other_scores_stop_it(benchmark: ModuleType) -> None:
    a, b = benchmark.Measured("ours"), benchmark.Measured("peer")
    a.values, b.values = [[1.0, 2.0, 0.5, 0.7]], [[9.0, 9.0, 0.5, 0.7]]
    benchmark.check([a, b])
    b.values.append(np.array([9.0, 9.0, 0.7, 0.5]))
    with pytest.raises(SystemExit, match=r"scores of peer differ by 2\.0e-01 from those of ours"):
        benchmark.check([a, b])
