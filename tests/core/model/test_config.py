"""`DistilBertConfig`: its fields and defaults, what it refuses, and config.json in both directions."""

from __future__ import annotations

import copy
import json
import math
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distilbert_core import CheckpointError, ConfigError, ConfigWarning, DistilBertConfig, InputError
from distilbert_core.model.config import ACTIVATIONS, PROBLEM_TYPES
from support.paths import FIXTURES

# The documented signature of Transformers 4.53, in its order.
POSITIONAL: dict[str, Any] = {
    "vocab_size": 30522,
    "max_position_embeddings": 512,
    "sinusoidal_pos_embds": False,
    "n_layers": 6,
    "n_heads": 12,
    "dim": 768,
    "hidden_dim": 3072,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "activation": "gelu",
    "initializer_range": 0.02,
    "qa_dropout": 0.1,
    "seq_classif_dropout": 0.2,
    "pad_token_id": 0,
}
# What every configuration of Transformers 4.53 has beside.
INHERITED: dict[str, Any] = {
    "tie_word_embeddings": True,
    "tie_weights_": True,
    "output_attentions": False,
    "output_hidden_states": False,
    "return_dict": True,
    "use_return_dict": True,
    "num_labels": 2,
    "id2label": {0: "LABEL_0", 1: "LABEL_1"},
    "label2id": {"LABEL_0": 0, "LABEL_1": 1},
    "problem_type": None,
    "architectures": None,
    "pruned_heads": {},
    "name_or_path": "",
    "attn_implementation": None,
    "torch_dtype": None,
    "torchscript": False,
    "use_bfloat16": False,
    "tf_legacy_loss": False,
    "chunk_size_feed_forward": 0,
    "is_encoder_decoder": False,
    "is_decoder": False,
    "cross_attention_hidden_size": None,
    "add_cross_attention": False,
    "tie_encoder_decoder": False,
    "finetuning_task": None,
    "task_specific_params": None,
    "tokenizer_class": None,
    "prefix": None,
    "bos_token_id": None,
    "eos_token_id": None,
    "sep_token_id": None,
    "decoder_start_token_id": None,
}
DEFAULTS = POSITIONAL | INHERITED

# config.json of distilbert-base-uncased and of distilbert-base-uncased-finetuned-sst-2-english on the Hub.
HUB_BASE: dict[str, Any] = {
    "activation": "gelu",
    "architectures": ["DistilBertForMaskedLM"],
    "attention_dropout": 0.1,
    "dim": 768,
    "dropout": 0.1,
    "hidden_dim": 3072,
    "initializer_range": 0.02,
    "max_position_embeddings": 512,
    "model_type": "distilbert",
    "n_heads": 12,
    "n_layers": 6,
    "pad_token_id": 0,
    "qa_dropout": 0.1,
    "seq_classif_dropout": 0.2,
    "sinusoidal_pos_embds": False,
    "tie_weights_": True,
    "transformers_version": "4.10.0.dev0",
    "vocab_size": 30522,
}
HUB_SST2: dict[str, Any] = {
    **{name: value for name, value in HUB_BASE.items() if name != "transformers_version"},
    "architectures": ["DistilBertForSequenceClassification"],
    "finetuning_task": "sst-2",
    "id2label": {"0": "NEGATIVE", "1": "POSITIVE"},
    "label2id": {"NEGATIVE": 0, "POSITIVE": 1},
    "output_past": True,
}
ORACLE_CONFIGS = sorted(FIXTURES.glob("oracle/*/config.json"))

ALIASES = {
    "hidden_size": ("dim", 24),
    "num_attention_heads": ("n_heads", 6),
    "num_hidden_layers": ("n_layers", 3),
    "dtype": ("torch_dtype", "float16"),
}


def write_config(folder: Path, fields: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(fields))
    return path


def written(config: DistilBertConfig) -> dict[str, Any]:
    return json.loads(config.to_json_string())


def function_activation(x: float) -> float:
    return x


def case_id(fields: dict[str, Any]) -> str:
    """The fields of a case; a function by its name, for its address is another one in each process."""
    return str({name: getattr(value, "__name__", value) for name, value in fields.items()})


# -- fields --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DEFAULTS)
def test_default(name: str) -> None:
    value = getattr(DistilBertConfig(), name)
    assert value == DEFAULTS[name]
    assert type(value) is type(DEFAULTS[name])


def test_there_is_no_other_field() -> None:
    derived = {"num_labels", "use_return_dict"}
    assert DistilBertConfig().to_dict().keys() == DEFAULTS.keys() - derived | {"model_type"}


def test_positional_order() -> None:
    values = [101, 37, True, 5, 3, 12, 29, 0.5, 0.25, "relu", 0.03, 0.6, 0.7, 7]
    config = DistilBertConfig(*values)
    assert [getattr(config, name) for name in POSITIONAL] == values


@pytest.mark.parametrize("alias", ALIASES)
def test_alias(alias: str) -> None:
    field, value = ALIASES[alias]
    config = DistilBertConfig(**{alias: value})
    assert getattr(config, field) == getattr(config, alias) == value
    assert config == DistilBertConfig(**{field: value}) == DistilBertConfig().updated(**{alias: value})
    assert written(config)[field] == value
    assert alias not in written(config)

    setattr(config, alias, DEFAULTS[field])
    assert getattr(config, field) == getattr(config, alias) == DEFAULTS[field]
    assert config == DistilBertConfig()


@pytest.mark.parametrize("name", ["return_dict", "use_return_dict"])
def test_return_dict_has_two_names(name: str) -> None:
    config = DistilBertConfig(**{name: False})
    assert config.return_dict is config.use_return_dict is False
    setattr(config, name, True)
    assert config.return_dict is config.use_return_dict is True
    assert config.updated(**{name: False}).return_dict is False


def test_unknown_fields_are_kept() -> None:
    extra = {"my_field": {"a": [1, None]}, "another": "text"}
    config = DistilBertConfig(**extra)
    config.later = 1.5  # type: ignore[attr-defined]
    for same in (
        config,
        DistilBertConfig.from_dict(written(config)),
        config.updated(),
        copy.deepcopy(config),
    ):
        assert {**extra, "later": 1.5}.items() <= same.to_dict().items()
        assert same.my_field == {"a": [1, None]}
    assert "my_field" not in written(DistilBertConfig())
    assert config.updated(my_field=3).my_field == 3


def test_unknown_attribute() -> None:
    with pytest.raises(AttributeError, match="DistilBertConfig has no field 'layers'"):
        DistilBertConfig().layers  # noqa: B018  the look-up is what is tested
    assert not hasattr(DistilBertConfig(), "layers")


@pytest.mark.parametrize("name", ["validate", "to_dict", "head_size", "kept_heads", "__init__"])
def test_a_field_cannot_take_the_place_of_a_method(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} cannot be a field"):
        DistilBertConfig.from_dict({name: 64})


def test_the_model_type_is_fixed() -> None:
    config = DistilBertConfig.from_dict({"model_type": "distilbert"})
    config.model_type = "bert"
    assert config.model_type == DistilBertConfig.model_type == written(config)["model_type"] == "distilbert"


def test_head_size() -> None:
    assert DistilBertConfig().head_size == 64
    assert DistilBertConfig(dim=15, n_heads=5).head_size == 3


def test_repr_makes_the_same_configuration() -> None:
    config = DistilBertConfig(n_layers=3, id2label={0: "no", 1: "yes"}, my_field=[1])
    assert eval(repr(config)) == config


# -- impossible values ---------------------------------------------------------------------------------------

SIZES = ("vocab_size", "max_position_embeddings", "n_layers", "n_heads", "dim", "hidden_dim", "num_labels")
PROBABILITIES = ("dropout", "attention_dropout", "qa_dropout", "seq_classif_dropout")
FLAGS = (
    "sinusoidal_pos_embds",
    "tie_word_embeddings",
    "tie_weights_",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
    "use_return_dict",
)

IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    *(
        ({name: value}, f"^{name} must be a positive integer, got {value!r}")
        for name in SIZES
        for value in (0, -1, 1.5, 2.0, "3", True)
    ),
    *(({name: None}, f"^{name} must be a positive integer, got None") for name in SIZES if name != "num_labels"),
    *(
        ({name: value}, rf"^{name} must be a probability in \[0, 1\], got {value!r}")
        for name in PROBABILITIES
        for value in (-0.1, 1.5, math.nan, math.inf, "0.1", None, True)
    ),
    *(({name: "no"}, f"^{name.removeprefix('use_')} must be True or False, got 'no'") for name in FLAGS),
    ({"n_heads": 5}, "^n_heads must divide dim, got n_heads=5 and dim=768"),
    ({"dim": 100}, "^n_heads must divide dim, got n_heads=12 and dim=100"),
    (
        {"sinusoidal_pos_embds": True, "dim": 9, "n_heads": 3},
        "^dim must be even for sinusoidal_pos_embds, got 9",
    ),
    *(
        ({"initializer_range": value}, f"^initializer_range must be a number >= 0, got {value!r}")
        for value in (-0.02, math.nan, math.inf, "0.02", None, True)
    ),
    *(
        ({"activation": value}, f"^activation must be one of gelu, .*, got {value!r}".replace("[", r"\["))
        for value in ("prelu", "GELU", "", None, ["gelu"], 1)
    ),
    *(
        (
            {"pad_token_id": value},
            rf"^pad_token_id must be None or lie in \[0, vocab_size=30522\), got {value!r}",
        )
        for value in (-1, 30522, 0.5, "0", False)
    ),
    (
        {"vocab_size": 7, "pad_token_id": 7},
        r"^pad_token_id must be None or lie in \[0, vocab_size=7\), got 7",
    ),
    *(
        ({"problem_type": value}, "^problem_type must be None or one of regression, .*, got")
        for value in ("classification", "", 1, ["regression"])
    ),
    # Labels.
    ({"id2label": ["a", "b"]}, "^id2label must be a dict of integers to labels, got"),
    ({"id2label": {"x": "a"}}, "^id2label must be a dict of integers to labels, got"),
    ({"id2label": {0.5: "a"}}, "^id2label must be a dict of integers to labels, got"),
    ({"id2label": {}}, r"^id2label must have each index 0, 1, \.\.\. once, got \[\]\.$"),
    ({"id2label": {-1: "a", 0: "b"}}, r"^id2label must have each index 0, 1, \.\.\. once, got \[-1, 0\]\.$"),
    ({"label2id": ["a", "b"]}, "^label2id must be a dict of labels to integers, got"),
    ({"label2id": {"a": "x"}}, "^label2id must be a dict of labels to integers, got"),
    ({"label2id": {"a": [0]}}, "^label2id must be a dict of labels to integers, got"),
    ({"label2id": {"a": 0.5}}, "^label2id must be a dict of labels to integers, got"),
    ({"label2id": {"a": math.inf}}, "^label2id must be a dict of labels to integers, got"),
    ({"label2id": {"a": -1, "b": 0}}, r"^label2id must have each index 0, 1, \.\.\. once, got \[-1, 0\]\.$"),
    ({"id2label": {0: "a"}, "label2id": {"a": None}}, "^label2id must be a dict of labels to integers, got"),
    # Pruned heads.
    *(
        ({"pruned_heads": value}, "^pruned_heads must be a dict of layer to a list of heads, got")
        for value in ([1], {"x": [0]}, {0: 1}, {0: ["y"]}, {0: None})
    ),
    *(
        ({"pruned_heads": value}, "^pruned_heads must name layers below 6 and heads below 12, got")
        for value in ({6: [0]}, {-7: [0]}, {0: [12]}, {0: [-1]})
    ),
    ({"pruned_heads": {2: range(12)}}, "^pruned_heads must leave a head in every layer, layer 2 has none"),
]


@pytest.mark.parametrize(("fields", "message"), IMPOSSIBLE, ids=[str(fields) for fields, _ in IMPOSSIBLE])
def test_impossible_values_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DistilBertConfig(**fields)
    with pytest.raises(ConfigError, match=message):
        DistilBertConfig.from_dict({**HUB_BASE, **fields})
    with pytest.raises(ConfigError, match=message):
        DistilBertConfig().updated(**fields)


@pytest.mark.parametrize("name", [*SIZES[:-1], *PROBABILITIES, "activation"])
def test_an_impossible_value_set_later_is_found_by_validate(name: str) -> None:
    config = DistilBertConfig()
    config.validate()
    setattr(config, name, -1)
    with pytest.raises(ConfigError, match=f"^{name} must be"):
        config.validate()


@pytest.mark.parametrize(
    "fields",
    [
        {"dropout": 0, "attention_dropout": 1, "qa_dropout": 0.0, "seq_classif_dropout": 1.0},
        {"initializer_range": 0},
        {"pad_token_id": None},
        {"pad_token_id": 30521},
        {"sinusoidal_pos_embds": True},
        *({"activation": name} for name in ACTIVATIONS),
        {"activation": function_activation},
        *({"problem_type": name} for name in PROBLEM_TYPES),
        {
            "vocab_size": 1,
            "max_position_embeddings": 1,
            "n_layers": 1,
            "n_heads": 1,
            "dim": 1,
            "hidden_dim": 1,
        },
        {"num_labels": 1},
        {"pruned_heads": {2: range(11)}},
    ],
    ids=case_id,
)
def test_possible_values_at_the_edge(fields: dict[str, Any]) -> None:
    config = DistilBertConfig(**fields)
    assert all(getattr(config, name) == value for name, value in fields.items() if name != "pruned_heads")


# -- labels --------------------------------------------------------------------------------------------------

NAMES = {0: "NEGATIVE", 1: "POSITIVE"}
IDS = {"NEGATIVE": 0, "POSITIVE": 1}
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
    """A name means the class that label2id says, if it is one of them; the first, if it says nothing."""
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
def test_the_name_of_no_class(index: int) -> None:
    with pytest.raises(InputError, match=f"^index must be from 0 to 1, got {index}\\.$"):
        DistilBertConfig(id2label=NAMES).label_name(index)


# Fields of a file, or arguments, that do not fit together; what an error says of them as arguments; and of a file:
# what of the three is believed, and the names of the classes.
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
def test_odd_maps_that_are_replaced_are_not_warned_of(
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


# -- pruned heads --------------------------------------------------------------------------------------------


def test_pruned_heads() -> None:
    pruned = {"1": [2, 0, 2], 0: (11,)}
    config = DistilBertConfig(pruned_heads=pruned)
    assert config.pruned_heads == {1: [0, 2], 0: [11]}
    assert config.kept_heads(0) == list(range(11))
    assert config.kept_heads(1) == [1, *range(3, 12)]
    assert config.kept_heads(5) == list(range(12))
    assert written(config)["pruned_heads"] == {"0": [11], "1": [0, 2]}
    assert DistilBertConfig.from_dict(written(config)) == config
    assert pruned == {"1": [2, 0, 2], 0: (11,)}


# -- copies, equality, hash ----------------------------------------------------------------------------------


def test_updated_is_an_independent_copy() -> None:
    config = DistilBertConfig(architectures=["A"], my_field={"a": [1]})
    changed = config.updated(dim=24, n_heads=2, output_attentions=True)
    assert (changed.dim, changed.n_heads, changed.output_attentions) == (24, 2, True)
    changed.architectures.append("B")
    changed.my_field["a"].append(2)
    changed.id2label[0] = "changed"
    config.to_dict()["my_field"]["a"].append(3)
    assert config == DistilBertConfig(architectures=["A"], my_field={"a": [1]})


def test_updated_refuses_unknown_keywords() -> None:
    with pytest.raises(TypeError, match=r"^Unknown keyword argument\(s\): layers, widht\.$"):
        DistilBertConfig(my_field=1).updated(widht=3, my_field=2, layers=4)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"n_layers": 3, "a": 1, "b": 2}, {"b": 2, "a": 1, "num_hidden_layers": 3}),
        ({"dropout": 0}, {"dropout": 0.0}),
        ({"a": {"x": 1, "y": [2]}}, {"a": {"y": [2], "x": 1}}),
        ({"id2label": NAMES}, {"label2id": IDS}),
        ({"activation": function_activation}, {"activation": function_activation}),
    ],
    ids=case_id,
)
def test_equal_configurations_have_one_hash(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert DistilBertConfig(**one) == DistilBertConfig(**other)
    assert hash(DistilBertConfig(**one)) == hash(DistilBertConfig(**other))


@pytest.mark.parametrize(
    "fields",
    [
        {"dim": 24},
        {"output_attentions": True},
        {"my_field": 1},
        {"pruned_heads": {0: [1]}},
        {"id2label": NAMES},
    ],
    ids=case_id,
)
def test_every_field_counts_for_equality_and_hash(fields: dict[str, Any]) -> None:
    config = DistilBertConfig()
    before = hash(config)
    for name, value in fields.items():
        setattr(config, name, value)
    assert config != DistilBertConfig()
    assert hash(config) != before


def test_a_configuration_is_no_dict() -> None:
    assert DistilBertConfig() != DistilBertConfig().to_dict()
    assert {DistilBertConfig(): "found"}[DistilBertConfig()] == "found"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_copies(copied: Any) -> None:
    config = DistilBertConfig(n_layers=3, id2label=NAMES, my_field=[1], pruned_heads={0: [1]})
    assert copied(config) == config
    assert copied(config).hidden_size == 768


# -- config.json ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [HUB_BASE, HUB_SST2], ids=["base", "sst2"])
def test_the_hubs_files_come_back_unchanged(fields: dict[str, Any], tmp_path: Path) -> None:
    config = DistilBertConfig.from_json_file(write_config(tmp_path, fields))
    assert written(config) == fields
    config.save_pretrained(tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "config.json").read_text()) == fields
    assert DistilBertConfig.from_pretrained(tmp_path / "saved") == config


def test_the_sst2_labels() -> None:
    config = DistilBertConfig.from_dict(HUB_SST2)
    assert (config.id2label, config.label2id, config.num_labels) == (NAMES, IDS, 2)
    assert (config.finetuning_task, config.output_past) == ("sst-2", True)


@pytest.mark.parametrize("path", ORACLE_CONFIGS, ids=[path.parent.name for path in ORACLE_CONFIGS])
def test_files_of_transformers_come_back_unchanged(path: Path) -> None:
    fields = json.loads(path.read_text())
    config = DistilBertConfig.from_json_file(path)
    # The Hub's older files have tie_weights_, and so have ours.
    assert written(config) == {"tie_weights_": True, **fields}
    # Transformers leaves a default unwritten, or writes it: either way it is ours.
    sizes = {"vocab_size", "max_position_embeddings", "n_layers", "n_heads", "dim", "hidden_dim"}
    for name in fields.keys() & POSITIONAL.keys() - sizes - {"activation", "sinusoidal_pos_embds"}:
        assert fields[name] == DEFAULTS[name]
    for name in DEFAULTS.keys() - fields.keys() - {"num_labels"}:
        assert getattr(config, name) == DEFAULTS[name]


def test_there_are_files_of_transformers() -> None:
    assert len(ORACLE_CONFIGS) == 16


def test_only_what_is_not_a_default_is_written_beside_the_architecture() -> None:
    always = POSITIONAL.keys() | {"tie_weights_", "architectures", "model_type"}
    assert written(DistilBertConfig()).keys() == always
    config = DistilBertConfig(output_attentions=True, is_decoder=True, name_or_path="somewhere", torchscript=False)
    assert written(config).keys() == always | {"output_attentions", "is_decoder"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not valid JSON"),
        (b'{"dim": 768', "is not valid JSON"),
        (b"\xff\xfe{}", "is not valid JSON"),
        (b"[]", "must hold a JSON object, got list"),
        (b'"distilbert"', "must hold a JSON object, got str"),
        (b'{"model_type": "bert"}', "must have model_type 'distilbert', got 'bert'"),
        (b'{"model_type": null}', "must have model_type 'distilbert', got None"),
        (None, "cannot be read .*No such file"),
    ],
)
def test_damaged_files(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"config.json {message}"):
        DistilBertConfig.from_json_file(path)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be read"):
        DistilBertConfig.from_json_file(tmp_path)


def test_a_file_without_model_type_and_fields_is_the_default(tmp_path: Path) -> None:
    assert DistilBertConfig.from_json_file(write_config(tmp_path, {})) == DistilBertConfig()


def test_from_pretrained_with_overrides(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    write_config(tmp_path / "inner", HUB_SST2)
    config = DistilBertConfig.from_pretrained(tmp_path, subfolder="inner", num_hidden_layers=3, num_labels=5)
    assert (config.n_layers, config.num_labels, config.id2label[4]) == (3, 5, "LABEL_4")
    with pytest.raises(CheckpointError, match=r"has no file config\.json\.$"):
        DistilBertConfig.from_pretrained(tmp_path)
    with pytest.raises(TypeError, match=r"Unknown keyword argument\(s\): layers"):
        DistilBertConfig.from_pretrained(tmp_path, subfolder="inner", layers=3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("activation", function_activation),
        ("my_field", {1, 2}),
        ("my_field", [function_activation]),
        ("torch_dtype", float),
    ],
)
def test_what_json_cannot_hold_is_not_written(name: str, value: Any, tmp_path: Path) -> None:
    config = DistilBertConfig(**{name: value})
    with pytest.raises(ConfigError, match=f"^{name} cannot be written to config.json, got"):
        config.save_pretrained(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


@st.composite
def configurations(draw: st.DrawFn) -> DistilBertConfig:
    heads = draw(st.integers(1, 5))
    size = st.integers(1, 50)
    probability = st.floats(0, 1)
    plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    return DistilBertConfig(
        vocab_size=draw(size),
        max_position_embeddings=draw(size),
        sinusoidal_pos_embds=draw(st.booleans()),
        n_layers=draw(st.integers(1, 4)),
        n_heads=heads,
        dim=2 * heads * draw(size),
        hidden_dim=draw(size),
        dropout=draw(probability),
        attention_dropout=draw(probability),
        activation=draw(st.sampled_from(sorted(ACTIVATIONS))),
        initializer_range=draw(st.floats(0, 1e9)),
        qa_dropout=draw(probability),
        seq_classif_dropout=draw(probability),
        tie_word_embeddings=draw(st.booleans()),
        id2label=dict(enumerate(draw(st.lists(st.text(), min_size=1, max_size=5, unique=True)))),
        problem_type=draw(st.sampled_from([None, *PROBLEM_TYPES])),
        pruned_heads={0: draw(st.sets(st.integers(0, heads - 1), max_size=heads - 1))},
        my_field=draw(st.recursive(plain, lambda items: st.lists(items) | st.dictionaries(st.text(), items))),
    )


@settings(deadline=None, max_examples=50)
@given(configurations())
def test_any_configuration_survives_its_file(config: DistilBertConfig) -> None:
    same = DistilBertConfig.from_dict(written(config))
    assert same == config == DistilBertConfig(**config.to_dict()) == config.updated()
    assert hash(same) == hash(config)
    assert same.to_json_string() == config.to_json_string()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dim": 12, "n_heads": 3, "hidden_size": 24}, "hidden_size and dim are one field, got 24 and 12"),
        ({"n_layers": 2, "num_hidden_layers": 3}, "num_hidden_layers and n_layers are one field, got 3 and 2"),
        ({"model_type": "bert"}, "model_type must be 'distilbert', got 'bert'"),
        ({"hidden_size": 100}, "n_heads must divide dim, got n_heads=12 and dim=100"),
    ],
)
def test_contradictions(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DistilBertConfig(**fields)


@pytest.mark.parametrize("alias", ALIASES)
def test_a_field_under_both_of_its_names(alias: str) -> None:
    """Also where one of them has the default: a file and `updated` tell what was given."""
    field, value = ALIASES[alias]
    both = {field: DEFAULTS[field], alias: value}
    message = f"^{alias} and {field} are one field, got {value!r} and {DEFAULTS[field]!r}\\.$"
    with pytest.raises(ConfigError, match=message):
        DistilBertConfig.from_dict(both)
    with pytest.raises(ConfigError, match=message):
        DistilBertConfig().updated(**both)
    assert DistilBertConfig.from_dict({field: value, alias: value}) == DistilBertConfig(**{field: value})


def test_an_alias_beside_the_same_value() -> None:
    assert DistilBertConfig(dim=24, hidden_size=24).dim == 24
    assert DistilBertConfig(model_type="distilbert") == DistilBertConfig()


# -- what code for Transformers asks ------------------------------------------------------------------------------


def test_members_of_the_configurations_of_transformers(tmp_path: Path) -> None:
    config = DistilBertConfig(n_layers=3, own="mine", attn_implementation="eager")
    assert config.get_text_config(decoder=True) is config
    assert config.attribute_map["hidden_size"] == "dim"
    assert (config._name_or_path, config._commit_hash, config._attn_implementation) == ("", None, "eager")
    assert DistilBertConfig.from_dict({"_commit_hash": "abc"})._commit_hash == "abc"
    assert (config.is_composition, config.sub_configs, config.keys_to_ignore_at_inference) == (False, {}, [])
    assert set(config) == config.to_dict().keys() - {"model_type"}
    config.to_json_file(json_file_path=tmp_path / "file.json")
    assert json.loads((tmp_path / "file.json").read_text()) == config.to_diff_dict()
    assert config.to_diff_dict().keys().isdisjoint({"name_or_path", "attn_implementation", "torchscript"})
    assert json.loads(config.to_json_string(use_diff=False))["torchscript"] is False


def test_fields_are_updated_in_place_or_not_at_all() -> None:
    config = DistilBertConfig()
    config.update({"hidden_size": 24, "n_heads": 4, "id2label": {0: "a", 1: "b", 2: "c"}, "new": 1})
    assert (config.dim, config.num_labels, config.new) == (24, 3, 1)
    config.update_from_string("dropout=0.5,n_layers=2,return_dict=false,activation=relu")
    assert (config.dropout, config.n_layers, config.return_dict, config.activation) == (0.5, 2, False, "relu")
    before = config.to_dict()
    with pytest.raises(ConfigError, match="n_heads must divide dim"):
        config.update({"n_layers": 1, "n_heads": 5})
    for text in ("nothing=1", "return_dict=perhaps", "n_layers=x", "id2label=x"):
        with pytest.raises(ConfigError, match=f"{text.partition('=')[0]} must be a field that is a number"):
            config.update_from_string(text)
    assert config.to_dict() == before


def test_where_a_configuration_is_from(tmp_path: Path) -> None:
    """A folder, its config.json, another file in it; where it was is not what it is."""
    config = DistilBertConfig(n_layers=2)
    config.save_pretrained(save_directory=tmp_path, push_to_hub=False, safe_serialization=True)
    (tmp_path / "model.pth").write_bytes(b"")
    for source in (tmp_path, tmp_path / "config.json", str(tmp_path / "model.pth")):
        loaded = DistilBertConfig.from_pretrained(source, trust_remote_code=False, resume_download=None)
        assert loaded == config
        assert hash(loaded) == hash(config)
        assert loaded.name_or_path == loaded._name_or_path == str(source)
    assert DistilBertConfig.get_config_dict(tmp_path, n_heads=3) == (config.to_diff_dict(), {"n_heads": 3})


def test_keywords_that_are_not_fields_are_returned_where_that_is_asked(tmp_path: Path) -> None:
    DistilBertConfig(n_layers=2).save_pretrained(tmp_path)
    given = {"n_heads": 3, "num_labels": 5, "elsewhere": 7}
    config, unused = DistilBertConfig.from_pretrained(tmp_path, return_unused_kwargs=True, **given)
    assert (config.n_layers, config.n_heads, config.num_labels, unused) == (2, 3, 5, {"elsewhere": 7})
    config, unused = DistilBertConfig.from_dict({"n_layers": 4}, return_unused_kwargs=True, elsewhere=7)
    assert (config.n_layers, unused) == (4, {"elsewhere": 7})
    with pytest.raises(TypeError, match="elsewhere"):
        DistilBertConfig.from_pretrained(tmp_path, elsewhere=7)
    with pytest.raises(TypeError, match=r"proxies must be None or \{\}, got .*HTTP_PROXY"):
        DistilBertConfig.from_pretrained(tmp_path, proxies={"http": "x"})
    with pytest.raises(TypeError, match="Unknown keyword"):
        DistilBertConfig().save_pretrained(tmp_path, elsewhere=7)


def test_a_bert_is_to_be_converted(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match=r"model_type 'distilbert', got 'bert'\. .*distilbert convert"):
        DistilBertConfig.from_pretrained(tmp_path)


def test_layers_of_pruned_heads_are_counted_from_the_last():
    config = DistilBertConfig(n_layers=3, pruned_heads={-1: [1], "2": [0]})
    assert config.pruned_heads == {2: [0, 1]}
    config.pruned_heads = {-3: [1]}
    assert config.pruned_heads == {0: [1]}
