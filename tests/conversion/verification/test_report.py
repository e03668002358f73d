"""The report: one page with every number and chart."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from distilbert_core import CheckpointError
from support.verifications import NAME, ORIGINAL, SOURCE, verification
from weight_conversion import open_weights
from weight_conversion.verification.report import render, write_report
from weight_conversion.weights import LazyTensor


class Page(HTMLParser):
    """What is on a page: its tags with their attributes, and the text of each cell."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag in ("td", "th"):
            self.cells.append("")
            self.inside = True

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.cells[-1] += data


def test_the_page_needs_nothing_else(checkpoint):
    text = render(verification(), [open_weights(checkpoint)])
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "b", "i"}
    assert not {name for _, attributes in page.tags for name in attributes} & {"src", "href", "srcset"}
    assert not re.search(r"url\(|@import|https?:", text)
    assert "prefers-color-scheme: dark" in text


def test_the_page_has_every_number(checkpoint):
    page = Page(render(verification(tf=(0.0, 1e-15, 3e-2)), [open_weights(checkpoint)]))
    for row in (
        [SOURCE, "Keras 3 / TensorFlow", "float64", "3.0e-02", "1e-09", "logits", "different"],
        [SOURCE, "PyTorch", "float32", "3.0e-07", "1e-05", "logits", "ok"],
        ["logits", "0.0e+00 (0.0e+00)", "6.0e-02 (3.0e-02)"],
        ["hidden_states.1", "4.0e-07 (2.0e-07)", "4.0e-07 (2.0e-07)"],
    ):
        starts = [index for index, cell in enumerate(page.cells) if cell.strip() == row[0]]
        assert any([cell.strip() for cell in page.cells[index : index + len(row)]] == row for index in starts), row
    assert set(ORIGINAL) <= {cell.strip() for cell in page.cells}


def test_histograms_side_by_side(checkpoint, tmp_path):
    """Of one tensor with the values 0 (four times) and 10, and of the same where one is infinite and one is 20."""
    weights = open_weights(checkpoint)
    arrays = np.array([0, 0, 0, 0, 10], np.float32), np.array([0, 0, np.inf, 10, 20], np.float16)
    both = [replace(weights, tensors={"x": LazyTensor(a.shape, a.dtype.name, lambda a=a: a, "memory")}) for a in arrays]
    text = render(replace(verification(), sources=("one", "two")), both)
    first, second = re.findall(r'<svg class="bars.*?</svg>', text)
    bars = [[bar.attrib for bar in ElementTree.fromstring(svg).iter("rect")] for svg in (first, second)]
    # 40 bars from 0 to 20, each 4 wide: 0 is in the first, 10 in the 21st and 20 in the last.
    assert [(bar["x"], bar["height"]) for bar in bars[0]] == [("0", "40.0"), ("80", "10.0")]
    assert [(bar["x"], bar["height"]) for bar in bars[1]] == [("0", "40.0"), ("80", "20.0"), ("156", "20.0")]
    assert "float32, 0 to 20<" in text
    assert 'float16, 0 to 20, <span class="bad">1 not finite</span>' in text


def test_the_report_appears_whole_or_not_at_all(checkpoint, tmp_path):
    weights = open_weights(checkpoint)

    def fail():
        raise CheckpointError("damaged")

    broken = replace(weights, tensors={**weights.tensors, NAME: LazyTensor((20,), "float32", fail, "memory")})
    report = tmp_path / "report.html"
    with pytest.raises(CheckpointError, match="damaged"):
        write_report(report, verification(), [broken])
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    write_report(report, verification(), [weights])
    assert report.read_text(encoding="utf-8") == render(verification(), [weights])
