"""From tags of tokens to groups and entities."""

from __future__ import annotations

import pytest

from distilbert_core import InputError, InputWarning
from distilbert_core.pipelines.token_classification import _groups, _without_overlaps
from support.fake_inference import SENTENCES, make


def test_labels_that_are_ignored():
    tag = make("token-classification", id2label={0: "O", 1: "B-PER", 2: "I-PER", 3: "", 4: "LOC"})
    text, names = SENTENCES[4], ["O", "B-PER", "I-PER", "", "LOC"]
    found = {entity["entity"] for entity in tag(text, ignore_labels=())}
    assert found <= set(names)
    assert {"", "O", "I-PER"} <= found
    assert {entity["entity"] for entity in tag(text, ignore_labels=["O", ""])} == found - {"O", ""}
    with pytest.raises(InputError, match=r"^ignore_labels must be a list of labels, got \[0\]\.$"):
        tag(text, ignore_labels=[0])
    with pytest.raises(InputError, match=r"^ignore_labels must be a list of labels, got <generator"):
        tag(text, ignore_labels=(name for name in names))  # checking it would leave nothing of it
    with pytest.warns(
        InputWarning, match=r"^ignore_labels has 'PER', 'X', which .*='none', labels are O, B-PER, I-PER, "
    ):
        tag(text, ignore_labels=["PER", "X", "LOC"])
    with pytest.warns(
        InputWarning, match=r"^ignore_labels has 'B-PER', which .*='simple', labels are O, PER, , LOC\.$"
    ):
        tag(text, ignore_labels=["B-PER", "O"], aggregation_strategy="simple")
    assert "PER" not in {
        entity["entity_group"] for entity in tag(text, ignore_labels=["PER"], aggregation_strategy="simple")
    }


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([], []),
        (["B-A", "I-A", "I-A"], ["B-A I-A I-A"]),
        (["I-A", "B-A", "B-A"], ["I-A", "B-A", "B-A"]),
        (["I-A", "I-B", "A", "I-A"], ["I-A", "I-B", "A I-A"]),
        (["O", "O", "B-O"], ["O O", "B-O"]),
    ],
)
def test_groups_of_labels(labels, expected):
    groups = _groups({"entity": label} for label in labels)
    assert [" ".join(entity["entity"] for entity in group) for group in groups] == expected


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([], []),
        ([(0, 3, 0.5), (3, 5, 0.5)], [(0, 3), (3, 5)]),
        ([(0, 3, 0.9), (1, 6, 0.1), (5, 7, 0.9)], [(1, 6)]),  # the longer one
        ([(2, 4, 0.1), (1, 3, 0.2)], [(1, 3)]),
        ([(1, 3, 0.2), (2, 4, 0.2)], [(1, 3)]),
        ([(1, 3, 0.1), (2, 4, 0.2)], [(2, 4)]),  # of equally long ones the more certain one
    ],
)
def test_overlapping_entities(spans, expected):
    kept = _without_overlaps({"start": start, "end": end, "score": score} for start, end, score in spans)
    assert [(entity["start"], entity["end"]) for entity in kept] == expected
