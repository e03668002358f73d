"""A Keras model in graphs, with XLA, under policies, with inputs in several forms, and saved by configuration."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from distilbert_core import Head
from support.checkpoints import HEADS, save_random, small_config
from support.comparison import assert_close, largest_difference
from support.frameworks import FRAMEWORKS

TF = FRAMEWORKS["tf"]


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("head", HEADS)
def test_graphs(tmp_path, head, jit_compile):
    model, inputs = TF.random_model(head, tmp_path)
    run = tf.function(lambda inputs: model(inputs), jit_compile=jit_compile)
    got, expected = run({name: tf.constant(value) for name, value in inputs.items()}), model(inputs)
    assert type(got) is type(expected)
    assert_close(TF.numbers(got), TF.numbers(expected), 1e-13)


@pytest.mark.parametrize("head", HEADS)
def test_graph_of_unknown_sizes(tmp_path, head):
    model, inputs = TF.random_model(head, tmp_path)
    inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    unknown = [None, 4, None] if head is Head.MULTIPLE_CHOICE else [None, None]
    run = tf.function(
        lambda inputs: model(inputs), input_signature=[{n: tf.TensorSpec(unknown, tf.int64) for n in inputs}]
    )
    for arguments in (inputs, {name: value[:3, ..., :7] for name, value in inputs.items()}):
        assert_close(TF.numbers(run(arguments)), TF.numbers(model(arguments)), 1e-13)


# Hidden states are of order 1. Measured: float16 7.1e-3, bfloat16 9.3e-2.
@pytest.mark.parametrize(("policy", "tolerance"), [("mixed_float16", 0.02), ("mixed_bfloat16", 0.2)])
@pytest.mark.parametrize("head", HEADS)
def test_mixed_policies(tmp_path, head, policy, tolerance):
    exact, inputs = TF.random_model(head, tmp_path)
    mixed = TF.cls(head).from_pretrained(tmp_path, dtype=policy)
    assert {weight.dtype for weight in mixed.weights} == {"float32"}
    assert mixed.compute_dtype == policy.removeprefix("mixed_")
    got, expected = mixed(inputs), exact(inputs)
    if head is not Head.BASE:
        assert got.loss.dtype == tf.float32
    assert {value.dtype.name for name, value in got.items() if name != "loss"} == {mixed.compute_dtype}
    assert_close(TF.numbers(got), TF.numbers(expected), tolerance)


def test_global_policy(tmp_path):
    save_random(tmp_path, small_config(), Head.BASE)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        loaded, made = TF.cls(Head.BASE).from_pretrained(tmp_path), TF.cls(Head.BASE)(small_config())
    finally:
        keras.config.set_dtype_policy("float32")
    assert loaded.compute_dtype == made.compute_dtype == "bfloat16"
    assert loaded.get_input_embeddings().embeddings.dtype == "float32"


def test_float_labels_keep_their_precision_under_a_mixed_policy(tmp_path):
    model, inputs = TF.random_model(Head.SEQUENCE_CLASSIFICATION, tmp_path, "mixed_float16", num_labels=1)
    inputs["labels"] = np.full(5, 1000.1, np.float32)
    output = model(inputs)
    logits = np.asarray(output.logits, np.float32)[:, 0]
    expected = ((logits - np.float32(1000.1)) ** 2).mean()
    assert_close(np.asarray(output.loss), expected, 1.0)  # a float16 label would be 1000, and the loss off by 200


@pytest.mark.parametrize("head", HEADS)
def test_ways_to_pass_inputs(tmp_path, head):
    model, inputs = TF.random_model(head, tmp_path)
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    expected = TF.numbers(model(input_ids=ids, attention_mask=mask))
    for output in (
        model({"input_ids": ids, "attention_mask": mask}),
        model(ids, attention_mask=mask),
        model(ids, mask),
        model([ids, mask]),
        model(tf.constant(ids), tf.constant(mask)),
    ):
        assert_close(TF.numbers(output), expected, 0.0)


def test_embeddings_alone_are_enough(tmp_path):
    model, _ = TF.random_model(Head.BASE, tmp_path)
    embeds = np.random.default_rng(0).normal(size=(2, 5, 12))
    assert_close(TF.numbers(model(inputs_embeds=embeds)), TF.numbers(model({"inputs_embeds": embeds})), 0.0)


def test_predict(tmp_path):
    model, inputs = TF.random_model(Head.TOKEN_CLASSIFICATION, tmp_path)
    del inputs["labels"]
    assert_close(dict(model.predict(inputs, batch_size=2, verbose=0)), dict(model(inputs)), 1e-12)


def test_inside_a_functional_model(tmp_path):
    model, inputs = TF.random_model(Head.BASE, tmp_path)
    arguments = {name: keras.Input((None,), dtype="int64", name=name) for name in inputs}
    pooled = keras.layers.GlobalAveragePooling1D(dtype="float64")(model(arguments).last_hidden_state)
    whole = keras.Model(arguments, pooled)
    assert_close(np.asarray(whole(inputs)), np.asarray(model(inputs).last_hidden_state).mean(1), 1e-13)


def test_configuration_round_trip():
    model = TF.cls(Head.MASKED_LM)(small_config(n_layers=1), dtype="mixed_bfloat16", name="mine")
    again = TF.cls(Head.MASKED_LM).from_config(model.get_config())
    assert again.config.updated(architectures=None) == model.config
    assert (again.name, again.dtype_policy.name) == ("mine", "mixed_bfloat16")
    assert [w.shape for w in again.weights] == [w.shape for w in model.weights]


def test_trainable_leaves_a_fixed_table_fixed():
    model = TF.cls(Head.BASE)(small_config(sinusoidal_pos_embds=True))
    model.trainable = False
    model.trainable = True
    table = model.get_position_embeddings().embeddings
    assert all(weight is not table for weight in model.trainable_weights)


@pytest.mark.parametrize("wrong", [47, -1])
def test_wrong_ids_in_a_graph_are_an_error_of_tensorflow(tmp_path, wrong):
    model, _ = TF.random_model(Head.BASE, tmp_path)
    ids = np.full((1, 3), wrong)
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.function(lambda ids: model(ids).last_hidden_state)(tf.constant(ids))


def test_dropout_differs_from_call_to_call_in_a_graph(tmp_path):
    model, inputs = TF.random_model(Head.SEQUENCE_CLASSIFICATION, tmp_path)
    run = tf.function(lambda inputs: model(inputs, training=True).logits)
    assert largest_difference(run(inputs).numpy(), run(inputs).numpy()) > 1e-3


@pytest.mark.parametrize("wrong", [7, -1])
def test_wrong_labels_in_a_graph(tmp_path, wrong):
    model, inputs = TF.random_model(Head.TOKEN_CLASSIFICATION, tmp_path)
    inputs["labels"][0, 0] = wrong
    loss = {jit: tf.function(lambda inputs: model(inputs).loss, jit_compile=jit) for jit in (True, False)}
    assert np.isnan(loss[True](inputs))
    with pytest.raises(tf.errors.InvalidArgumentError):
        loss[False](inputs)


@pytest.mark.filterwarnings("ignore:Layer (LayerNorm|Dropout|Embedding):UserWarning")  # nothing to quantize in them
@pytest.mark.usefixtures("few_objects")
def test_quantize_reaches_every_dense_layer(tmp_path):
    """Keras leaves layers that are subclasses of its own as they are, unless these say otherwise."""
    model, inputs = TF.random_model(Head.SEQUENCE_CLASSIFICATION, tmp_path, "float32")
    inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    before = model(inputs).logits.numpy()
    model.quantize("int8")
    dense = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Dense)]
    assert len(dense) == 6 * model.config.n_layers + 2
    assert {layer.kernel.dtype for layer in dense} == {"int8"}
    assert 0 < abs(model(inputs).logits.numpy() - before).max() < 0.3  # of 1.05; measured: 0.17
