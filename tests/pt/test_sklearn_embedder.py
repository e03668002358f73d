"""`examples/sklearn_embedder.py`: the vectors of the pipeline, in the ways in which scikit-learn uses estimators."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import sklearn_embedder
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn_embedder import TextEmbedder

from distilbert_core.errors import InputError
from distilbert_core.pipelines import pipeline

GOOD = ["A lovely film.", "I love it!", "Great fun for everyone", "What a wonderful story", "superb acting", "so good"]
BAD = ["A dull film.", "I hate it!", "No fun for anyone", "What a stupid story", "dreadful acting", "so bad"]
TEXTS, LABELS = GOOD + BAD, ["good"] * 6 + ["bad"] * 6


@pytest.fixture(scope="module")
def vectors():
    embed = pipeline("feature-extraction", "sst2-tiny", framework="pt")
    return {pooling: np.stack(embed(TEXTS, pooling=pooling)) for pooling in ("mean", "cls")}


def test_it_gives_the_vectors_of_the_pipeline_and_survives_copies(vectors):
    embedder = TextEmbedder(framework="pt")
    copy = clone(embedder).set_params(pooling="cls")
    assert copy.get_params() == {**embedder.get_params(), "pooling": "cls"}
    stored = pickle.dumps(copy)
    assert len(stored) < 1000  # without the model
    np.testing.assert_array_equal(embedder.fit_transform(np.array(TEXTS)), vectors["mean"])
    np.testing.assert_array_equal(pickle.loads(stored).transform(iter(TEXTS)), vectors["cls"])
    longer = TextEmbedder(framework="pt", normalize=False).transform(TEXTS)
    lengths = np.linalg.norm(longer, axis=-1, keepdims=True)
    assert lengths.min() > 2  # measured: 9.7
    np.testing.assert_allclose(longer / lengths, vectors["mean"], rtol=0, atol=1e-6)  # measured: 1.2e-7


def test_a_grid_search_over_it_classifies_and_loads_the_model_once(vectors):
    classifier = make_pipeline(TextEmbedder(framework="pt"), LogisticRegression())
    sklearn_embedder.load.cache_clear()
    search = GridSearchCV(classifier, {"textembedder__pooling": ["cls", "mean"]}, cv=2).fit(TEXTS, LABELS)
    assert sklearn_embedder.load.cache_info().misses == 1
    assert search.predict(["A wonderful film.", "a stupid, dreadful film"]).tolist() == ["good", "bad"]
    alone = LogisticRegression().fit(vectors["mean"], LABELS)
    best = classifier.fit(TEXTS, LABELS)
    np.testing.assert_array_equal(best.predict_proba(TEXTS), alone.predict_proba(vectors["mean"]))


def test_the_script_prints_the_accuracy(tmp_path, capsys):
    rows = [f"{text}\t{label}\n" for text, label in zip(TEXTS, LABELS, strict=True)]
    (tmp_path / "train.tsv").write_text("text\tlabel\n" + "".join(rows))
    (tmp_path / "dev.tsv").write_text('text\tlabel\na "lovely" story\tgood\nwonderful\tgood\nstupid\tbad\ngreat\tbad\n')
    arguments = [str(tmp_path / "train.tsv"), str(tmp_path / "dev.tsv"), "--framework", "pt"]
    sklearn_embedder.main(arguments)
    assert capsys.readouterr().out == "accuracy: 0.7500\n"


def test_a_bad_pooling_is_an_error_of_the_pipeline():
    with pytest.raises(InputError, match="pooling must be one of None, mean, cls, got 'max'"):
        TextEmbedder(framework="pt", pooling="max").transform(TEXTS)
