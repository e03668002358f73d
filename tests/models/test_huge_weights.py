"""Weights so large that scores of attention overflow half precision: outputs and losses are finite.

Finite are outputs whose dense layers stay within the dtype, and whose scores and squares stay within float32.
"""

from __future__ import annotations

import numpy as np
import pytest

from distilbert_core import Head
from distilbert_core.files.checkpoint import save_checkpoint
from support.checkpoints import random_arrays, random_inputs, small_config

# Factors of the projections to queries and keys, and of the positions. Scores are above 65,504 in float16.
FACTORS = {"float16": (300.0, 3e4), "bfloat16": (1e15, 1e15)}
EVERY = [Head.MASKED_LM, Head.SEQUENCE_CLASSIFICATION]


def huge(config, head, dtype):
    """Return random weights; those of queries, keys and positions are huge."""
    of_scores, of_positions = FACTORS[dtype]
    arrays = random_arrays(config, head)
    for name, array in arrays.items():
        if "q_lin" in name or "k_lin" in name:
            array *= of_scores
        elif "position_embeddings" in name:
            array *= of_positions
    return arrays


@pytest.mark.parametrize("implementation", ["fused", "eager"])
@pytest.mark.parametrize("dtype", FACTORS)
@pytest.mark.parametrize("head", EVERY)
def test_outputs_and_losses_are_finite(framework, tmp_path, head, dtype, implementation):
    config = small_config(n_layers=2, activation="relu")
    save_checkpoint(tmp_path, huge(config, head, dtype), {"config.json": config.to_json_string().encode()})
    model = framework.load(head, tmp_path, dtype=dtype)
    inputs = random_inputs(config, head)
    outputs = framework.call(model, **inputs, output_attentions=implementation == "eager")
    for name, value in outputs.items():
        for array in value if isinstance(value, tuple) else (value,):
            assert np.isfinite(np.asarray(array, np.float64)).all(), name


def test_the_scores_would_overflow(tmp_path):
    config = small_config(n_layers=1)
    arrays = huge(config, Head.SEQUENCE_CLASSIFICATION, "float16")
    name = "distilbert.transformer.layer.0.attention"
    x = np.ones(config.dim)
    query, key = (arrays[f"{name}.{part}_lin.weight"] @ x for part in "qk")
    assert abs(query).max() < np.finfo(np.float16).max < np.abs(np.outer(query, key)).max()
