"""Models that Keras exports, behind the interface of inference, or in their own runtime: they give Keras' numbers."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import tensorflow as tf

from distilbert_cli import main
from distilbert_core import CheckpointError, Head, InputError
from distilbert_core.model.loading import load_inference
from distilbert_core.pipelines import pipeline
from support.checkpoints import BATCH, TOKENS, random_inputs, save_random, small_config
from support.comparison import assert_close, largest_difference
from weight_conversion import convert

pytest.importorskip("ai_edge_litert")
CONFIG = small_config(n_layers=1)
TOLERANCES = {"litert": 6e-6, "litert-float16": 1.5e-2}  # measured: 6e-7 and 1.5e-3
TSV = "text\tlabel\nWhat a lovely film.\tPOSITIVE\nA waste of time.\tNEGATIVE\nWarm and wise.\tPOSITIVE\n"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A function that returns two folders with a head's random checkpoint: original and exported."""
    made = {}

    def folders(head, to):
        if (head, to) not in made:
            folder = tmp_path_factory.mktemp(head.value)
            save_random(folder / "original", CONFIG, head)
            convert(folder / "original", folder / "exported", to, dtype="float32")
            made[head, to] = folder / "original", folder / "exported"
        return made[head, to]

    return folders


@pytest.mark.parametrize(
    ("head", "to"),
    [
        (Head.MULTIPLE_CHOICE, "litert"),
        (Head.QUESTION_ANSWERING, "litert"),
        (Head.TOKEN_CLASSIFICATION, "litert-float16"),
    ],
)
def test_real_tokens_have_the_outputs_of_keras(exported, head, to, monkeypatch):
    monkeypatch.setattr("distilbert_core.model.exported.GROUP_TOKENS", 2 * TOKENS)  # so that there are several groups
    original, folder = exported(head, to)
    inputs = {name: random_inputs(CONFIG, head)[name] for name in ("input_ids", "attention_mask")}
    inputs["attention_mask"][..., 0] = 1
    expected = load_inference("tf", head, original, dtype="float64").run(**inputs)
    real = inputs["attention_mask"] == 1
    if head.reads_tokens:
        for array in expected.values():
            array[~real] = 0
    model = load_inference("litert", head, folder)
    assert_close(model(**inputs), expected, TOLERANCES[to])
    if to == "litert-float16":  # 0 would not be the precision
        assert largest_difference(model(**inputs)["logits"], expected["logits"]) > 1e-5
    if head.reads_tokens:
        wanted = np.random.default_rng(0).random((BATCH, TOKENS)) < 0.5
        some = {name: array[wanted & real] for name, array in expected.items()}
        assert_close(model(**inputs, tokens=wanted), some, TOLERANCES[to])
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy(**inputs)[head.outputs[0]], model(**inputs)[head.outputs[0]])


def test_pipelines_and_commands(tmp_path, capsys):
    (tmp_path / "dev.tsv").write_text(TSV)
    folder = str(tmp_path / "lite")
    evaluation = ["--eval", str(tmp_path / "dev.tsv"), "--max-drop", "1"]
    assert main(["convert", "sst2-tiny", folder, "--to", "litert-int8", *evaluation]) == 0
    notes = capsys.readouterr().err
    assert "Checked model.tflite in LiteRT on 12 texts of 4 to 63 tokens: largest difference" in notes
    assert "1.0000 before, 1.0000 in model.tflite" in notes
    assert (tmp_path / "lite" / "model.tflite").stat().st_size < 13e6  # a byte for each of 11.7 million parameters
    assert pipeline("text-classification", folder, framework="litert")("A lovely film.")[0]["label"] == "POSITIVE"
    assert main(["predict", "A lovely film.", "--backend", "litert", "--model", folder]) == 0
    assert "POSITIVE" in capsys.readouterr().out


def test_what_cannot_be_loaded(exported, tmp_path):
    head = Head.QUESTION_ANSWERING
    original, folder = exported(head, "litert")
    with pytest.raises(CheckpointError, match=r"has no file model\.tflite"):
        load_inference("litert", head, original)
    with pytest.raises(InputError, match="dtype must be 'float32' for LiteRT, got 'float16': convert the model"):
        load_inference("litert", head, folder, dtype="float16")
    with pytest.raises(InputError, match="device must be None or 'cpu' for LiteRT, got 'cuda'"):
        load_inference("litert", head, folder, device="cuda")
    with pytest.raises(InputError, match="input_ids must lie in"):
        load_inference("litert", head, folder)(input_ids=np.array([[CONFIG.vocab_size]]))
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    (tmp_path / "model.tflite").write_bytes((folder / "model.tflite").read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"model\.tflite cannot be read as an exported model"):
        load_inference("litert", head, tmp_path)


@pytest.mark.parametrize("head", [Head.MULTIPLE_CHOICE, Head.BASE])
def test_a_saved_model_has_named_inputs_of_any_size(tmp_path, head):
    save_random(tmp_path / "original", CONFIG, head, dtype="float64")
    options = {"pooling": "mean", "normalize": True} if head is Head.BASE else {}
    convert(tmp_path / "original", tmp_path / "saved", "saved-model", **options)
    assert {path.name for path in (tmp_path / "saved").iterdir()} == {
        *("config.json", "saved_model.pb", "fingerprint.pb", "variables")
    }
    model = tf.saved_model.load(tmp_path / "saved")
    for rows, length in ((1, 9), (3, 5)):
        shape = (rows, 2, length) if head.has_choices else (rows, length)
        ids = np.random.default_rng(0).integers(0, CONFIG.vocab_size, shape)
        mask = np.ones_like(ids)
        mask[-1, ..., length // 2 :] = 0
        got = model.signatures["serving_default"](input_ids=tf.constant(ids), attention_mask=tf.constant(mask))
        expected = load_inference("tf", head, tmp_path / "original", dtype="float64").run(
            input_ids=ids, attention_mask=mask
        )
        assert_close({name: got[name].numpy() for name in head.outputs}, expected, 1e-12)  # measured: 0
        if head is Head.BASE:
            hidden, real = expected["last_hidden_state"], mask[..., None]
            mean = (hidden * real).sum(axis=1) / real.sum(axis=1)
            vectors = mean / np.linalg.norm(mean, axis=1, keepdims=True)
            np.testing.assert_allclose(got["sentence_embedding"], vectors, atol=1e-12)
