"""Measure the memory and the time of a training step, with and without gradient checkpointing.

    python benchmarks/checkpointing.py --backend pt
    python benchmarks/checkpointing.py --backend pt --checkpointing

A process measures one case, since the peak of its memory never falls. Prints the growth of the peak in two steps, over
the memory before them, and the seconds of the second.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from distilbert_core import DistilBertConfig, Head, parameter_table
from distilbert_core.files.checkpoint import save_checkpoint
from distilbert_core.training import Recipe, load_trainer

HEAD = Head.MASKED_LM
CONFIG = DistilBertConfig(vocab_size=2000, n_layers=12, dim=128, n_heads=2, hidden_dim=512)  # few parameters


def resident() -> float:
    """Return the memory of this process in GB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e9


def peak() -> float:
    """Return the highest memory of this process so far in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def main() -> None:
    """Read the command line, take two steps, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", required=True, choices=("pt", "tf", "flax"))
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=128)
    options = parser.parse_args()

    config, rng = CONFIG, np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        arrays = {
            p.name: rng.normal(0, 0.02, p.shape).astype("float32")
            for p in parameter_table(config, HEAD)
            if p.tied_to is None
        }
        save_checkpoint(folder, arrays, {"config.json": config.to_json_string().encode()})
        recipe = Recipe(gradient_checkpointing=options.checkpointing)
        trainer = load_trainer(options.backend, HEAD, folder, recipe, recipe.learning_rates(2))
    ids = rng.integers(5, config.vocab_size, (options.rows, options.tokens))
    batch = {"input_ids": ids, "labels": np.where(rng.random(ids.shape) < 0.15, ids, -100)}
    before = resident()
    for step in range(2):
        start = time.perf_counter()
        trainer.step(batch, step)
        seconds = time.perf_counter() - start
    print(f"{options.backend} checkpointing={options.checkpointing}: {peak() - before:.2f} GB, {seconds:.1f} s")


if __name__ == "__main__":
    main()
