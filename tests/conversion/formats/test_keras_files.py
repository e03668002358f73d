"""Keras' files without Keras: round trips, and files that are damaged or foreign."""

from __future__ import annotations

import json
import sys
import zipfile

import h5py
import numpy as np
import pytest

from distilbert_core import CheckpointError, Head
from support.checkpoints import CASES, save_random, small_config
from support.keras_files import assert_same_weights, rewrite_zip
from weight_conversion import FORMATS, convert, open_weights

DTYPES = ("float64", "float32", "float16", "bfloat16")


def holds(head: Head, changes: dict) -> bool:
    """Whether KerasHub has such a model."""
    plain = not changes.keys() & {"sinusoidal_pos_embds", "activation", "pruned_heads", "tie_word_embeddings"}
    return head in (Head.BASE, Head.SEQUENCE_CLASSIFICATION, Head.MASKED_LM) and plain


# Every case of the architecture in one dtype, and every head in every dtype.
THERE_AND_BACK = {
    f"{name}-{DTYPES[index % 4]}": (head, changes, DTYPES[index % 4])
    for index, (name, head, changes) in enumerate(CASES)
}
THERE_AND_BACK |= {f"{head.value}-{dtype}": (head, {}, dtype) for head in Head for dtype in DTYPES}


@pytest.mark.parametrize(("head", "changes", "dtype"), THERE_AND_BACK.values(), ids=THERE_AND_BACK)
def test_there_and_back(tmp_path, head, changes, dtype):
    config = small_config(**changes).updated(architectures=[head.architecture])
    arrays = save_random(tmp_path / "source", config, head, dtype=dtype)
    source = tmp_path / "source"
    for to in ("keras", "keras-weights", "kerashub", "pt"):
        if to == "kerashub" and not holds(head, changes):
            continue
        convert(source, tmp_path / to, to)
        source = tmp_path / to
        assert open_weights(source).format == to
        assert open_weights(source).head is head
        assert open_weights(source).config == config.updated(torch_dtype=dtype)
        assert_same_weights(source, arrays)


def test_keras_file_needs_nothing_beside_it(tmp_path):
    config = small_config(id2label={0: "no", 1: "yes"}, num_labels=2)
    arrays = save_random(tmp_path / "source", config, Head.SEQUENCE_CLASSIFICATION)
    convert(tmp_path / "source", tmp_path / "keras", "keras")
    (tmp_path / "elsewhere").mkdir()
    file = (tmp_path / "keras" / "model.keras").rename(tmp_path / "elsewhere" / "mine.keras")
    assert open_weights(file).config.id2label == {0: "no", 1: "yes"}
    assert_same_weights(file, arrays)


def test_nothing_is_left_beside_a_keras_file(tmp_path):
    save_random(tmp_path / "source", small_config(), Head.BASE)
    convert(tmp_path / "source", tmp_path / "keras", "keras")
    assert sorted(path.name for path in (tmp_path / "keras").iterdir()) == ["config.json", "model.keras"]


def test_an_older_file_does_not_hide_a_new_one(tmp_path):
    for seed, to in enumerate(("pt", "keras", "kerashub", "keras-weights")):
        arrays = save_random(tmp_path / "source", small_config(), Head.BASE, seed=seed)
        convert(tmp_path / "source", tmp_path / "one", to, force=True)
        assert open_weights(tmp_path / "one").format == to
        assert_same_weights(tmp_path / "one", arrays)


def edit_json(path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def remove_fields(path, *names: str) -> None:
    content = json.loads(path.read_text())
    for name in names:
        del content["config"][name]
    path.write_text(json.dumps(content))


def edit_h5(path, change) -> None:
    with h5py.File(path, "a") as file:
        change(file)


def cut(path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path, part: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(len(content) * part)] ^= 0xFF
    path.write_bytes(content)


def link_outside(file) -> None:
    del file["embeddings/LayerNorm"]
    file["embeddings/LayerNorm"] = h5py.ExternalLink("/etc/passwd", "/")


def compress(file) -> None:
    table = file["embeddings/word_embeddings/vars/0"][()]
    del file["embeddings/word_embeddings/vars/0"]
    file.create_dataset("embeddings/word_embeddings/vars/0", data=0 * table, compression="gzip")


def make_circle(file) -> None:
    file["embeddings/inside"] = file["embeddings"]


DAMAGE = {
    "keras-cut": ("keras", "model.keras", cut, "is damaged or not a .keras file"),
    "keras-flipped-bit-of-a-weight": (
        "keras",
        "model.keras",
        lambda path: flip(path, 0.5),
        "is damaged or not a .keras file .*CRC",
    ),
    "keras-empty": ("keras", "model.keras", lambda path: path.write_bytes(b""), "is damaged or not a .keras file"),
    "keras-without-weights": (
        "keras",
        "model.keras",
        lambda path: rewrite_zip(path, lambda content: content.pop("model.weights.h5") and None),
        "it has model.weights.h5 0 times",
    ),
    "keras-compressed": (
        "keras",
        "model.keras",
        lambda path: rewrite_zip(path, lambda content: zipfile.ZIP_DEFLATED),
        "is compressed, which Keras does not do",
    ),
    "keras-of-another-model": (
        "keras",
        "model.keras",
        lambda path: rewrite_zip(
            path, lambda content: content.update({"config.json": b'{"registered_name": "Sequential", "config": {}}'})
        ),
        "must hold a model of distilbert_tf, got 'Sequential'",
    ),
    "keras-config-of-absurd-size": (
        "keras",
        "model.keras",
        lambda path: rewrite_zip(path, lambda content: content.update({"config.json": b" " * (1 << 25)})),
        "config.json has 33554432 bytes in a member",
    ),
    "keras-config-no-json": (
        "keras",
        "model.keras",
        lambda path: rewrite_zip(path, lambda content: content.update({"config.json": b"{"})),
        "is damaged or not a .keras file .*JSONDecodeError",
    ),
    "weights-cut": ("keras-weights", "model.weights.h5", cut, "is damaged or not an HDF5 weight file"),
    "weights-link-outside": (
        "keras-weights",
        "model.weights.h5",
        lambda path: edit_h5(path, link_outside),
        "embeddings/LayerNorm is not stored in the file itself",
    ),
    "weights-compressed": (
        "keras-weights",
        "model.weights.h5",
        lambda path: edit_h5(path, compress),
        "is compressed or incomplete",
    ),
    "weights-circle": (
        "keras-weights",
        "model.weights.h5",
        lambda path: edit_h5(path, make_circle),
        "is the group embeddings again",
    ),
    "weights-missing-layer": (
        "keras-weights",
        "model.weights.h5",
        lambda path: edit_h5(path, lambda file: file.pop("embeddings/LayerNorm")),
        "lacks 2 of the parameters of DistilBertModel: embeddings.LayerNorm.weight",
    ),
    "weights-no-names": (
        "keras-weights",
        "model.weights.h5",
        lambda path: edit_h5(path, lambda file: file["embeddings/LayerNorm/vars"].attrs.pop("name")),
        "It also holds: embeddings/LayerNorm/vars/0",
    ),
    "weights-integers": (
        "keras-weights",
        "model.weights.h5",
        lambda path: edit_h5(
            path,
            lambda file: (
                file.pop("embeddings/LayerNorm/vars/0"),
                file.create_dataset("embeddings/LayerNorm/vars/0", data=np.ones(12, np.int64)),
            ),
        ),
        "must be of a floating dtype, got int64",
    ),
    "preset-of-bert": (
        "kerashub",
        "config.json",
        lambda path: edit_json(path, class_name="BertBackbone"),
        "must describe a DistilBertBackbone, got 'BertBackbone'",
    ),
    "preset-lacks-a-field": (
        "kerashub",
        "config.json",
        lambda path: remove_fields(path, "num_heads"),
        "lacks some of the fields .*num_heads",
    ),
    "preset-other-size": (
        "kerashub",
        "metadata.json",
        lambda path: edit_h5(
            path.with_name("model.weights.h5"),
            lambda file: (
                file.pop("layers/layer_normalization/vars/0"),
                file.create_dataset("layers/layer_normalization/vars/0", data=np.ones(5)),
            ),
        ),
        r"LayerNorm.weight: \(5,\) stored, \(12,\) expected",
    ),
    "preset-cut": ("kerashub", "model.weights.h5", cut, "is damaged or not an HDF5 weight file"),
}


@pytest.mark.parametrize(("to", "file", "damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_files(tmp_path, to, file, damage, message):
    save_random(tmp_path / "source", small_config(), Head.BASE)
    convert(tmp_path / "source", tmp_path / "there", to)
    damage(tmp_path / "there" / file)
    with pytest.raises(CheckpointError, match=message):
        open_weights(tmp_path / "there")


def test_weights_without_a_configuration(tmp_path):
    save_random(tmp_path / "source", small_config(), Head.BASE)
    convert(tmp_path / "source", tmp_path / "there", "keras-weights")
    (tmp_path / "there" / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no file config.json"):
        open_weights(tmp_path / "there")


@pytest.mark.parametrize(
    ("to", "library", "extra"),
    [
        ("keras", "h5py", "convert"),
        ("keras-weights", "h5py", "convert"),
        ("kerashub", "h5py", "convert"),
        ("h5", "h5py", "convert"),
        ("msgpack", "msgpack", "convert"),
        ("orbax", "orbax.checkpoint", "flax"),
    ],
)
def test_missing_library(tmp_path, monkeypatch, to, library, extra):
    save_random(tmp_path / "source", small_config(), Head.BASE, dtype="float32")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(CheckpointError, match=rf'needs {library}.* pip install "distilbert\[{extra}\]"'):
        convert(tmp_path / "source", tmp_path / "there", to)
    assert not (tmp_path / "there").exists()


def test_formats_have_one_name_each():
    assert [format.name for format in FORMATS.values()] == list(FORMATS)
    assert {"keras", "keras-weights", "kerashub", "orbax"} <= FORMATS.keys()
