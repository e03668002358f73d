"""Training as Keras does it: compile, fit, evaluate, callbacks; against gradient steps by hand."""

from __future__ import annotations

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from distilbert_core import Head, InputError
from distilbert_tf.callbacks import ResumeDropout
from distilbert_tf.training import RateTable
from support.checkpoints import HEADS_WITH_LOSS, random_inputs, save_random, small_config, training_inputs
from support.comparison import assert_close, largest_difference
from support.frameworks import FRAMEWORKS

FRAMEWORK = FRAMEWORKS["tf"]
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0, "qa_dropout": 0.0, "seq_classif_dropout": 0.0}
RATE = 0.125  # exact in every dtype
CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-100)


def load(folder, head=Head.SEQUENCE_CLASSIFICATION, **options):
    return FRAMEWORK.load(head, folder, dtype="float64", **options)


@pytest.fixture
def folder(tmp_path):
    """A random sequence classifier."""
    save_random(tmp_path, small_config(n_layers=1, **NO_DROPOUT), Head.SEQUENCE_CLASSIFICATION)
    return tmp_path


def features(head=Head.SEQUENCE_CLASSIFICATION):
    inputs = random_inputs(small_config(), head)
    return {name: inputs[name] for name in ("input_ids", "attention_mask")}


CLASSES = np.array([3, 0, 6, 2, 3])


def sgd(model, **options):
    """Compile for plain gradient descent."""
    model.compile(keras.optimizers.SGD(RATE), **{"run_eagerly": True, **options})
    return model


def step_by_hand(model, inputs, loss):
    """One step of gradient descent on a function of the logits."""
    with tf.GradientTape() as tape:
        value = loss(model(inputs).logits)
    variables = [variable.value for variable in model.trainable_variables]
    for variable, gradient in zip(variables, tape.gradient(value, variables), strict=True):
        variable.assign_sub(RATE * tf.convert_to_tensor(gradient))


# -- the task's own loss ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "place"),
    [
        *((head, "inputs") for head in HEADS_WITH_LOSS),
        *((head, "y") for head in (Head.MASKED_LM, Head.QUESTION_ANSWERING)),
        *((head, "y by name") for head in (Head.MASKED_LM, Head.QUESTION_ANSWERING)),
    ],
)
def test_own_loss(tmp_path, head, place):
    config = small_config(n_layers=1, **NO_DROPOUT)
    save_random(tmp_path, config, head)
    inputs = random_inputs(config, head)
    x = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    labels = {name: value for name, value in inputs.items() if name not in x}
    alone = tuple(labels.values()) if len(labels) > 1 else labels["labels"]
    x, y = {"inputs": (inputs, None), "y": (x, alone), "y by name": (x, labels)}[place]
    by_hand = load(tmp_path, head)
    model = sgd(load(tmp_path, head))
    # Keras keeps the mean of losses in float32. Measured: 5e-8.
    assert_close(model.evaluate(x, y, verbose=0), FRAMEWORK.call(by_hand, **inputs).loss, 1e-6)
    FRAMEWORK.sgd_step(by_hand, RATE, **inputs)
    model.train_on_batch(x, y)
    assert_close(FRAMEWORK.parameters(model), FRAMEWORK.parameters(by_hand), 1e-13)


def test_losses_of_layers_are_added(folder):
    model = sgd(load(folder))
    before = model.evaluate(features(), CLASSES, verbose=0)
    model.classifier.kernel_regularizer = keras.regularizers.L2(0.5)
    model.classifier.kernel.regularizer = model.classifier.kernel_regularizer
    added = 0.5 * (np.asarray(model.classifier.kernel) ** 2).sum()
    assert_close(model.evaluate(features(), CLASSES, verbose=0), before + added, 1e-6)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "fit and evaluate need labels: give 'labels' among the inputs, or as y"),
        (CLASSES + 1, r"labels must lie in \[0, number of classes=7\), got 7"),
        (np.stack([CLASSES, CLASSES], 1), r"labels must have shape .*\(5\), got \(5, 2\)"),
    ],
)
def test_impossible_labels(folder, labels, message):
    with pytest.raises(InputError, match=message):
        sgd(load(folder)).fit(features(), labels, verbose=0)


def test_outputs_without_names(folder):
    with pytest.raises(InputError, match="outputs with names"):
        sgd(load(folder, return_dict=False)).fit(features(), CLASSES, verbose=0)


def test_predict_leaves_labels_out(folder):
    model = load(folder)
    got = model.predict({**features(), "labels": CLASSES}, batch_size=2, verbose=0)
    assert_close(dict(got), FRAMEWORK.call(model, **features()), 1e-12)


# -- a loss and metrics given to compile ------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS_WITH_LOSS)
def test_given_loss(tmp_path, head):
    """Cross-entropy given by Keras trains to what the task's own does, and its metrics see the logits."""
    config = small_config(n_layers=1, **NO_DROPOUT)
    save_random(tmp_path, config, head)
    inputs = random_inputs(config, head)
    pair = head is Head.QUESTION_ANSWERING
    if pair:
        for name in ("start_positions", "end_positions"):
            inputs[name] = inputs[name].clip(0, 10)
    own, given = sgd(load(tmp_path, head)), load(tmp_path, head)
    losses, weights = ([CROSS_ENTROPY] * 2, [0.5, 0.5]) if pair else (CROSS_ENTROPY, None)
    metrics = [["accuracy"], ["accuracy"]] if pair else ["accuracy"]
    sgd(given, loss=losses, loss_weights=weights, metrics=metrics)
    output = FRAMEWORK.call(given, **inputs)
    logits, labels = (output.start_logits, inputs["start_positions"]) if pair else (output.logits, inputs["labels"])
    got = given.evaluate(inputs, batch_size=5, verbose=0, return_dict=True)
    assert_close(got["loss"], output.loss, 1e-6)
    assert_close(got["accuracy"], (logits.argmax(-1) == labels).mean(), 1e-7)
    for model in (own, given):
        model.train_on_batch(inputs)
    # Keras computes its losses in float32. Measured: 5e-9.
    assert_close(FRAMEWORK.parameters(given), FRAMEWORK.parameters(own), 1e-7)


def test_regression(tmp_path):
    config = small_config(n_layers=1, num_labels=1, **NO_DROPOUT)
    save_random(tmp_path, config, Head.SEQUENCE_CLASSIFICATION)
    own, given = sgd(load(tmp_path)), sgd(load(tmp_path), loss="mse", metrics=["mae"])
    y = np.array([0.5, 1.5, -2.0, 0.0, 3.0])
    logits = FRAMEWORK.call(given, **features()).logits[:, 0]
    assert_close(given.evaluate(features(), y, verbose=0), [((logits - y) ** 2).mean(), abs(logits - y).mean()], 1e-6)
    for model in (own, given):
        model.train_on_batch(features(), y)
    assert_close(FRAMEWORK.parameters(given), FRAMEWORK.parameters(own), 1e-7)  # float32 again; measured: 2e-8


WEIGHTS = np.array([0.5, 2.0, 0.0, 1.0, 3.0])


def test_sample_weight(folder):
    model, by_hand = sgd(load(folder), loss=CROSS_ENTROPY, weighted_metrics=["accuracy"]), load(folder)
    logits = FRAMEWORK.call(by_hand, **features()).logits
    losses = np.log(np.exp(logits).sum(-1)) - logits[np.arange(5), CLASSES]
    right = logits.argmax(-1) == CLASSES
    got = model.evaluate(features(), CLASSES, sample_weight=WEIGHTS, verbose=0)
    assert_close(got, [(WEIGHTS * losses).sum() / 5, (WEIGHTS * right).sum() / WEIGHTS.sum()], 1e-6)
    model.fit(features(), CLASSES, sample_weight=WEIGHTS, verbose=0)
    step_by_hand(
        by_hand,
        features(),
        lambda logits: (
            tf.reduce_sum(WEIGHTS * tf.nn.sparse_softmax_cross_entropy_with_logits(labels=CLASSES, logits=logits)) / 5
        ),
    )
    assert_close(FRAMEWORK.parameters(model), FRAMEWORK.parameters(by_hand), 1e-7)  # float32 again; measured: 1e-8


# -- ways to give the data and to run ---------------------------------------------------------------------------


class InPairs(keras.utils.PyDataset):
    """Batches of two."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        part = slice(2 * index, 2 * index + 2)
        return {name: value[part] for name, value in features().items()}, CLASSES[part]


def in_pairs(inputs):
    return tf.data.Dataset.from_tensor_slices((inputs, CLASSES)).batch(2)


DATA = {
    "tf.data": lambda: {"x": in_pairs(features())},
    "tf.data, positional": lambda: {"x": in_pairs(tuple(features().values()))},
    "PyDataset": lambda: {"x": InPairs()},
    "arrays, positional": lambda: {"x": list(features().values()), "y": CLASSES, "batch_size": 2},
}


@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_data(folder, data):
    arrays, other = (sgd(load(folder), loss=CROSS_ENTROPY) for _ in range(2))
    expected = arrays.fit(features(), CLASSES, batch_size=2, epochs=2, shuffle=False, verbose=0)
    got = other.fit(**data(), epochs=2, shuffle=False, verbose=0)
    assert_close(got.history, expected.history, 0.0)
    assert_close(FRAMEWORK.parameters(other), FRAMEWORK.parameters(arrays), 0.0)
    assert_close(other.evaluate(**data(), verbose=0), arrays.evaluate(features(), CLASSES, verbose=0), 1e-6)


@pytest.mark.parametrize("options", [{"steps_per_execution": 2}, {"jit_compile": True}], ids=str)
def test_graphs(folder, options):
    eager, graph = sgd(load(folder)), sgd(load(folder), run_eagerly=False, **options)
    for model in (eager, graph):
        model.fit(features(), CLASSES, batch_size=2, epochs=2, shuffle=False, verbose=0)
    assert_close(FRAMEWORK.parameters(graph), FRAMEWORK.parameters(eager), 1e-12)  # measured: 1e-15


def test_gradient_accumulation(folder):
    """Two batches of two, accumulated, are one of four."""
    whole, parts = load(folder), load(folder)
    whole.compile(keras.optimizers.Adam(0.01, global_clipnorm=0.5), run_eagerly=True)
    optimizer = keras.optimizers.Adam(0.01, global_clipnorm=0.5, gradient_accumulation_steps=2)
    parts.compile(optimizer, run_eagerly=True)
    x = {name: value[:4] for name, value in features().items()}
    for model, size in ((whole, 4), (parts, 2)):
        model.fit(x, CLASSES[:4], batch_size=size, epochs=2, shuffle=False, verbose=0)
    assert_close(FRAMEWORK.parameters(parts), FRAMEWORK.parameters(whole), 1e-12)  # measured: 8e-15


def test_frozen_parts_stay(folder):
    model = sgd(load(folder))
    before = FRAMEWORK.parameters(model)
    model.distilbert.embeddings.trainable = False
    model.distilbert.transformer.layer[0].attention.trainable = False
    model.train_on_batch(features(), CLASSES)
    after = FRAMEWORK.parameters(model)
    moved = {name for name in before if (after[name] != before[name]).any()}
    assert moved == {name for name in before if ".embeddings." not in name and ".attention." not in name}


# -- low-rank updates -------------------------------------------------------------------------------------------


def trained_low_rank(folder):
    model = load(folder)
    model.enable_lora(2, alpha=4)
    sgd(model).fit(features(), CLASSES, epochs=3, verbose=0)
    return model


def test_low_rank_updates(folder):
    before = FRAMEWORK.parameters(load(folder))
    model = trained_low_rank(folder)
    after = FRAMEWORK.parameters(model)
    ranks = {
        name: np.linalg.matrix_rank(after[name] - before[name], tol=1e-7) for name in before if before[name].ndim == 2
    }
    kernels = {
        name for name in before if ".layer.0." in name and name.endswith(("_lin.weight", "lin1.weight", "lin2.weight"))
    }
    assert len(kernels) == 6
    assert {name for name, rank in ranks.items() if rank == 2 and name in kernels} == kernels
    for name in before:
        if name.startswith("distilbert.") and name not in kernels:
            assert_close(after[name], before[name], 0.0)
    assert largest_difference(after["classifier.weight"], before["classifier.weight"]) > 1e-4


def test_low_rank_updates_are_saved(folder, tmp_path):
    model = trained_low_rank(folder)
    model.save_pretrained(tmp_path / "saved")
    model.save(tmp_path / "saved.keras")
    model.save_weights(tmp_path / "saved.weights.h5")
    by_weights = load(folder)
    by_weights.load_weights(tmp_path / "saved.weights.h5")
    expected = FRAMEWORK.call(model, **features())
    for again in (load(tmp_path / "saved"), keras.saving.load_model(tmp_path / "saved.keras"), by_weights):
        # The updates are kept in float32. Measured: 1e-7.
        assert_close(FRAMEWORK.call(again, **features()), expected, 1e-6)


def test_low_rank_updates_that_cannot_be(folder):
    model = load(folder)
    for rank in (0, 1.5):
        with pytest.raises(InputError, match="rank must be a positive integer"):
            model.enable_lora(rank)
    model.enable_lora(2)
    with pytest.raises(InputError, match="enable_lora can be called once, and was called before"):
        model.enable_lora(2)
    with pytest.raises(InputError, match="q_lin has low-rank updates: resize or prune before enable_lora"):
        model.prune_heads({0: [1]})
    assert model.config.pruned_heads == {}


# -- callbacks --------------------------------------------------------------------------------------------------


class Remember(keras.callbacks.Callback):
    """Keeps the parameters of every epoch."""

    def __init__(self):
        super().__init__()
        self.epochs = []

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(FRAMEWORK.parameters(self.model))


def fit_until_worse(folder, *callbacks):
    """Train on labels that part from those it is evaluated on."""
    model = sgd(load(folder))
    other = (CLASSES + np.array([0, 0, 0, 1, 2])) % 7
    options = {"epochs": 30, "validation_data": (features(), other), "verbose": 0}
    return model, model.fit(features(), CLASSES, callbacks=callbacks, **options).history["val_loss"]


def test_best_checkpoint_and_early_stop(folder, tmp_path):
    remember = Remember()
    checkpoint = keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor="val_loss", save_best_only=True)
    stop = keras.callbacks.EarlyStopping(monitor="val_loss", patience=2, restore_best_weights=True)
    model, losses = fit_until_worse(folder, remember, checkpoint, stop)
    best = int(np.argmin(losses))
    assert 0 < best < len(losses) - 1 == best + 2 < 29
    for trained in (model, keras.saving.load_model(tmp_path / "best.keras")):
        assert_close(FRAMEWORK.parameters(trained), remember.epochs[best], 0.0)


def test_tensorboard(folder, tmp_path):
    pytest.importorskip("tensorboard")
    stop = keras.callbacks.EarlyStopping(monitor="val_loss")
    _, losses = fit_until_worse(folder, keras.callbacks.TensorBoard(tmp_path), stop)
    assert_close(logged(tmp_path / "validation", "epoch_loss"), losses, 0.0)


def logged(folder, tag):
    """The numbers under a tag in TensorBoard's files."""
    [path] = folder.glob("events*")
    events = (tf.compat.v1.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(path)))
    return [tf.make_ndarray(value.tensor) for event in events for value in event.summary.value if value.tag == tag]


class KilledError(Exception):
    pass


class KillAtEpoch(keras.callbacks.Callback):
    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise KilledError


def run(folder, *callbacks):
    """Train with dropout as a new process would."""
    keras.utils.set_random_seed(5)
    model = load(folder, dropout=0.3, attention_dropout=0.2, seq_classif_dropout=0.1)
    model.compile(keras.optimizers.SGD(RATE, momentum=0.9), run_eagerly=True)
    model.fit(features(), CLASSES, batch_size=3, epochs=3, shuffle=False, verbose=0, callbacks=callbacks)
    return FRAMEWORK.parameters(model)


def test_a_killed_run_goes_on_to_the_same_weights(folder, tmp_path):
    expected = run(folder)
    with pytest.raises(KilledError):
        run(folder, keras.callbacks.BackupAndRestore(tmp_path / "backup"), KillAtEpoch(1))
    shutil.copytree(tmp_path / "backup", tmp_path / "copy")
    assert_close(run(folder, keras.callbacks.BackupAndRestore(tmp_path / "backup"), ResumeDropout()), expected, 0.0)
    without = run(folder, keras.callbacks.BackupAndRestore(tmp_path / "copy"))
    assert largest_difference(without, expected) > 1e-4


def test_a_table_of_rates_is_not_copied_into_the_graph():
    """Keras asks for the rate of each variable: a million rates, copied each time, took 3 GB with a hundred of them."""
    table = RateTable(np.linspace(1e-3, 0, 1000))
    rates = tf.function(lambda step: [table(step) for _ in range(3)], autograph=False)
    graph = rates.get_concrete_function(tf.TensorSpec([], tf.int64)).graph
    assert graph.as_graph_def().ByteSize() < 8 * 1000
    assert [float(rate) for rate in rates(tf.constant(1))] == [np.linspace(1e-3, 0, 1000)[1]] * 3
    assert float(RateTable.from_config(table.get_config())(999)) == 0


def test_fit_with_gradient_checkpointing(tmp_path):
    """Graphs of padded batches, with dropout: losses and weights are the same. Measured: 0."""
    config = small_config(n_layers=2, dropout=0.3, attention_dropout=0.2)
    save_random(tmp_path, config, Head.MASKED_LM)
    inputs = training_inputs(config, Head.MASKED_LM)
    results = []
    for on in (False, True):
        keras.utils.set_random_seed(3)
        model = FRAMEWORK.load(Head.MASKED_LM, tmp_path, dtype="float64")
        if on:
            model.gradient_checkpointing_enable()
        model.compile(keras.optimizers.SGD(0.1), jit_compile=False)
        losses = model.fit(inputs, batch_size=2, epochs=2, shuffle=False, verbose=0).history["loss"]
        results.append((losses, FRAMEWORK.parameters(model)))
    assert_close(results[1][0], results[0][0], 1e-12)
    assert_close(results[1][1], results[0][1], 1e-12)
    model.gradient_checkpointing_disable()
    assert not model.is_gradient_checkpointing
