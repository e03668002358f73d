"""The calls in docs/serving.md are sent by curl, and have the answers that follow them there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from distilbert_serve.bodies import BODIES
from distilbert_serve.models import sources_of
from distilbert_serve.settings import Limits
from support.paths import ROOT
from support.serving import Server, running

TEXT = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
CALLS = re.findall(r"```bash\n(curl .*?)```\n(?:\n```json\n(.*?)```)?", TEXT, re.S)


@pytest.fixture(scope="module")
def documented(backend: str) -> Iterator[Server]:
    with running(sources_of(["sst2-tiny"], [backend])) as server:
        yield server


def close(found: Any, expected: Any) -> bool:
    """Whether an answer is the one of the page, whose numbers have four decimals."""
    if isinstance(expected, float):
        return abs(found - expected) < 1e-4
    if isinstance(expected, dict):
        return list(found) == list(expected) and all(close(found[name], expected[name]) for name in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(close, found, expected))
    return found == expected


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("bash")), reason="needs curl and bash")
@pytest.mark.parametrize(("call", "answer"), CALLS)
def test_calls(call: str, answer: str, documented: Server) -> None:
    command = call.replace("localhost:8000", documented.url.removeprefix("http://"))
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30)
    assert ran.returncode == 0, ran.stderr
    if answer:
        assert close(json.loads(ran.stdout), json.loads(answer)), ran.stdout
    else:
        assert ran.stdout
        assert not ran.stdout.startswith('{"error"'), ran.stdout


def test_there_are_calls() -> None:
    assert len(CALLS) == 8
    assert sum(bool(answer) for _, answer in CALLS) == 5


def test_tables_name_all_options_and_limits() -> None:
    for route, body in BODIES.items():
        row = next(line for line in TEXT.splitlines() if line.startswith(f"| `/{route}` |"))
        options = body.model_fields.keys() - {"inputs", "model", "truncation"}
        assert set(re.findall(r"`([a-z_]+)`", row.rpartition(" | ")[2])) == options
    limits = Limits()
    counts = (limits.inputs, limits.characters, limits.choices, limits.windows, limits.results, limits.body_bytes >> 20)
    for number in counts:
        assert re.search(rf"\b{number:,} ", TEXT)
