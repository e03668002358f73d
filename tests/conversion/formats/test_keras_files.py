"""Keras' files and KerasHub's presets, without Keras: there and back, and what cannot be held or read."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from distilbert_core import CheckpointError, DistilBertTokenizerFast, Head
from support.checkpoints import CASES, save_random, small_config
from support.paths import FIXTURES
from weight_conversion import FORMATS, convert, open_weights, reading, sidecars, weight_files

DTYPES = ("float64", "float32", "float16", "bfloat16")
PRESETS = ("kerashub_backbone", "kerashub_text_classifier", "kerashub_masked_lm")


def assert_same_weights(folder, arrays) -> None:
    """The same tensors bit for bit."""
    tensors = open_weights(folder).tensors
    assert tensors.keys() == arrays.keys()
    for name, array in arrays.items():
        got = tensors[name].read()
        assert (got.dtype, got.shape, got.tobytes()) == (array.dtype, array.shape, array.tobytes()), name


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


# -- real presets of KerasHub -----------------------------------------------------------------------------------


def datasets(path) -> dict[str, np.ndarray]:
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return {name: array for name, array in found.items() if not name.startswith("optimizer")}


def test_masked_lm_of_kerashub_is_that_of_transformers():
    """The weights are; that its head computes with another epsilon is said."""
    weights = open_weights(FIXTURES / "checkpoints" / "kerashub_masked_lm")
    expected = open_weights(FIXTURES / "checkpoints" / "pt_masked_lm")
    assert weights.head is Head.MASKED_LM
    assert_same_weights(weights.source, {name: tensor.read() for name, tensor in expected.tensors.items()})
    assert "epsilon 1e-5, DistilBERT's 1e-12" in weights.notes[-1]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_comes_back_as_kerashub_wrote_it(tmp_path, preset):
    """Through another format: the same arrays at the same places, and the same settings of the same objects."""
    convert(FIXTURES / "checkpoints" / preset, tmp_path / "pt")
    convert(tmp_path / "pt", tmp_path / "kerashub", "kerashub")
    for file in (FIXTURES / "checkpoints" / preset).rglob("*.*"):
        name = file.relative_to(FIXTURES / "checkpoints" / preset)
        if name.suffix == ".h5":
            np.testing.assert_equal(datasets(tmp_path / "kerashub" / name), datasets(file))
        elif name.suffix == ".txt":
            assert (tmp_path / "kerashub" / name).read_bytes().split() == file.read_bytes().split()
        elif name.suffix == ".json" and name.name != "metadata.json":
            assert json.loads((tmp_path / "kerashub" / name).read_text()) == json.loads(file.read_text())


def test_a_preset_on_the_hub(tmp_path, monkeypatch):
    """Its files are there when they are asked for, and not before."""
    preset = FIXTURES / "checkpoints" / "kerashub_text_classifier"

    def fetch(source, name, **where):
        if not (preset / name).is_file():
            return None
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(preset / name, tmp_path / name))

    for module in (sidecars, reading, weight_files):
        monkeypatch.setattr(module, "find_file", fetch)
    weights = open_weights("someone/preset")
    assert (weights.format, weights.head) == ("kerashub", Head.SEQUENCE_CLASSIFICATION)
    assert_same_weights(preset, {name: tensor.read() for name, tensor in weights.tensors.items()})
    assert weights.sidecars["vocab.txt"] == (preset / "assets" / "tokenizer" / "vocabulary.txt").read_bytes()


@pytest.mark.parametrize("lowercase", [True, False])
def test_tokenizer_of_a_preset(tmp_path, lowercase):
    preset = shutil.copytree(FIXTURES / "checkpoints" / "kerashub_text_classifier", tmp_path / "preset")
    settings = json.loads((preset / "tokenizer.json").read_text())
    settings["config"]["lowercase"] = lowercase
    (preset / "tokenizer.json").write_text(json.dumps(settings))
    convert(preset, tmp_path / "pt")
    tokenizer = DistilBertTokenizerFast.from_pretrained(tmp_path / "pt")
    assert tokenizer.tokenize("Word7 word8") == (["word7", "word8"] if lowercase else ["[UNK]", "word8"])


def test_labels_travel_through_kerashub(tmp_path):
    config = small_config(num_labels=3, id2label={0: "a", 1: "b", 2: "c"}, attention_dropout=0.3, pad_token_id=None)
    save_random(tmp_path / "source", config, Head.SEQUENCE_CLASSIFICATION)
    convert(tmp_path / "source", tmp_path / "preset", "kerashub")
    got = open_weights(tmp_path / "preset").config
    assert (got.id2label, got.attention_dropout, got.pad_token_id) == (config.id2label, 0.3, None)


def test_vocabulary_of_a_tokenizer_file(tmp_path):
    """Where there is no vocab.txt, KerasHub's file is made from tokenizer.json."""
    convert("sst2-tiny", tmp_path / "pt")
    DistilBertTokenizerFast.from_pretrained("sst2-tiny").save_pretrained(tmp_path / "pt")
    words = (tmp_path / "pt" / "vocab.txt").read_text().splitlines()
    (tmp_path / "pt" / "vocab.txt").unlink()
    assert (tmp_path / "pt" / "tokenizer.json").is_file()
    convert(tmp_path / "pt", tmp_path / "preset", "kerashub")
    assert (tmp_path / "preset" / "assets" / "tokenizer" / "vocabulary.txt").read_text().splitlines() == words


# -- what a preset cannot hold, and what of one has no place here -----------------------------------------------

TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ab", "##c", "[E1]")


def save_with_tokenizer(folder, tokens=TOKENS, added=None, settings=None, **changes) -> None:
    """A classifier with a vocabulary, further tokens and settings of its tokenizer."""
    save_random(folder, small_config(**changes), Head.SEQUENCE_CLASSIFICATION)
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens))
    for name, content in (("added_tokens.json", added), ("tokenizer_config.json", settings)):
        if content is not None:
            (folder / name).write_text(json.dumps(content))


LEFT_OUT = "The tokenizer was left out"
NO_PLACE = "Settings of the tokenizer that KerasHub's does not have"
LOST = {
    "nothing": ({}, []),
    "what-is-held": (
        {
            "settings": {
                "do_lower_case": False,
                "strip_accents": True,
                "tokenize_chinese_chars": False,
                "unk_token": "ab",
                "model_max_length": 9,
                "tokenizer_class": "BertTokenizerFast",
            }
        },
        [],
    ),
    "added-tokens": (
        {"added": {"covfefe": 8, "[NEW]": 9}},
        ["Dropped, as KerasHub's tokenizer has no added tokens: covfefe (8), [NEW] (9)."],
    ),
    "added-tokens-of-the-vocabulary": (
        {"settings": {"additional_special_tokens": ["[E1]"]}},
        ["Dropped, as KerasHub's tokenizer has no added tokens: [E1] (7)."],
    ),
    "settings": (
        {
            "settings": {
                "clean_text": False,
                "never_split": ["ab"],
                "padding_side": "left",
                "truncation_side": "left",
                "tokenizer_class": "MecabTokenizer",
            }
        },
        [
            f"{NO_PLACE}: clean_text=False, never_split=['ab'], padding_side='left', truncation_side='left', "
            "tokenizer_class='MecabTokenizer'."
        ],
    ),
    "no-basic-tokens": ({"settings": {"do_basic_tokenize": False}}, [f"{NO_PLACE}: do_basic_tokenize=False."]),
    "attention-dropout": (
        {"dropout": 0.25, "attention_dropout": 0.5},
        ["KerasHub has one dropout, 0.25: attention_dropout=0.5 is only kept in metadata.json."],
    ),
    "other-special-tokens": (
        {"settings": {"cls_token": "ab"}},
        [
            f"{LEFT_OUT}: KerasHub's has [CLS], [SEP], [PAD], [MASK] in its vocabulary, this one cls_token='ab', "
            "sep_token='[SEP]', pad_token='[PAD]', mask_token='[MASK]'."
        ],
    ),
    "unreadable": (
        {"tokens": ("[PAD]", "[UNK]")},
        [f"{LEFT_OUT}, as it could not be read: "],
    ),
}


@pytest.mark.parametrize(("options", "notes"), LOST.values(), ids=LOST)
def test_what_a_preset_cannot_hold_is_said(tmp_path, options, notes):
    save_with_tokenizer(tmp_path / "source", **options)
    found = convert(tmp_path / "source", tmp_path / "preset", "kerashub").notes
    assert len(found) == len(notes)
    for got, expected in zip(found, notes, strict=True):
        assert got.startswith(expected)
    left_out = notes and notes[0].startswith(LEFT_OUT)
    assert (tmp_path / "preset" / "tokenizer.json").is_file() is not left_out


def test_settings_of_a_tokenizer_travel_through_a_preset(tmp_path):
    options, _ = LOST["what-is-held"]
    save_with_tokenizer(tmp_path / "source", **options)
    convert(tmp_path / "source", tmp_path / "preset", "kerashub")
    written = json.loads((tmp_path / "preset" / "tokenizer.json").read_text())["config"]
    assert (written["lowercase"], written["strip_accents"], written["split_on_cjk"]) == (False, True, False)
    assert written["oov_token"] == "ab"
    preprocessor = json.loads((tmp_path / "preset" / "preprocessor.json").read_text())["config"]
    assert preprocessor["sequence_length"] == 9
    assert convert(tmp_path / "preset", tmp_path / "pt").notes == []
    got = json.loads((tmp_path / "pt" / "tokenizer_config.json").read_text())
    kept = {name: value for name, value in options["settings"].items() if name != "tokenizer_class"}
    assert got == kept


def test_the_vocabulary_is_that_which_is_read(tmp_path):
    """tokenizer.json comes first, as where a tokenizer is loaded, and so do the settings in it."""
    save_with_tokenizer(tmp_path / "source", settings={"do_lower_case": False})
    DistilBertTokenizerFast.from_pretrained(tmp_path / "source").save_pretrained(tmp_path / "source")
    (tmp_path / "source" / "vocab.txt").write_text("an older one\n")
    (tmp_path / "source" / "tokenizer_config.json").write_text("{}")
    convert(tmp_path / "source", tmp_path / "preset", "kerashub")
    words = (tmp_path / "preset" / "assets" / "tokenizer" / "vocabulary.txt").read_text().split()
    assert words == list(TOKENS)
    assert json.loads((tmp_path / "preset" / "tokenizer.json").read_text())["config"]["lowercase"] is False


def change_settings(file, **changes):
    """Return what changes settings of an object in a file of a preset."""

    def change(preset):
        content = json.loads((preset / file).read_text())
        content["config"] |= changes
        (preset / file).write_text(json.dumps(content))

    return change


def make_another_task(preset):
    content = json.loads((preset / "task.json").read_text())
    (preset / "task.json").write_text(json.dumps(content | {"class_name": "MyClassifier"}))


def keep_labels_of_three_classes(preset):
    content = json.loads((preset / "metadata.json").read_text())
    labels = {"distilbert_config": {"id2label": {"0": "a", "1": "b", "2": "c"}}}
    (preset / "metadata.json").write_text(json.dumps(content | labels))


UNREAD = {
    "activation": (
        change_settings("task.json", activation="softmax"),
        ["The activation 'softmax' of task.json was dropped: the classifier gives logits."],
    ),
    "another-task": (
        make_another_task,
        [
            "Dropped, as DistilBertModel has no such parameters: layers/dense/vars/0, layers/dense/vars/1, "
            "layers/dense_1/vars/0, layers/dense_1/vars/1.",
            "task.json describes a MyClassifier, of which only the backbone is read.",
        ],
    ),
    "dtype-policy": (
        change_settings("config.json", dtype={"class_name": "DTypePolicy", "config": {"name": "mixed_bfloat16"}}),
        ["The dtype policy 'mixed_bfloat16' of config.json was dropped."],
    ),
    "frozen": (
        change_settings("config.json", trainable=False),
        ["Settings of config.json that have no place here: trainable=False."],
    ),
    "labels": (
        keep_labels_of_three_classes,
        ["The label names of metadata.json were dropped: task.json has 5 classes."],
    ),
    "tokenizer": (
        change_settings("tokenizer.json", split=False, special_tokens=["[E1]"], sequence_length=8, new=1),
        [
            "Settings of tokenizer.json that have no place here: sequence_length=8, split=False, "
            "special_tokens=['[E1]'], new=1."
        ],
    ),
    "preprocessor": (
        change_settings("preprocessor.json", truncate="waterfall", sequence_length=8),
        ["Settings of preprocessor.json that have no place here: truncate='waterfall'."],
    ),
    "vocabulary": (
        lambda preset: (preset / "assets" / "tokenizer" / "vocabulary.txt").unlink(),
        ["tokenizer.json was dropped: its vocabulary assets/tokenizer/vocabulary.txt is not there."],
    ),
}


@pytest.mark.parametrize(("change", "notes"), UNREAD.values(), ids=UNREAD)
def test_what_of_a_preset_has_no_place_is_said(tmp_path, change, notes):
    preset = shutil.copytree(FIXTURES / "checkpoints" / "kerashub_text_classifier", tmp_path / "preset")
    optimizer = ["The state of the optimizer was dropped: 2 arrays from optimizer/vars/0 on."]
    assert open_weights(preset).notes == optimizer
    change(preset)
    assert open_weights(preset).notes == optimizer + notes


def test_settings_of_a_keras_file_are_said(tmp_path):
    save_random(tmp_path / "source", small_config(), Head.BASE)
    convert(tmp_path / "source", tmp_path / "keras", "keras")

    def change(content):
        model = json.loads(content["config.json"])
        model["compile_config"] = {"optimizer": {"class_name": "Adam"}, "loss": "mse", "metrics": None}
        model["config"] |= {"frozen": ["embeddings"], "quantized": {}, "dtype": "mixed_float16"}
        content["config.json"] = json.dumps(model).encode()

    rewrite_zip(tmp_path / "keras" / "model.keras", change)
    assert open_weights(tmp_path / "keras").notes == [
        "What the model was compiled with was dropped: optimizer, loss.",
        "Settings of the Keras model that have no place here: frozen=['embeddings'], dtype='mixed_float16'.",
    ]


@pytest.mark.parametrize(
    ("head", "changes", "message"),
    [
        (Head.QUESTION_ANSWERING, {}, "no DistilBertForQuestionAnswering, only the bare body, a sequence classifier"),
        (Head.MASKED_LM, {"tie_word_embeddings": False}, "no projector that is not tied to the word embeddings"),
        (Head.BASE, {"sinusoidal_pos_embds": True}, "no sinusoidal positions"),
        (Head.BASE, {"activation": "relu"}, "no activation 'relu', only 'gelu'"),
        (Head.BASE, {"pruned_heads": {0: [1]}}, "no layers that lack heads"),
    ],
)
def test_what_kerashub_does_not_have(tmp_path, head, changes, message):
    save_random(tmp_path / "source", small_config(**changes), head)
    with pytest.raises(CheckpointError, match=message):
        convert(tmp_path / "source", tmp_path / "preset", "kerashub")
    assert not (tmp_path / "preset").exists()


def test_body_of_another_head_goes_into_a_preset(tmp_path):
    arrays = save_random(tmp_path / "source", small_config(), Head.MASKED_LM)
    weights = convert(tmp_path / "source", tmp_path / "preset", "kerashub", head=Head.BASE)
    assert "vocab_transform.weight" in weights.notes[0]
    body = {name.removeprefix("distilbert."): arrays[name] for name in arrays if name.startswith("distilbert.")}
    assert_same_weights(tmp_path / "preset", body)


# -- damaged and foreign files ----------------------------------------------------------------------------------


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


def rewrite_zip(path, change) -> None:
    """Write an archive anew, its content changed by a function of {name: content}."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    method = change(content) or zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


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
        "no item named 'model.weights.h5'",
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
        "config.json is larger than 16777216 bytes",
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
        "is compressed, or not all of it is there",
    ),
    "weights-circle": (
        "keras-weights",
        "model.weights.h5",
        lambda path: edit_h5(path, make_circle),
        "more than 32 levels deep",
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


def test_classifier_without_its_weights(tmp_path):
    preset = shutil.copytree(FIXTURES / "checkpoints" / "kerashub_text_classifier", tmp_path / "preset")
    (preset / "task.weights.h5").unlink()
    with pytest.raises(CheckpointError, match=r"task.weights.h5 is not there; remove task.json too"):
        open_weights(preset)
    (preset / "task.json").unlink()
    assert open_weights(preset).head is Head.BASE


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


def test_configuration_of_a_preset_follows_kerashub(tmp_path):
    """What KerasHub says counts more than what metadata.json kept."""
    save_random(tmp_path / "source", small_config(dropout=0.25), Head.SEQUENCE_CLASSIFICATION)
    convert(tmp_path / "source", tmp_path / "preset", "kerashub")
    content = json.loads((tmp_path / "preset" / "config.json").read_text())
    content["config"]["dropout"] = 0.5
    (tmp_path / "preset" / "config.json").write_text(json.dumps(content))
    config = open_weights(tmp_path / "preset").config
    assert config.dropout == 0.5
