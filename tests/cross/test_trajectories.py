"""Whole training runs in the three backends: the same batches lead to the same weights and the same losses."""

from __future__ import annotations

import numpy as np
import pytest

from distilbert_core import Head
from distilbert_core.training import Recipe, load_trainer
from distilbert_core.training.distillation import DistillationRecipe, load_distiller
from distilbert_core.training.distillation.recipe import TERMS
from support.checkpoints import BATCH, HEADS_WITH_LOSS, save_random, small_config, training_inputs
from support.comparison import assert_close
from support.frameworks import FRAMEWORKS

STEPS = 50
# Strong clipping, warmup and weight decay, so that each of them matters.
NUMBERS = {"learning_rate": 1e-3, "warmup": 0.2, "weight_decay": 0.1, "max_grad_norm": 0.5, "dropout": 0.0}


def batches(config, head):
    """Return a batch for each step; in every other, rows have weights."""
    found = [training_inputs(config, head, seed) for seed in range(STEPS)]
    for seed in range(1, STEPS, 2):
        found[seed]["sample_weight"] = np.random.default_rng(seed).uniform(0, 3, BATCH)
    return found


def train(name, head, folder, config, dtype, **changes):
    """Return the losses of all steps, and all weights after them."""
    recipe = Recipe(**{**NUMBERS, **changes}, dtype=dtype)
    trainer = load_trainer(name, head, folder, recipe, recipe.learning_rates(STEPS))
    losses = [trainer.step(batch, number) for number, batch in enumerate(batches(config, head))]
    return np.array(losses), FRAMEWORKS[name].parameters(trainer.model)


@pytest.mark.parametrize("head", HEADS_WITH_LOSS)
def test_trajectories_in_float64(head, tmp_path):
    """Measured: losses 1.1e-14, weights 1.4e-11 at worst, in the biases of keys, whose true gradient is zero."""
    config = small_config()
    save_random(tmp_path, config, head)
    losses, weights = train("pt", head, tmp_path, config, "float64")
    untrained, _ = train("pt", head, tmp_path, config, "float64", learning_rate=0.0)
    assert losses[-10:].mean() < untrained[-10:].mean()  # it learns, so there is something to compare
    for name in ("tf", "flax"):
        other_losses, other_weights = train(name, head, tmp_path, config, "float64")
        assert_close(other_losses, losses, 1e-8)
        assert_close(other_weights, weights, 1e-8)


def test_a_trajectory_in_float32(tmp_path):
    """Measured: losses 1e-6."""
    config = small_config()
    save_random(tmp_path, config, Head.SEQUENCE_CLASSIFICATION)
    losses, _ = train("pt", Head.SEQUENCE_CLASSIFICATION, tmp_path, config, "float32")
    for name in ("tf", "flax"):
        assert_close(train(name, Head.SEQUENCE_CLASSIFICATION, tmp_path, config, "float32")[0], losses, 1e-4)


def test_the_trajectory_depends_on_each_number_of_the_recipe(tmp_path, monkeypatch):
    """A test that would not notice another number would prove nothing."""
    config = small_config()
    save_random(tmp_path, config, Head.SEQUENCE_CLASSIFICATION)
    _, weights = train("pt", Head.SEQUENCE_CLASSIFICATION, tmp_path, config, "float64")
    for name, value in {"weight_decay": 0.0, "max_grad_norm": 5.0, "warmup": 0.3, "learning_rate": 1.001e-3}.items():
        monkeypatch.setitem(NUMBERS, name, value)
        _, changed = train("pt", Head.SEQUENCE_CLASSIFICATION, tmp_path, config, "float64")
        monkeypatch.undo()
        with pytest.raises(AssertionError, match="largest difference"):
            assert_close(changed, weights, 1e-8)


def distil(name, head, folders, dtype="float64", **changes):
    """Return the losses of ten steps with every term, and all weights after them."""
    weights = {f"{term}_weight": 1.0 for term in TERMS}
    recipe = DistillationRecipe(**{**NUMBERS, **weights, "relation_heads": 3, **changes}, epsilon=1e-3, dtype=dtype)
    student = load_distiller(name, head, *folders, recipe, recipe.learning_rates(10))
    taken = [student.take_step(batch, number) for number, batch in enumerate(batches(small_config(), head)[:20:2])]
    arrays = FRAMEWORKS[name].parameters(student.model)
    extra = {key: np.array(x.detach() if name == "pt" else x[...]) for key, x in student.engine.extra.items()}
    return {key: np.array([losses[key] for losses in taken]) for key in taken[0]}, arrays | extra


@pytest.mark.parametrize("head", [Head.MASKED_LM, Head.SEQUENCE_CLASSIFICATION])
def test_trajectories_of_distillation(head, tmp_path):
    """Every term, with a teacher of another width and depth. Measured: losses, about 160, 9e-10; weights 1.3e-11."""
    save_random(tmp_path / "student", small_config(n_layers=1), head, seed=1)
    save_random(tmp_path / "teacher", small_config(dim=21), head, seed=2)
    folders = tmp_path / "student", tmp_path / "teacher"
    losses, weights = distil("pt", head, folders)
    assert len(losses) == 1 + len(TERMS)
    assert len(weights.keys() & {"projection", "hidden_projection"}) == 2
    for name in ("tf", "flax"):
        other_losses, other_weights = distil(name, head, folders)
        assert_close(other_losses, losses, 1e-8)
        assert_close(other_weights, weights, 1e-8)
    with pytest.raises(AssertionError, match="largest difference"):
        assert_close(distil("pt", head, folders, relation_heads=1)[1], weights, 1e-8)
