"""`DistilBertConfig`: its fields and defaults, copies, equality, and the members that code for Transformers uses."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from distilbert_core import CheckpointError, ConfigError, DistilBertConfig
from support.configs import ALIASES, DEFAULTS, IDS, NAMES, POSITIONAL, case_id, function_activation, written

# -- fields --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DEFAULTS)
def test_default(name: str) -> None:
    value = getattr(DistilBertConfig(), name)
    assert value == DEFAULTS[name]
    assert type(value) is type(DEFAULTS[name])


def test_no_other_fields_exist() -> None:
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
        DistilBertConfig().layers  # noqa: B018  the test is about the look-up
    assert not hasattr(DistilBertConfig(), "layers")


@pytest.mark.parametrize("name", ["validate", "to_dict", "head_size", "kept_heads", "__init__"])
def test_a_field_cannot_replace_a_method(name: str) -> None:
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


def test_a_configuration_is_not_a_dict() -> None:
    assert DistilBertConfig() != DistilBertConfig().to_dict()
    assert {DistilBertConfig(): "found"}[DistilBertConfig()] == "found"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))])
def test_copies(copied: Any) -> None:
    config = DistilBertConfig(n_layers=3, id2label=NAMES, my_field=[1], pruned_heads={0: [1]})
    assert copied(config) == config
    assert copied(config).hidden_size == 768


# -- what code for Transformers asks -------------------------------------------------------------------------


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


def test_unknown_keywords_are_returned_on_request(tmp_path: Path) -> None:
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
