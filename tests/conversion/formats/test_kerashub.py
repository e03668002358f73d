"""Presets of KerasHub without Keras: round trips, and reports of everything that a preset cannot hold."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from distilbert_core import CheckpointError, DistilBertTokenizerFast, Head
from support.checkpoints import save_random, small_config
from support.keras_files import assert_same_weights, rewrite_zip
from support.paths import FIXTURES
from weight_conversion import convert, open_weights, reading, sidecars, weight_files

PRESETS = ("kerashub_backbone", "kerashub_text_classifier", "kerashub_masked_lm")


# -- real presets of KerasHub --------------------------------------------------------------------------------


def datasets(path) -> dict[str, np.ndarray]:
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return {name: array for name, array in found.items() if not name.startswith("optimizer")}


def test_masked_lm_of_kerashub_is_that_of_transformers():
    """The weights are equal, and the other epsilon of the head is reported."""
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
    """Without vocab.txt, KerasHub's file is made from tokenizer.json."""
    convert("sst2-tiny", tmp_path / "pt")
    DistilBertTokenizerFast.from_pretrained("sst2-tiny").save_pretrained(tmp_path / "pt")
    words = (tmp_path / "pt" / "vocab.txt").read_text().splitlines()
    (tmp_path / "pt" / "vocab.txt").unlink()
    assert (tmp_path / "pt" / "tokenizer.json").is_file()
    convert(tmp_path / "pt", tmp_path / "preset", "kerashub")
    assert (tmp_path / "preset" / "assets" / "tokenizer" / "vocabulary.txt").read_text().splitlines() == words


# -- what a preset cannot hold, and what of one has no place here --------------------------------------------


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
def test_a_loss_in_a_preset_is_reported(tmp_path, options, notes):
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
        ["Settings of config.json that were dropped: trainable=False."],
    ),
    "labels": (
        keep_labels_of_three_classes,
        ["The label names of metadata.json were dropped: task.json has 5 classes."],
    ),
    "tokenizer": (
        change_settings("tokenizer.json", split=False, special_tokens=["[E1]"], sequence_length=8, new=1),
        [
            "Settings of tokenizer.json that were dropped: sequence_length=8, split=False, "
            "special_tokens=['[E1]'], new=1."
        ],
    ),
    "preprocessor": (
        change_settings("preprocessor.json", truncate="waterfall", sequence_length=8),
        ["Settings of preprocessor.json that were dropped: truncate='waterfall'."],
    ),
    "vocabulary": (
        lambda preset: (preset / "assets" / "tokenizer" / "vocabulary.txt").unlink(),
        ["tokenizer.json was dropped: its vocabulary assets/tokenizer/vocabulary.txt is not there."],
    ),
}


@pytest.mark.parametrize(("change", "notes"), UNREAD.values(), ids=UNREAD)
def test_fields_of_a_preset_without_a_counterpart_are_reported(tmp_path, change, notes):
    preset = shutil.copytree(FIXTURES / "checkpoints" / "kerashub_text_classifier", tmp_path / "preset")
    optimizer = ["The state of the optimizer was dropped: 2 arrays from optimizer/vars/0 on."]
    assert open_weights(preset).notes == optimizer
    change(preset)
    assert open_weights(preset).notes == optimizer + notes


def test_settings_of_a_keras_file_are_reported(tmp_path):
    save_random(tmp_path / "source", small_config(), Head.BASE)
    convert(tmp_path / "source", tmp_path / "keras", "keras")

    def change(content):
        model = json.loads(content["config.json"])
        model["compile_config"] = {"optimizer": {"class_name": "Adam"}, "loss": "mse", "metrics": None}
        model["config"] |= {"frozen": ["embeddings"], "quantized": {}, "dtype": "mixed_float16"}
        content["config.json"] = json.dumps(model).encode()

    rewrite_zip(tmp_path / "keras" / "model.keras", change)
    assert open_weights(tmp_path / "keras").notes == [
        "The compile settings of the model were dropped: optimizer, loss.",
        "Settings of the Keras model that were dropped: frozen=['embeddings'], dtype='mixed_float16'.",
    ]


@pytest.mark.parametrize(
    ("head", "changes", "message"),
    [
        (Head.QUESTION_ANSWERING, {}, "no DistilBertForQuestionAnswering, only the base model, a sequence classifier"),
        (Head.MASKED_LM, {"tie_word_embeddings": False}, "no projector that is not tied to the word embeddings"),
        (Head.BASE, {"sinusoidal_pos_embds": True}, "no sinusoidal positions"),
        (Head.BASE, {"activation": "relu"}, "no activation 'relu', only 'gelu'"),
        (Head.BASE, {"pruned_heads": {0: [1]}}, "no layers with pruned heads"),
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
    base = {name.removeprefix("distilbert."): arrays[name] for name in arrays if name.startswith("distilbert.")}
    assert_same_weights(tmp_path / "preset", base)


# -- damaged and foreign files -------------------------------------------------------------------------------


def test_classifier_without_its_weights(tmp_path):
    preset = shutil.copytree(FIXTURES / "checkpoints" / "kerashub_text_classifier", tmp_path / "preset")
    (preset / "task.weights.h5").unlink()
    with pytest.raises(CheckpointError, match=r"task.weights.h5 does not exist; remove task.json too"):
        open_weights(preset)
    (preset / "task.json").unlink()
    assert open_weights(preset).head is Head.BASE


def test_configuration_of_a_preset_follows_kerashub(tmp_path):
    """The values of KerasHub take precedence over metadata.json."""
    save_random(tmp_path / "source", small_config(dropout=0.25), Head.SEQUENCE_CLASSIFICATION)
    convert(tmp_path / "source", tmp_path / "preset", "kerashub")
    content = json.loads((tmp_path / "preset" / "config.json").read_text())
    content["config"]["dropout"] = 0.5
    (tmp_path / "preset" / "config.json").write_text(json.dumps(content))
    config = open_weights(tmp_path / "preset").config
    assert config.dropout == 0.5
