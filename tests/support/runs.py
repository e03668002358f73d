"""Small runs of fine-tuning."""

from __future__ import annotations

import json

from distilbert_core import Head
from distilbert_core.training import Recipe, finetune

HEAD = Head.SEQUENCE_CLASSIFICATION
HEAD_TASK = "sequence-classification"
RECIPE = Recipe(max_steps=6, batch_size=4, eval_every=2, learning_rate=1e-3, warmup=0)
TEXTS = ("a lovely film", "a waste of time", "funny and warm and wise", "dull", "moving", "two lost hours of my life")


def run(framework, train, model, output, recipe=RECIPE, **changes):
    options = {"eval": train, "backend": framework.name, **changes}
    return finetune(HEAD_TASK, train, model=model, output=output, recipe=recipe, **options)


def weights(folder):
    return (folder / "model.safetensors").read_bytes()


def records(folder):
    lines = (folder / "training/metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "tokens_per_second"} for line in lines]
