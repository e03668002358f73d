"""The pipelines on the three backends against one another, and side by side with those of Transformers 5."""

from __future__ import annotations

from itertools import combinations

import pytest
import transformers
from oracle.pipeline_cases import CASES, CHECKPOINTS, NAMES, STORY, TEXTS, answers, largest_difference
from pipelines import VOCAB, load, write_checkpoint

from distilbert_core import BACKENDS, DEFAULT_MODEL
from distilbert_core.hub import EMBEDDED_MODELS
from distilbert_core.pipelines import pipeline

pytestmark = pytest.mark.filterwarnings("ignore")  # of Transformers' own

# All sides are float32. Measured: two backends 4.3e-6; a backend and Transformers 3.5e-6.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("pipelines")


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
def test_same_answers(root, checkpoint):
    cases = [case for case in CASES if case.checkpoint == checkpoint]
    folder = write_checkpoint(checkpoint, root)
    sides = {
        name: {case.name: load(case.task, folder, name)(case.inputs, **case.options) for case in cases}
        for name in BACKENDS
    }
    if "question-answering" not in {case.task for case in cases}:  # gone from Transformers 5
        sides["transformers"] = answers(transformers, checkpoint, VOCAB, cases)
    for first, second in combinations(sides.values(), 2):
        assert largest_difference(first, second) <= TOLERANCE


def test_embedded_model(framework):
    theirs = transformers.pipeline("text-classification", str(EMBEDDED_MODELS / DEFAULT_MODEL), device="cpu")
    ours = pipeline("text-classification", framework=framework.name)
    texts = [*TEXTS, *NAMES, STORY, "Neither good nor bad, merely long.", "I love it!"]
    for options in ({}, {"top_k": None}, {"top_k": 1}):
        assert largest_difference(ours(texts, **options), theirs(texts, truncation=True, **options)) <= TOLERANCE
        # One bare text: Transformers puts its answer into a list.
        assert largest_difference(ours(texts[0], **options), theirs(texts[0], **options)) <= TOLERANCE
