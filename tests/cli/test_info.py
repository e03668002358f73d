"""The command `info`."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest

from distilbert_cli import main
from distilbert_cli.info import describe
from distilbert_core import DEFAULT_MODEL, DistilBertConfig, Head, available_backends
from distilbert_core.files.checkpoint import WEIGHTS_FILE, save_checkpoint
from support.checkpoints import save_random, small_config
from weight_conversion import convert


@pytest.mark.parametrize("head", Head)
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_info(tmp_path, head, dtype):
    config = small_config()
    arrays = save_random(tmp_path, config, head, dtype=dtype)
    found = describe(tmp_path)
    assert found["head"] == head.value  # from the stored parameters: this config.json names no architecture
    assert found["parameters"] == sum(array.size for array in arrays.values())
    assert found["dtypes"] == {np.dtype(dtype).name: found["parameters"]}
    assert found["weights"] == "safetensors"
    assert found["files"] == {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert found["size"] == sum(found["files"].values())
    assert DistilBertConfig(**found["config"]) == config
    assert [name for name, state in found["backends"].items() if state["loads"]] == available_backends()


def test_info_of_heads_with_the_same_parameters(tmp_path):
    """A sequence classifier with one label holds what a multiple-choice model holds; the configuration decides."""
    for head in (Head.SEQUENCE_CLASSIFICATION, Head.MULTIPLE_CHOICE):
        save_random(tmp_path, small_config(num_labels=1, architectures=[head.architecture]), head)
        assert describe(tmp_path)["head"] == head.value


def test_info_of_weights_that_do_not_load(tmp_path):
    config = small_config()
    arrays = save_random(tmp_path, config, Head.BASE)

    def weights_with(changes, dropped=()):
        kept = {name: array for name, array in {**arrays, **changes}.items() if name not in dropped}
        save_checkpoint(tmp_path, kept, {})
        found = describe(tmp_path)
        assert not any(state["loads"] for state in found["backends"].values())
        return found["weights"]

    name = "transformer.layer.1.ffn.lin1.weight"
    assert weights_with({}, [name]) == f"incomplete: {name}"
    assert weights_with({name: np.zeros((3, 5))}) == f"shapes differ from the configuration: {name}"
    assert weights_with({name: arrays[name].astype("int8")}) == "unsupported dtype: I8"
    (tmp_path / WEIGHTS_FILE).unlink()
    assert describe(tmp_path)["weights"] == "none"
    (tmp_path / "tf_model.h5").write_bytes(b"")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    found = describe(tmp_path)
    assert found["weights"] == "pytorch_model.bin, tf_model.h5: cannot be opened; distilbert convert shows the reason"
    assert found["dtypes"] == {}
    assert not any(state["loads"] for state in found["backends"].values())


@pytest.mark.parametrize(
    ("to", "file"),
    [
        ("msgpack", "flax_model.msgpack"),
        ("h5", "tf_model.h5"),
        ("keras", "model.keras"),
        ("keras-weights", "model.weights.h5"),
    ],
)
def test_info_of_other_formats(tmp_path, to, file):
    config = small_config(architectures=["DistilBertModel"])
    save_random(tmp_path / "source", config, Head.BASE)
    convert(tmp_path / "source", tmp_path / "old", to)
    found = describe(tmp_path / "old")
    assert (found["weights"], found["head"]) == (file, "Model")
    assert found["dtypes"] == describe(tmp_path / "source")["dtypes"]
    assert [name for name, state in found["backends"].items() if state["loads"]] == available_backends()


def test_info_of_unused_entries(tmp_path, capsys):
    config = small_config()
    arrays = save_random(tmp_path, config, Head.SEQUENCE_CLASSIFICATION)
    assert describe(tmp_path)["unused"] == []
    more = {"classifier.lora_A": np.zeros((2, 3)), "transformer.layer.9.ffn.lin1.bias": np.zeros(5)}
    save_checkpoint(tmp_path, {**arrays, **more}, {})
    assert describe(tmp_path)["unused"] == list(more)
    assert main(["info", str(tmp_path)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["unused", "entries", "classifier.lora_A,", "transformer.layer.9.ffn.lin1.bias"] in lines


def test_info_is_printed_without_any_backend(nothing_installed, capsys):
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "head                       ForSequenceClassification" in lines
    assert "parameters                 11,667,554" in lines
    assert '  PyTorch                  not installed: pip install "distilbert[pt]"' in lines
    assert "  dim                      224" in lines
    assert main(["info", DEFAULT_MODEL, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == describe(DEFAULT_MODEL)


def test_info_of_a_weight_file_with_an_unusual_name(tmp_path):
    save_random(tmp_path, small_config(architectures=["DistilBertModel"]), Head.BASE)
    (tmp_path / WEIGHTS_FILE).rename(tmp_path / "best.safetensors")
    assert describe(tmp_path)["weights"] == "best.safetensors"
