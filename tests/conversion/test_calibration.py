"""Texts for calibration become packed rows."""

from __future__ import annotations

import numpy as np
import pytest

from distilbert_core import Head, InputError
from weight_conversion import convert
from weight_conversion.calibration import calibration_rows


def test_rows_hold_each_text_once():
    (row,), note = calibration_rows([[5, 6, 7], [8, 9]], Head.SEQUENCE_CLASSIFICATION)
    assert note == "Calibrated on 2 of 2 texts."
    real = row["segment_ids"][0] > 0
    texts = [row["input_ids"][0, row["segment_ids"][0] == segment].tolist() for segment in (1, 2)]
    assert sorted(texts) == [[5, 6, 7], [8, 9]]
    assert row["position_ids"][0, real].tolist() == [0, 1, 2, 0, 1]
    assert row["input_ids"][0, row["output_tokens"][0]].tolist() == [5, 8]  # the first tokens
    assert {array.dtype for array in row.values()} == {np.dtype(np.int64)}
    (row,), _ = calibration_rows([[5, 6, 7], [8, 9]], Head.TOKEN_CLASSIFICATION)
    assert row["output_tokens"].shape == row["input_ids"].shape  # the head reads all tokens


def test_at_most_300_texts_are_used():
    rows, note = calibration_rows([[number, 1] for number in range(1000)], Head.BASE)
    assert note == "Calibrated on 300 of 1000 texts."
    assert sum((row["segment_ids"] > 0).sum() for row in rows) == 600
    assert len(rows) == 3


@pytest.mark.parametrize("texts", [[], [[1], []]])
def test_no_texts(texts):
    with pytest.raises(InputError, match="at least one text, each with a token"):
        calibration_rows(texts, Head.BASE)


@pytest.mark.parametrize(
    ("to", "texts", "message"),
    [
        ("onnx-int8-static", None, r"onnx-int8-static needs texts .*--calibrate FILE"),
        ("openvino-int8", None, "openvino-int8 needs texts"),
        ("pt", [[1]], "is for the formats onnx-int8-static, openvino-int8, not for pt"),
    ],
)
def test_texts_that_are_missing_or_not_used(tmp_path, to, texts, message):
    with pytest.raises(InputError, match=message):
        convert("sst2-tiny", tmp_path / "new", to, calibrate=texts)
    assert not (tmp_path / "new").exists()


def test_nothing_is_written_if_the_check_fails(tmp_path):
    def check(folder):
        assert {path.name for path in folder.iterdir()} >= {"model.safetensors", "config.json", "vocab.txt"}
        raise InputError("Too bad.")

    with pytest.raises(InputError, match="Too bad"):
        convert("sst2-tiny", tmp_path / "new", "pt", check=check)
    assert not (tmp_path / "new").exists()
    assert "Good." in convert("sst2-tiny", tmp_path / "new", "pt", check=lambda folder: "Good.").notes
