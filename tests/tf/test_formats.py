"""The converter reads files that Keras wrote, and Keras reads files of the converter."""

from __future__ import annotations

import subprocess
import sys

import keras
import pytest

from distilbert_core import Head
from support.checkpoints import CASE_IDS, CASES, random_inputs, save_random, small_config
from support.comparison import assert_close
from support.conversions import arrays_of, bits
from support.frameworks import FRAMEWORKS
from weight_conversion import convert, open_weights

DTYPES = ("float64", "float32", "float16", "bfloat16")


FRAMEWORK = FRAMEWORKS["tf"]


def assert_same_arrays(got, expected) -> None:
    """The same names, dtypes and bits."""
    assert bits(got) == bits(expected)


@pytest.mark.parametrize(("head", "changes"), [case[1:] for case in CASES], ids=CASE_IDS)
def test_keras_loads_the_written_files(tmp_path, head, changes):
    config = small_config(**changes)
    arrays = save_random(tmp_path / "source", config, head)
    convert(tmp_path / "source", tmp_path / "keras", "keras")
    convert(tmp_path / "source", tmp_path / "weights", "keras-weights")
    loaded = keras.saving.load_model(tmp_path / "keras" / "model.keras")
    fresh = FRAMEWORK.cls(head)(config, dtype="float64")
    fresh.load_weights(tmp_path / "weights" / "model.weights.h5")
    expected = FRAMEWORK.cls(head).from_pretrained(tmp_path / "source", dtype="float64")
    inputs = random_inputs(config, head)
    for model in (loaded, fresh):
        assert_same_arrays(FRAMEWORK.parameters(model), arrays)
        assert_close(FRAMEWORK.numbers(model(inputs)), FRAMEWORK.numbers(expected(inputs)), 0)


@pytest.mark.parametrize(("head", "changes"), [case[1:] for case in CASES], ids=CASE_IDS)
def test_what_keras_writes_is_read(tmp_path, head, changes):
    config = small_config(**changes)
    arrays = save_random(tmp_path, config, head)
    model = FRAMEWORK.cls(head).from_pretrained(tmp_path, dtype="float64", name="my_own_name")
    (tmp_path / "config.json").unlink()
    (tmp_path / "model.safetensors").unlink()
    model.save(tmp_path / "saved.keras")
    assert open_weights(tmp_path / "saved.keras").head is head
    assert_same_arrays(arrays_of(tmp_path / "saved.keras"), arrays)
    config.save_pretrained(tmp_path)
    model.save_weights(tmp_path / "saved.weights.h5")
    assert_same_arrays(arrays_of(tmp_path / "saved.weights.h5"), arrays)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes(tmp_path, dtype):
    arrays = save_random(tmp_path / "source", small_config(), Head.MASKED_LM, dtype=dtype)
    convert(tmp_path / "source", tmp_path / "keras", "keras")
    model = keras.saving.load_model(tmp_path / "keras" / "model.keras")
    assert model.dtype_policy.name == dtype
    assert_same_arrays(FRAMEWORK.parameters(model), arrays)
    model.save(tmp_path / "again.keras")
    assert_same_arrays(arrays_of(tmp_path / "again.keras"), arrays)


def test_parameters_of_a_mixed_policy_are_float32(tmp_path):
    arrays = save_random(tmp_path, small_config(), Head.BASE, dtype="float32")
    FRAMEWORK.cls(Head.BASE).from_pretrained(tmp_path, dtype="mixed_float16").save(tmp_path / "mixed.keras")
    assert_same_arrays(arrays_of(tmp_path / "mixed.keras"), arrays)


def test_resized_model(tmp_path):
    """Resizing makes new variables, so their order changes."""
    save_random(tmp_path, small_config(tie_word_embeddings=False), Head.MASKED_LM)
    model = FRAMEWORK.cls(Head.MASKED_LM).from_pretrained(tmp_path, dtype="float64")
    model.resize_token_embeddings(51)
    model.save(tmp_path / "resized.keras")
    assert_same_arrays(arrays_of(tmp_path / "resized.keras"), FRAMEWORK.parameters(model))


def test_optimizer_and_metrics_are_left_out(tmp_path):
    config = small_config()
    model = FRAMEWORK.cls(Head.SEQUENCE_CLASSIFICATION)(config)
    inputs = random_inputs(config, Head.SEQUENCE_CLASSIFICATION)
    features = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    model.compile("adam")
    model.optimizer.build(model.trainable_variables)
    model(features)
    model.save(tmp_path / "trained.keras")
    assert_same_arrays(arrays_of(tmp_path / "trained.keras"), FRAMEWORK.parameters(model))
    assert "optimizer/vars/0" in open_weights(tmp_path / "trained.keras").notes[0]


SCRIPT = """
import sys, keras, distilbert_tf
model = keras.saving.load_model(sys.argv[1])
print(type(model).__name__, model.config.num_labels, float(model.classifier.kernel[2, 3]))
"""


def test_a_fresh_process_loads_it(tmp_path):
    arrays = save_random(tmp_path / "source", small_config(), Head.TOKEN_CLASSIFICATION)
    convert(tmp_path / "source", tmp_path / "keras", "keras")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "keras" / "model.keras")]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert output[:2] == ["TFDistilBertForTokenClassification", "7"]
    assert float(output[2]) == arrays["classifier.weight"][3, 2]
