"""benchmarks/bert.py: BERT and DistilBERT side by side, and errors about models that differ."""

from __future__ import annotations

import json

import numpy as np
import pytest

from support.paths import BENCHMARKS


@pytest.fixture(autouse=True)
def _found_from_here(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def measured(**states):
    from contests import Measured

    names = {"ours": "ours pt, BERT", "theirs": "Transformers 5, BERT", "small": "ours pt, DistilBERT"}
    return [Measured(names[key], values=[[[value, 2.0]]]) for key, value in states.items()]


def test_another_model_is_noticed():
    from bert import check

    check(measured(ours=1.0, theirs=1.0001, small=1.5))
    with pytest.raises(SystemExit, match=r"not the same model: hidden states of BERT differ by 1\.0e-01"):
        check(measured(ours=1.0, theirs=1.1, small=1.5))
    with pytest.raises(SystemExit, match="hidden states of BERT differ by nan"):
        check(measured(ours=1.0, theirs=np.nan, small=1.5))
    with pytest.raises(SystemExit, match="BERT and DistilBERT compute the same"):
        check(measured(ours=1.0, theirs=1.0, small=1.0))


def test_ratios_are_of_the_same_round():
    from bert import BERT, DISTILBERT, row_of
    from contests import Measured

    pair = {BERT: Measured("a", seconds=[2.0, 3.0, 8.0]), DISTILBERT: Measured("b", seconds=[1.0, 2.0, 2.0])}
    assert row_of("ours pt", pair, 4) == "| ours pt | 4 | 1.333 | 2 | 2.00 (1.50 to 4.00) |"
    pair[BERT] = Measured("a", problem="torch not installed")
    assert row_of("ours pt", pair, 4) == "| ours pt | 4 | torch not installed | | |"


def test_sizes_and_speeds(tmp_path, capsys):
    from bert import main

    file = tmp_path / "bert.json"
    main(["--size", "tiny", "--frameworks", "pt", "--batches", "1", "--rounds", "1", "--seconds", "0",
          "--threads", "1", "--json", str(file)])  # fmt: skip
    bert, distilbert, *speeds = json.loads(file.read_text())["results"]
    layer = 4 * 32 * 32 + 2 * 32 * 64 + 8 * 32 + 64 + 32  # kernels, biases and norms
    embeddings = 32 * (30522 + 512 + 2)  # and norm
    assert distilbert["parameters"] == embeddings + 6 * layer
    assert bert["parameters"] == embeddings + 12 * layer + 2 * 32 + 32 * 32 + 32  # token types and pooler
    assert all(one["bytes"] == pytest.approx(4 * one["parameters"], rel=0.01) for one in (bert, distilbert))
    assert [one["name"].split(", ") for one in speeds] == [
        [who, name] for who in ("ours pt", "Transformers 5") for name in ("BERT", "DistilBERT")
    ]
    assert speeds[1]["times_as_fast_as_bert"]["median"] == speeds[0]["seconds"][0] / speeds[1]["seconds"][0]
    assert "| ours pt | 1 |" in capsys.readouterr().out
