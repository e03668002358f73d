"""The check of exported graphs, with a runtime of the test's own: only outputs within the bound let a folder appear."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distilbert_core import CheckpointError, Head
from distilbert_core.model.runtimes import Program, Runtime
from support.checkpoints import save_random, small_config
from weight_conversion import convert
from weight_conversion.exports import BOUNDS
from weight_conversion.formats import FORMATS
from weight_conversion.formats.base import Graph

HEAD = Head.QUESTION_ANSWERING


def logits(ids: np.ndarray) -> dict[str, np.ndarray]:
    return {"start_logits": ids / 7.0, "end_logits": -ids / 7.0}


@pytest.fixture
def run(monkeypatch, tmp_path):
    """A function that converts a checkpoint, with a graph whose outputs have errors, and returns its notes."""
    save_random(tmp_path / "source", small_config(), HEAD)

    def compute(backend, head, folder, dtype, inputs):
        assert dtype == "float64"
        assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}
        return {"hidden_states.0": None, **logits(inputs["input_ids"][inputs["attention_mask"] != 0])}

    def load(library, path: Path, device, dtype):
        error = json.loads(path.read_text())
        if error is None:
            raise ValueError("an unknown operation")
        return Program(("input_ids", "attention_mask"), lambda arrays: wrong(arrays, error))

    def wrong(arrays, error):
        found = logits(arrays["input_ids"])
        found["end_logits"] = found["end_logits"] + error
        return found

    runtime = Runtime("toy", "Toy", "json", "toy", (("a/graph.json",),), ("float32",), load)
    monkeypatch.setattr("weight_conversion.exports.compute", compute)
    monkeypatch.setattr("weight_conversion.exports.default_backend", lambda: "pt")

    def converted(error, precision):
        def layout_files(files, weights, tensors):
            return {**files, "a/graph.json": json.dumps(error).encode()}

        row = replace(FORMATS["onnx"], layout_files=layout_files, graphs=(Graph("a/graph.json", runtime, precision),))
        monkeypatch.setitem(FORMATS, "onnx", row)
        return convert(tmp_path / "source", tmp_path / "new", "onnx", dtype="float32").notes

    return converted


def test_a_graph_within_the_bound_is_reported(run, tmp_path):
    expected = 0.01 / (46 / 7)  # the largest of 47 ids is drawn
    (note,) = run(0.01, "float16")
    assert note.startswith("Checked a/graph.json in Toy on 12 rows of random ids (no tokenizer) of 1 to 23 tokens: ")
    assert f"largest difference {expected:.1e} of the largest value of end_logits, at most 2e-02 is allowed." in note
    assert (tmp_path / "new" / "a" / "graph.json").is_file()


@pytest.mark.parametrize(
    ("error", "precision", "message"),
    [
        (
            0.01,
            None,
            "in Toy: largest difference 1.5e-03 of the largest value of end_logits, at most 1e-04",
        ),
        (4.0, "int8", "at most 5e-01 is allowed, compared with PyTorch in float64 on 12 rows.*Nothing was written"),
        (float("nan"), "int8", "largest difference nan"),
        (None, "int8", r"a/graph.json cannot be read as an exported model.*an unknown operation"),
    ],
)
def test_a_graph_that_differs_is_not_written(run, tmp_path, error, precision, message):
    with pytest.raises(CheckpointError, match=message):
        run(error, precision)
    assert {path.name for path in tmp_path.iterdir()} == {"source"}


def test_every_precision_of_a_format_has_a_bound():
    assert {graph.precision for row in FORMATS.values() for graph in row.graphs} - {None} <= BOUNDS.keys()
