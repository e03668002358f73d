"""The rules of the losses: problem types, labels that are given or not, positions, shapes of labels and weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distilbert_core import DistilBertConfig, Head, InputError
from distilbert_core.model.losses import (
    check_distillation,
    check_label_shape,
    check_whole,
    counted_positions,
    labels_given,
    problem_type,
    problem_type_by_shape,
    sequence_problem_type,
    single,
    weight_axes,
)

REGRESSION, CLASSES, MULTI_LABEL = "regression", "single_label_classification", "multi_label_classification"


@pytest.mark.parametrize(
    ("fields", "integers", "expected"),
    [
        ({"num_labels": 3}, True, CLASSES),
        ({"num_labels": 3}, False, MULTI_LABEL),
        ({"num_labels": 1}, True, REGRESSION),
        ({"num_labels": 1}, False, REGRESSION),
        ({"num_labels": 1, "problem_type": MULTI_LABEL}, True, MULTI_LABEL),
        ({"num_labels": 3, "problem_type": REGRESSION}, True, REGRESSION),
    ],
)
def test_problem_type(fields: dict[str, Any], integers: bool, expected: str) -> None:
    assert problem_type(DistilBertConfig(**fields), integers) == expected


def test_several_labels_in_a_row_have_the_shape_of_the_logits() -> None:
    config = DistilBertConfig(num_labels=3)
    assert sequence_problem_type(config, (5, 3), (5, 3), "float32", labels_are_integers=False) == MULTI_LABEL
    assert sequence_problem_type(config, (5,), (5, 3), "int64", labels_are_integers=True) == CLASSES
    with pytest.raises(InputError, match=r"labels of float32 are several labels in a row .* Give classes as integers"):
        sequence_problem_type(config, (5,), (5, 3), "float32", labels_are_integers=False)


@pytest.mark.parametrize(
    ("kind", "shape", "expected"),
    [
        ("integer", (5,), CLASSES),
        ("integer", (5, 1), CLASSES),
        ("boolean", (5,), CLASSES),
        ("boolean", (5, 3), MULTI_LABEL),
        ("floating", (5,), CLASSES),
        ("floating", (5, 3), MULTI_LABEL),
    ],
)
def test_problem_type_by_shape(kind: str, shape: tuple[int, ...], expected: str) -> None:
    assert problem_type_by_shape(DistilBertConfig(num_labels=3), shape, (5, 3), "dtype", kind) == expected
    regression = DistilBertConfig(num_labels=3, problem_type=REGRESSION)
    assert problem_type_by_shape(regression, shape, (5, 3), "dtype", kind) == REGRESSION


def test_ambiguous_labels_and_texts_are_refused() -> None:
    config = DistilBertConfig(num_labels=3)
    with pytest.raises(InputError, match=r"labels have the shape \(5, 3\) of the logits and the dtype int64"):
        problem_type_by_shape(config, (5, 3), (5, 3), "int64", "integer")
    with pytest.raises(InputError, match="labels must be numbers, got string"):
        problem_type_by_shape(config, (5,), (5, 3), "string", None)


def test_labels_are_given_all_or_none() -> None:
    labels = np.zeros(3, int)
    assert labels_given(Head.MASKED_LM, (labels,), None)
    assert labels_given(Head.QUESTION_ANSWERING, (labels, labels), labels)
    assert not labels_given(Head.QUESTION_ANSWERING, (None, None), None)
    for given in ((labels, None), (None, labels)):
        with pytest.raises(InputError, match="Give start_positions and end_positions, or neither; got only one"):
            labels_given(Head.QUESTION_ANSWERING, given, None)
    with pytest.raises(InputError, match=r"sample_weight .* give labels too, or leave it out"):
        labels_given(Head.MASKED_LM, (None,), labels)


def test_single() -> None:
    assert single(["logits"]) == "logits"
    assert single({"start": 1, "end": 2}.values()) == (1, 2)


def test_positions_outside_the_text() -> None:
    positions = np.array([-3, 0, 4, 5, 9])
    np.testing.assert_array_equal(counted_positions(positions, 5, np.where), [0, 0, 4, -100, -100])
    np.testing.assert_array_equal(positions, [-3, 0, 4, 5, 9])


def test_label_shapes() -> None:
    for labels, logits in [((5,), (5,)), ((5, 1), (5,)), ((5,), (5, 1)), ((5, None), (5, 7)), ((1,), ())]:
        check_label_shape(labels, logits)
    with pytest.raises(InputError, match=r"end_positions must have shape like the predictions = \(5\)"):
        check_label_shape((4,), (5,), "end_positions")


def test_whole_classes() -> None:
    check_whole("labels", [])
    with pytest.raises(InputError, match=r"labels must be integers, the indices of classes, got 0\.5"):
        check_whole("labels", [0.5, 1.5])


def test_weight_axes() -> None:
    assert [weight_axes("w", shape, (5, 7)) for shape in [(5,), (5, 1), (5, 7)]] == [1, 1, 2]
    with pytest.raises(InputError, match=r"w must have shape .* = \(5, 7\), got \(5, 3\)"):
        weight_axes("w", (5, 3), (5, 7))


def test_student_and_teacher() -> None:
    check_distillation("logits", (5, 7, 3), (5, 7, 3), (5, 7), temperature=2.0)
    check_distillation("hidden", (None, 7, 3), (5, 7, 3), None)
    with pytest.raises(InputError, match="teacher_hidden must have shape like student_hidden"):
        check_distillation("hidden", (5, 3), (5, 4), None)
    with pytest.raises(InputError, match="mask must have shape like student_logits without the last axis"):
        check_distillation("logits", (5, 3), (5, 3), (4,))
    with pytest.raises(InputError, match="temperature must be a finite number above 0, got 0"):
        check_distillation("logits", (5, 3), (5, 3), None, temperature=0.0)
