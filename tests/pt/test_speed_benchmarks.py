"""The benchmarks of speed: the contestants, their turns, and errors about models that differ."""

from __future__ import annotations

import json

import numpy as np
import pytest

from support.paths import BENCHMARKS

TABLE = """
from functools import partial
from worker import Contestant

def counting(job, name, step):
    done = [0]
    def run():
        done[0] += step
        with open(job["log"], "a") as log:
            log.write(name)
        print("what libraries print")
        return done
    return run

def broken(job):
    raise ValueError("no such model")

CONTESTANTS = {
    "ours": Contestant(partial(counting, name="a", step=1), ("numpy",)),
    "peer": Contestant(partial(counting, name="b", step=2), ("numpy",)),
    "absent": Contestant(broken, ("no_such_library",)),
    "old": Contestant(broken, ("numpy 0",)),
    "broken": Contestant(broken, ()),
}
"""
PROBLEMS = {
    "absent": "no_such_library not installed",
    "old": "numpy 0 not installed",
    "broken": "failed: ValueError: no such model",
}


@pytest.fixture(autouse=True)
def _found_from_here(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_contestants_take_turns_and_missing_ones_are_named(tmp_path):
    from contests import Contest
    from worker import Contestant

    (tmp_path / "table.py").write_text(TABLE)
    names = ["ours", "peer", *PROBLEMS]
    contestants = {name: Contestant(lambda job: None, ()) for name in names}  # the workers read the file
    contest = Contest(str(tmp_path / "table.py"), contestants, {}, threads=1, rounds=3, seconds=0)
    measured = {one.name: one for one in contest.run(names, {"log": str(tmp_path / "log")})}
    assert {name: one.problem for name, one in measured.items() if one.problem} == PROBLEMS
    assert (tmp_path / "log").read_text() == "aabb" + "ab" * 3  # twice at the start, then in turns
    assert measured["ours"].values == [[3.0], [4.0], [5.0]]
    assert measured["peer"].values == [[6.0], [8.0], [10.0]]
    assert len(measured["peer"].seconds) == 3
    assert measured["peer"].peak > 1e6


@pytest.mark.parametrize(("clock", "counted"), [("time", True), ("processor", False)])
def test_the_clock_of_processors_does_not_count_sleep(tmp_path, monkeypatch, clock, counted):
    from contests import Contest
    from worker import Contestant

    (tmp_path / "table.py").write_text(
        "import time\nfrom worker import Contestant\n"
        "CONTESTANTS = {'ours': Contestant(lambda job: lambda: time.sleep(0.2) or 0, ())}\n"
    )
    monkeypatch.setenv("BENCHMARK_CLOCK", clock)
    contest = Contest(str(tmp_path / "table.py"), {"ours": Contestant(lambda job: None, ())}, {}, 1, 1, 0)
    (measured,) = contest.run(["ours"], {})
    assert (measured.seconds[0] >= 0.2) == counted


def test_ratios_compare_the_same_round():
    from contests import Measured, Spread, ratio_of_speeds, speeds

    ours, peer = Measured("ours", seconds=[1.0, 2.0, 4.0]), Measured("peer", seconds=[3.0, 2.0, 8.0])
    assert ratio_of_speeds(ours, peer) == Spread(2.0, 1.0, 3.0)
    assert speeds(ours, 8) == Spread(4.0, 2.0, 8.0)
    assert str(Spread(2.0, 1.0, 3.0)) == "2.00 (1.00 to 3.00)"


def test_another_model_is_noticed():
    from contests import Measured
    from inference import check

    near, far = Measured("ours pt", values=[[[1.0, 2.0001]]]), Measured("OpenVINO", values=[[[1.0, 2.1]]])
    rounded = Measured("OpenVINO bfloat16", values=[[[1.0, 2.1]]])
    errors = check([near, rounded], [[1.0, 2.0]])
    assert errors == {"ours pt": pytest.approx(1e-4), "OpenVINO bfloat16": pytest.approx(0.1)}
    with pytest.raises(SystemExit, match=r"not the same model: .*: OpenVINO by 1\.0e-01$"):
        check([near, far], [[1.0, 2.0]])


def test_batches_by_length_have_little_padding_and_the_order_of_the_texts():
    from inference import BATCH_SIZES, fastest_by_length, in_batches

    mask = (np.arange(5) < np.array([[2], [5], [1], [4], [3]])).astype(np.int64)
    arrays = {"input_ids": mask * [[2], [3], [5], [7], [11]], "attention_mask": mask}
    shapes = []

    def prepare(arrays):
        shapes.append(arrays["input_ids"].shape)
        return lambda: arrays["input_ids"].sum(axis=1, keepdims=True)

    expected = [[4], [15], [5], [28], [33]]
    assert in_batches(prepare, arrays, 2)().tolist() == expected
    assert shapes == [(2, 5), (2, 3), (1, 1)]
    run = fastest_by_length(prepare, arrays)
    assert run().tolist() == expected
    assert run.note in {f"batches of {size}" for size in BATCH_SIZES}


def test_another_training_is_noticed():
    from contests import Measured
    from training import check

    losses = [Measured("ours", values=[[0.5]]), Measured("peer", values=[[0.5005]])]
    check(losses)
    with pytest.raises(SystemExit, match="not the same training: losses after a step differ"):
        check([*losses, Measured("other", values=[[0.502]])])


def test_packed_and_padded_loops_take_the_same_steps(tmp_path):
    import training
    from contests import write_model

    still = dict.fromkeys(("dropout", "attention_dropout", "seq_classif_dropout"), 0.0)
    write_model(tmp_path / "model", "tiny", **still)
    np.savez(tmp_path / "rows.npz", **training.make_rows(8, None))
    job = {"folder": str(tmp_path / "model"), "data": str(tmp_path / "rows.npz"), "batch": 4}
    losses = [training.loop_torch(job, batches)() for batches in (training.PACKED, training.FULL, training.LONGEST)]
    assert np.shape(losses) == (3, 2)
    assert np.ptp(losses, axis=0).max() < 1e-5  # measured: 6e-8
    assert np.ptp(losses, axis=1).min() > 1e-3  # of different batches


def test_targets_are_printed_beside_the_ratios_of_the_packed_loop(capsys):
    from contests import Measured
    from training import FULL, LONGEST, PACKED, print_targets

    seconds = {f"ours in loop, {PACKED}": 1.0, "ours pt": 0.95, f"loop, {FULL}": 3.0, f"loop, {LONGEST}": 2.0}
    measured = [Measured(name, seconds=[value]) for name, value in seconds.items()]
    print_targets([*measured, Measured(f"broken, {FULL}", problem="failed")])
    lines = [line.split(" / ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "ours pt: 0.95 (0.95 to 0.95); target: 0.9",
        "loop, padded to 128: 3.00 (3.00 to 3.00); target: 2.5",
        "loop, padded to the longest: 2.00 (2.00 to 2.00); target: 1.5",
    ]


def test_inference_writes_its_measurements(tmp_path):
    from inference import main

    file = tmp_path / "results.json"
    words = ["--size", "tiny", "--rows", "c", "--groups", "float32", "--rounds", "2", "--seconds", "0"]
    main([*words, "--only", "ours pt", "--json", str(file)])
    content = json.loads(file.read_text())
    (result,) = content["results"]
    assert (result["name"], result["row"], result["group"]) == ("ours pt", "c", "float32")
    assert result["logits_off_by"] < 1e-5  # measured: 4e-8
    assert result["per_second"]["largest"] == pytest.approx(1 / min(result["seconds"]))
    with pytest.raises(SystemExit, match=r"--python must be NAME=PYTHON, NAME one of ours, peers"):
        main([*words, "--python", "elsewhere=/no/python"])


def test_one_process_of_distillation(tmp_path, capsys):
    from throughput import main

    file = tmp_path / "results.json"
    main(["--size", "tiny", "--backends", "pt", "--tokens", "8", "--batch", "16", "--rounds", "1", "--seconds", "0",
          "--threads", "1", "--json", str(file)])  # fmt: skip
    peak, memory, *rows, host = json.loads(file.read_text())["results"]
    assert [row["name"] for row in (peak, memory, *rows)] == [
        f"{part} pt" for part in ("product", "memory", "teacher", "student", "together")
    ]
    assert peak["of_the_peak"]["median"] == pytest.approx(1)
    assert memory["gigabytes_per_second"]["median"] == pytest.approx(2 * 4 * 16 * 30522 / memory["seconds"][0] / 1e9)
    assert all(row["of_the_peak"]["median"] > 0 for row in rows)
    assert all(row["tokens_per_second"]["median"] == pytest.approx(16 / row["seconds"][0]) for row in rows)
    assert host["ns_per_token"]["median"] > 0
    assert "| together pt | 8 |" in capsys.readouterr().out


def test_how_often_the_losses_read_and_write_the_logits(tmp_path):
    """The assumption `logit_passes` of scaling.py, in all operations of a step on tensors [K, V]."""
    from scaling import HEAD, Work
    from throughput import write_batch, write_models
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    from distilbert_core.training.distillation import DistillationRecipe, load_distiller

    passes = {}
    size = write_models(tmp_path, "tiny")["student"].vocab_size
    write_batch(tmp_path / "batch.npz", size, rows=2, width=4)
    batch, logits = dict(np.load(tmp_path / "batch.npz")), 2 * 4 * size

    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if not function.is_view and function.overloadpacket.__name__ not in ("_unsafe_view", "detach"):
                tensors = [x for x in tree_leaves((args, kwargs, result)) if hasattr(x, "element_size")]
                large = [x for x in tensors if x.ndim and x.shape[-1] == size and x.numel() == logits]
                passes[dtype] += sum(x.numel() * x.element_size() for x in large) / (4 * logits)
            return result

    for dtype in ("float32", "bfloat16"):
        passes[dtype] = 0.0
        recipe = DistillationRecipe(dtype=dtype)
        folders = tmp_path / "student", tmp_path / "teacher"
        trainer = load_distiller("pt", HEAD, *folders, recipe, recipe.learning_rates(1), teacher_dtype=dtype)
        with Counting():
            trainer.step(batch, 0)
    assert passes == pytest.approx(dict.fromkeys(passes, Work().logit_passes), abs=4)  # measured: 53.75 and 57.75
