"""The benchmark of the order of rows: its runs are those of `finetune`, and its tests are the usual ones."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from safetensors.numpy import load_file

from distilbert_core.training import Recipe, finetune
from support.paths import BENCHMARKS

TEXTS = ["fine", "a waste of time", "lovely", "what a long and dull film that was", "bad acting", "I love it so much"]


@pytest.fixture(autouse=True)
def _found_from_here(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_a_run_by_length_is_that_of_finetune_and_a_random_one_is_not(tmp_path, monkeypatch):
    import order

    file = tmp_path / "rows.tsv"
    file.write_text("text\tlabel\n" + "".join(f"{text}\t{'AB'[i % 2]}\n" for i, text in enumerate(TEXTS)))
    case = order.Case("sequence-classification", "rows.tsv", "rows.tsv", "accuracy", 4)
    monkeypatch.setitem(order.CASES, "tiny", case)
    experiment = order.experiment_of("tiny", tmp_path, "sst2-tiny")
    assert len(experiment.eval_rows) == order.EVALUATED
    recipe = Recipe(max_steps=4, batch_size=2, learning_rate=1e-3, seed=7)
    finetune(case.task, file, model="sst2-tiny", output=tmp_path / "run", backend="pt", recipe=recipe, new_head=True)
    expected = load_file(tmp_path / "run/model.safetensors")
    trained = {name: order.train(experiment, 1e-3, name, 7, 4, 2) for name in order.ORDERS}
    differences = {
        name: max(np.abs(tensor.detach().numpy() - expected[key]).max() for key, tensor in state.items())
        for name, state in ((name, engine.model.state_dict()) for name, engine in trained.items())
    }
    assert differences["by length"] == 0
    assert differences["random"] > 1e-4
    assert 0 <= order.measure(experiment, trained["random"], "accuracy") <= 1
    assert order.measure(experiment, None, "accuracy") == 0


def test_only_complete_seeds_count_and_a_line_that_was_cut_off_does_not(tmp_path, capsys):
    import order

    rng = np.random.default_rng(0)
    keys = [key for seed in range(201, 208) for key in order.keys_of(seed)]
    better = {key: 0.3 * (key[1] == "WNUT-17" and key[3] == "random") for key in keys}
    lines = [json.dumps({"key": key, "value": gain + 0.01 * rng.random()}) for key, gain in better.items()]
    file = tmp_path / "runs.jsonl"
    file.write_text("\n".join(lines) + "\n")
    order.print_table(order.read(file))
    output = capsys.readouterr().out
    assert "7 seeds of 10" in output
    assert output.endswith("corrected p below 0.05: WNUT-17\n")
    file.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:20])
    assert order.complete_seeds(order.read(file)) == [*range(201, 207)]
    order.print_table({key: value for key, value in order.read(file).items() if key[0] < 204})
    assert capsys.readouterr().out.endswith("less than 5 seeds: no decision\n")


def test_p_values():
    """Holm's example by hand; a t of 3 with 3 degrees of freedom; 2 of the 16 sign flips are as far from 0."""
    import order

    assert order.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    values = np.array([1.0, 2.0, 3.0, 4.0])
    t = values.mean() / (values.std(ddof=1) / 2)
    # Student's distribution with 3 degrees of freedom has a closed form.
    tail = 1 - 2 / math.pi * (math.atan(t / math.sqrt(3)) + t * math.sqrt(3) / (3 + t * t))
    assert order.p_values(values) == pytest.approx((tail, 2 / 16))
    assert all(map(math.isnan, order.p_values(np.zeros(4))))
