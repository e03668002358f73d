"""config.json in both directions: files of the Hub and of Transformers, damaged files, any configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distilbert_core import CheckpointError, ConfigError, DistilBertConfig
from distilbert_core.model.config import ACTIVATIONS, PROBLEM_TYPES
from support.configs import (
    ALIASES,
    DEFAULTS,
    HUB_BASE,
    IDS,
    NAMES,
    POSITIONAL,
    function_activation,
    write_config,
    written,
)
from support.paths import FIXTURES

HUB_SST2: dict[str, Any] = {
    **{name: value for name, value in HUB_BASE.items() if name != "transformers_version"},
    "architectures": ["DistilBertForSequenceClassification"],
    "finetuning_task": "sst-2",
    "id2label": {"0": "NEGATIVE", "1": "POSITIVE"},
    "label2id": {"NEGATIVE": 0, "POSITIVE": 1},
    "output_past": True,
}
ORACLE_CONFIGS = sorted(FIXTURES.glob("oracle/*/config.json"))


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


def test_only_values_that_differ_from_the_defaults_are_written() -> None:
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


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
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
def test_values_outside_json_are_not_written(name: str, value: Any, tmp_path: Path) -> None:
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
