"""Batches of all shapes need few compilations, and padding them up changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from checkpoints import random_inputs, save_random, small_config
from comparison import assert_close

from distilbert_core import Head
from distilbert_core.inference import load_inference
from distilbert_flax.inference import next_size


def test_sizes():
    sizes = [next_size(count) for count in range(1, 513)]
    assert sorted(set(sizes)) == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]
    assert all(count <= size <= 1.5 * count for count, size in enumerate(sizes, 1))


@pytest.mark.parametrize("head", Head)
def test_padding_up_changes_no_output(tmp_path, head):
    config = small_config(max_position_embeddings=40)
    save_random(tmp_path, config, head)
    infer = load_inference("flax", head, tmp_path, dtype="float64")
    inputs = random_inputs(config, head)  # 5 rows of 11 tokens: padded to 6 of 16
    inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    inputs["attention_mask"][inputs["attention_mask"].sum(-1) == 0] = 1  # a row of padding alone has no outputs
    assert_close(infer(**inputs), dict(infer.model(**inputs)), 1e-14)  # measured: 5.0e-15
    del inputs["attention_mask"]
    assert_close(infer(**inputs), dict(infer.model(**inputs)), 1e-14)


def test_few_shapes_are_compiled(tmp_path):
    config = small_config(max_position_embeddings=100)
    save_random(tmp_path, config, Head.NONE)
    infer = load_inference("flax", Head.NONE, tmp_path)
    shapes = set()
    infer._run = lambda model, arrays: shapes.add(arrays["input_ids"].shape) or {"x": np.zeros((999, 999))}
    for rows in range(1, 17):
        for tokens in range(1, 101):
            assert infer(input_ids=np.zeros((rows, tokens), int))["x"].shape == (rows, tokens)
    assert len(shapes) == 8 * 7  # 16, 24, 32, 48, 64, 96 and 100 tokens
