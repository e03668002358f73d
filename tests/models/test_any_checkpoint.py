"""`from_pretrained` opens checkpoints of every format in every backend and gets the saved arrays."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from distilbert_core import DEFAULT_MODEL, CheckpointError, CheckpointWarning, Head
from distilbert_core.files.checkpoint import save_checkpoint
from distilbert_core.files.hub import EMBEDDED_MODELS
from distilbert_core.pipelines import pipeline
from support.checkpoints import random_arrays, save_random, small_config, write_adapter
from support.paths import FIXTURES
from weight_conversion import convert

HEAD = Head.SEQUENCE_CLASSIFICATION
CONFIG = small_config(architectures=[HEAD.architecture])
Arrays = dict[str, np.ndarray]


def has(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


def write(folder: Path, arrays: Mapping[str, np.ndarray], name: str = "model.safetensors", **metadata: str) -> Path:
    """Write arrays under given names, and config.json."""
    folder.mkdir(exist_ok=True)
    CONFIG.save_pretrained(folder)
    save_file({key: np.ascontiguousarray(array) for key, array in arrays.items()}, folder / name, metadata or None)
    return folder


def converted(to: str, **options: Any) -> Callable[[Path, Arrays], Path]:
    def make(folder: Path, arrays: Arrays) -> Path:
        save_checkpoint(folder / "source", arrays, {"config.json": CONFIG.to_json_string().encode()})
        convert(folder / "source", folder / to, to, **options)
        return folder / to

    return make


def one_file(to: str, name: str) -> Callable[[Path, Arrays], Path]:
    """A checkpoint as one file, with another name, alone in its folder."""

    def make(folder: Path, arrays: Arrays) -> Path:
        made = converted(to)(folder, arrays)
        next(path for path in made.iterdir() if path.name != "config.json").rename(made / name)
        return made / name

    return make


def prefixed(prefix: str, *further: str) -> Callable[[Path, Arrays], Path]:
    def make(folder: Path, arrays: Arrays) -> Path:
        renamed = {f"{prefix}{name}": array for name, array in arrays.items()}
        return write(folder / "prefixed", renamed | {name: np.ones(3) for name in further})

    return make


def compiled_layers(folder: Path, arrays: Arrays) -> Path:
    """What torch.compile of each block, and FSDP around the model, make of the names."""
    names = {name: f"_fsdp_wrapped_module.{name.replace('attention.', '_orig_mod.attention.')}" for name in arrays}
    return write(folder / "compiled", {names[name]: array for name, array in arrays.items()})


def torch_saved(name: str, wrap: Callable[[dict[str, Any]], Any], prefix: str = "") -> Callable[[Path, Arrays], Path]:
    def make(folder: Path, arrays: Arrays) -> Path:
        import torch

        CONFIG.save_pretrained(folder / "torch")
        torch.save(wrap({prefix + key: torch.tensor(array) for key, array in arrays.items()}), folder / "torch" / name)
        return folder / "torch" / name

    return make


def orbax(names: tuple[str, ...], place: str) -> Callable[[Path, Arrays], Path]:
    """A state in Orbax's own layout, in a folder below the folder with config.json."""

    def make(folder: Path, arrays: Arrays) -> Path:
        made = converted("orbax")(folder, arrays)
        for name in names:
            (folder / "manager" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(made / "orbax", folder / "manager" / name)
        CONFIG.save_pretrained(folder / "manager")
        return folder / "manager" / place

    return make


STATE_OF_TRAINING = {"epoch": 3, "optimizer_states": [{"state": {0: {"step": 1}}}], "hyper_parameters": {"rate": 0.1}}

# Kind -> (the library that writes it, what makes it).
KINDS: dict[str, tuple[str, Callable[[Path, Arrays], Path]]] = {
    "TensorFlow's names": ("numpy", converted("tf")),
    "Flax's names": ("numpy", converted("flax")),
    "tf_model.h5": ("h5py", converted("h5")),
    "tf_model.h5, shards": ("h5py", converted("h5", max_shard_size=3000)),
    "flax_model.msgpack": ("msgpack", converted("msgpack")),
    "flax_model.msgpack, shards": ("msgpack", converted("msgpack", max_shard_size=3000)),
    "pytorch_model.bin": ("torch", converted("bin")),
    "pytorch_model.bin, shards": ("torch", converted("bin", max_shard_size=3000)),
    "model.keras": ("h5py", converted("keras")),
    "model.weights.h5": ("h5py", converted("keras-weights")),
    "my.keras": ("h5py", one_file("keras", "my.keras")),
    "my.weights.h5": ("h5py", one_file("keras-weights", "my.weights.h5")),
    "my.safetensors": ("numpy", one_file("pt", "my.safetensors")),
    "module.": ("numpy", prefixed("module.")),
    "_orig_mod.module.": ("numpy", prefixed("_orig_mod.module.")),
    "model.": ("numpy", prefixed("model.")),
    "compiled layers": ("numpy", compiled_layers),
    "model.pth": ("torch", torch_saved("model.pth", dict)),
    "last.ckpt": ("torch", torch_saved("last.ckpt", lambda s: {"state_dict": s, **STATE_OF_TRAINING}, "model.")),
    "net.pth": ("torch", torch_saved("net.pth", lambda s: {"net": s, "loss": s["classifier.bias"].sum(), "epoch": 3})),
    "step.pt": ("torch", torch_saved("step.pt", lambda s: {"model": s, "epoch": 3}, "module.")),
    "orbax": ("orbax", converted("orbax")),
    "Orbax, one step": ("orbax", orbax(("5/default",), "5")),
    "Orbax, newest of several": ("orbax", orbax(("5/default", "12/default"), "")),
    "Orbax, docs' own": ("orbax", orbax(("step-100",), "step-100")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind(framework, kind, tmp_path):
    library, make = KINDS[kind]
    if not has(library):
        pytest.skip(f"nothing here writes this without {library}")
    arrays = random_arrays(CONFIG, HEAD)
    source = make(tmp_path, arrays)
    model = framework.load(HEAD, source if source.is_dir() else str(source), dtype="auto")
    got = framework.parameters(model)
    assert got.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)
        assert got[name].dtype == array.dtype
    assert model.config == CONFIG.updated(torch_dtype=model.config.torch_dtype)
    assert model.config.name_or_path == str(source)


def test_the_state_of_an_optimizer_is_left_out_and_reported(framework, tmp_path):
    source = prefixed("model.", "optimizer.model.classifier.weight")(tmp_path, random_arrays(CONFIG, HEAD))
    left_out = r"not used: the state of the optimizer \(1 arrays from optimizer.model.classifier.weight on\)\.$"
    with pytest.warns(CheckpointWarning, match=left_out):
        framework.load(HEAD, source)


def test_what_is_in_several_formats(framework, tmp_path):
    """Safetensors are read, unless the caller asks for another."""
    if not has("msgpack"):
        pytest.skip("nothing here writes msgpack")
    config = CONFIG.updated(n_layers=1)
    ours, theirs = random_arrays(config, HEAD, 1), random_arrays(config, HEAD, 2)
    files = {"config.json": config.to_json_string().encode()}
    save_checkpoint(tmp_path / "both", ours, files)
    save_checkpoint(tmp_path / "theirs", theirs, files)
    convert(tmp_path / "theirs", tmp_path / "msgpack", "msgpack")
    shutil.copy(tmp_path / "msgpack" / "flax_model.msgpack", tmp_path / "both")
    expected = [
        ({}, ours),
        ({"from_pt": True}, ours),
        ({"from_tf": True}, ours),
        ({"use_safetensors": True}, ours),
        ({"from_flax": True}, theirs),
        ({"use_safetensors": False}, theirs),
    ]
    for options, arrays in expected:
        got = framework.parameters(framework.load(HEAD, tmp_path / "both", dtype="auto", **options))
        np.testing.assert_array_equal(got["classifier.weight"], arrays["classifier.weight"])
    with pytest.raises(CheckpointError, match=r"has no weights: none of model.safetensors"):
        framework.load(HEAD, tmp_path / "msgpack", use_safetensors=True)


def test_values_that_float16_cannot_hold_are_named(framework, tmp_path):
    arrays = random_arrays(CONFIG, HEAD)
    arrays["classifier.bias"][0], arrays["pre_classifier.bias"][0] = 65520, 65519
    half = {"param_dtype" if framework.name == "flax" else "dtype": "float16"}
    with pytest.warns(CheckpointWarning, match=r"too large for float16, and infinite now .*: classifier\.bias\.$"):
        model = framework.load(HEAD, write(tmp_path / "large", arrays), **half)
    got = framework.parameters(model)
    assert np.isinf(got["classifier.bias"][0])
    assert got["pre_classifier.bias"][0] == 65504


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.module.", "model."])
def test_a_state_dict_with_other_names(framework, prefix):
    arrays = random_arrays(CONFIG, HEAD)
    given = {prefix + name: array for name, array in arrays.items()}
    model = framework.load(HEAD, None, config=CONFIG, state_dict=given, dtype="auto")
    for name, array in framework.parameters(model).items():
        np.testing.assert_array_equal(array, arrays[name], err_msg=name)
    del given[f"{prefix}distilbert.embeddings.LayerNorm.bias"]
    with pytest.raises(
        CheckpointError, match=r"^state_dict is not a complete DistilBERT checkpoint: it lacks 1 parameter"
    ):
        framework.load(HEAD, None, config=CONFIG, state_dict=given)


@pytest.mark.parametrize("kind", ["weight file", "preset of KerasHub", "adapter"])
def test_a_pipeline_of_any_checkpoint(framework, kind, tmp_path):
    """Its configuration, its task and its tokenizer are where the format has them."""
    if kind == "preset of KerasHub":
        pytest.importorskip("h5py")
        classify = pipeline(model=FIXTURES / "checkpoints" / "kerashub_text_classifier", framework=framework.name)
        assert classify.tokenizer.tokenize("Word3") == ["word3"]
        assert len(classify("word3", top_k=None)) == 5
        return
    expected = pipeline("text-classification", DEFAULT_MODEL, framework=framework.name)("A lovely film.")
    source = shutil.copytree(EMBEDDED_MODELS / DEFAULT_MODEL, tmp_path / "model") / "model.safetensors"
    if kind == "adapter":
        zeros = {"pre_classifier.lora_A.weight": np.zeros((2, 224)), "pre_classifier.lora_B.weight": np.zeros((224, 2))}
        source = write_adapter(tmp_path / "adapter", tmp_path / "model", zeros, task_type="SEQ_CLS")
    assert pipeline("text-classification", source, framework=framework.name)("A lovely film.") == expected
    (tmp_path / "rows.tsv").touch()
    with pytest.raises(CheckpointError, match=r"rows\.tsv is not a weight file: its name must end in one of \.safet"):
        pipeline("text-classification", tmp_path / "rows.tsv", framework=framework.name)


# -- adapters of peft ---------------------------------------------------------------------------------------------


def test_an_adapter_is_added_to_its_base(framework, tmp_path):
    """Low-rank updates of kernels and of the embeddings, biases, and a head that was trained whole."""
    rng = np.random.default_rng(0)
    base = save_random(tmp_path / "base", small_config(), Head.BASE)
    layer = "transformer.layer.1.attention"
    update = {
        f"distilbert.{layer}.q_lin.lora_A.weight": rng.normal(size=(2, 12)),
        f"distilbert.{layer}.q_lin.lora_B.weight": rng.normal(size=(12, 2)),
        f"distilbert.{layer}.k_lin.lora_A.weight": rng.normal(size=(4, 12)),
        f"distilbert.{layer}.k_lin.lora_B.weight": rng.normal(size=(12, 4)),
        f"distilbert.{layer}.k_lin.lora_B.bias": rng.normal(size=12),
        f"distilbert.{layer}.q_lin.base_layer.bias": rng.normal(size=12),
        "distilbert.embeddings.word_embeddings.lora_embedding_A": rng.normal(size=(2, 47)),
        "distilbert.embeddings.word_embeddings.lora_embedding_B": rng.normal(size=(12, 2)),
        "pre_classifier.weight": rng.normal(size=(12, 12)),
        "pre_classifier.bias": rng.normal(size=12),
        "classifier.modules_to_save.weight": rng.normal(size=(3, 12)),
        "classifier.modules_to_save.bias": rng.normal(size=3),
        "classifier.original_module.bias": rng.normal(size=3),
    }
    for rslora in (False, True):
        adapter = write_adapter(
            tmp_path / f"adapter-{rslora}",
            tmp_path / "base",
            update,
            task_type="SEQ_CLS",
            use_rslora=rslora,
            alpha_pattern={r"layer\.1\.attention\.k_lin": 10},
        )
        model = framework.load(HEAD, adapter, dtype="auto")
        got = framework.parameters(model)
        scale = {2: 6 / (np.sqrt(2) if rslora else 2), 4: 10 / (2 if rslora else 4)}
        assert model.config.num_labels == 3
        expected = {f"distilbert.{name}": array for name, array in base.items()}
        for module, rank in (("q_lin", 2), ("k_lin", 4)):
            a, b = (update[f"distilbert.{layer}.{module}.lora_{x}.weight"] for x in "AB")
            expected[f"distilbert.{layer}.{module}.weight"] = base[f"{layer}.{module}.weight"] + scale[rank] * (b @ a)
        a, b = (update[f"distilbert.embeddings.word_embeddings.lora_embedding_{x}"] for x in "AB")
        words = "embeddings.word_embeddings.weight"
        expected[f"distilbert.{words}"] = base[words] + scale[2] * (b @ a).T
        expected[f"distilbert.{layer}.q_lin.bias"] = update[f"distilbert.{layer}.q_lin.base_layer.bias"]
        expected[f"distilbert.{layer}.k_lin.bias"] = (
            base[f"{layer}.k_lin.bias"] + scale[4] * update[f"distilbert.{layer}.k_lin.lora_B.bias"]
        )
        expected |= {name: update[name] for name in ("pre_classifier.weight", "pre_classifier.bias")}
        expected |= {f"classifier.{x}": update[f"classifier.modules_to_save.{x}"] for x in ("weight", "bias")}
        assert got.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_allclose(got[name], array, rtol=0, atol=1e-14, err_msg=name)
        convert(adapter, tmp_path / f"merged-{rslora}")
        merged = framework.parameters(framework.load(HEAD, tmp_path / f"merged-{rslora}", dtype="auto"))
        np.testing.assert_array_equal(merged["classifier.weight"], got["classifier.weight"])
