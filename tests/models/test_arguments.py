"""Arguments of `from_pretrained`, `save_pretrained` and `push_to_hub` that scripts for Transformers have."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distilbert_core import CheckpointError, DistilBertConfig, Head, InputError
from distilbert_core.compatibility import CONFIG_SAVING, CONFIGURING, LOADING, SAVING
from support.checkpoints import random_arrays, save_random, small_config
from support.paths import FIXTURES

HEAD = Head.SEQUENCE_CLASSIFICATION
CONFIG = small_config()
SIGNATURES = json.loads((FIXTURES / "oracle" / "signatures.json").read_text())
PREFIXES = {"pt": "", "tf": "TF", "flax": "Flax"}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_random(tmp_path / "saved", CONFIG, HEAD)
    return tmp_path / "saved"


def defaults(owner: str, method: str) -> dict[str, Any]:
    """What the real signature gives the arguments that have a default."""
    arguments = SIGNATURES[owner]["methods"][method]
    found = {}
    for name, text in arguments.items():
        try:
            found[name] = ast.literal_eval(text)
        except ValueError:  # another object, or computed from other arguments
            continue
    return found


def same(framework: Any, first: Any, second: Any) -> bool:
    one, other = framework.parameters(first), framework.parameters(second)
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_every_argument_at_its_default(framework, saved, tmp_path, uploads):
    """As the real signatures have them: none is unknown, and the model is the same."""
    owner = f"{PREFIXES[framework.name]}DistilBertPreTrainedModel"
    plain = framework.load(HEAD, saved)
    loading = defaults(owner, "from_pretrained")
    assert len(loading) >= 15
    assert loading.pop("output_loading_info", None) in (None, False)
    model = framework.cls(HEAD).from_pretrained(pretrained_model_name_or_path=saved, **loading)
    assert same(framework, model, plain)
    saving = defaults(owner, "save_pretrained")
    model.save_pretrained(save_directory=tmp_path / "again", **saving | {"safe_serialization": True})
    assert same(framework, framework.load(HEAD, tmp_path / "again"), plain)
    pushing = defaults(owner, "push_to_hub")
    assert model.push_to_hub(repo_id="mine", **pushing) == "commit"
    assert uploads[-1][:2] == ("upload_folder", ["README.md", "config.json", "model.safetensors"])
    assert owner.startswith("TF") or DistilBertConfig().push_to_hub("mine", **pushing) == "commit"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("low_cpu_mem_usage", True),
        ("trust_remote_code", True),
        ("weights_only", False),
        ("resume_download", True),
        ("device_map", "cpu"),
        ("device_map", {"": "cpu"}),
        ("device_map", {"distilbert": "cpu", "classifier": "cpu"}),
        ("attn_implementation", "eager"),
        ("_from_auto", True),
        ("from_pt", True),
    ],
)
def test_arguments_without_an_effect_on_values(framework, saved, name, value):
    model = framework.load(HEAD, saved, **{name: value})
    assert same(framework, model, framework.load(HEAD, saved))


def test_the_fastest_device_is_found(framework, saved):
    assert same(framework, framework.load(HEAD, saved, device_map="auto"), framework.load(HEAD, saved))


REFUSED = {
    "max_memory": ({0: "1GB"}, r"max_memory must be None, got \{0: '1GB'\}\. A model is on one device"),
    "device_map": ({"a": "cpu", "b": 0}, r"device_map must name one device"),
    "load_in_8bit": (True, r"load_in_8bit must be False or None, got True\. Quantize the loaded model"),
    "proxies": ({"http": "x"}, r"proxies must be None or \{\}, .* HTTPS_PROXY"),
    "gguf_file": ("x.gguf", r"gguf_file must be None.* made from"),
    "key_mapping": ({"a": "b"}, r"key_mapping must be None.* state_dict"),
    "nonsense": (1, r"Unknown keyword argument\(s\): nonsense"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_loading_arguments_that_are_refused(framework, saved, name):
    value, message = REFUSED[name]
    with pytest.raises(TypeError, match=message):
        framework.load(HEAD, saved, **{name: value})


def test_two_names_of_one_argument(framework, saved):
    with pytest.raises(TypeError, match="device_map and device are one argument, got 'cpu' and 'other'"):
        framework.load(HEAD, saved, device_map="cpu", device="other")
    with pytest.raises(TypeError, match="use_auth_token and token are one argument"):
        framework.load(HEAD, saved, use_auth_token="a", token="b")
    with pytest.raises(InputError, match=r"Give source: .* or config and state_dict"):
        framework.cls(HEAD).from_pretrained(None)


def test_configurations_of_all_kinds(framework, saved, tmp_path):
    config = CONFIG.updated(dropout=0.375)
    config.save_pretrained(tmp_path / "other")

    class OfTransformers:
        def to_dict(self) -> dict[str, Any]:
            return config.to_dict() | {"transformers_version": "4.53.3"}

    for given in (config, config.to_dict(), tmp_path / "other", str(tmp_path / "other/config.json"), OfTransformers()):
        model = framework.load(HEAD, saved, config=given)
        assert model.config.dropout == 0.375
        assert model.config.name_or_path == str(saved)
    assert config.name_or_path == ""
    with pytest.raises(TypeError, match="config must be a DistilBertConfig, a dict, or a path, got a int"):
        framework.load(HEAD, saved, config=3)


def test_loading_info_has_the_keys_of_transformers(framework, saved):
    _, info = framework.load(HEAD, saved, output_loading_info=True)
    assert info == {"missing_keys": [], "unexpected_keys": [], "mismatched_keys": [], "error_msgs": []}


# -- arrays that a caller gives ------------------------------------------------------------------------------------


def test_arrays_in_place_of_a_checkpoints(framework, saved):
    arrays = random_arrays(CONFIG, HEAD, seed=5)
    for source, options in ((saved, {}), (None, {"config": CONFIG})):
        model = framework.load(HEAD, source, state_dict=arrays, dtype="auto", **options)
        got = framework.parameters(model)
        for name, array in arrays.items():
            np.testing.assert_array_equal(got[name], array)
    arrays["classifier.bias"] += 1  # they were copied
    assert not np.array_equal(framework.parameters(model)["classifier.bias"], arrays["classifier.bias"])
    del arrays["distilbert.embeddings.LayerNorm.bias"]
    with pytest.raises(
        CheckpointError, match=r"lacks 1 parameter\(s\) of the base model: distilbert.embeddings.LayerNorm.bias"
    ):
        framework.load(HEAD, saved, state_dict=arrays)
    with pytest.raises(CheckpointError, match="state_dict must hold arrays by name, got a list as 'x'"):
        framework.load(HEAD, saved, state_dict={"x": [1]})


def test_arrays_are_written_in_place_of_the_models(framework, saved, tmp_path):
    model = framework.load(HEAD, saved)
    arrays = random_arrays(CONFIG, HEAD, seed=5, dtype="float32")
    model.save_pretrained(tmp_path / "given", state_dict=arrays)
    assert not same(framework, model, framework.load(HEAD, tmp_path / "given"))
    got = framework.parameters(framework.load(HEAD, tmp_path / "given"))
    for name, array in arrays.items():
        np.testing.assert_array_equal(got[name], array)
    arrays["classifier.bias"] = arrays["classifier.bias"][:-1]
    with pytest.raises(
        InputError, match=r"state_dict lacks parameters, or has them in another shape: classifier.bias\."
    ):
        model.save_pretrained(tmp_path / "other", state_dict=arrays)
    assert not (tmp_path / "other").exists()


def test_parameters_as_a_tree_are_of_flax_models(framework, saved, tmp_path):
    model = framework.load(HEAD, saved)
    if framework.name == "flax":
        import jax

        params = jax.tree.map(lambda x: x + 1, model.params)
        model.save_pretrained(tmp_path / "params", params=params)
        loaded = framework.load(HEAD, tmp_path / "params").params
        jax.tree.map(np.testing.assert_array_equal, loaded, params)
    else:
        with pytest.raises(TypeError, match="params is an argument of Flax models; give state_dict"):
            model.save_pretrained(tmp_path, params={})


# -- saving --------------------------------------------------------------------------------------------------------

NATIVE = {"pt": "pytorch_model.bin", "tf": "tf_model.h5", "flax": "flax_model.msgpack"}


def test_the_format_of_transformers_4(framework, saved, tmp_path):
    model = framework.load(HEAD, saved)
    for _ in range(2):
        model.save_pretrained(tmp_path / "native", safe_serialization=False)
        assert {path.name for path in (tmp_path / "native").iterdir()} == {"config.json", NATIVE[framework.name]}
        assert same(framework, framework.load(HEAD, tmp_path / "native"), model)
    model.save_pretrained(tmp_path / "native", safe_serialization=False, max_shard_size=3000)
    assert len(list((tmp_path / "native").iterdir())) > 4
    assert same(framework, framework.load(HEAD, tmp_path / "native"), model)
    model.save_pretrained(tmp_path / "native", safe_serialization=False, variant="v")
    assert same(framework, framework.load(HEAD, tmp_path / "native", variant="v"), model)


def test_a_variant_beside_the_weights(framework, saved, tmp_path):
    model = framework.load(HEAD, saved)
    other = framework.load(HEAD, saved, state_dict=random_arrays(CONFIG, HEAD, 5))
    model.save_pretrained(tmp_path / "both")
    other.save_pretrained(tmp_path / "both", variant="fp16")
    assert same(framework, framework.load(HEAD, tmp_path / "both"), model)
    assert same(framework, framework.load(HEAD, tmp_path / "both", variant="fp16"), other)
    with pytest.raises(CheckpointError, match=r"none of model.bf16.safetensors"):
        framework.load(HEAD, tmp_path / "both", variant="bf16")


def test_one_process_of_several_writes(framework, saved, tmp_path, uploads):
    framework.load(HEAD, saved).save_pretrained(tmp_path / "out", is_main_process=False, push_to_hub=True)
    assert not (tmp_path / "out").exists()
    assert uploads == []


def test_saving_arguments_that_are_refused(framework, saved, tmp_path):
    model = framework.load(HEAD, saved)
    for name, value, message in (
        ("tags", ["a"], r"tags must be None or \[\], .*README.md"),
        ("repo_url", "x", r"repo_url must be None, .*repo_id"),
        ("nonsense", 1, r"Unknown keyword argument\(s\): nonsense"),
    ):
        with pytest.raises(TypeError, match=message):
            model.save_pretrained(tmp_path / "out", **{name: value})
    assert not (tmp_path / "out").exists()


def test_uploading(framework, saved, tmp_path, uploads):
    model = framework.load(HEAD, saved)
    model.push_to_hub("name", use_auth_token="t", private=True, revision="dev", commit_message="why", variant="v")
    options = {"commit_message": "why", "commit_description": None, "revision": "dev", "create_pr": False}
    assert uploads == [
        ("token", "t"),
        ("create_repo", "name", {"private": True, "exist_ok": True}),
        ("create_branch", "me/name", {"branch": "dev", "exist_ok": True}),
        ("upload_folder", ["README.md", "config.json", "model.v.safetensors"], {"repo_id": "me/name", **options}),
    ]
    uploads.clear()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "private.txt").write_text("not uploaded")
    model.save_pretrained(tmp_path / "folder", push_to_hub=True, token="t")
    assert uploads[1][:2] == ("create_repo", "folder")
    assert uploads[2][1] == ["README.md", "config.json", "model.safetensors"]
    assert uploads[2][2]["commit_message"] == f"Upload {type(model).__name__}"
    uploads.clear()
    model.config.save_pretrained(tmp_path / "folder", push_to_hub=True, repo_id="else")
    assert (uploads[1][1], uploads[2][1]) == ("else", ["config.json"])


def test_arguments_by_position(framework, saved, tmp_path):
    """Those that Transformers' class of the framework has at that place; others are refused."""
    cls, model = framework.cls(HEAD), framework.load(HEAD, saved)
    if framework.name == "flax":
        half = cls.from_pretrained(saved, "bfloat16")
        assert str(half.dtype) == "bfloat16"
        assert half.params["classifier"]["bias"].dtype == "float32"
        zeros = {name: 0 * array for name, array in framework.parameters(model).items()}
        params = framework.load(HEAD, saved, state_dict=zeros).params
        model.save_pretrained(tmp_path / "by-position", params)
        assert not framework.parameters(framework.load(HEAD, tmp_path / "by-position"))["classifier.weight"].any()
    else:
        with pytest.raises(TypeError, match=r"^from_pretrained\(\) takes one argument by position; got .*: Distil"):
            cls.from_pretrained(saved, CONFIG)
    if framework.name == "pt":
        model.save_pretrained(tmp_path / "nothing", False)
        assert not (tmp_path / "nothing").exists()
        with pytest.raises(TypeError, match=r"^save_pretrained\(\) got is_main_process by position and by keyword"):
            model.save_pretrained(tmp_path / "nothing", True, is_main_process=True)
    if framework.name == "tf":
        model.save_pretrained(tmp_path / "exported", True, 2)
        assert (tmp_path / "exported" / "saved_model" / "2" / "saved_model.pb").is_file()
    with pytest.raises(TypeError, match=r"^save_pretrained\(\) takes one argument by position, then .*; got .*: int"):
        model.save_pretrained(tmp_path / "nothing", *range(11))


def test_the_tables_say_what_to_do():
    for table in (LOADING, SAVING, CONFIGURING, CONFIG_SAVING):
        for name, row in table.items():
            assert (row.values is None) == (row.instead == ""), name


@pytest.mark.parametrize(("of_config", "expected"), [("float32", "float32"), (None, "float64")])
def test_auto_is_the_dtype_of_the_configuration_or_else_of_the_weights(framework, saved, of_config, expected):
    """The weights are float64. As in Transformers, where a configuration names what its model computes in."""
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**config, "torch_dtype": of_config}))
    model = framework.load(HEAD, saved, dtype="auto")
    found = {str(np.asarray(model._get_array(parameter)).dtype) for parameter in model.parameter_table}
    assert found == {expected}
