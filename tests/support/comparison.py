"""Comparison of outputs: first the names, then every number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def largest_difference(got: Any, expected: Any, where: str = "") -> float:
    """The largest absolute difference of two trees of arrays; names, lengths and shapes must be equal."""
    if isinstance(expected, Mapping):
        assert set(got) == set(expected), f"{where}: {sorted(set(got) ^ set(expected))}"
        return max((largest_difference(got[k], expected[k], f"{where}/{k}") for k in expected), default=0.0)
    if isinstance(expected, tuple):
        assert len(got) == len(expected), where
        return max(
            (largest_difference(g, e, f"{where}/{i}") for i, (g, e) in enumerate(zip(got, expected, strict=True))),
            default=0.0,
        )
    got, expected = np.asarray(got, np.float64), np.asarray(expected, np.float64)
    assert got.shape == expected.shape, f"{where}: shape {got.shape}, expected {expected.shape}"
    assert np.isfinite(got).all(), f"{where}: not finite"
    return float(np.abs(got - expected).max(initial=0.0))


def assert_close(got: Any, expected: Any, tolerance: float) -> None:
    """Fail, naming the worst leaf, if two trees of arrays differ by more than `tolerance`."""
    difference = largest_difference(got, expected)
    if difference > tolerance:
        worst = _worst(got, expected, "")
        raise AssertionError(f"largest difference {difference:.3e} > {tolerance:.0e}, at {worst[1]}")


def _worst(got: Any, expected: Any, where: str) -> tuple[float, str]:
    if isinstance(expected, Mapping):
        return max(_worst(got[k], expected[k], f"{where}/{k}") for k in expected)
    if isinstance(expected, tuple):
        return max(_worst(g, e, f"{where}/{i}") for i, (g, e) in enumerate(zip(got, expected, strict=True)))
    return largest_difference(got, expected, where), where
