"""Random configurations, heads, inputs and options in float64: the backends against the formulas and one another.

An ordinary run has 60 cases, the long one 2,000; the same in each run. What they found is
tested by itself in `tests/models/test_values.py`.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from distilbert_core import Head
from support.comparison import largest_difference
from support.differential import (
    Case,
    Sizes,
    cases,
    expected_packed,
    has_loss,
    load,
    random_direction,
    relative_difference,
    results,
    slope,
    some_sizes,
    without_details,
)
from support.frameworks import FRAMEWORKS
from support.reference import forward

TOLERANCE = 1e-9
BIAS = "distilbert.transformer.layer.0.ffn.lin1.bias"
VALUES = 10  # cases with the same shapes and options: JAX compiles a program for each
QUICK = settings(
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),  # simplifying a failure takes minutes
    suppress_health_check=list(HealthCheck),
)


def check(case: Case, runners: dict[str, Any], worst: Counter[str]) -> None:
    """Compute a case by all backends, compare, and note the largest differences."""
    arrays, inputs = case.arrays(), case.inputs()
    expected = forward(case.config, case.head, arrays, **inputs)
    packed = None if case.embeds else expected_packed(case, arrays, inputs)
    gradients: dict[str, np.ndarray] = {}
    for name, framework in FRAMEWORKS.items():
        got = results(case, framework, runners[name])
        differences = {"outputs": largest_difference(got["outputs"], expected, f"{name}: outputs")}
        if "plain" in got:
            difference = largest_difference(got["plain"], without_details(expected), f"{name}: plain")
            differences["outputs"] = max(differences["outputs"], difference)
        assert ("packed" in got) == (not case.embeds)
        if not case.embeds:
            assert (got["packed"] is None) == (packed is None), f"{name}: a text without a token"
        if packed is not None:
            differences["packed outputs"] = largest_difference(got["packed"], packed, f"{name}: packed")
        assert ("gradients" in got) == (has_loss(inputs) or case.head is Head.BASE)
        if "gradients" in got:
            gradients = gradients or got["gradients"]
            differences["gradients"] = relative_difference(got["gradients"], gradients)
        for kind, difference in differences.items():
            assert difference <= TOLERANCE, f"{name}: {kind} differ by {difference:.2e}"
            worst[kind] = max(worst[kind], difference)
    if gradients and not case.tiny_weights:  # a zero may lie in the kink of an activation
        check_slope(case, arrays, inputs, gradients)
        worst["slopes"] += 1


def check_slope(case: Case, arrays: Any, inputs: Any, gradients: Any) -> None:
    """Compare the gradients with a finite difference of the formulas; some step is neither too long nor too short."""
    direction = random_direction(case, gradients)
    expected = sum(float((gradients[name] * direction[name]).sum()) for name in gradients)
    scale = max(1.0, *(float(np.abs(array).max(initial=0)) for array in gradients.values()))
    errors = [abs(slope(case, arrays, inputs, direction, step) - expected) for step in (1e-5, 1e-6, 1e-7, 1e-8)]
    assert min(errors) <= 1e-5 * scale, f"finite differences are {errors} off"


def load_all(case: Case) -> dict[str, Any]:
    return {name: load(case, framework) for name, framework in FRAMEWORKS.items()}


def check_all(group: list[Case], worst: Counter[str]) -> None:
    runners = load_all(group[0])
    for case in group:
        try:
            check(case, runners, worst)
        except Exception as error:
            error.add_note(repr(case))
            raise
        worst["cases"] += 1


def check_many(programs: int, sizes: int) -> Counter[str]:
    """Check as many programs, of as many sizes; print and return the number of cases and the largest differences."""
    worst: Counter[str] = Counter()
    run = given(cases(some_sizes(sizes), VALUES))(lambda group: check_all(group, worst))
    settings(QUICK, max_examples=programs)(run)()
    print(", ".join(f"{kind} {value:.2g}" if value < 1 else f"{value} {kind}" for kind, value in worst.items()))
    return worst


def test_random_cases():
    """Measured: outputs 4e-15, packed outputs 3e-15, gradients 1e-15."""
    assert check_many(programs=6, sizes=6)["cases"] >= 60


@pytest.mark.long
def test_many_random_cases():
    assert check_many(programs=200, sizes=60)["cases"] >= 2000


# -- failures are seen ----------------------------------------------------------------------------------------------


def test_another_number_is_seen(monkeypatch):
    case = Case(Head.TOKEN_CLASSIFICATION, Sizes(head_size=5, tokens=3, longest=3))
    runners = load_all(case)
    check(case, runners, Counter())

    formulas = check.__globals__["forward"]

    def other(config, head, arrays, **inputs):
        return formulas(config, head, {**arrays, BIAS: arrays[BIAS] + 1e-7}, **inputs)

    monkeypatch.setitem(check.__globals__, "forward", other)
    with pytest.raises(AssertionError, match="pt: outputs differ by"):
        check(case, runners, Counter())
