"""`examples/ray_inference.py` on a local Ray of 2 CPUs gives what the pipeline gives without Ray, in order."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import ray.data
import ray_inference

from distilbert_core.pipelines import pipeline

for module in (ray_inference, sys.modules[__name__]):
    ray.cloudpickle.register_pickle_by_value(module)  # as the script that runs is: workers cannot import it

WORDS = ("good", "bad", "a", "film", "very", "boring", "lovely", "the", "plot", "not")
NUMBERS = np.random.default_rng(0)
TEXTS = [" ".join(NUMBERS.choice(WORDS, NUMBERS.integers(1, 20))) + f" {number}" for number in range(120)]


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, logging_level="warning")
    yield
    ray.shutdown()


class LateStart(ray_inference.Predictor):
    """The first batch is the last to be done."""

    def __call__(self, batch):
        time.sleep(3 if batch["text"][0] == TEXTS[0] else 0)
        return super().__call__(batch)


def read_parquet(folder):
    return pyarrow.concat_tables(pyarrow.parquet.read_table(path) for path in sorted(folder.glob("*.parquet")))


def test_two_workers_label_lines_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_inference, "Predictor", LateStart)
    paths = [tmp_path / f"{part}.txt" for part in "abc"]
    for start, path in zip(range(0, 120, 40), paths, strict=True):
        path.write_text("".join(f"{text}\n\n" for text in TEXTS[start : start + 40]))
    lines = ray_inference.read(list(map(str, paths))).repartition(6)  # else so few rows are one block
    ray_inference.predict(lines, "text-classification", workers=2, cpus=0.5, rows=8).write_parquet(tmp_path / "out")
    found = read_parquet(tmp_path / "out").to_pydict()
    assert found["text"] == TEXTS
    assert [Path(path) for path in found["path"]] == [paths[number // 40] for number in range(120)]
    expected = pipeline("text-classification")(TEXTS)
    assert found["label"] == [answer["label"] for answer in expected]
    assert set(found["label"]) == {"POSITIVE", "NEGATIVE"}
    # Other batches round otherwise; measured: 6e-7.
    np.testing.assert_allclose(found["score"], [answer["score"] for answer in expected], rtol=0, atol=2e-6)


def test_the_script_writes_vectors_of_a_column(tmp_path):
    path, out = tmp_path / "in.jsonl", tmp_path / "out"
    path.write_text("".join(json.dumps({"id": i, "review": text}) + "\n" for i, text in enumerate(TEXTS)))
    arguments = ["feature-extraction", str(out), str(path), "--column", "review", "--model", "sst2-tiny"]
    ray_inference.main(arguments)
    table = read_parquet(out)
    assert table["id"].to_pylist() == list(range(120))
    assert table["review"].to_pylist() == TEXTS
    expected = np.stack(pipeline("feature-extraction", "sst2-tiny")(TEXTS, pooling="mean"))
    vectors = table["embedding"].combine_chunks().to_numpy_ndarray()
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=2e-6)  # measured: 6e-7
    with pytest.raises(ValueError, match="already exists"):
        ray_inference.main(arguments)
