"""When a progress bar appears, and its text."""

from __future__ import annotations

import io
import sys

import pytest

from distilbert_core.pipelines.progress import bar_delay, progress_bar
from support.fake_inference import SENTENCES, make


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("wanted", "streaming", "err_is_terminal", "out_is_terminal", "expected"),
    [
        (True, False, False, False, 0.0),
        (False, False, True, False, None),
        (None, False, False, True, None),
        (None, False, True, True, 2.0),
        (None, True, True, False, 2.0),
        (None, True, True, True, None),  # whoever prints results there would be disturbed
    ],
)
def test_when_a_progress_bar_appears(monkeypatch, wanted, streaming, err_is_terminal, out_is_terminal, expected):
    monkeypatch.setattr(sys, "stderr", Terminal() if err_is_terminal else io.StringIO())
    monkeypatch.setattr(sys, "stdout", Terminal() if out_is_terminal else io.StringIO())
    assert bar_delay(wanted, streaming) == expected


def test_progress_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    make("feature-extraction", {"progress": True})(SENTENCES)
    assert "40/40" in sys.stderr.getvalue()
    list(make("feature-extraction", {"progress": True}).stream(iter(SENTENCES)))
    assert "40 inputs" in sys.stderr.getvalue()


@pytest.mark.parametrize("delay", [None, 1000.0])
def test_no_progress_bar_on_short_work(monkeypatch, delay):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar(3, delay) as advance:
        advance(3)
    assert sys.stderr.getvalue() == ""
