"""Conversion between formats: the values, the refusals, and the files after a failure."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distilbert_core import DEFAULT_MODEL, Head, __version__
from distilbert_core.errors import CheckpointError, CheckpointWarning, InputError
from distilbert_core.files.checkpoint import save_checkpoint
from support.checkpoints import random_arrays, save_random, small_config
from support.conversions import PHASES, arrays_of, bits, chains, check_chain, configs
from support.converted import WITHOUT_FRAMEWORK, files_of, write_files
from support.processes import fresh_python
from weight_conversion import FORMATS, convert, make_student, open_weights, verify

# -- what arrives --------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None, phases=PHASES)
@given(configs(), st.sampled_from(list(Head)), chains(WITHOUT_FRAMEWORK), st.integers(0, 2**32 - 1))
def test_every_chain_of_formats_returns_the_same_bits(config: Any, head: Head, chain: Any, seed: int) -> None:
    check_chain(config, head, *chain, seed)


@pytest.mark.long
@settings(max_examples=500, deadline=None, phases=PHASES)
@given(configs(), st.sampled_from(list(Head)), chains(WITHOUT_FRAMEWORK), st.integers(0, 2**32 - 1))
def test_every_chain_of_formats_returns_the_same_bits_many_times(
    config: Any, head: Head, chain: Any, seed: int
) -> None:
    check_chain(config, head, *chain, seed)


@pytest.mark.parametrize("to", WITHOUT_FRAMEWORK)
@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_dtype_rounds_once(source: Path, tmp_path: Path, to: str, dtype: str) -> None:
    if (to, dtype) == ("h5", "bfloat16"):
        pytest.skip("HDF5 has no bfloat16: test_what_cannot_be_converted")
    convert(source, tmp_path / "new", to, dtype=dtype)
    expected = {name: array.astype(dtype) for name, array in arrays_of(source).items()}
    assert bits(arrays_of(tmp_path / "new")) == bits(expected)
    assert json.loads((tmp_path / "new/config.json").read_text())["torch_dtype"] == dtype


@pytest.mark.parametrize("to", WITHOUT_FRAMEWORK)
def test_tensors_keep_their_own_dtypes(tmp_path: Path, to: str) -> None:
    arrays = random_arrays(small_config(), Head.BASE, dtype="float32")
    arrays = {name: array.astype("float16") if "norm" in name else array for name, array in arrays.items()}
    save_checkpoint(tmp_path / "mixed", arrays, {"config.json": small_config().to_json_string().encode()})
    convert(tmp_path / "mixed", tmp_path / "new", to)
    assert bits(arrays_of(tmp_path / "new")) == bits(arrays)


@pytest.mark.parametrize("to", WITHOUT_FRAMEWORK)
def test_infinite_values_are_kept_with_a_warning(tmp_path: Path, to: str) -> None:
    arrays = random_arrays(small_config(), Head.BASE, dtype="float32")
    arrays["embeddings.LayerNorm.bias"][:3] = [np.nan, np.inf, -np.inf]
    save_checkpoint(tmp_path / "bad", arrays, {"config.json": small_config().to_json_string().encode()})
    with pytest.warns(CheckpointWarning, match=r"embeddings\.LayerNorm\.bias holds NaN or infinite values"):
        convert(tmp_path / "bad", tmp_path / "new", to)
    assert bits(arrays_of(tmp_path / "new")) == bits(arrays)


@pytest.mark.parametrize("to", ["pt", "keras"])
def test_values_outside_the_range_of_a_dtype_are_reported(tmp_path: Path, to: str) -> None:
    arrays = random_arrays(small_config(), Head.BASE, dtype="float32")
    for name in ("embeddings.LayerNorm.bias", "transformer.layer.1.ffn.lin2.bias"):
        arrays[name][:4] = [1e-9, -2e-8, 0, 1]  # 3e-8 is the smallest magnitude that is not rounded to 0
    arrays["embeddings.LayerNorm.weight"][:3] = [7e4, -np.inf, 65504]
    save_checkpoint(tmp_path / "source", arrays, {"config.json": small_config().to_json_string().encode()})
    with pytest.warns(CheckpointWarning) as caught:
        weights = convert(tmp_path / "source", tmp_path / "new", to, dtype="float16")
    name = "embeddings.LayerNorm.weight"
    where = f"{tmp_path / 'source' / 'model.safetensors'}: {name}"
    assert {str(warning.message) for warning in caught} == {
        f"{where}: {name} holds NaN or infinite values.",
        f"{where}: 1 values are too large for float16 and became infinite.",
    }
    assert weights.notes == [
        "4 values were too small for float16 and became 0, in embeddings.LayerNorm.bias, "
        "transformer.layer.1.ffn.lin2.bias."
    ]
    found = arrays_of(tmp_path / "new")
    assert found[name][:3].tolist() == [np.inf, -np.inf, 65504]
    assert found["embeddings.LayerNorm.bias"][:4].tolist() == [0, 0, 0, 1]


def test_rounding_to_onnx_is_reported(tmp_path: Path) -> None:
    arrays = random_arrays(small_config(), Head.BASE, dtype="float32")
    arrays["embeddings.LayerNorm.bias"] = arrays["embeddings.LayerNorm.bias"].astype("float64")
    save_checkpoint(tmp_path, arrays, {"config.json": small_config().to_json_string().encode()})
    for to in ("onnx", "onnx-int8", "openvino-int8"):
        unwritten = FORMATS[to].unwritten
        assert unwritten is not None
        assert unwritten({}, open_weights(tmp_path)) == ["The graph is float32: tensors of float64 were rounded to it."]
        assert unwritten({}, open_weights(DEFAULT_MODEL)) == []  # float16, which float32 holds


def test_large_values_are_not_reported_as_infinite(tmp_path: Path) -> None:
    arrays = random_arrays(small_config(), Head.BASE, dtype="float32")
    arrays["embeddings.LayerNorm.bias"][:] = 3e38  # finite, but their sum is not
    save_checkpoint(tmp_path / "large", arrays, {"config.json": small_config().to_json_string().encode()})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert(tmp_path / "large", tmp_path / "new", "tf")


def test_the_history_in_the_model_card(tmp_path: Path) -> None:
    """Asked for, each conversion adds its line; the card of the source stays, and so do its bytes otherwise."""
    save_random(tmp_path / "old", small_config(), Head.BASE)
    (tmp_path / "old/README.md").write_text("# mine\n")
    convert(tmp_path / "old", tmp_path / "h5", "h5", card=True)
    convert(tmp_path / "h5", tmp_path / "new", "pt", dtype="float16", card=True)
    card = "# mine\n\n## Conversions\n\n* From `pt` of `old` to `h5`, float64, by distilbert {0}.\n" + (
        "* From `h5` of `h5` to `pt`, float16, by distilbert {0}.\n"
    )
    assert (tmp_path / "new/README.md").read_text() == card.format(__version__)
    convert(tmp_path / "old", tmp_path / "plain", "h5")
    assert (tmp_path / "plain/README.md").read_text() == "# mine\n"
    (tmp_path / "old/README.md").unlink()
    convert(tmp_path / "old", tmp_path / "without", card=True)
    assert "`DistilBertModel`: 2 layers" in (tmp_path / "without/README.md").read_text()


# -- what is dropped -----------------------------------------------------------------------------------------


OWN = {  # what a user's class, or training, may save beside the table's
    "extra.weight": np.ones((3, 5), np.float32),
    "batches": np.array(7),  # an integer without a module, and a scalar
    "mask": np.array([True, False]),
    "my.embeddings.weight": np.ones(2),
    "head.classifier.weight": np.ones((7, 12), np.float32),  # of a layer that only has a name like DistilBERT's
    "head.classifier.bias": np.ones(7, np.float32),
    "optimizer/vars/0": np.ones(3, np.float32),
    "opt_state/0/mu/embeddings/word_embeddings/embedding": np.ones((47, 12), np.float32),
}
OWN_NOTES = [
    "The state of the optimizer was dropped: 2 arrays from opt_state/0/mu/embeddings/word_embeddings/embedding on.",
    "Dropped, as DistilBertModel has no such parameters: batches, extra.weight, head.classifier.bias, "
    "head.classifier.weight, mask, my.embeddings.weight.",
]


def test_entries_outside_the_table_are_reported(tmp_path: Path) -> None:
    arrays = random_arrays(small_config(), Head.BASE, dtype="float32")
    save_checkpoint(tmp_path / "source", arrays | OWN, {"config.json": small_config().to_json_string().encode()})
    weights = convert(tmp_path / "source", tmp_path / "new", "msgpack")
    assert (weights.head, weights.notes) == (Head.BASE, OWN_NOTES)
    assert bits(arrays_of(tmp_path / "new")) == bits(arrays)


@pytest.mark.parametrize(
    ("named", "asked", "said"),
    [
        (None, None, False),
        ("DistilBertForTokenClassification", None, False),
        ("TFDistilBertForTokenClassification", None, False),
        ("MyModel", None, False),
        ("DistilBertModel", None, True),
        ("DistilBertModel", Head.TOKEN_CLASSIFICATION, False),
    ],
)
def test_a_head_missing_from_the_configuration_is_reported(
    tmp_path: Path, named: str | None, asked: Head | None, said: bool
) -> None:
    """It may be a layer of the user's own that only has the name of DistilBERT's."""
    config = small_config(architectures=[named] if named else None)
    save_random(tmp_path, config, Head.TOKEN_CLASSIFICATION)
    weights = open_weights(tmp_path, asked)
    assert weights.head is Head.TOKEN_CLASSIFICATION
    note = (
        "Taken for a DistilBertForTokenClassification, which its entries fit best, though config.json names "
        "DistilBertModel. Give another head if it is not one."
    )
    assert weights.notes == ([note] if said else [])


@pytest.mark.parametrize(("change", "said"), [(0.0, False), (1.0, True)])
def test_a_projector_that_differs_from_the_embeddings_is_reported(tmp_path: Path, change: float, said: bool) -> None:
    arrays = random_arrays(small_config(), Head.MASKED_LM, dtype="float32")
    words = arrays["distilbert.embeddings.word_embeddings.weight"]
    copy = {"vocab_projector.weight": words + np.float32(change)}
    save_checkpoint(tmp_path / "source", arrays | copy, {"config.json": small_config().to_json_string().encode()})
    note = (
        "Dropped, as tie_word_embeddings of config.json is true: vocab_projector.weight, which differs from the word "
        "embeddings. Set that to false to keep it."
    )
    assert open_weights(tmp_path / "source").notes == ([note] if said else [])


def test_unlisted_datasets_of_a_file_are_reported(source: Path, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    convert(source, tmp_path / "old", "h5")
    with h5py.File(tmp_path / "old" / "tf_model.h5", "r+") as file:
        file["top_level_model_weights/temperature:0"] = np.ones(1, np.float32)
    note = "such parameters: top_level_model_weights/temperature:0."
    assert [entry[-len(note) :] for entry in open_weights(tmp_path / "old").notes] == [note]


def test_metadata_of_safetensors_are_reported(source: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    file = source / "model.safetensors"
    save_file(load_file(file), file, metadata={"format": "pt", "step": "7", "author": "me"})
    assert convert(source, tmp_path / "new").notes == ["Metadata of model.safetensors were dropped: author, step."]


@pytest.mark.parametrize("to", ["pt", "keras"])
def test_a_format_without_shards_is_reported(source: Path, tmp_path: Path, to: str) -> None:
    notes = convert(source, tmp_path / "new", to, max_shard_size="2KB").notes
    title = "Keras' .keras file of this project's model"
    assert notes == ([] if to == "pt" else [f"max_shard_size=2KB was not applied: {title} is not split."])


# -- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call",
    [
        lambda source, folder, **where: convert(source, folder, **where),
        lambda source, folder, **where: make_student(source, folder, **where),
        lambda source, folder, **where: open_weights(source, **where),
        lambda source, folder, **where: verify([source], [], **where),
    ],
    ids=["convert", "make_student", "open_weights", "verify"],
)
def test_unknown_keywords_are_refused(source: Path, tmp_path: Path, call: Any) -> None:
    with pytest.raises(TypeError, match=r"^Unknown keyword argument\(s\): dtyp, too\.$"):
        call(source, tmp_path / "new", too=1, revision=None, dtyp="float16")
    assert not (tmp_path / "new").exists()


def test_a_name_is_refused_as_head(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"head must be a Head, such as Head.MASKED_LM .* got 'DistilBertModel'"):
        convert(DEFAULT_MODEL, tmp_path / "new", head="DistilBertModel")  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("to", "options", "error", "message"),
    [
        ("docx", {}, InputError, "to must be one of pt, .* got 'docx'"),
        ("pt", {"dtype": "int8"}, InputError, "dtype must be one of float64, .* got 'int8'"),
        ("pt", {"max_shard_size": "many"}, ValueError, "A size must be .* got 'many'"),
        ("h5", {"dtype": "bfloat16"}, CheckpointError, "cannot hold bfloat16; convert with dtype='float32'"),
    ],
)
def test_what_cannot_be_converted(
    source: Path, tmp_path: Path, to: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        convert(source, tmp_path / "new", to, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_folder_with_files_is_refused_without_force(source: Path, tmp_path: Path) -> None:
    destination = tmp_path / "new"
    destination.mkdir()
    (destination / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="new exists already; give force=True"):
        convert(source, destination)
    assert files_of(destination) == {"notes.txt": b"mine"}


def test_a_file_is_refused_as_destination(source: Path, tmp_path: Path) -> None:
    (tmp_path / "new").write_text("mine")
    with pytest.raises(CheckpointError, match="new exists already"):
        convert(source, tmp_path / "new")
    with pytest.raises(CheckpointError, match="new must be a folder, it is a file"):
        convert(source, tmp_path / "new", force=True)
    assert (tmp_path / "new").read_text() == "mine"


def test_force_replaces_the_weights_of_every_format_and_nothing_else(source: Path, tmp_path: Path) -> None:
    destination = tmp_path / "new"
    convert(source, destination, "h5", max_shard_size="1KB")
    convert(source, destination, "flax", force=True)
    (destination / "notes.txt").write_text("mine")
    convert(source, destination, "msgpack", force=True)
    assert sorted(files_of(destination)) == ["config.json", "flax_model.msgpack", "notes.txt"]
    assert bits(arrays_of(destination)) == bits(arrays_of(source))


def test_older_files_that_would_be_read_with_the_new_ones_are_removed(source: Path, tmp_path: Path) -> None:
    """Files of another tokenizer, of another preset: what stays is a whole checkpoint."""
    destination = tmp_path / "new"
    preset = convert(source, destination, "kerashub")
    assert preset.head is Head.SEQUENCE_CLASSIFICATION
    write_files(destination, {"vocab.txt": b"of another tokenizer", "metadata.txt": b"mine"})
    (source / "tokenizer_config.json").write_text("{}")
    notes = convert(source, destination, "kerashub", head=Head.BASE, force=True).notes
    assert notes[1:] == [
        "Left out, as KerasHub's tokenizer needs a vocabulary: tokenizer_config.json.",
        f"Removed from {destination}: task.json, task.weights.h5.",
    ]
    assert open_weights(destination).head is Head.BASE
    notes = convert(source, destination, force=True).notes
    assert notes == [f"Removed from {destination}: metadata.json, model.weights.h5, vocab.txt."]
    assert sorted(files_of(destination)) == [
        "config.json",
        "metadata.txt",
        "model.safetensors",
        "tokenizer_config.json",
    ]


def test_a_checkpoint_can_replace_itself(source: Path) -> None:
    before = arrays_of(source)
    (source / "notes.txt").write_text("mine")
    assert convert(source, source, "h5", force=True).notes == [f"Removed from {source}: model.safetensors."]
    assert (source / "notes.txt").read_text() == "mine"
    (source / "notes.txt").unlink()
    assert sorted(files_of(source)) == ["config.json", "tf_model.h5"]
    assert bits(arrays_of(source)) == bits(before)


# -- what a failure leaves behind ----------------------------------------------------------------------------


FAILING_WRITER = """
import errno, sys
from weight_conversion import convert
def progress(done):
    {action}
convert({source!r}, {destination!r}, {to!r}, force={force}, progress=progress)
"""


def interrupted(action: str, source: Path, destination: Path, to: str, force: bool) -> subprocess.CompletedProcess[str]:
    """Convert in a process of its own, in which `action` is done when the first tensor has been read."""
    code = FAILING_WRITER.format(action=action, source=str(source), destination=str(destination), to=to, force=force)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.parametrize("to", ["pt", "h5", "msgpack"])
@pytest.mark.parametrize("exists", [False, True])
def test_a_killed_conversion_leaves_the_destination_as_it_was(
    source: Path, tmp_path: Path, to: str, exists: bool
) -> None:
    destination = tmp_path / "new"
    if exists:
        convert(source, destination, "flax", dtype="float16")
    before = files_of(destination)
    done = interrupted("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", source, destination, to, exists)
    assert done.returncode == -signal.SIGKILL
    after = {name: content for name, content in files_of(destination).items() if not name.startswith(".saving-")}
    assert (destination.exists(), after) == (exists, before)


@pytest.mark.parametrize("to", WITHOUT_FRAMEWORK)
@pytest.mark.parametrize("exists", [False, True])
def test_a_full_disk_leaves_the_destination_as_it_was(source: Path, tmp_path: Path, to: str, exists: bool) -> None:
    destination = tmp_path / "new"
    if exists:
        convert(source, destination, "flax", dtype="float16")
    before = files_of(destination)
    # A file may not grow beyond 8,000 bytes: writing on fails as it does on a full disk.
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))"
    done = interrupted(limit, source, destination, to, exists)
    assert done.returncode == 1
    assert "OSError" in done.stderr
    assert "File too large" in done.stderr
    assert (destination.exists(), files_of(destination)) == (exists, before)
    assert not list(tmp_path.glob(".saving-*"))


CHANGES = {
    "rewritten": lambda file: file.write_bytes(file.read_bytes()),
    "cut short": lambda file: os.truncate(file, file.stat().st_size // 2),
    "replaced": lambda file: (shutil.copy(file, f"{file}.new"), os.replace(f"{file}.new", file)),
    "removed": lambda file: file.unlink(),
}


@pytest.mark.parametrize("changed", ["weights", "config.json"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("format", WITHOUT_FRAMEWORK)
def test_a_source_that_changes_during_conversion_is_an_error(
    source: Path, tmp_path: Path, format: str, change: Any, changed: str
) -> None:
    convert(source, tmp_path / "old", format)
    if format == "keras" and changed == "config.json":
        changed = "weights"  # which hold the configuration
    file = tmp_path / "old" / (FORMATS[format].file if changed == "weights" else changed)
    os.utime(file, (0, 0))  # so that a change within one tick of the clock shows
    changes = iter([change])
    with pytest.raises(
        CheckpointError, match=r"old.* (was changed while it was read|ends before|is damaged|cannot be read)"
    ):
        convert(tmp_path / "old", tmp_path / "new", progress=lambda _: next(changes, lambda _: None)(file))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "source"]


# -- what it needs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", WITHOUT_FRAMEWORK)
def test_no_framework_is_imported(source: Path, tmp_path: Path, to: str) -> None:
    code = f"""
import sys
from weight_conversion import convert
convert({str(source)!r}, {str(tmp_path / "there")!r}, {to!r})
convert({str(tmp_path / "there")!r}, {str(tmp_path / "back")!r}, "pt")
print(sorted({{"torch", "tensorflow", "keras", "jax", "flax"}} & sys.modules.keys()))
"""
    assert fresh_python(code) == "[]\n"
    assert bits(arrays_of(tmp_path / "back")) == bits(arrays_of(source))


# -- heads ---------------------------------------------------------------------------------------------------


def test_a_base_model_gets_the_requested_head(tmp_path: Path) -> None:
    arrays = save_random(tmp_path / "base", small_config(), Head.BASE, dtype="float32")
    weights = convert(tmp_path / "base", tmp_path / "head", head=Head.MASKED_LM)
    new = (
        "vocab_transform.weight, vocab_transform.bias, vocab_layer_norm.weight, vocab_layer_norm.bias, vocab_projector"
    )
    assert weights.notes == [f"New, and to be trained before use: {new}.bias."]
    found = arrays_of(tmp_path / "head")
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[f"distilbert.{name}"], array)
    assert np.all(found["vocab_layer_norm.weight"] == 1)
    assert not np.any(found["vocab_projector.bias"])
    kernel, spread = found["vocab_transform.weight"], weights.config.initializer_range
    assert spread / 2 < kernel.std() < 2 * spread
    again = convert(tmp_path / "base", tmp_path / "again", head=Head.MASKED_LM)
    np.testing.assert_array_equal(again.tensors["vocab_transform.weight"].read(), kernel)


def test_a_model_with_a_head_becomes_a_base_model(source: Path, tmp_path: Path) -> None:
    weights = convert(source, tmp_path / "base", head=Head.BASE)
    dropped = "classifier.bias, classifier.weight, pre_classifier.bias, pre_classifier.weight"
    assert weights.notes == [f"Dropped, as DistilBertModel has no such parameters: {dropped}."]
    base = arrays_of(tmp_path / "base")
    for name, array in arrays_of(source).items():
        if name.startswith("distilbert."):
            np.testing.assert_array_equal(base[name.removeprefix("distilbert.")], array)


def test_a_base_model_without_a_layer_is_refused_with_any_head(tmp_path: Path) -> None:
    arrays = save_random(tmp_path / "base", small_config(), Head.BASE, dtype="float32")
    del arrays["transformer.layer.0.ffn.lin1.bias"]
    save_checkpoint(tmp_path / "base", arrays, {"config.json": (tmp_path / "base" / "config.json").read_bytes()})
    for head in (None, Head.BASE, Head.MASKED_LM):
        with pytest.raises(CheckpointError, match=r"lacks .*transformer\.layer\.0\.ffn\.lin1\.bias"):
            convert(tmp_path / "base", tmp_path / "new", head=head)
    assert not (tmp_path / "new").exists()
