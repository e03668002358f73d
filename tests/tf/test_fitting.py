"""Inputs of fit, evaluate and predict: encodings, lists, ragged tensors; labels of every dtype; losses by name."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from distilbert_core import BatchEncoding, Head, InputError
from distilbert_tf import TFDistilBertForSequenceClassification, TFDistilBertModel, TFDistilBertPreTrainedModel
from support.checkpoints import random_inputs, save_random, small_config
from support.comparison import assert_close
from support.frameworks import FRAMEWORKS

FRAMEWORK = FRAMEWORKS["tf"]
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0}
IDS = np.array([[5, 6, 7, 8], [9, 10, 0, 0], [11, 12, 13, 0]])
LENGTHS = [4, 2, 3]
INPUTS = {"input_ids": IDS, "attention_mask": (np.arange(4) < np.array(LENGTHS)[:, None]).astype(int)}
CLASSES = np.array([1, 0, 1])
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def new(head=Head.SEQUENCE_CLASSIFICATION, **changes):
    config = small_config(n_layers=1, **NO_DROPOUT, **{"num_labels": 2, **changes})
    return FRAMEWORK.cls(head)(config, dtype="float64")


def compiled(model, **options):
    model.compile(keras.optimizers.SGD(0.125), run_eagerly=True, **options)
    return model


def lists(arrays):
    return {name: array.tolist() for name, array in arrays.items()}


ragged = tf.RaggedTensor.from_tensor(tf.constant(IDS), lengths=LENGTHS)
FORMS = {
    "encoding": BatchEncoding(INPUTS),
    "encoding of lists": BatchEncoding(lists(INPUTS)),
    "lists in order": [INPUTS["input_ids"].tolist(), INPUTS["attention_mask"].tolist()],
    "tensors": {name: tf.constant(array) for name, array in INPUTS.items()},
    "ragged": ragged,
    "ragged by name": {"input_ids": ragged},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_forms_of_inputs(form):
    model = compiled(new())
    expected = FRAMEWORK.call(model, **INPUTS).logits
    assert_close(model(form).logits.numpy(), expected, 1e-13)
    assert_close(model.predict(form, verbose=0)["logits"], expected, 1e-13)
    labels = CLASSES.tolist()
    loss = model.evaluate(INPUTS, CLASSES, verbose=0)
    assert_close(model.evaluate(form, labels, verbose=0), loss, 1e-7)
    assert_close(model.fit(form, labels, verbose=0).history["loss"], [loss], 1e-7)


def test_data_sets_of_forms():
    """Also in a graph, with the labels in the encoding, and of a functional model on our base model."""
    encoding = BatchEncoding({**lists(INPUTS), "labels": CLASSES.tolist()})
    model = new()
    model.compile(keras.optimizers.SGD(0.0))
    expected = model.evaluate(INPUTS, CLASSES, verbose=0)
    for inputs in (encoding, {"input_ids": ragged, "labels": CLASSES}):
        data = tf.data.Dataset.from_tensor_slices(inputs).batch(3)
        assert_close(model.fit(data, shuffle=False, verbose=0).history["loss"], [expected], 1e-7)
    arguments = {name: keras.Input((None,), dtype="int32", name=name) for name in INPUTS}
    base = TFDistilBertModel(small_config(n_layers=1), dtype="float64")
    whole = keras.Model(arguments, base(arguments).last_hidden_state)
    with pytest.warns(UserWarning, match="structure of `inputs`"):  # Keras' own: an encoding is not quite a dict
        got = whole.predict(BatchEncoding(INPUTS), verbose=0)
    assert_close(got, FRAMEWORK.call(base, **INPUTS).last_hidden_state, 1e-13)


TEXTS = ["a film", "a dull film"]


@pytest.mark.parametrize("x", [TEXTS, np.array(TEXTS), np.array(TEXTS, object), tf.constant(TEXTS)])
def test_texts_are_not_ids(x):
    model = compiled(new())
    for call in (model, model.predict, new(Head.BASE).predict):
        with pytest.raises(InputError, match=r"input_ids must hold ids of tokens, got texts: give tokenizer"):
            call(x)


def test_columns_without_an_argument():
    """In a call and in a data set, with the names that there are."""
    model = compiled(new())
    message = r"TFDistilBertForSeq.* unexpected keyword argument 'idx': leave it out .* input_ids, .* labels"
    with pytest.raises(TypeError, match=message):
        model({**INPUTS, "idx": CLASSES})
    with pytest.raises(TypeError, match=message):
        model.evaluate(tf.data.Dataset.from_tensor_slices(({**INPUTS, "idx": CLASSES}, CLASSES)).batch(3), verbose=0)


@pytest.mark.parametrize("y", [CLASSES, np.stack([CLASSES, CLASSES], 1), CLASSES.tolist()])
def test_one_array_for_start_and_end(y):
    with pytest.raises(
        InputError, match=r"start_positions and end_positions, in a tuple or a dict, got one array of sh"
    ):
        compiled(new(Head.QUESTION_ANSWERING)).evaluate(INPUTS, y, verbose=0)


def test_an_input_of_unknown_rank():
    graph = tf.function(new(Head.MULTIPLE_CHOICE), [tf.TensorSpec(None, tf.int64)], autograph=False)
    with pytest.raises(InputError, match=r"number of axes of an input is not known.*\[batch, choices, tokens\]"):
        graph(IDS)


def test_a_metric_by_the_name_of_the_only_output():
    model = compiled(new(), metrics={"logits": "accuracy"})
    accuracy = float((model(INPUTS).logits.numpy().argmax(-1) == CLASSES).mean())
    assert model.evaluate(INPUTS, CLASSES, verbose=0)[1] == pytest.approx(accuracy)


def test_texts_of_different_lengths():
    ids = {"input_ids": [[5, 6], [7]]}
    for call in (new(), lambda x: compiled(new()).fit(x, [0, 1], verbose=0)):
        with pytest.raises(InputError, match=r"input_ids cannot be one array; use padding=True"):
            call(ids)
    with pytest.raises(InputError, match=r"input_ids must have shape \[batch, tokens\]"):
        new()([5, 6])


# -- labels -----------------------------------------------------------------------------------------------------

ONE_HOT = np.eye(2)[CLASSES]
AS_CLASSES = [CLASSES.astype(dtype) for dtype in (np.float32, bool, np.uint8)]
SAME_LOSS = [  # num_labels, problem_type, labels, the labels that mean the same
    *((2, None, labels, CLASSES) for labels in AS_CLASSES),
    *((2, None, labels[:, None], CLASSES) for labels in (CLASSES, *AS_CLASSES)),
    (2, None, ONE_HOT.astype(bool), ONE_HOT),
    (2, "multi_label_classification", ONE_HOT.astype(int), ONE_HOT),
    (1, None, CLASSES.astype(bool)[:, None], CLASSES.astype(float)),
]


@pytest.mark.parametrize(("num_labels", "problem", "labels", "same"), SAME_LOSS)
def test_labels_of_a_dtype(num_labels, problem, labels, same):
    model = compiled(new(num_labels=num_labels, problem_type=problem))
    expected = FRAMEWORK.call(model, **INPUTS, labels=same).loss
    assert_close(FRAMEWORK.call(model, **INPUTS, labels=labels).loss, expected, 0.0)
    assert_close(model.evaluate(INPUTS, labels, verbose=0), expected, 1e-7)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (CLASSES + 0.5, "labels must be integers, the indices of classes, got 1.5"),
        (ONE_HOT.astype(int), r"dtype int64.*problem_type=\"multi_label_classification\".*labels.argmax\(-1\)"),
        (np.array(["good", "bad", "good"]), "labels must be numbers, got string"),
    ],
)
def test_labels_that_mean_nothing(labels, message):
    with pytest.raises(InputError, match=message):
        compiled(new()).fit(INPUTS, labels, verbose=0)


def test_labels_of_two_shapes_in_one_graph():
    model = new()
    model.compile("sgd")
    data = [tf.data.Dataset.from_tensor_slices((INPUTS, y)).batch(3) for y in (CLASSES, CLASSES[:, None])]
    assert_close(model.evaluate(data[1], verbose=0), model.evaluate(data[0], verbose=0), 0.0)


# -- losses and metrics -----------------------------------------------------------------------------------------


def of_both(value):
    return {"start_logits": value, "end_logits": value}


POSITIONS = (np.array([0, 1, 2]), np.array([1, 1, 3]))


@pytest.mark.parametrize("y", [POSITIONS, of_both(POSITIONS[0]) | {"end_logits": POSITIONS[1]}], ids=["order", "name"])
def test_answers_by_the_names_of_outputs(y, tmp_path):
    model = compiled(new(Head.QUESTION_ANSWERING), loss=of_both(CROSS_ENTROPY), metrics=["accuracy"])
    own = FRAMEWORK.call(model, **INPUTS, start_positions=POSITIONS[0], end_positions=POSITIONS[1])
    got = model.evaluate(BatchEncoding(INPUTS), y, verbose=0, return_dict=True)
    assert_close(got["loss"], 2 * own.loss, 1e-6)  # Keras adds up
    assert_close(got["end_logits_accuracy"], (own.end_logits.argmax(-1) == POSITIONS[1]).mean(), 1e-7)
    model.save(tmp_path / "saved.keras")
    again = keras.saving.load_model(tmp_path / "saved.keras")
    assert_close(again.evaluate(INPUTS, y, verbose=0, return_dict=True), got, 0.0)


@pytest.mark.parametrize("loss", ["auto", "passthrough", "compute_loss", "hf_compute_loss", {"logits": CROSS_ENTROPY}])
def test_words_for_a_loss(loss):
    model = new()
    if isinstance(loss, str) and hasattr(model, loss):
        loss = getattr(model, loss)
    compiled(model, loss=loss)
    assert_close(model.evaluate(INPUTS, CLASSES, verbose=0), model.hf_compute_loss(CLASSES, model(INPUTS)), 1e-6)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            "sparse_categorical_crossentropy",
            "sparse_categorical_crossentropy takes probabilities.*from_logits=True",
        ),
        (keras.losses.BinaryCrossentropy(), "BinaryCrossentropy takes probabilities"),
        ({"labels": CROSS_ENTROPY}, "loss must be for logits, got labels"),
    ],
)
def test_losses_that_cannot_be(loss, message):
    with pytest.raises(InputError, match=message):
        new().compile("sgd", loss=loss)


def test_keras_arguments_of_old():
    with pytest.raises(TypeError, match=r"workers must be .* got 4. .*PyDataset"):
        new().predict(INPUTS, workers=4)
    with pytest.raises(InputError, match="call hf_compute_loss"):
        new().compute_loss(CLASSES, np.zeros((3, 2)))


# -- classes of a user's own ------------------------------------------------------------------------------------


class ReturnsLogits(TFDistilBertForSequenceClassification):
    def call(self, input_ids=None, attention_mask=None, training=None):
        return super().call(input_ids, attention_mask, training=training).logits


class Late(ReturnsLogits):
    """With a layer that its first call builds."""

    def __init__(self, config, dtype=None, name=None):
        super().__init__(config, dtype=dtype, name=name)
        self.late = keras.layers.Dense(2, dtype=dtype)

    def call(self, input_ids=None, attention_mask=None, training=None):
        return self.late(super().call(input_ids, attention_mask, training=training))


class OnTheBase(TFDistilBertPreTrainedModel):
    def __init__(self, config, dtype=None, name=None):
        super().__init__(config, dtype=dtype, name=name)
        self.distilbert = TFDistilBertModel(config, dtype=dtype, name="distilbert")
        self.scores = keras.layers.Dense(2, dtype=dtype)
        self.scores.build((None, config.dim))

    def call(self, input_ids=None, attention_mask=None, training=None):
        return self.scores(self.distilbert(input_ids, attention_mask, training=training).last_hidden_state[:, 0])


def test_a_class_that_returns_a_tensor():
    config = small_config(n_layers=1, num_labels=2)
    metrics = {}
    for options in ({}, {"loss": CROSS_ENTROPY, "metrics": ["accuracy"]}):
        model = compiled(ReturnsLogits(config, dtype="float64"), **options)
        logits = model(INPUTS).numpy()
        expected = (np.log(np.exp(logits).sum(-1)) - logits[np.arange(3), CLASSES]).mean()
        metrics = model.evaluate(INPUTS, CLASSES, verbose=0, return_dict=True)
        assert_close(metrics["loss"], expected, 1e-6)
        model.fit(BatchEncoding(INPUTS), CLASSES, verbose=0)
    assert "accuracy" in metrics


def test_late_layers_are_loaded(tmp_path):
    config = small_config(n_layers=1, num_labels=2)
    model, again = (Late(config, dtype="float64") for _ in range(2))
    expected = model(INPUTS).numpy()
    model.save_weights(tmp_path / "late.weights.h5")
    again.load_weights(tmp_path / "late.weights.h5")
    assert_close(again(INPUTS).numpy(), expected, 0.0)


def test_a_class_on_the_base(tmp_path):
    model = compiled(OnTheBase(small_config(n_layers=1), dtype="float64"), loss=CROSS_ENTROPY)
    model.fit(BatchEncoding(lists(INPUTS)), CLASSES.tolist(), verbose=0)
    model.save_pretrained(tmp_path)
    again = OnTheBase.from_pretrained(tmp_path, dtype="float64")
    assert_close(again.predict(INPUTS, verbose=0), model.predict(INPUTS, verbose=0), 1e-13)


class TakesADict(TFDistilBertPreTrainedModel):
    """As Keras' own models are written: one argument for all inputs."""

    def __init__(self, config, *args, **kwargs):
        super().__init__(config, *args, **kwargs)
        self.distilbert = TFDistilBertModel(config, dtype=self.dtype_policy, name="distilbert")

    def call(self, inputs, training=None):
        return self.distilbert(inputs, training=training).last_hidden_state[:, 0]


def test_a_class_with_one_argument_for_all_inputs():
    model = TakesADict(small_config(n_layers=1, **NO_DROPOUT), dtype="float64")
    expected = model.distilbert(INPUTS).last_hidden_state[:, 0]
    for call in (model, compiled(model, loss="mse").predict):
        assert_close(np.asarray(call(INPUTS)), expected.numpy(), 0)


@pytest.mark.parametrize("head", Head)
def test_symbolic_calls(tmp_path, head):
    config = small_config(n_layers=1)
    save_random(tmp_path, config, head)
    model = FRAMEWORK.load(head, tmp_path, dtype="float64")
    inputs = {name: random_inputs(config, head)[name] for name in INPUTS}
    shape = (None,) * (inputs["input_ids"].ndim - 1)
    arguments = {name: keras.Input(shape, dtype="int32", name=name) for name in inputs}
    symbolic, real = dict(model(arguments)), dict(FRAMEWORK.call(model, **inputs))
    assert {name: len(tensor.shape) for name, tensor in symbolic.items()} == {n: x.ndim for n, x in real.items()}
    assert_close(keras.Model(arguments, symbolic).predict(inputs, verbose=0), real, 1e-12)
