"""A recipe: derived values calculated by hand, and impossible values."""

from __future__ import annotations

import json
import math
from dataclasses import fields

import numpy as np
import pytest

from distilbert_core import InputError, Kind, Parameter
from distilbert_core.training import Recipe
from distilbert_core.training.distillation import DistillationRecipe
from distilbert_core.training.recipe import OTHER_NAMES

ROOT = math.sqrt(3)
RATES = [  # schedule, warmup, the rates of 8 steps with a highest rate of 12
    ("linear", 0, [12, 10.5, 9, 7.5, 6, 4.5, 3, 1.5]),
    ("linear", 0.25, [6, 12, 12, 10, 8, 6, 4, 2]),
    ("cosine", 0.25, [6, 12, 12, 6 + 3 * ROOT, 9, 6, 3, 6 - 3 * ROOT]),  # cos of 0, 30, 60, ... degrees
    ("constant", 0, [12] * 8),
    ("constant", 0.25, [6, 12, 12, 12, 12, 12, 12, 12]),
    ("linear", 0.99, [12 / 7 * step for step in range(1, 8)] + [12]),  # 7 steps of warmup
]


@pytest.mark.parametrize(("schedule", "warmup", "expected"), RATES)
def test_learning_rates(schedule, warmup, expected):
    rates = Recipe(learning_rate=12, schedule=schedule, warmup=warmup).learning_rates(8)
    assert rates.dtype == np.float64
    np.testing.assert_allclose(rates, expected, rtol=1e-14)  # measured: 4e-16


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("warmup", [0, 0.25])
def test_the_only_step_has_the_highest_rate(schedule, warmup):
    assert Recipe(learning_rate=3e-4, schedule=schedule, warmup=warmup).learning_rates(1).tolist() == [3e-4]


@pytest.mark.parametrize(
    ("numbers", "rows", "steps", "between"),
    [
        ({"epochs": 3, "batch_size": 4}, 10, 8, 3),  # 30 rows in batches of 4; 10 rows
        ({"epochs": 2, "batch_size": 5}, 10, 4, 2),
        ({"epochs": 0.5, "batch_size": 5}, 11, 2, 3),
        ({"epochs": 0.01, "batch_size": 32}, 5, 1, 1),
        ({"epochs": 3, "batch_size": 4, "max_steps": 5}, 10, 5, 3),
        ({"epochs": 3, "batch_size": 4, "eval_every": 7}, 10, 8, 7),
        ({"epochs": 3, "max_tokens": 64}, 10, 5, 2),  # 300 tokens in batches of 64; 100 tokens
    ],
)
def test_steps(numbers, rows, steps, between):
    recipe = Recipe(**numbers)
    tokens = 10 * rows
    assert (recipe.steps(rows, tokens), recipe.steps_between_evaluations(rows, tokens)) == (steps, between)


def test_only_matrices_have_weight_decay():
    decayed = {kind for kind in Kind if Recipe().decays(Parameter("name", (2,), kind))}
    assert decayed == {Kind.KERNEL, Kind.EMBEDDING}


def test_as_json_and_back():
    weights = {"bad": 1, 0: np.float64(2.5)}
    recipe = Recipe(epochs=0.5, max_steps=7, dropout=0.0, schedule="cosine", dtype="float64", class_weights=weights)
    again = Recipe(**json.loads(json.dumps(recipe.to_dict())))
    assert again == recipe
    assert hash(again) == hash(recipe)
    weights["bad"] = 7
    assert recipe.class_weights == {"bad": 1.0, "0": 2.5}  # a copy, with names as JSON has them


NO_NUMBERS = ["1", True, math.nan]
POSITIVE = ("a number above 0", [0, -1e-9, math.inf, None, *NO_NUMBERS])
NOT_NEGATIVE = ("a number >= 0", [-1e-9, math.inf, None, *NO_NUMBERS])
BOOLEAN = ("True or False", [0, 1, None, "yes"])
PART = (r"a number in \[0, 1\)", [-0.1, 1, None, *NO_NUMBERS])
COUNT = ("a positive integer", [0, -1, 2.0, None, *NO_NUMBERS])
COUNT_OR_NONE = ("a positive integer, or None", [0, -1, 2.0, *NO_NUMBERS])
LIMITS = {
    "epochs": POSITIVE,
    "max_steps": COUNT_OR_NONE,
    "batch_size": COUNT,
    "max_tokens": COUNT_OR_NONE,
    "accumulate": COUNT,
    "max_length": COUNT_OR_NONE,
    "doc_stride": ("an integer >= 0", [-1, 1.0, None, *NO_NUMBERS]),
    "learning_rate": NOT_NEGATIVE,
    "schedule": ("one of linear, cosine, constant", ["Linear", "polynomial", "", None, []]),
    "warmup": PART,
    "weight_decay": NOT_NEGATIVE,
    "beta1": PART,
    "beta2": PART,
    "epsilon": POSITIVE,
    "max_grad_norm": POSITIVE,
    "mask_probability": (r"a number in \(0, 1\)", [0, 1, None, *NO_NUMBERS]),
    "dropout": (r"a number in \[0, 1\), or None", [-0.1, 1, *NO_NUMBERS]),
    "eval_every": COUNT_OR_NONE,
    "patience": COUNT_OR_NONE,
    "seed": (r"an integer in \[0, 2\*\*32\)", [-1, 2**32, 1.0, None, *NO_NUMBERS]),
    "dtype": ("'float32', 'float64' or 'bfloat16'", ["float16", np.float32, None]),
    "class_weights": (
        "None, 'balanced', or numbers above 0 by name of label",
        [
            "even",
            {},
            [1.0, 2.0],
            {"a": 0},
            {"a": 1, "b": -1},
            {"a": math.nan},
            {"a": math.inf},
            {"a": "1"},
            {"a": True},
        ],
    ),
    "gradient_checkpointing": BOOLEAN,
    "shard": BOOLEAN,
}
DISTILLATION_LIMITS = {
    "distillation_weight": NOT_NEGATIVE,
    "task_weight": NOT_NEGATIVE,
    "cosine_weight": NOT_NEGATIVE,
    "squared_error_weight": NOT_NEGATIVE,
    "hidden_weight": NOT_NEGATIVE,
    "relation_weight": NOT_NEGATIVE,
    "relation_heads": COUNT_OR_NONE,
    "temperature": POSITIVE,
    "only_masked": BOOLEAN,
    "mask_smoothing": NOT_NEGATIVE,
    "class_weights": ("None: it is for fine-tuning", ["balanced", {"a": 1}]),
}
KINDS = {Recipe: LIMITS, DistillationRecipe: LIMITS | DISTILLATION_LIMITS}


@pytest.mark.parametrize("kind", KINDS)
def test_every_number_has_a_limit(kind):
    assert list(KINDS[kind]) == [field.name for field in fields(kind)]


@pytest.mark.parametrize(
    ("kind", "name", "value", "wanted"),
    [
        (kind, name, value, wanted)
        for kind, limits in ((Recipe, LIMITS), (DistillationRecipe, DISTILLATION_LIMITS))
        for name, (wanted, values) in limits.items()
        for value in values
    ],
)
def test_impossible_numbers(kind, name, value, wanted):
    with pytest.raises(InputError, match=rf"^{name} must be {wanted}, got "):
        kind(**{name: value})


def test_numbers_that_do_not_fit_together():
    with pytest.raises(InputError, match="accumulate must be at most batch_size=2, got 3"):
        Recipe(batch_size=2, accumulate=3)
    weights = dict.fromkeys(("distillation_weight", "task_weight", "cosine_weight", "squared_error_weight"), 0)
    with pytest.raises(InputError, match="One of the weights must be above 0: distillation_weight, task_weight"):
        DistillationRecipe(**weights)


def test_distillation_is_a_weighted_sum():
    recipe = DistillationRecipe(task_weight=0, temperature=1.0)
    terms = {"distillation": lambda: 2.0, "task": lambda: 1 / 0, "cosine": lambda: 0.5, "squared_error": lambda: 1 / 0}
    assert recipe.total(terms) == {"loss": 5 * 2.0 + 0.5, "loss_distillation": 2.0, "loss_cosine": 0.5}
    assert recipe.needs_teacher
    assert not DistillationRecipe(distillation_weight=0, cosine_weight=0).needs_teacher


@pytest.mark.parametrize(
    "numbers",
    [
        {"epochs": 1e-9, "learning_rate": 0, "warmup": 0, "weight_decay": 0, "beta1": 0, "beta2": 0.0, "dropout": 0},
        {"doc_stride": 0, "seed": 0, "batch_size": 1, "max_length": 1, "max_steps": 1, "eval_every": 1, "patience": 1},
        {"seed": 2**32 - 1, "warmup": 0.999, "mask_probability": 1e-9, "epsilon": 1e-30, "max_grad_norm": 1e30},
    ],
)
def test_possible_numbers_at_the_limits(numbers):
    assert numbers.items() <= Recipe(**numbers).to_dict().items()


@pytest.mark.parametrize(
    ("kind", "name", "meant"),
    [
        (Recipe, "learning_rat", "learning_rate"),
        (Recipe, "lr", "learning_rate"),
        (Recipe, "per_device_train_batch_size", "batch_size"),
        (DistillationRecipe, "temprature", "temperature"),
    ],
)
def test_an_unknown_field_suggests_the_right_one(kind, name, meant):
    with pytest.raises(TypeError, match=f"^{kind.__name__} has no '{name}'. Did you mean '{meant}'"):
        kind(**{name: 1})
    with pytest.raises(TypeError, match=f"^{kind.__name__} has no 'zzz'.$"):
        kind(zzz=1)


def test_other_names_mean_numbers_of_a_recipe():
    assert set(OTHER_NAMES.values()) <= {field.name for field in fields(Recipe)}
    assert not OTHER_NAMES.keys() & {field.name for field in fields(Recipe)}
