"""Pipelines of models in memory: of any head, class and wrapper, moved, copied and saved."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from oracle.pipeline_cases import TEXTS

from distilbert_core import DEFAULT_MODEL, DistilBertTokenizerFast, Head, InputError, InputWarning
from distilbert_core.model.loading import load_inference
from distilbert_core.pipelines import FeatureExtractionPipeline, TextClassificationPipeline, pipeline
from support.checkpoints import save_random, small_config
from support.pipelines import VOCAB, load, write_checkpoint

# Keras writes a .keras file, and NumPy 2 has something to say about what h5py gets.
pickling = pytest.mark.filterwarnings("ignore:__array__ implementation")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def folder(root):
    return write_checkpoint("moods", root)


@pytest.fixture
def model(framework, folder):
    return framework.load(Head.SEQUENCE_CLASSIFICATION, folder)


@pytest.fixture
def expected(framework, folder):
    return load("text-classification", folder, framework.name)(TEXTS, top_k=None)


def test_of_a_model(framework, model, folder, expected):
    """Task, framework and tokenizer follow from it."""
    tokenizer = DistilBertTokenizerFast.from_pretrained(folder)
    for classify in (
        pipeline("sentiment-analysis", model=model, tokenizer=tokenizer, framework=framework.name),
        pipeline(model=model, tokenizer=str(folder), device=-1, torch_dtype="float32"),
        pipeline("text-classification", model, model.config),
        TextClassificationPipeline(model, tokenizer, task="sentiment-analysis", device="cpu"),
        TextClassificationPipeline(load_inference(framework.name, Head.SEQUENCE_CLASSIFICATION, folder), folder),
    ):
        assert type(classify) is TextClassificationPipeline
        assert (classify.framework, classify.task) == (framework.name, "text-classification")
        assert classify(TEXTS, top_k=None) == expected
    assert pipeline(model=model).model is model
    assert "cpu" in str(classify.device).lower()
    assert "float32" in str(classify.torch_dtype)


def test_what_is_done_to_a_model_is_seen(framework, model, expected):
    classify = pipeline(model=model)
    other = framework.new(Head.SEQUENCE_CLASSIFICATION, model.config, seed=3)
    alone = pipeline(model=other, tokenizer=classify.tokenizer)(TEXTS, top_k=None)
    classify.model = other
    assert classify(TEXTS, top_k=None) == alone != expected


def test_vectors_of_a_model_with_a_head(framework, model, folder):
    extract = FeatureExtractionPipeline(model)
    assert extract(TEXTS[0]) == load("feature-extraction", folder, framework.name)(TEXTS[0])
    tensor = extract(TEXTS[0], return_tensors=True)
    assert type(tensor).__module__.split(".")[0] in {"torch", "tensorflow", "jaxlib"}
    np.testing.assert_array_equal(np.asarray(tensor), np.float32(extract(TEXTS[0])))


REFUSED = [
    ({"task": "ner"}, "token-classification needs a .*ForTokenClassification, got a .*ForSequenceClassification"),
    ({"framework": "mxnet"}, "framework must be '.*', the backend of .*ForSequenceClassification, got 'mxnet'"),
    (
        {"pipeline_class": TextClassificationPipeline, "task": None, "model_kwargs": {"num_labels": 2}},
        "Leave out num_lab",
    ),
    ({"config": small_config()}, "Leave out config: the model is loaded already"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSED)
def test_refused(model, arguments, message):
    with pytest.raises(InputError, match=message):
        pipeline(**{"model": model, **arguments})


def test_another_dtype_is_reported(model):
    with pytest.warns(InputWarning, match="torch_dtype='float64' has no effect on a loaded model, which has float32"):
        pipeline(model=model, torch_dtype="float64")


def test_a_model_that_was_not_loaded_needs_a_tokenizer(framework):
    fresh = framework.new(Head.SEQUENCE_CLASSIFICATION, small_config())
    with pytest.raises(
        InputError, match=r"^Give tokenizer: none was found at config\.name_or_path='', where the model was"
    ):
        pipeline(model=fresh)


@pickling
def test_copies_and_folders(framework, model, tmp_path, expected):
    classify = pipeline(model=model, top_k=None)
    assert pickle.loads(pickle.dumps(classify))(TEXTS) == expected
    classify.save_pretrained(tmp_path / "saved")
    assert pipeline(model=tmp_path / "saved", framework=framework.name)(TEXTS, top_k=None) == expected


METHODS = {"pt": "forward", "tf": "call", "flax": "__call__"}


def test_a_class_with_its_own_forward(framework, folder, expected):
    """Its method is called, which packed rows would go around."""
    base, name = framework.cls(Head.SEQUENCE_CLASSIFICATION), METHODS[framework.name]

    def opposite(self, *args, **kwargs):
        output = getattr(base, name)(self, *args, **kwargs)
        output["logits"] = -output["logits"]
        return output

    own = type("Opposite", (base,), {name: opposite}).from_pretrained(folder)
    found = pipeline("text-classification", own, function_to_apply="none", top_k=None)(TEXTS)
    plain = load("text-classification", folder, framework.name)(TEXTS, function_to_apply="none", top_k=None)
    for mine, theirs in zip(found, plain, strict=True):
        assert [row["label"] for row in mine] == [row["label"] for row in theirs][::-1]
        np.testing.assert_allclose([row["score"] for row in mine], [-row["score"] for row in theirs][::-1], atol=1e-5)


def test_zero_shot_without_names_of_labels(framework, tmp_path):
    save_random(tmp_path, small_config(vocab_size=30522, num_labels=3), Head.SEQUENCE_CLASSIFICATION)
    (tmp_path / "vocab.txt").write_bytes(VOCAB.read_bytes())
    with pytest.warns(InputWarning, match="No label of this model begins with 'entail'"):
        choose = pipeline("zero-shot-classification", tmp_path, framework=framework.name)
    found = choose("A text.", ["a", "b"], multi_label=True)
    logits = load_inference(framework.name, Head.SEQUENCE_CLASSIFICATION, tmp_path)
    for label, score in zip(found["labels"], found["scores"], strict=True):
        tokens = choose.tokenizer([("A text.", f"This example is {label}.")], return_tensors="np")
        first, _, last = logits(**tokens)["logits"][0].astype(np.float64)
        assert score == pytest.approx(1 / (1 + np.exp(first - last)), abs=1e-6)


def test_slow_tokenizer(framework):
    tokenizer = (DEFAULT_MODEL, {"use_fast": False})
    classify = pipeline("text-classification", DEFAULT_MODEL, framework=framework.name, tokenizer=tokenizer)
    assert not classify.tokenizer.is_fast
    assert classify("A lovely film.")[0]["label"] == "POSITIVE"
