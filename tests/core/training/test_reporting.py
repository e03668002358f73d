"""The report of a run: its metrics file, its picture, its progress bar."""

from __future__ import annotations

import json
import struct

import pytest

from distilbert_core.training.reporting import Log, draw_curve, training_bar


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_for_ten_steps_and_before_each_evaluation(tmp_path):
    with Log(tmp_path / "run/metrics.jsonl", 0) as log:
        for step in range(1, 13):
            log.step(step, {"loss": float(step)}, learning_rate=0.5, tokens=10, flush=step == 12)
        log.evaluation(12, {"accuracy": 0.75})
    first, second, third = records(tmp_path / "run/metrics.jsonl")
    assert first.pop("tokens_per_second") > 0
    assert second.pop("tokens_per_second") > 0
    assert first == {"step": 10, "loss": 5.5, "learning_rate": 0.5}  # the mean of 1 to 10
    assert second == {"step": 12, "loss": 11.5, "learning_rate": 0.5}
    assert third == {"step": 12, "eval_accuracy": 0.75}


def test_lines_of_later_steps_and_half_a_line_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 10}\n{"step": 12}\n{"step": 20}\n{"step": 3')
    with Log(path, 12) as log:
        log.evaluation(14, {})
    assert [record["step"] for record in records(path)] == [10, 12, 14]


@pytest.mark.parametrize("evaluated", [True, False])
def test_the_picture_shows_the_log(evaluated, tmp_path):
    """It is a PNG of the size asked for, and another log gives another picture."""
    pictures = []
    for loss in (1.0, 2.0):
        lines = [{"step": 10, "loss": loss}, {"step": 20, "loss": 0.5}]
        lines += [{"step": 20, "eval_accuracy": 0.9}] if evaluated else []
        (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        draw_curve(tmp_path / "metrics.jsonl", tmp_path / "curve.png", "accuracy")
        pictures.append((tmp_path / "curve.png").read_bytes())
    assert pictures[0][:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", pictures[0][16:24]) == (960, 540)
    assert pictures[0] != pictures[1]


def test_the_bar_shows_steps_loss_and_time_left(capsys):
    with training_bar(40, 10, True) as advance:
        advance(1.0, 100)
        advance(2.0, 100)
    shown = capsys.readouterr().err
    assert "step 12/40" in shown
    assert "loss 1.1000" in shown  # smoothed
    assert "tokens/s" in shown


@pytest.mark.parametrize("wanted", [False, None])
def test_no_bar_if_none_is_requested(wanted, capsys):
    with training_bar(40, 0, wanted) as advance:
        advance(1.0, 100)
    assert capsys.readouterr() == ("", "")
