"""`pipeline` chooses the task, the model, the tokenizer and the backend."""

from __future__ import annotations

import json

import pytest

from distilbert_core import (
    DEFAULT_MODEL,
    BackendNotInstalledError,
    CheckpointError,
    ConfigWarning,
    DistilBertTokenizerFast,
    InputError,
)
from distilbert_core.pipelines import ALIASES, pipeline
from support.fake_inference import TOKENIZER, FakeInference


def test_unknown_task():
    with pytest.raises(InputError, match=f"task must be one of .*{next(iter(ALIASES))}.*, got 'translation'"):
        pipeline("translation")


@pytest.fixture
def loads(monkeypatch):
    """What `pipeline` loads: (framework, head, source, keywords) of each inference object, and tokenizers' keywords."""
    seen = {"models": [], "tokenizers": []}

    def load_inference(framework, head, source, **kwargs):
        seen["models"].append((framework, head, source, kwargs))
        return FakeInference(head)

    def from_pretrained(source, **kwargs):
        seen["tokenizers"].append((source, kwargs))
        return TOKENIZER

    monkeypatch.setattr("distilbert_core.pipelines.load_inference", load_inference)
    monkeypatch.setattr(DistilBertTokenizerFast, "from_pretrained", from_pretrained)
    return seen


def test_the_configuration_is_read_once(loads, tmp_path):
    """So that there is one warning of it."""
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "a", "1": "a"}}))
    with pytest.warns(ConfigWarning) as warned:
        pipeline("text-classification", tmp_path, framework="pt")
    assert len(warned) == 1
    ((*_, kwargs),) = loads["models"]
    assert kwargs["config"].id2label == {0: "a", 1: "a"}


def test_where_to_look_for_a_tokenizer(loads):
    where = {"token": "secret", "local_files_only": True}
    of_the_model = {"revision": "main", "subfolder": ""}
    pipeline("text-classification", DEFAULT_MODEL, framework="pt", **where, **of_the_model)
    pipeline("text-classification", DEFAULT_MODEL, tokenizer="another", framework="pt", **where, **of_the_model)
    assert loads["tokenizers"] == [(DEFAULT_MODEL, where | of_the_model), ("another", where)]


def test_unknown_framework():
    with pytest.raises(InputError, match="framework must be one of pt, tf, flax, onnx, openvino, litert, got 'mxnet'"):
        pipeline("ner", framework="mxnet")


def test_no_framework(monkeypatch):
    monkeypatch.setattr("distilbert_core.model.backends.available_backends", list)
    with pytest.raises(BackendNotInstalledError, match=r'No backend is installed.*pip install "distilbert\[pt\]"'):
        pipeline("text-classification")


def test_unknown_keyword():
    with pytest.raises(TypeError, match=r"Unknown keyword argument.*: num_labels, pooling"):
        pipeline("text-classification", pooling="mean", num_labels=3, framework="pt")


@pytest.mark.parametrize("task", ["fill-mask", "token-classification", "question-answering", "multiple-choice"])
def test_checkpoint_of_another_task(task):
    usable = "for text-classification, feature-extraction, zero-shot-classification"
    with pytest.raises(
        CheckpointError, match=f"sst2-tiny is a .*SequenceClassification, which {task} cannot.*{usable}"
    ):
        pipeline(task, DEFAULT_MODEL, framework="pt")


def test_a_missing_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="nowhere does not exist"):
        pipeline("feature-extraction", tmp_path / "nowhere", framework="pt")
