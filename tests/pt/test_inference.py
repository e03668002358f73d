"""Inference on an accelerator, run on the CPU: the budget of tokens, shapes in buckets, checks on the host."""

from __future__ import annotations

import numpy as np
import pytest

from distilbert_core import DistilBertConfig, Head, InputError
from distilbert_core.model.inference import token_budget
from distilbert_core.model.packing import Ragged
from distilbert_pt import inference
from distilbert_pt.inference import GPU_BUCKETS, GPU_SEGMENT, BackendInference, fill_bucket
from support.checkpoints import HEADS
from support.comparison import assert_close
from support.frameworks import FRAMEWORKS

PT = FRAMEWORKS["pt"]
ROWS = np.random.default_rng(0).integers(1, 40, (6, 11)).tolist()
TEXTS = Ragged.from_rows([row[:length] for row, length in zip(ROWS, (5, 11, 1, 4, 9, 5), strict=True)])


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("head", HEADS)
def test_outputs_on_an_accelerator_are_those_on_the_cpu(tmp_path, head, compiled, monkeypatch):
    runner = BackendInference(PT.random_model(head, tmp_path)[0])
    expected = runner.run_ragged(TEXTS)
    shapes = []
    packed_outputs = type(runner.model).packed_outputs

    def noted(self, **arguments):
        shapes.append({name: tuple(x.shape) for name, x in arguments.items()})
        return packed_outputs(self, **arguments)

    monkeypatch.setattr(type(runner.model), "packed_outputs", noted)
    monkeypatch.setattr(BackendInference, "run_packed", BackendInference._run_on_accelerator)
    runner.compiled = compiled
    assert_close(tuple(runner.run_ragged(TEXTS).values()), tuple(expected.values()), 1e-13)
    tokens = 128 if compiled else 35
    assert {shape["input_ids"] for shape in shapes} == {shape["segment_ids"] for shape in shapes} == {(1, tokens)}


def test_few_shapes_of_compiled_blocks():
    sizes = set()
    for tokens in range(1, 4000, 7):
        row = {name: np.ones((1, tokens), np.int64) for name in ("input_ids", "segment_ids")}
        filled = fill_bucket(row, GPU_BUCKETS, GPU_SEGMENT)
        ids = filled["segment_ids"][0]
        assert ids[:tokens].all()
        ends = np.flatnonzero(np.diff(ids[tokens:]))
        assert np.diff([-1, *ends, len(ids) - tokens - 1]).max() <= GPU_SEGMENT
        assert ids[tokens : tokens + 1].tolist() in ([], [0])  # not of the last text
        sizes.add(len(ids))
    assert sorted(sizes) == [*range(128, 2048, 128), *range(2048, 4001, 256), 4096][: len(sizes)]
    assert len(sizes) == 24


def test_invalid_ids_are_found_before_they_reach_the_device(tmp_path):
    runner = BackendInference(PT.random_model(Head.BASE, tmp_path)[0])
    row = {name: np.zeros((1, 3), np.int64) for name in ("input_ids", "position_ids", "segment_ids")}
    for name, limit in (("input_ids", "vocab_size=47"), ("position_ids", "max_position_embeddings=23")):
        with pytest.raises(InputError, match=rf"{name} must lie in \[0, {limit}\), got 99"):
            runner._run_on_accelerator({**row, name: np.array([[0, 99, 1]])})


def test_long_rows_are_computed_in_parts(tmp_path, monkeypatch):
    runner = BackendInference(PT.random_model(Head.BASE, tmp_path)[0])
    row = runner.pack(TEXTS.lengths).rows(TEXTS)
    expected = runner.run_packed(row)
    assert_close(runner._run_on_accelerator(row), expected, 1e-13)
    monkeypatch.setattr(inference, "gpu_tokens", lambda model: 12)
    calls = []
    packed_outputs = type(runner.model).packed_outputs

    def noted(self, **arguments):
        calls.append(arguments["input_ids"].shape[1])
        return packed_outputs(self, **arguments)

    monkeypatch.setattr(type(runner.model), "packed_outputs", noted)
    assert_close(runner._run_on_accelerator(row), expected, 1e-13)
    assert (len(calls), sum(calls)) == (3, 35)


def test_budget_grows_with_memory_and_falls_with_the_size_of_numbers():
    config = DistilBertConfig()
    assert token_budget(0, config, 2) == 1024
    assert token_budget(8 * 2**30, config, 4) == pytest.approx(token_budget(8 * 2**30, config, 2) / 2, abs=1)
    assert token_budget(2**40, config, 2) == 2**17


def test_blocks_are_compiled_on_a_gpu_only(tmp_path):
    runner = BackendInference(PT.random_model(Head.BASE, tmp_path)[0])
    with pytest.raises(InputError, match="compile is for models on a GPU, and this model is on the CPU"):
        runner.compile()
    assert not runner.compiled
