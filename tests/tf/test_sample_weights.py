"""Weights of rows, labels and classes in `fit` and `evaluate`, wherever they are given."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from distilbert_core import BatchEncoding, Head, InputError
from support.checkpoints import HEADS_WITH_LOSS, random_inputs, save_random, small_config
from support.comparison import assert_close
from support.frameworks import FRAMEWORKS

FRAMEWORK = FRAMEWORKS["tf"]
HEAD = Head.SEQUENCE_CLASSIFICATION
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0, "qa_dropout": 0.0, "seq_classif_dropout": 0.0}
RATE = 0.125  # exact in every dtype
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-100)
ROWS = np.array([0.5, 2.0, 0.0, 1.0, 3.0])
CLASSES = np.array([3, 0, 6, 2, 3])
OF_CLASSES = np.array([2.0, 1, 1, 0.25, 1, 1, 0.5])
CLASS_WEIGHT = {0: 2.0, 3: 0.25, 6: 0.5}  # Keras has 1 for the others


@pytest.fixture
def folder(tmp_path):
    """A random sequence classifier."""
    save_random(tmp_path, small_config(n_layers=1, **NO_DROPOUT), HEAD)
    return tmp_path


def load(folder, head=HEAD, **options):
    return FRAMEWORK.load(head, folder, dtype="float64", **options)


def sgd(model, **options):
    """Compile for plain gradient descent."""
    model.compile(keras.optimizers.SGD(RATE), **{"run_eagerly": True, **options})
    return model


def features():
    inputs = random_inputs(small_config(), HEAD)
    return {name: inputs[name] for name in ("input_ids", "attention_mask")}


OTHER_LABELS = [{"problem_type": "multi_label_classification"}, {"num_labels": 1}]


# -- weights of rows and of labels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["inputs", "y", "y by name", "all in inputs"])
@pytest.mark.parametrize(
    ("head", "changes"), [*((head, {}) for head in HEADS_WITH_LOSS), *((HEAD, c) for c in OTHER_LABELS)]
)
def test_sample_weight_with_the_own_loss(tmp_path, head, changes, place):
    """A step of `fit` is that of the model's own loss with `sample_weight`. Measured: 2e-16."""
    config = small_config(n_layers=1, **NO_DROPOUT, **changes)
    save_random(tmp_path, config, head)
    inputs = random_inputs(config, head)
    if changes == {"num_labels": 1}:
        inputs["labels"] = inputs["labels"].round(2).astype(np.float32)  # which Keras makes of numbers
    x = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    labels = {name: array for name, array in inputs.items() if name not in x}
    alone = tuple(labels.values()) if len(labels) > 1 else labels["labels"]
    shape = (5,) if isinstance(alone, tuple) or place == "y" else alone.shape
    weights = ROWS if shape == (5,) else np.random.default_rng(2).integers(0, 9, shape) / 4
    data = {
        "inputs": {"x": inputs, "sample_weight": weights},
        "y": {"x": x, "y": alone, "sample_weight": weights},
        "y by name": {"x": x, "y": labels, "sample_weight": weights},
        "all in inputs": {"x": inputs | {"sample_weight": weights}},
    }[place]
    by_hand, model = load(tmp_path, head), sgd(load(tmp_path, head))
    expected = FRAMEWORK.call(by_hand, **inputs, sample_weight=weights).loss
    assert_close(model.evaluate(**data, verbose=0), expected, 1e-6)  # Keras keeps it in float32. Measured: 1e-7
    FRAMEWORK.sgd_step(by_hand, RATE, **inputs, sample_weight=weights)
    model.fit(**data, verbose=0, shuffle=False)
    assert_close(FRAMEWORK.parameters(model), FRAMEWORK.parameters(by_hand), 1e-13)


def test_weights_of_start_and_end(tmp_path):
    """Each position has its own, by name or in order; and so have the metrics."""
    config = small_config(n_layers=1, **NO_DROPOUT)
    save_random(tmp_path, config, Head.QUESTION_ANSWERING)
    model, given = (load(tmp_path, Head.QUESTION_ANSWERING) for _ in range(2))
    sgd(model)
    sgd(given, loss=[CROSS_ENTROPY] * 2, loss_weights=[0.5, 0.5], weighted_metrics=[["accuracy"], ["accuracy"]])
    x = features()
    output = FRAMEWORK.call(model, **x)
    positions, weights, losses, right = {}, {}, [], []
    for name, of_rows, right_rows in (("start", ROWS, [0, 3]), ("end", ROWS[::-1].copy(), [1, 2])):
        logits = output[f"{name}_logits"]
        place = (logits.argmax(-1) + 1) % 11
        place[right_rows] = logits.argmax(-1)[right_rows]
        positions[f"{name}_positions"], weights[f"{name}_positions"] = place, of_rows
        losses.append(of_rows * (np.log(np.exp(logits).sum(-1)) - logits[np.arange(5), place]))
        right.append(of_rows[right_rows].sum() / of_rows.sum())
    ways = [
        (tuple(positions.values()), tuple(weights.values())),
        (positions, dict(reversed(weights.items()))),
    ]
    for y, sample_weight in ways:
        assert_close(model.evaluate(x, y, sample_weight=sample_weight, verbose=0), np.mean(losses), 1e-6)
        got = given.evaluate(x, y, sample_weight=sample_weight, verbose=0, return_dict=True)
        assert_close([got["loss"], got["accuracy"], got["weighted_accuracy"]], [np.mean(losses), *right], 1e-6)


class Batches(keras.utils.PyDataset):
    """Batches of two and of three rows."""

    def __init__(self, *parts):
        super().__init__()
        self.parts = parts

    def __len__(self):
        return 2

    def __getitem__(self, index):
        rows = slice(0, 2) if index == 0 else slice(2, 5)
        batch = keras.tree.map_structure(lambda array: array[rows], self.parts)
        return batch if len(batch) > 1 else batch[0]


def dataset(*parts):
    """The same as tf.data has it."""
    batches = Batches(*parts)
    spec = keras.tree.map_structure(
        lambda a: tf.TensorSpec([None, *a.shape[1:]], a.dtype), parts if len(parts) > 1 else parts[0]
    )
    data = tf.data.Dataset.from_generator(lambda: (batches[i] for i in range(2)), output_signature=spec)
    return data.apply(tf.data.experimental.assert_cardinality(2))


def generator(*parts):
    batches = Batches(*parts)
    return (batches[i] if len(parts) > 1 else (batches[i],) for i in range(2))


WITH_LABELS = {**features(), "labels": CLASSES}
DATA = {
    "tf.data": lambda: {"x": dataset(features(), CLASSES, ROWS)},
    "tf.data, all in x": lambda: {"x": dataset({**WITH_LABELS, "sample_weight": ROWS})},
    "PyDataset": lambda: {"x": Batches(features(), CLASSES, ROWS)},
    "PyDataset, all in x": lambda: {"x": Batches({**WITH_LABELS, "sample_weight": ROWS})},
    "generator": lambda: {"x": generator(features(), CLASSES, ROWS), "steps_per_epoch": 2},
    "generator, all in x": lambda: {"x": generator({**WITH_LABELS, "sample_weight": ROWS}), "steps_per_epoch": 2},
}


@pytest.mark.parametrize("options", [{}, {"loss": CROSS_ENTROPY}], ids=["own loss", "given loss"])
@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_ways_to_give_weights(folder, data, options):
    by_arrays, model = (sgd(load(folder), **options) for _ in range(2))
    for rows in (slice(0, 2), slice(2, 5)):
        x = {name: array[rows] for name, array in features().items()}
        by_arrays.fit(x, CLASSES[rows], sample_weight=ROWS[rows], verbose=0, shuffle=False)
    model.fit(**data(), verbose=0, shuffle=False)
    assert_close(FRAMEWORK.parameters(model), FRAMEWORK.parameters(by_arrays), 0.0)


def test_weights_on_batches(folder):
    expected = sgd(load(folder)).test_on_batch(features(), CLASSES, sample_weight=ROWS)
    model = sgd(load(folder))
    assert model.test_on_batch(WITH_LABELS, sample_weight=ROWS) == expected
    assert model.test_on_batch({**WITH_LABELS, "sample_weight": ROWS}) == expected
    assert abs(model.test_on_batch(WITH_LABELS) - expected) > 1e-3
    assert model.train_on_batch(WITH_LABELS, sample_weight=ROWS) == expected
    by_fit = sgd(load(folder))
    by_fit.fit(features(), CLASSES, sample_weight=ROWS, verbose=0, shuffle=False)
    assert_close(FRAMEWORK.parameters(model), FRAMEWORK.parameters(by_fit), 0.0)


@pytest.mark.parametrize("options", [{}, {"loss": CROSS_ENTROPY}], ids=["own loss", "given loss"])
def test_labels_of_which_some_do_not_count(folder, options):
    """A label of -100 adds nothing, whatever its weight is."""
    labels = np.array([3, -100, 6, 2, 3])
    model = sgd(load(folder), **options)
    losses = [
        model.evaluate(features(), labels, sample_weight=np.array([0.5, of_second, 0, 1, 3]), verbose=0)
        for of_second in (0.0, 9.0)
    ]
    assert losses[0] == losses[1] > 0


def test_weighted_metrics_and_validation(folder):
    """With labels among the inputs: the last two rows are the validation's."""
    model = sgd(load(folder, num_labels=7), weighted_metrics=["accuracy"])
    logits = FRAMEWORK.call(model, **features()).logits
    losses = np.log(np.exp(logits).sum(-1)) - logits[np.arange(5), CLASSES]
    right = logits.argmax(-1) == CLASSES
    expected = [(ROWS * losses).mean(), (ROWS * right).sum() / ROWS.sum()]
    assert_close(model.evaluate(WITH_LABELS, sample_weight=ROWS, verbose=0), expected, 1e-6)
    model.optimizer.learning_rate = 0.0
    train = {name: array[:3] for name, array in WITH_LABELS.items()}
    validation = {name: array[3:] for name, array in WITH_LABELS.items()}
    ways = {
        "split": {"x": WITH_LABELS, "sample_weight": ROWS, "validation_split": 0.4},
        "data": {"x": train, "sample_weight": ROWS[:3], "validation_data": (validation, None, ROWS[3:])},
        "in inputs": {"x": train, "validation_data": {**validation, "sample_weight": ROWS[3:]}},
    }
    for way in ways.values():
        history = model.fit(**way, verbose=0).history
        assert_close(history["val_loss"], [(ROWS * losses)[3:].mean()], 1e-6)
        assert_close(history["val_accuracy"], [(ROWS * right)[3:].sum() / ROWS[3:].sum()], 1e-6)


# -- weights of classes ---------------------------------------------------------------------------------------------

WITH_CLASS_WEIGHT = {
    "y": lambda: {"x": features(), "y": CLASSES},
    "y [B, 1]": lambda: {"x": features(), "y": CLASSES[:, None]},
    "inputs": lambda: {"x": WITH_LABELS},
    "tf.data": lambda: {"x": dataset(features(), CLASSES)},
    "tf.data, inputs": lambda: {"x": dataset(WITH_LABELS)},
    "PyDataset": lambda: {"x": Batches(features(), CLASSES)},
    "PyDataset, inputs": lambda: {"x": Batches(WITH_LABELS)},
}


@pytest.mark.parametrize("options", [{}, {"loss": CROSS_ENTROPY}], ids=["own loss", "given loss"])
@pytest.mark.parametrize("data", WITH_CLASS_WEIGHT.values(), ids=WITH_CLASS_WEIGHT)
def test_class_weight(folder, data, options):
    by_rows, by_class = (sgd(load(folder), **options) for _ in range(2))
    data = data()
    parts = [slice(0, 5)] if isinstance(data["x"], dict) else [slice(0, 2), slice(2, 5)]
    for rows in parts:
        x = {name: array[rows] for name, array in features().items()}
        by_rows.fit(x, CLASSES[rows], sample_weight=OF_CLASSES[CLASSES[rows]], verbose=0, shuffle=False)
    by_class.fit(**data, class_weight=CLASS_WEIGHT, verbose=0, shuffle=False)
    # Keras makes float32 of the weights, which are exact in it.
    assert_close(FRAMEWORK.parameters(by_class), FRAMEWORK.parameters(by_rows), 0.0)


def test_class_weight_on_a_batch(folder):
    by_rows, by_class = sgd(load(folder)), sgd(load(folder))
    expected = by_rows.train_on_batch(features(), CLASSES, sample_weight=OF_CLASSES[CLASSES])
    assert by_class.train_on_batch(WITH_LABELS, class_weight=CLASS_WEIGHT) == expected
    assert_close(FRAMEWORK.parameters(by_class), FRAMEWORK.parameters(by_rows), 0.0)


def test_class_weight_leaves_the_validation_alone(folder):
    model = sgd(load(folder))
    model.optimizer.learning_rate = 0.0
    plain = model.fit(WITH_LABELS, validation_split=0.4, verbose=0).history
    weighted = model.fit(WITH_LABELS, validation_split=0.4, class_weight=CLASS_WEIGHT, verbose=0).history
    assert weighted["val_loss"] == plain["val_loss"]
    assert abs(weighted["loss"][0] - plain["loss"][0]) > 1e-3


def test_class_weight_of_classes_as_vectors(folder):
    """Keras' meaning, where a loss of Keras' is given that takes them."""
    by_number = sgd(load(folder), loss=CROSS_ENTROPY)
    by_vector = sgd(load(folder), loss=keras.losses.CategoricalCrossentropy(from_logits=True))
    by_number.fit(features(), CLASSES, class_weight=CLASS_WEIGHT, verbose=0, shuffle=False)
    by_vector.fit(features(), np.eye(7)[CLASSES], class_weight=CLASS_WEIGHT, verbose=0, shuffle=False)
    assert_close(FRAMEWORK.parameters(by_vector), FRAMEWORK.parameters(by_number), 1e-7)  # in float32


# -- what cannot be -------------------------------------------------------------------------------------------------

A_CLASS_A_ROW = "class_weight is for labels that are one class for each row; for others give sample_weight"
MULTI_LABEL = {"problem_type": "multi_label_classification"}
REFUSED = [  # head, changes to the configuration, options of compile, labels, options of fit, message
    (HEAD, {}, {}, CLASSES, {"sample_weight": -ROWS}, r"sample_weight must be finite numbers >= 0, got -3\.0"),
    (HEAD, {}, {}, CLASSES, {"sample_weight": ROWS * np.nan}, "sample_weight must be finite numbers >= 0, got nan"),
    (
        HEAD,
        {},
        {},
        CLASSES,
        {"sample_weight": np.ones((5, 2))},
        r"sample_weight must have shape \[batch\], or that",
    ),
    (HEAD, {}, {}, CLASSES, {"sample_weight": {"x": ROWS}}, "sample_weight must have labels, got x"),
    (HEAD, {}, {}, {"label": CLASSES}, {}, "y must have labels, got label"),
    (HEAD, {}, {}, None, {"class_weight": {0: 2.0}}, "fit and evaluate need labels: give 'labels' among the inputs"),
    (HEAD, {}, {}, None, {"sample_weight": ROWS}, "fit and evaluate need labels: give 'labels' among the inputs"),
    (HEAD, {}, {}, CLASSES, {"class_weight": {7: 2.0}}, r"indices of classes as keys, below 7; got \{7: 2\.0\}"),
    (HEAD, {}, {}, CLASSES, {"class_weight": {"a": 2.0}}, r"indices of classes as keys, below 7; got \{'a': 2\.0\}"),
    (HEAD, {}, {}, CLASSES, {"class_weight": {}}, r"indices of classes as keys, below 7; got \{\}"),
    (HEAD, {}, {}, CLASSES, {"class_weight": {0: -2.0}}, r"class_weight must be finite numbers >= 0, got -2\.0"),
    (HEAD, {"num_labels": 1}, {}, ROWS, {"class_weight": {0: 2.0}}, A_CLASS_A_ROW),
    (HEAD, MULTI_LABEL, {}, np.eye(7)[CLASSES], {"class_weight": {0: 2.0}}, A_CLASS_A_ROW),
    (HEAD, MULTI_LABEL, {"loss": "mse"}, np.eye(7)[CLASSES], {"class_weight": {0: 2.0}}, A_CLASS_A_ROW),
    (Head.TOKEN_CLASSIFICATION, {}, {}, np.zeros((5, 11), int), {"class_weight": {0: 2.0}}, A_CLASS_A_ROW),
    (
        Head.TOKEN_CLASSIFICATION,
        {},
        {"loss": CROSS_ENTROPY},
        np.zeros((5, 11), int),
        {"class_weight": {0: 2.0}},
        A_CLASS_A_ROW,
    ),
    (Head.QUESTION_ANSWERING, {}, {}, (CLASSES, CLASSES), {"class_weight": {0: 2.0}}, A_CLASS_A_ROW),
]


@pytest.mark.parametrize(("head", "changes", "compiled", "labels", "options", "message"), REFUSED)
def test_impossible_weights(tmp_path, head, changes, compiled, labels, options, message):
    save_random(tmp_path, small_config(n_layers=1, **changes), head)
    with pytest.raises(InputError, match=message):
        sgd(load(tmp_path, head), **compiled).fit(features(), labels, verbose=0, **options)


@pytest.mark.parametrize("data", [dataset, Batches])
def test_class_weight_of_tokens_in_batches(tmp_path, data):
    save_random(tmp_path, small_config(n_layers=1), Head.TOKEN_CLASSIFICATION)
    batches = data({**features(), "labels": np.zeros((5, 11), int)})
    with pytest.raises(InputError, match=A_CLASS_A_ROW):
        sgd(load(tmp_path, Head.TOKEN_CLASSIFICATION)).fit(batches, class_weight={0: 2.0}, verbose=0)


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (WITH_LABELS, {"y": CLASSES}, "labels must be among the inputs or given as y, not both"),
        (
            {**features(), "sample_weight": ROWS},
            {"y": CLASSES, "sample_weight": ROWS},
            "sample_weight must be among the inputs or given as sample_weight, not both",
        ),
    ],
)
def test_what_is_given_twice(folder, x, options, message):
    model = sgd(load(folder))
    for method in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(InputError, match=message):
            method(x, **options)
    with pytest.raises(InputError, match=message):
        model.evaluate(dataset(x, *options.values()), verbose=0)


def test_both_kinds_of_weights(folder):
    for x in (WITH_LABELS, {**WITH_LABELS, "sample_weight": ROWS}):
        options = {} if "sample_weight" in x else {"sample_weight": ROWS}
        with pytest.raises(ValueError, match="`class_weight` and `sample_weight`"):
            sgd(load(folder)).fit(x, class_weight={0: 2.0}, verbose=0, **options)


# -- inputs as the tokenizer returns them ---------------------------------------------------------------------------


def test_what_the_tokenizer_returns(folder):
    encoding = BatchEncoding(features())
    model, by_dict = sgd(load(folder)), sgd(load(folder))
    assert model.evaluate(encoding, CLASSES, verbose=0) == by_dict.evaluate(features(), CLASSES, verbose=0)
    for trained, x in ((model, encoding), (by_dict, features())):
        trained.fit(x, CLASSES, verbose=0, shuffle=False)
    assert_close(dict(model.predict(encoding, verbose=0)), dict(by_dict.predict(features(), verbose=0)), 0.0)
    assert_close(dict(model.predict_on_batch(encoding)), dict(by_dict.predict_on_batch(features())), 0.0)


def test_predict_leaves_labels_and_weights_out(folder):
    model = load(folder)
    expected = FRAMEWORK.call(model, **features())
    for x in ({**WITH_LABELS, "sample_weight": ROWS}, dataset({**WITH_LABELS, "sample_weight": ROWS})):
        assert_close(dict(model.predict(x, verbose=0)), expected, 1e-12)
