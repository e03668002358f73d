"""`model.pack`: `fit`, `evaluate` and `predict` on packed rows, against the padded batches."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from distilbert_core import Head, InputError
from support.checkpoints import HEADS_WITH_LOSS, small_config
from support.frameworks import FRAMEWORKS

FRAMEWORK = FRAMEWORKS["tf"]
HEAD = Head.SEQUENCE_CLASSIFICATION
TOKENS = Head.TOKEN_CLASSIFICATION
ANSWERS = Head.QUESTION_ANSWERING
NO_DROPOUT = dict.fromkeys(("dropout", "attention_dropout", "qa_dropout", "seq_classif_dropout"), 0.0)
ROWS, LENGTH, BATCH = 7, 9, 3
RATE = 0.125  # exact in every dtype
TOLERANCE = 1e-10  # measured: 3e-16


@pytest.fixture(autouse=True)
def float64():
    """Keras computes its own losses and means in its floatx."""
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx("float32")


def new(head=HEAD, **options):
    """A model whose weights are the same in each call."""
    keras.utils.set_random_seed(1)
    model = FRAMEWORK.cls(head)(small_config(n_layers=1, **NO_DROPOUT), dtype="float64")
    model.compile(keras.optimizers.SGD(RATE), **{"run_eagerly": True, **options})
    return model


def arrays(head=HEAD, padding=True):
    """Padded inputs and labels of seven texts, two batches of three and one of one."""
    rng = np.random.default_rng(0)
    shape = (ROWS, 3, LENGTH) if head.has_choices else (ROWS, LENGTH)
    lengths = rng.integers(2, LENGTH + 1, shape[:-1]) if padding else np.full(shape[:-1], LENGTH)
    mask = (np.arange(LENGTH) < lengths[..., None]).astype(int)
    ids = rng.integers(5, 47, shape) * mask
    if head is Head.QUESTION_ANSWERING:
        labels = rng.integers(0, LENGTH, ROWS), rng.integers(0, LENGTH, ROWS)
    elif head.reads_tokens:
        labels = np.where((mask == 1) & (rng.random(shape) < 0.7), rng.integers(0, 7, shape), -100)
    else:
        labels = rng.integers(0, 3, ROWS)
    return {"input_ids": ids, "attention_mask": mask}, labels


def assert_near(got, expected, name=""):
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE, err_msg=name)


def assert_same(packed, padded):
    """Models, with the histories of `fit` and the results of `evaluate`."""
    for got, expected in zip(packed[0].variables, padded[0].variables, strict=True):
        assert_near(got.numpy(), expected.numpy(), expected.path)
    assert packed[1].history.keys() == padded[1].history.keys()
    for name, values in padded[1].history.items():
        assert_near(packed[1].history[name], values, name)
    assert_near(packed[2], padded[2])


def compiled_loss(head):
    """Arguments of `compile` with a loss and metrics of Keras."""
    several = head is ANSWERS
    metrics = ["sparse_categorical_accuracy"]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-100)  # in today's floatx
    losses = {"loss": [loss, loss] if several else loss}
    losses["weighted_metrics"] = [metrics, metrics] if several else metrics
    return losses if head.reads_tokens and not several else {**losses, "metrics": losses["weighted_metrics"]}


@pytest.mark.parametrize("own_loss", [True, False], ids=["own loss", "compiled loss"])
@pytest.mark.parametrize("head", HEADS_WITH_LOSS)
def test_weights_losses_and_metrics_after_an_epoch(head, own_loss):
    """Of question answering without padding, which the padded model has in its softmax."""
    x, y = arrays(head, padding=head is not ANSWERS)
    of_tokens = head.reads_tokens and head is not ANSWERS
    weights = np.arange(1.0, ROWS + 1)
    weights = (y != -100) * weights[:, None] if of_tokens else weights
    runs = []
    for packed in (True, False):
        model = new(head, **({} if own_loss else compiled_loss(head)))
        if packed:
            history = model.fit(model.pack(x, y, weights, batch_size=BATCH), shuffle=False, verbose=0)
            result = model.evaluate(model.pack(x, y, weights, batch_size=BATCH), verbose=0)
        else:
            options = {"sample_weight": weights, "batch_size": BATCH, "verbose": 0}
            history = model.fit(x, y, shuffle=False, **options)
            result = model.evaluate(x, y, **options)
        runs.append((model, history, result))
    assert_same(*runs)
    assert abs(runs[0][1].history["loss"][0] - np.mean(runs[0][2])) > 1e-4  # the step has changed something


def ragged_columns(x, y):
    lists = [ids[mask == 1].tolist() for ids, mask in zip(x["input_ids"], x["attention_mask"], strict=True)]
    return {"input_ids": lists, "labels": y}


class PyData(keras.utils.PyDataset):
    """Padded batches, read by two threads."""

    def __init__(self, x, y):
        super().__init__(workers=2)
        self.x, self.y, self.epochs = x, y, 0

    def __len__(self):
        return -(-ROWS // BATCH)

    def __getitem__(self, index):
        some = slice(index * BATCH, (index + 1) * BATCH)
        return {name: array[some] for name, array in self.x.items()}, self.y[some]

    def on_epoch_end(self):
        self.epochs += 1


def of_tensors(x, y):
    return tf.data.Dataset.from_tensor_slices((x, y))


def ragged(x, y):
    columns = ragged_columns(x, y)
    return tf.data.Dataset.from_tensor_slices({"input_ids": tf.ragged.constant(columns["input_ids"]), "labels": y})


def rows(x, y):
    lists = ragged_columns(x, y)["input_ids"]
    return [{"input_ids": ids, "label": label} for ids, label in zip(lists, y.tolist(), strict=True)]


FORMS = {
    "rows": (rows, True),
    "columns of lists": (ragged_columns, True),
    "padded examples": (of_tensors, True),
    "padded batches": (lambda x, y: of_tensors(x, y).batch(BATCH), False),
    "ragged examples": (ragged, True),
    "ragged batches": (lambda x, y: ragged(x, y).batch(BATCH), False),
    "PyDataset": (PyData, False),
}


@pytest.mark.parametrize(("form", "takes_size"), FORMS.values(), ids=FORMS)
def test_forms_of_data(form, takes_size):
    x, y = arrays()
    model = new()
    packed = model.pack(form(x, y), shuffle=False, **({"batch_size": BATCH} if takes_size else {}))
    assert int(packed.cardinality()) == 3
    assert [len(labels) for _, labels in packed] == [3, 3, 1]
    assert all(spec.shape[:1] == [None] for spec in tf.nest.flatten(packed.element_spec))
    logits = model.predict(x, batch_size=BATCH, verbose=0)["logits"]
    assert_near(model.predict(packed, verbose=0)["logits"], logits)
    loss = model.evaluate(x, y, batch_size=BATCH, verbose=0)
    assert_near(model.evaluate(packed, verbose=0), loss)


def test_class_weight_validation_and_callbacks():
    x, y = arrays()
    class_weight, histories = {0: 2.0, 2: 0.25}, []
    for packed in (True, False):
        model = new(**compiled_loss(HEAD))
        seen = []
        count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs, seen=seen: seen.append(step))
        options = {"epochs": 2, "class_weight": class_weight, "callbacks": [count], "verbose": 0, "shuffle": False}
        if packed:
            batches = model.pack(x, y, batch_size=BATCH)
            history = model.fit(batches, validation_data=batches, **options)
        else:
            history = model.fit(x, y, batch_size=BATCH, validation_data=(x, y), **options)
        assert seen == [0, 1, 2] * 2
        histories.append((model, history, history.history["val_loss"]))
    assert_same(*histories)


def test_one_graph_for_all_shapes_and_another_order_in_each_epoch():
    x, y = arrays()
    model = new(run_eagerly=False)
    traced, orders = [], []
    call = model.call
    model.call = lambda *args, **kwargs: (traced.append(1), call(*args, **kwargs))[1]
    batches = model.pack(x, y, batch_size=BATCH, seed=3)
    orders = [np.concatenate([labels for _, labels in batches.as_numpy_iterator()]).tolist() for _ in range(3)]
    assert orders[0] != orders[1] or orders[1] != orders[2]
    assert all(sorted(order) == sorted(y) for order in orders)
    history = model.fit(batches, epochs=3, verbose=0)
    assert len({tuple(ids["input_ids"].shape) for ids, _ in batches}) > 1
    assert len(traced) == 1
    assert history.history["loss"][2] < history.history["loss"][0]
    model.fit(batches.repeat(), steps_per_epoch=2, epochs=2, shuffle=False, verbose=0)


def test_a_few_shapes_for_xla():
    x, y = arrays()
    plain, compiled = new(run_eagerly=False), new(run_eagerly=False, jit_compile=True)
    losses = [model.evaluate(model.pack(x, y, batch_size=BATCH), verbose=0) for model in (plain, compiled)]
    assert_near(losses[1], losses[0])
    shapes = {tuple(inputs["input_ids"].shape) for inputs, _ in compiled.pack(x, y, batch_size=BATCH)}
    assert shapes == {(1, 128)}


def test_a_data_set_calls_its_hooks():
    data = PyData(*arrays())
    model = new()
    model.fit(model.pack(data), epochs=2, verbose=0)
    assert data.epochs == 2


def test_the_softmax_of_answers_has_no_padding():
    x, y = arrays(ANSWERS)
    y = tuple(np.zeros(ROWS, int) for _ in y)
    model = new(ANSWERS)
    packed, padded = model.evaluate(model.pack(x, y), verbose=0), model.evaluate(x, y, verbose=0)
    logits = model.predict(x, verbose=0)
    losses = []
    for name in ("start_logits", "end_logits"):
        of_tokens = np.where(x["attention_mask"] == 1, logits[name], -np.inf)
        losses.append(np.log(np.exp(of_tokens).sum(axis=1)) - of_tokens[:, 0])
    assert_near(packed, np.mean(losses))
    assert abs(padded - packed) > 1e-3


@pytest.mark.parametrize(
    ("head", "data", "options", "message"),
    [
        (HEAD, lambda x, y: [], {}, r"x must be rows \(a list of dicts"),
        (HEAD, lambda x, y: rows(x, y), {"y": [1]}, "y cannot be given with rows, which contain them"),
        (HEAD, lambda x, y: of_tensors(x, y).batch(3), {"batch_size": 3}, "batch_size cannot be given with a data set"),
        (HEAD, lambda x, y: of_tensors(x, y), {"shuffle": True}, "shuffle cannot be given with a tf.data.Dataset"),
        (HEAD, PyData, {"batch_size": 3}, "batch_size cannot be given with a PyDataset, which has its own"),
        (HEAD, lambda x, y: {**x, "idx": y, "labels": y}, {}, "got idx too: leave it out"),
        (HEAD, lambda x, y: {**x, "labels": y[1:]}, {}, "All columns must have one length, above 0"),
        (HEAD, lambda x, y: {**x, "attention_mask": x["attention_mask"][:, 1:]}, {}, "attention_mask must have shape"),
        (TOKENS, lambda x, y: {**x, "labels": y[:, 0]}, {}, "labels must have shape of the ids"),
        (
            HEAD,
            lambda x, y: {"input_ids": 0 * x["input_ids"], "attention_mask": 0 * x["attention_mask"]},
            {},
            "nonzero",
        ),
    ],
)
def test_data_that_cannot_be_packed(head, data, options, message):
    with pytest.raises(InputError, match=message):
        new(head).pack(data(*arrays(head)), **options)


def test_packed_data_that_keras_cannot_take():
    x, y = arrays()
    model = new()
    [(inputs, labels), *_] = model.pack(x, y, batch_size=BATCH, shuffle=False)
    with pytest.raises(InputError, match=r"cannot be divided into batches: give a data set of packed batches"):
        model.fit(inputs, labels, verbose=0)
    loss = model.evaluate({name: array[:BATCH] for name, array in x.items()}, y[:BATCH], verbose=0)
    assert_near(model.test_on_batch(inputs, labels), loss)
    of_tokens = new(TOKENS)
    with pytest.raises(InputError, match=r"predict cannot order the tokens of packed rows"):
        of_tokens.predict(of_tokens.pack(*arrays(TOKENS)), verbose=0)


def test_several_devices(monkeypatch):
    model = new()
    strategy = tf.distribute.get_strategy()
    monkeypatch.setattr(type(strategy), "num_replicas_in_sync", 2)
    with pytest.raises(InputError, match=r"Packed rows cannot be divided among devices"):
        model.fit(model.pack(*arrays()), verbose=0)
