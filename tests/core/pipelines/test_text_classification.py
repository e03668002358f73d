"""Names of classes in the answers."""

from __future__ import annotations

import numpy as np
import pytest

from distilbert_core import ConfigWarning, DistilBertConfig
from distilbert_core.pipelines.scores import softmax
from support.fake_inference import SENTENCES, TOKENIZER, make

# Names of classes, and what the answers call them.
ODD_NAMES = {
    "several classes of one name": ({0: "bad", 1: "bad", 2: "good"}, ["bad", "bad", "good"]),
    "a gap": ({0: "bad", 2: "good", 3: "none"}, ["bad", "LABEL_1", "good"]),
}


def with_names(task, names):
    with pytest.warns(ConfigWarning):
        config = DistilBertConfig.from_dict({"id2label": names})
    answer = make(task)
    answer.inference.fake_config = config
    return answer


@pytest.mark.parametrize(("names", "expected"), ODD_NAMES.values(), ids=ODD_NAMES)
def test_odd_names_of_classes(names, expected):
    """Each class has an answer, in the order of the scores, under its own name."""
    classify, text = with_names("text-classification", names), "naïve 東京"
    logits = np.sin(np.array(TOKENIZER(text)["input_ids"])[:, None] * [1, 2, 3]).sum(axis=0)
    order = np.argsort(-logits)
    answers = classify([text], top_k=None)[0]
    assert [answer["label"] for answer in answers] == [expected[i] for i in order]
    np.testing.assert_allclose([answer["score"] for answer in answers], softmax(logits)[order], rtol=1e-12)

    tag = with_names("token-classification", names)
    logits = np.sin(np.array(TOKENIZER(text)["input_ids"])[1:-1, None] * [1, 2, 3])
    for strategy, label in (("none", "entity"), ("first", "entity_group")):
        entities = tag(text, aggregation_strategy=strategy, ignore_labels=[])
        best_names = [expected[i] for i in logits.argmax(axis=1)]
        assert [entity[label] for entity in entities] == [
            name for i, name in enumerate(best_names) if strategy == "none" or i == 0 or name != best_names[i - 1]
        ]


def test_scores_of_all_labels_by_index():
    classify = make("text-classification", num_labels=5)
    texts = SENTENCES[:7]
    for text, scores in zip(texts, classify.stream_scores(texts, function_to_apply="sigmoid"), strict=True):
        by_label = {
            answer["label"]: answer["score"] for answer in classify([text], top_k=None, function_to_apply="sigmoid")[0]
        }
        assert scores.tolist() == [by_label[f"LABEL_{i}"] for i in range(5)]
    with pytest.raises(TypeError, match=r"top_k. stream_scores gives the scores of all labels"):
        classify.stream_scores(texts, top_k=2)
