"""Loading and saving bit for bit, in every dtype; an error names parameters that do not fit."""

from __future__ import annotations

import json
import shutil
import warnings

import numpy as np
import pytest

from distilbert_core import CheckpointError, CheckpointWarning, DistilBertConfig, Head
from distilbert_core.files.checkpoint import INDEX_FILE, WEIGHTS_FILE, Checkpoint, save_checkpoint
from support.checkpoints import HEADS, random_arrays, random_inputs, save_random, small_config
from support.comparison import assert_close

DTYPES = ("float64", "float32", "bfloat16", "float16")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("head", HEADS)
def test_round_trip_is_bit_for_bit(framework, tmp_path, head, dtype):
    source, copy = tmp_path / "source", tmp_path / "copy"
    save_random(source, small_config(), head, dtype=dtype)
    framework.load(head, source, dtype="auto").save_pretrained(copy)
    assert (copy / WEIGHTS_FILE).read_bytes() == (source / WEIGHTS_FILE).read_bytes()
    config = DistilBertConfig.from_pretrained(copy)
    assert config.architectures == [head.architecture]
    assert config.torch_dtype == dtype
    assert config.updated(architectures=None, torch_dtype=None) == small_config()


@pytest.mark.parametrize("head", HEADS)
def test_every_option_of_the_architecture_survives(framework, tmp_path, head):
    source, copy = tmp_path / "source", tmp_path / "copy"
    config = small_config(sinusoidal_pos_embds=True, pruned_heads={1: [2]}, tie_word_embeddings=False, n_layers=3)
    save_random(source, config, head, dtype="float32")
    framework.load(head, source).save_pretrained(copy)
    assert (copy / WEIGHTS_FILE).read_bytes() == (source / WEIGHTS_FILE).read_bytes()


@pytest.mark.parametrize("wanted", DTYPES)
@pytest.mark.parametrize("stored", DTYPES)
def test_dtypes_are_converted_on_the_way(framework, tmp_path, stored, wanted):
    arrays = save_random(tmp_path, small_config(), Head.MASKED_LM, dtype=stored)
    got = framework.parameters(framework.load(Head.MASKED_LM, tmp_path, dtype=wanted))
    for name, array in arrays.items():
        assert got[name].dtype.name == wanted
        np.testing.assert_array_equal(got[name], array.astype(got[name].dtype))


def test_float32_by_default(framework, tmp_path):
    save_random(tmp_path, small_config(), Head.BASE, dtype="float16")
    model = framework.load(Head.BASE, tmp_path)
    assert {array.dtype.name for array in framework.parameters(model).values()} == {"float32"}


def test_dtype_under_its_older_name(framework, tmp_path):
    save_random(tmp_path, small_config(), Head.BASE)
    model = framework.load(Head.BASE, tmp_path, torch_dtype="float16")
    assert {array.dtype.name for array in framework.parameters(model).values()} == {"float16"}


def test_device(framework, tmp_path):
    arrays = save_random(tmp_path, small_config(), Head.BASE, dtype="float32")
    device = {"pt": "cpu", "tf": "/CPU:0", "flax": "cpu:0"}[framework.name]
    assert_close(framework.parameters(framework.load(Head.BASE, tmp_path, device=device)), arrays, 0.0)


def test_shards(framework, tmp_path):
    single, sharded = tmp_path / "single", tmp_path / "sharded"
    save_random(single, small_config(), Head.MASKED_LM, dtype="float32")
    framework.load(Head.MASKED_LM, single).save_pretrained(sharded, max_shard_size="5KB")
    assert not (sharded / WEIGHTS_FILE).exists()
    assert len(set(json.loads((sharded / INDEX_FILE).read_text())["weight_map"].values())) > 1
    again = framework.parameters(framework.load(Head.MASKED_LM, sharded))
    assert_close(again, framework.parameters(framework.load(Head.MASKED_LM, single)), 0.0)


def load_quietly(framework, head, folder, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CheckpointWarning)
        return framework.load(head, folder, **kwargs)


@pytest.mark.parametrize("head", HEADS[1:])
def test_body_into_head(framework, tmp_path, head):
    arrays = save_random(tmp_path, small_config(), Head.BASE, dtype="float32")
    with pytest.warns(CheckpointWarning, match="freshly initialised, train before use: .*bias") as record:
        model = framework.load(head, tmp_path)
    new = [p.name for p in model.parameter_table if not p.name.startswith("distilbert.") and p.tied_to is None]
    assert all(name in str(record[0].message) for name in new)
    got = framework.parameters(model)
    assert_close({name: got[f"distilbert.{name}"] for name in arrays}, arrays, 0.0)
    assert all(np.isfinite(array).all() for array in got.values())


@pytest.mark.parametrize("head", HEADS[1:])
def test_head_into_base_model(framework, tmp_path, head):
    arrays = save_random(tmp_path, small_config(), head, dtype="float32")
    own = sorted(name for name in arrays if not name.startswith("distilbert."))
    with pytest.warns(CheckpointWarning, match=f"in the checkpoint but not used: {', '.join(own)}"):
        model = framework.load(Head.BASE, tmp_path)
    got = framework.parameters(model)
    assert_close(got, {name: arrays[f"distilbert.{name}"] for name in got}, 0.0)


def test_loading_info(framework, tmp_path):
    save_random(tmp_path, small_config(), Head.MASKED_LM, dtype="float32")
    _, info = load_quietly(framework, Head.QUESTION_ANSWERING, tmp_path, output_loading_info=True)
    assert info["missing_keys"] == ["qa_outputs.weight", "qa_outputs.bias"]
    assert info["unexpected_keys"][0] == "vocab_layer_norm.bias"
    assert info["mismatched_keys"] == []


def test_other_number_of_labels(framework, tmp_path):
    arrays = save_random(tmp_path, small_config(), Head.TOKEN_CLASSIFICATION, dtype="float32")
    with pytest.raises(CheckpointError, match=r"classifier.weight: \(7, 12\) stored, \(4, 12\) in the model"):
        framework.load(Head.TOKEN_CLASSIFICATION, tmp_path, num_labels=4)
    with pytest.warns(CheckpointWarning, match="freshly initialised.*classifier.weight, classifier.bias"):
        model = framework.load(Head.TOKEN_CLASSIFICATION, tmp_path, num_labels=4, ignore_mismatched_sizes=True)
    got = framework.parameters(model)
    assert got["classifier.weight"].shape == (4, 12)
    del arrays["classifier.weight"], arrays["classifier.bias"]
    assert_close({name: got[name] for name in arrays}, arrays, 0.0)


def test_a_missing_base_model_parameter_is_an_error(framework, tmp_path):
    config = small_config()
    arrays = random_arrays(config, Head.BASE)
    del arrays["transformer.layer.1.ffn.lin2.bias"]
    save_checkpoint(tmp_path, arrays, {"config.json": config.to_json_string().encode()})
    with pytest.raises(CheckpointError, match=r"lacks 1 parameter.*transformer\.layer\.1\.ffn.lin2\.bias"):
        framework.load(Head.BASE, tmp_path)


def test_integers_are_not_parameters(framework, tmp_path):
    config = small_config()
    arrays = random_arrays(config, Head.BASE)
    arrays["embeddings.LayerNorm.bias"] = np.zeros(12, np.int64)
    save_checkpoint(tmp_path, arrays, {"config.json": config.to_json_string().encode()})
    with pytest.raises(CheckpointError, match=r"embeddings\.LayerNorm\.bias must be of a floating dtype, got I64"):
        framework.load(Head.BASE, tmp_path)


def test_damaged_file(framework, tmp_path):
    save_random(tmp_path, small_config(), Head.BASE)
    path = tmp_path / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        framework.load(Head.BASE, tmp_path)


def test_old_names_and_entries(framework, tmp_path):
    config = small_config()
    arrays = random_arrays(config, Head.BASE, dtype="float32")
    old = {
        k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v
        for k, v in arrays.items()
    }
    old["embeddings.position_ids"] = np.arange(23)[None]
    save_checkpoint(tmp_path, old, {"config.json": config.to_json_string().encode()})
    assert_close(framework.parameters(framework.load(Head.BASE, tmp_path)), arrays, 0.0)


def test_sinusoidal_table_is_read_and_else_computed(framework, tmp_path):
    config = small_config(sinusoidal_pos_embds=True)
    name = "embeddings.position_embeddings.weight"
    arrays = random_arrays(config, Head.BASE, dtype="float32")
    computed = arrays.pop(name)
    files = {"config.json": config.to_json_string().encode()}
    save_checkpoint(tmp_path / "without", arrays, files)
    assert_close(framework.parameters(framework.load(Head.BASE, tmp_path / "without"))[name], computed, 0.0)
    arrays[name] = computed * 0.5 + 0.1
    save_checkpoint(tmp_path / "changed", arrays, files)
    assert_close(framework.parameters(framework.load(Head.BASE, tmp_path / "changed")), arrays, 0.0)


def test_saving_over_the_loaded_checkpoint(framework, tmp_path):
    """The loaded model may share the file's memory: replacing the file must not disturb it."""
    arrays = save_random(tmp_path, small_config(), Head.SEQUENCE_CLASSIFICATION, dtype="float32")
    model = framework.load(Head.SEQUENCE_CLASSIFICATION, tmp_path)
    framework.sgd_step(model, 0.1, **random_inputs(small_config(), Head.SEQUENCE_CLASSIFICATION))
    trained = framework.parameters(model)
    assert np.abs(trained["classifier.weight"] - arrays["classifier.weight"]).max() > 1e-3
    assert_close(Checkpoint(tmp_path).read("classifier.weight"), arrays["classifier.weight"], 0.0)
    model.save_pretrained(tmp_path)
    assert_close(framework.parameters(model), trained, 0.0)
    shutil.rmtree(tmp_path)
    assert_close(framework.parameters(model), trained, 0.0)
