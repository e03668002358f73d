"""Whole training runs in the three backends: the same batches lead to the same weights and the same losses."""

from __future__ import annotations

import numpy as np
import pytest

from distilbert_core import Head
from distilbert_core.training import Recipe, load_trainer
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
