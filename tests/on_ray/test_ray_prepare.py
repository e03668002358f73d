"""`examples/ray_prepare.py` on a local Ray of 2 CPUs writes what `prepare` writes without Ray."""

from __future__ import annotations

import sys

import pytest
import ray.data
import ray_prepare

from distilbert_core import DistilBertConfig, DistilBertTokenizerFast
from distilbert_core.training import Recipe, prepare
from distilbert_core.training.data import Data
from distilbert_core.training.sources import open_source
from distilbert_core.training.tasks import TASKS

ray.cloudpickle.register_pickle_by_value(ray_prepare)  # as the script that runs is: workers cannot import it
OPTIONS = {"model": "sst2-tiny", "purpose": "distill", "max_length": 16}


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, logging_level="warning")
    yield
    ray.shutdown()


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{part}.txt" for part in "abc"]
    for number, path in enumerate(paths):
        path.write_text("".join(f"film {number} of line {line}\n" for line in range(50)))
    return paths


def test_three_files_on_two_cores(files, tmp_path, monkeypatch, capsys):
    words = f"masked-lm {tmp_path}/out {tmp_path}/*.txt --model sst2-tiny --for distill --max-length 16"
    monkeypatch.setattr(sys, "argv", ["ray_prepare.py", *words.split()])
    ray_prepare.main()
    *parts, total = capsys.readouterr().out.splitlines()
    assert [line.split(" of ")[1] for line in parts] == list(map(str, files))
    alone = [prepare("masked-lm", path, output=tmp_path / path.stem, **OPTIONS) for path in files]
    for number, shards in enumerate(alone):
        for file in shards.folder.iterdir():
            assert file.read_bytes() == (tmp_path / f"out/part-{number:05d}" / file.name).read_bytes()
    data = Data.read(TASKS["masked-lm"], open_source("train", str(tmp_path / "out/part-*")), None)
    model = DistilBertTokenizerFast.from_pretrained("sst2-tiny"), DistilBertConfig.from_pretrained("sst2-tiny")
    task = TASKS["masked-lm"](*model, Recipe())
    features = data.features(task, stacklevel=2)
    assert [feature.ids for feature in features] == [f.ids for shards in alone for f in shards.features()]
    assert total.endswith(f"out: {features.tokens:,} tokens")


def test_a_bad_file_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": 3}\n')
    with pytest.raises(Exception, match=r"a.jsonl: record 1: text must be a text"):
        ray_prepare.prepare_files("masked-lm", [tmp_path / "a.jsonl"], tmp_path / "out", **OPTIONS)
