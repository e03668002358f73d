"""Labels of a configuration: both maps, their number, and maps that contradict each other."""

from __future__ import annotations

import copy
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import pytest

from distilbert_core import ConfigError, ConfigWarning, DistilBertConfig, InputError
from support.configs import HUB_BASE, IDS, NAMES, case_id, write_config, written

FRESH_NAMES = {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"num_labels": 3}, FRESH_NAMES),
        ({"num_labels": 1}, {0: "LABEL_0"}),
        ({"num_labels": None}, {0: "LABEL_0", 1: "LABEL_1"}),
        ({"id2label": NAMES}, NAMES),
        ({"id2label": {"1": "POSITIVE", "0": "NEGATIVE"}}, NAMES),
        ({"label2id": IDS}, NAMES),
        ({"label2id": {"POSITIVE": "1", "NEGATIVE": "0"}}, NAMES),
        ({"num_labels": 2, "id2label": NAMES, "label2id": IDS}, NAMES),
        ({"id2label": {str(i): f"name {i}" for i in range(12)}}, {i: f"name {i}" for i in range(12)}),
        # JSON turns a label that is a number into a text where it is a key.
        ({"id2label": {"0": 5, "1": 3}, "label2id": {"5": 0, "3": 1}}, {0: "5", 1: "3"}),
    ],
    ids=case_id,
)
def test_label_maps(fields: dict[str, Any], names: dict[int, str]) -> None:
    given_fields = copy.deepcopy(fields)
    config = DistilBertConfig(**fields)
    assert config.id2label == names
    assert list(config.id2label) == sorted(names)
    assert config.label2id == {label: index for index, label in names.items()}
    assert config.num_labels == len(names)
    assert DistilBertConfig.from_dict(written(config)) == config
    assert fields == given_fields


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, NAMES),
        ({"num_labels": 2}, NAMES),  # no other number, so the names stay
        ({"num_labels": 3}, FRESH_NAMES),
        ({"id2label": {0: "a", 1: "b", 2: "c"}}, {0: "a", 1: "b", 2: "c"}),
        ({"label2id": {"a": 1, "b": 0}}, {0: "b", 1: "a"}),
    ],
    ids=case_id,
)
def test_changed_labels(fields: dict[str, Any], names: dict[int, str]) -> None:
    """All three say the same after one of them changed, in a copy or in place."""
    original = DistilBertConfig(id2label=NAMES)
    changed = copy.deepcopy(original)
    for name, value in fields.items():
        setattr(changed, name, value)
    for config in (
        changed,
        original.updated(**fields),
        DistilBertConfig.from_dict(written(original), **fields),
    ):
        assert config.id2label == names
        assert config.label2id == {label: index for index, label in names.items()}
        assert config.num_labels == len(names)
        assert DistilBertConfig.from_dict(written(config)) == config
    assert original.id2label == NAMES


def test_labels_set_one_after_the_other() -> None:
    config = DistilBertConfig()
    config.id2label = {"0": "a", "1": "b", "2": "c"}  # type: ignore[dict-item]
    config.label2id = {"a": 0, "b": 1, "c": 2}
    assert config == DistilBertConfig(id2label={0: "a", 1: "b", 2: "c"})
    with pytest.raises(ConfigError, match=r"^id2label must have each index 0, 1, \.\.\. once, got \[1\]\.$"):
        config.id2label = {1: "a"}
    with pytest.raises(ConfigError, match="num_labels must be a positive integer, got 0"):
        config.num_labels = 0  # type: ignore[misc]


STARS = {0: "poor", 1: "poor", 2: "fair", 3: "good", 4: "good"}


@pytest.mark.parametrize("ids", [None, {"poor": 0, "fair": 2, "good": 3}, {"poor": 1, "fair": 2, "good": 4}])
def test_classes_may_have_one_name(ids: dict[str, int] | None) -> None:
    """A repeated name means its class in label2id, or the first class if label2id lacks it."""
    set_later = DistilBertConfig()
    set_later.id2label = STARS
    if ids is not None:
        set_later.label2id = ids
    for config in (DistilBertConfig(id2label=STARS, label2id=ids), set_later):
        assert (config.num_labels, config.id2label) == (5, STARS)
        assert config.label2id == (ids or {"poor": 0, "fair": 2, "good": 3})
        assert [config.label_index(name) for name in ("poor", "fair", "good")] == list(config.label2id.values())
        assert [config.label_name(index) for index in range(5)] == list(STARS.values())
        assert config.updated(n_layers=2).label2id == config.label2id


@pytest.mark.parametrize("index", [-1, 2])
def test_a_name_for_a_missing_class(index: int) -> None:
    with pytest.raises(InputError, match=f"^index must be from 0 to 1, got {index}\\.$"):
        DistilBertConfig(id2label=NAMES).label_name(index)


# Fields of a file, or arguments, that contradict each other; the error about them as arguments; and for a file:
# which of the three is believed, and the names of the classes.
CONTRADICTIONS: list[tuple[dict[str, Any], str, str, list[str]]] = [
    (
        {"id2label": {"0": "bad", "1": "good", "2": "mixed"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}},
        "label2id and id2label disagree: {'LABEL_0': 0, 'LABEL_1': 1, 'LABEL_2': 2} against "
        "{0: 'bad', 1: 'good', 2: 'mixed'}",
        "id2label",
        ["bad", "good", "mixed"],
    ),
    (  # one of the two is what a configuration without names has
        {"id2label": {"0": "bad", "1": "good"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}},
        "label2id and id2label disagree: {'LABEL_0': 0, 'LABEL_1': 1} against {0: 'bad', 1: 'good'}",
        "id2label",
        ["bad", "good"],
    ),
    (
        {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"bad": 0, "good": 1}},
        "label2id and id2label disagree: {'bad': 0, 'good': 1} against {0: 'LABEL_0', 1: 'LABEL_1'}",
        "id2label",
        ["LABEL_0", "LABEL_1"],
    ),
    (
        {"id2label": {"0": "bad", "1": "good"}, "label2id": {"bad": 1, "good": 0}},
        "label2id and id2label disagree: {'bad': 1, 'good': 0} against {0: 'bad', 1: 'good'}",
        "id2label",
        ["bad", "good"],
    ),
    (
        {"id2label": {"0": "bad", "1": "good"}, "label2id": {"bad": 0}},
        "label2id and id2label disagree: {'bad': 0} against {0: 'bad', 1: 'good'}",
        "id2label",
        ["bad", "good"],
    ),
    (
        {"id2label": {"0": "bad", "2": "good"}},
        "id2label must have each index 0, 1, ... once, got [0, 2]",
        "id2label",
        ["bad", "LABEL_1"],
    ),
    (
        {"id2label": {"1": "bad", "2": "good"}, "label2id": {"bad": 1, "good": 2}},
        "id2label must have each index 0, 1, ... once, got [1, 2]",
        "id2label",
        ["LABEL_0", "bad"],
    ),
    (
        {"id2label": {"0": "bad", "00": "worse", "1": "good"}},
        "id2label must have each index 0, 1, ... once, got [0, 0, 1]",
        "id2label",
        ["worse", "good"],
    ),
    (
        {"num_labels": 3, "id2label": {"0": "bad", "1": "good"}},
        "num_labels and id2label disagree: 3 against 2 labels",
        "id2label",
        ["bad", "good"],
    ),
    (
        {"num_labels": 3, "label2id": {"bad": 0, "good": 1}},
        "num_labels and label2id disagree: 3 against 2 labels",
        "num_labels",
        ["LABEL_0", "LABEL_1", "LABEL_2"],
    ),
    (
        {"label2id": {"bad": 0, "awful": 0, "good": 1}},
        "label2id must have each index 0, 1, ... once, got [0, 0, 1]",
        "num_labels",
        ["LABEL_0", "LABEL_1"],
    ),
    (
        {"label2id": {"bad": 1, "good": 2}},
        "label2id must have each index 0, 1, ... once, got [1, 2]",
        "num_labels",
        ["LABEL_0", "LABEL_1"],
    ),
]
REPEATED = "id2label uses a label for several classes: ['poor', 'good']"

# Only a file is warned of.
REPEATS: list[tuple[dict[str, Any], str, str, list[str]]] = [
    ({"id2label": STARS}, REPEATED, "id2label", list(STARS.values())),
    (
        {"id2label": STARS, "label2id": {"poor": 1, "fair": 2, "good": 4}},
        REPEATED,
        "id2label",
        list(STARS.values()),
    ),
    (
        {"id2label": STARS, "label2id": {"fair": 0, "poor": 2, "good": 4}},
        "label2id and id2label disagree: {'fair': 0, 'good': 4, 'poor': 2} against "
        f"{{0: 'poor', 1: 'poor', 2: 'fair', 3: 'good', ...}}; {REPEATED}",
        "id2label",
        list(STARS.values()),
    ),
]
ODD_MAPS = pytest.mark.parametrize(("fields", "problem", "believed", "names"), CONTRADICTIONS + REPEATS)


@pytest.mark.parametrize(("fields", "problem"), [case[:2] for case in CONTRADICTIONS])
def test_arguments_that_contradict_each_other_are_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(problem)}\\.$"):
        DistilBertConfig(**fields)
    with pytest.raises(ConfigError, match=f"^{re.escape(problem)}\\.$"):
        DistilBertConfig().updated(**fields)


def read_odd_maps(folder: Path, fields: dict[str, Any]) -> tuple[DistilBertConfig, str]:
    """The configuration that a file with such fields gives, and the one warning."""
    path = write_config(folder, {**HUB_BASE, **fields})
    with pytest.warns(ConfigWarning) as warned:
        config = DistilBertConfig.from_pretrained(folder)
    (message,) = (str(warning.message) for warning in warned)
    assert message.startswith(f"{path}: ")
    return config, message.removeprefix(f"{path}: ")


@ODD_MAPS
def test_a_file_with_odd_maps_loads_with_a_warning(
    fields: dict[str, Any], problem: str, believed: str, names: list[str], tmp_path: Path
) -> None:
    config, message = read_odd_maps(tmp_path, fields)
    assert message == (
        f"{problem}. {believed} is believed: the classes are {names}. Correct the maps, or ignore ConfigWarning if "
        "they are meant."
    )
    assert config.num_labels == len(names)
    assert [config.label_name(index) for index in range(len(names))] == names
    if "id2label" in fields and "00" not in fields["id2label"]:
        assert config.id2label == {int(index): name for index, name in fields["id2label"].items()}
    if "label2id" in fields:
        assert config.label2id == fields["label2id"]
    for name in {*names, *config.label2id, *config.id2label.values()}:
        index = config.label_index(name)
        assert (index is None) == (name not in names)
        assert index is None or names[index] == name


@ODD_MAPS
def test_odd_maps_are_kept(
    fields: dict[str, Any], problem: str, believed: str, names: list[str], tmp_path: Path
) -> None:
    """Copies and files have both maps as they were read, and only what reads a file warns again."""
    config, _ = read_odd_maps(tmp_path, fields)
    maps = (config.id2label, config.label2id)
    copies = (
        copy.copy(config),
        copy.deepcopy(config),
        pickle.loads(pickle.dumps(config)),
        config.updated(),
        config.updated(n_layers=config.n_layers, num_labels=len(names)),
    )
    for same in copies:
        assert same == config
        assert hash(same) == hash(config)
        assert (same.id2label, same.label2id) == maps
    config.num_labels = len(names)  # type: ignore[misc]
    assert (config.id2label, config.label2id) == maps

    config.save_pretrained(tmp_path / "saved")
    for read in (
        lambda: DistilBertConfig.from_pretrained(tmp_path / "saved"),
        lambda: DistilBertConfig.from_dict(written(config)),
    ):
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            assert read() == config
        # What is not believed and in neither map is not saved.
        mended = problem.startswith(
            ("num_labels and id2label", "id2label must have each index 0, 1, ... once, got [0, 0")
        )
        assert len(warned) == (0 if mended else 1)


@ODD_MAPS
def test_replaced_odd_maps_give_no_warning(
    fields: dict[str, Any], problem: str, believed: str, names: list[str], tmp_path: Path
) -> None:
    write_config(tmp_path, fields)
    for change, expected in (
        ({"id2label": FRESH_NAMES | {3: "last"}}, FRESH_NAMES | {3: "last"}),
        ({"num_labels": 6}, {index: f"LABEL_{index}" for index in range(6)}),
        ({"label2id": IDS}, NAMES),
    ):
        config = DistilBertConfig.from_pretrained(tmp_path, **change)
        assert config.id2label == expected
        assert config.label2id == {label: index for index, label in expected.items()}
