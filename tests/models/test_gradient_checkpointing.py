"""Gradient checkpointing: the same losses and gradients, also with dropout, and together with other savings."""

from __future__ import annotations

import json
from functools import wraps

import numpy as np
import pytest

from distilbert_core import DistilBertTokenizerFast, Head, InputError
from distilbert_core.training import Recipe, finetune, load_trainer
from distilbert_core.training.engine import Engine
from support.checkpoints import save_random, small_config, training_inputs
from support.comparison import assert_close

CLASSIFIER = Head.SEQUENCE_CLASSIFICATION
NUMBERS = {"learning_rate": 1e-2, "warmup": 0, "epsilon": 1e-3}


def test_gradients_are_the_same(framework, tmp_path, monkeypatch):
    """With dropout: a block that is computed again drops the same. The moments are sums of gradients.

    The last block computes first tokens only, with another graph than the block below.
    """
    config = small_config(dropout=0.3, attention_dropout=0.2)
    save_random(tmp_path, config, CLASSIFIER)
    inputs = training_inputs(config, CLASSIFIER)
    calls = count_blocks(framework, monkeypatch)
    results, computed = [], []
    for on in (False, True):
        calls.clear()
        recipe = Recipe(**NUMBERS, dtype="float64", gradient_checkpointing=on)
        trainer = load_trainer(framework.name, CLASSIFIER, tmp_path, recipe, recipe.learning_rates(2))
        results.append(([trainer.step(inputs, step) for step in range(2)], trainer.state()))
        computed.append(len(calls))
    (losses, state), (again, same) = results
    assert_close(again, losses, 1e-12)
    assert_close(same, state, 1e-12)
    undropped = framework.load(CLASSIFIER, tmp_path, dtype="float64")
    assert abs(framework.call(undropped, **inputs).loss - losses[0]) > 1e-3
    if framework.name != "flax":  # JAX computes again what it has traced once
        assert computed[1] == 2 * computed[0] > 0


def count_blocks(framework, monkeypatch) -> list[int]:
    """Return a list that gets an entry for each block that is computed, or traced."""
    block, calls = framework.module("model").TransformerBlock, []
    method = {"pt": "forward", "tf": "call", "flax": "__call__"}[framework.name]
    original = getattr(block, method)

    @wraps(original)
    def counted(self, *args, **kwargs):
        calls.append(1)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(block, method, counted)
    return calls


def test_it_is_switched(framework, tmp_path):
    save_random(tmp_path, small_config(n_layers=1), CLASSIFIER)
    states = []
    for on in (False, True):
        recipe = Recipe(gradient_checkpointing=on)
        model = load_trainer(framework.name, CLASSIFIER, tmp_path, recipe, recipe.learning_rates(1)).model
        states.append(model.is_gradient_checkpointing)
    assert states == [False, True]
    model.gradient_checkpointing_disable()
    assert not model.is_gradient_checkpointing


def test_parameters_are_divided_by_pytorch_only(framework, tmp_path):
    save_random(tmp_path, small_config(n_layers=1), CLASSIFIER)
    message = {"pt": "among the processes of torchrun", "tf": "with backend 'tf'", "flax": "with backend 'flax'"}
    with pytest.raises(InputError, match=message[framework.name]):
        load_trainer(framework.name, CLASSIFIER, tmp_path, Recipe(shard=True), np.zeros(1))


def test_a_recipe_says_it_in_words_of_its_own():
    with pytest.raises(InputError, match="gradient_checkpointing must be True or False, got 'yes'"):
        Recipe(gradient_checkpointing="yes")


def test_all_ways_to_save_memory_together(framework, tmp_path, monkeypatch):
    """In bfloat16, in two micro-batches, with blocks computed again: the loss falls, and a stopped run goes on."""
    tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
    save_random(tmp_path / "model", small_config(num_labels=2, vocab_size=len(tokenizer)), CLASSIFIER)
    tokenizer.save_pretrained(tmp_path / "model")
    rows = [{"text": f"{'very ' * n}{word}", "label": word} for n in range(4) for word in ("good", "bad")]
    saving = {"dtype": "bfloat16", "accumulate": 2, "gradient_checkpointing": True}
    arguments = {
        "task": "sequence-classification",
        "train": rows,
        "model": tmp_path / "model",
        "backend": framework.name,
        "recipe": Recipe(max_steps=20, batch_size=8, eval_every=10, learning_rate=3e-2, dropout=0.0, **saving),
        "labels": ["bad", "good"],
        "new_head": True,
    }

    def losses(name):
        lines = map(json.loads, (tmp_path / name / "training/metrics.jsonl").read_text().splitlines())
        return [line["loss"] for line in lines if "loss" in line]

    finetune(**arguments, output=tmp_path / "whole")
    assert losses("whole")[-1] < losses("whole")[0] / 2
    take = Engine.step

    def stop_half_way(engine, batch, step):
        if step == 10:
            raise KeyboardInterrupt
        return take(engine, batch, step)

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "step", stop_half_way)
        with pytest.raises(KeyboardInterrupt):
            finetune(**arguments, output=tmp_path / "stopped")
    finetune(**arguments, output=tmp_path / "stopped", resume=True)
    assert losses("stopped")[-1] == losses("whole")[-1]
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "stopped"))
    assert first == second
