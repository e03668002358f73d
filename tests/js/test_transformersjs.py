"""Folders for Transformers.js, run by it in Node and in headless Chromium: its answers equal those of our pipelines.

Run `npm ci --ignore-scripts` in this folder first; Debian has Chromium as the package chromium.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert_core.pipelines import pipeline
from support.pipelines import write_checkpoint
from weight_conversion import convert

HERE = Path(__file__).parent
MODELS = {  # name of a checkpoint of the oracle, or of an embedded model -> its task
    "sst2-tiny": "text-classification",
    "entities": "token-classification",
    "answers": "question-answering",
    "masked_lm": "fill-mask",
    "vectors": "feature-extraction",
}
TEXTS = ["A lovely film.", "Dull, and far too long: über zwei Stunden.", "東京は日本の首都です。"]
QUESTION, CONTEXT = "Who wrote it?", "Ada wrote the first program."
MASKED = "The film was [MASK]."
# Largest differences of scores and vectors that pass. Measured: 5e-7 in all tasks; 1.1e-6 and 5e-7 for the first text.
TOLERANCES = {"fp32": 5e-6, "fp16": 1e-3, "q8": 5e-2}
RUNNERS = {"node": ["node.mjs"], "browser": ["browser.mjs", shutil.which("chromium") or "chromium"]}


def job(model: str, dtype: str, calls: list[list[Any]]) -> dict[str, Any]:
    return {"task": MODELS[model], "model": model, "dtype": dtype, "calls": calls}


JOBS = [
    *(job("sst2-tiny", dtype, [[text, {"top_k": None}] for text in TEXTS]) for dtype in TOLERANCES),
    job("entities", "fp32", [[text, {"ignore_labels": []}] for text in TEXTS]),
    job("answers", "fp32", [[QUESTION, CONTEXT]]),
    job("masked_lm", "fp32", [[MASKED, {"top_k": 3}]]),
    job("vectors", "fp32", [[TEXTS, {"pooling": "mean", "normalize": True}]]),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The folders of the checkpoints, and the folder with all exported ones."""
    root = tmp_path_factory.mktemp("js")
    sources = {}
    for name in MODELS:
        sources[name] = name if name == "sst2-tiny" else write_checkpoint(name, root / "sources")
        convert(sources[name], root / "models" / name, "transformersjs")
    return sources, root / "models"


@pytest.fixture(scope="module", params=RUNNERS)
def found(request, folders):
    """The answers of all jobs, by model and dtype."""
    script, *further = RUNNERS[request.param]
    command = ["node", HERE / script, folders[1], *further]
    run = subprocess.run(command, input=json.dumps(JOBS), capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr
    answers = json.loads(run.stdout.splitlines()[-1])
    return {(one["model"], one["dtype"]): answer for one, answer in zip(JOBS, answers, strict=True)}


def ours(folders, model):
    return pipeline(MODELS[model], folders[0][model], framework="pt")


@pytest.mark.parametrize("dtype", TOLERANCES)
def test_classification(found, folders, dtype):
    expected = ours(folders, "sst2-tiny")(TEXTS, top_k=None)
    for theirs, scores in zip(found["sst2-tiny", dtype], expected, strict=True):
        assert [one["label"] for one in theirs] == [one["label"] for one in scores]
        wanted = pytest.approx([one["score"] for one in scores], abs=TOLERANCES[dtype])
        assert [one["score"] for one in theirs] == wanted


def test_token_classification(found, folders):
    expected = ours(folders, "entities")(TEXTS, ignore_labels=[])
    for theirs, tokens in zip(found["entities", "fp32"], expected, strict=True):
        tokens = [token for token in tokens if token["word"] != "首"]  # unknown: Transformers.js leaves it out
        for name in ("entity", "index", "word"):
            assert [token[name] for token in theirs] == [token[name] for token in tokens]
        assert [token["score"] for token in theirs] == pytest.approx([token["score"] for token in tokens], abs=5e-6)


def test_question_answering(found, folders):
    expected = ours(folders, "answers")(question=QUESTION, context=CONTEXT)
    (theirs,) = found["answers", "fp32"]
    assert theirs["answer"] == expected["answer"].lower()  # it joins tokens; ours is a part of the context
    assert theirs["score"] == pytest.approx(expected["score"], abs=5e-6)


def test_fill_mask(found, folders):
    expected = ours(folders, "masked_lm")(MASKED, top_k=3)
    (theirs,) = found["masked_lm", "fp32"]
    assert [one["token_str"] for one in theirs] == [one["token_str"] for one in expected]
    assert [one["score"] for one in theirs] == pytest.approx([one["score"] for one in expected], abs=5e-6)


def test_features(found, folders):
    expected = np.array(ours(folders, "vectors")(TEXTS, pooling="mean"))
    (theirs,) = found["vectors", "fp32"]
    assert theirs["dims"] == list(expected.shape)
    np.testing.assert_allclose(np.reshape(theirs["data"], expected.shape), expected, atol=5e-6)
