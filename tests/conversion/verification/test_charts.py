"""Charts of errors and histograms."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

from weight_conversion.verification.charts import BAR_HEIGHT, BOTTOM, HEIGHT, TOP, error_chart, histogram


def test_errors_are_plotted_on_a_logarithmic_scale():
    svg = ElementTree.fromstring(error_chart("<t>", ["a", "b", "c"], [("s", [0.0, 1e-3, np.nan])], [1e-4, 1e-2]))
    assert svg.attrib["aria-label"] == "<t>"
    heights = [float(dot.attrib["cy"]) for dot in svg.iter("circle")]
    # From the decade below the smallest number, 1e-5, to that above the largest, 1e-1.
    bottom = HEIGHT - BOTTOM
    assert heights == [bottom, TOP + (bottom - TOP) / 2, TOP]
    bounds = [float(line.attrib["y1"]) for line in svg.iter("line") if line.attrib["class"] == "bound"]
    assert bounds == [TOP + (bottom - TOP) * 3 / 4, TOP + (bottom - TOP) / 4]


def test_a_histogram_of_nothing():
    assert "rect" not in histogram("t", np.zeros(5), 0)
    [bar] = ElementTree.fromstring(histogram("t", np.array([0, 3]), 0)).iter("rect")
    assert float(bar.attrib["height"]) == BAR_HEIGHT
