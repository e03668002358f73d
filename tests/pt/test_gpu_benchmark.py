"""The benchmark for a GPU: it runs on the CPU, counts operations, and notices a wrong model and a text that leaks."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from distilbert_pt import DistilBertModel
from support.checkpoints import small_config
from support.paths import BENCHMARKS


@pytest.fixture(autouse=True)
def _found_from_here(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for name in ("CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS", "HF_HUB_OFFLINE", "XLA_PYTHON_CLIENT_PREALLOCATE"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # the benchmark sets them


def job(lengths, tokens, **changes):
    from gpu import Job

    ids = np.where(np.arange(tokens) < np.array(lengths)[:, None], 1, 0)
    return Job(**{
        "title": "", "folder": None, "ids": ids, "lengths": np.array(lengths), "device": "cpu", "dtype": "float32"
    } | changes)  # fmt: skip


def test_it_measures_our_models_on_the_cpu(tmp_path, capsys):
    from gpu import main

    file = tmp_path / "results.json"
    main(["--device", "cpu", "--tiny", "--ours-only", "--rows", "real", "training", "--json", str(file)])
    gpu, *results = json.loads(file.read_text())["results"]
    ours = {(one["row"], one["name"]): one for one in results if one["name"].startswith("ours")}
    assert gpu == {"gpu": "cpu"}
    assert list(ours) == [("real", "ours pt"), ("real", "ours pt, packed before"), ("training", "ours pt")]
    for one in ours.values():
        assert one["per_second"]["largest"] == pytest.approx(12 / min(one["seconds"]))
        assert one["tokens/s"]["median"] == pytest.approx(one["per_second"]["median"] * 321 / 12)
        assert one["TFLOP/s"]["median"] > 0
        assert one["of the ceiling"]["median"] > 0
    assert "no text reads its neighbour" in capsys.readouterr().out


def test_operations_are_those_that_are_computed():
    from gpu import flops

    config = small_config()
    model = DistilBertModel(config, attn_implementation="eager").eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(torch.ones(3, 16, dtype=torch.long))
    padded = flops(job([5, 16, 9], 16), config, padded=True)
    assert padded == counter.get_total_flops()
    assert flops(job([5, 16, 9], 16, training=True), config, padded=True) == 3 * padded
    rows = {
        "input_ids": torch.ones(1, 30, dtype=torch.long),
        "position_ids": torch.arange(30)[None] % 16,
        "segment_ids": torch.tensor([[1] * 5 + [2] * 16 + [3] * 9]),
        "output_tokens": torch.tensor([[0, 5, 21]]),
    }
    model.attn_implementation = "sdpa"
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.packed_outputs(**rows)
    assert flops(job([5, 16, 9], 16), config, padded=False) == counter.get_total_flops()


def test_another_model_is_noticed():
    from gpu import compare

    near = {"ours": lambda: torch.tensor([[1.0, -2.0]]), "peer": lambda: np.array([[1.0, -2.001]])}
    assert compare(near, "float32") == pytest.approx(5e-4, rel=1e-3)
    with pytest.raises(SystemExit, match=r"not the same model: logits differ by 5\.0e-02 of the largest"):
        compare({**near, "other": lambda: np.array([[1.1, -2.0]])}, "float32")


@pytest.mark.parametrize("leak", [0.0, 1e-6])
def test_a_text_that_reads_its_neighbour_is_noticed(leak):
    from gpu import check_neighbours

    def run_of(job):
        values = job.ids.sum(axis=1).astype(np.float32)
        return lambda: values + leak * np.roll(values, 1)

    texts = job([3, 4, 2], 4, ids=np.array([[5, 6, 7, 0], [5, 6, 7, 9], [1, 2, 0, 0]]))
    if not leak:
        check_neighbours(run_of, texts, "ours")
        return
    with pytest.raises(SystemExit, match="ours: a text reads its neighbour"):
        check_neighbours(run_of, texts, "ours")


def test_a_contestant_that_fails_leaves_the_others():
    from gpu import measure

    def broken():
        raise RuntimeError("out of memory")

    matrix = np.ones((2, 2))
    (ours, peer), product = measure(
        {"ours": lambda: matrix, "peer": broken}, lambda: matrix, rounds=3, seconds=0.0, deadline=0.0
    )
    assert peer.problem == "failed: RuntimeError: out of memory"
    assert ours.problem is None
    assert len(ours.seconds) == len(product) == 1  # the deadline is over after a round
