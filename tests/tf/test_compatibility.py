"""Keras code in scripts for Transformers: optimizer, data sets of rows, collators, callbacks, accessors."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import distilbert_tf
from distilbert_core import DistilBertTokenizerFast, Head, InputError
from distilbert_tf import compatibility
from support.checkpoints import small_config
from support.comparison import assert_close
from support.frameworks import FRAMEWORKS

FRAMEWORK = FRAMEWORKS["tf"]
TEXTS = ["a good film", "dull", "very nice indeed, yes", "no", "so so"]


@pytest.fixture(scope="module")
def tokenizer():
    return DistilBertTokenizerFast.from_pretrained("sst2-tiny")


def new(head, **changes):
    no_dropout = {"dropout": 0.0, "attention_dropout": 0.0, "seq_classif_dropout": 0.0}
    return FRAMEWORK.cls(head)(small_config(n_layers=1, vocab_size=30522, **no_dropout, **changes))


def rows_of(tokenizer, **more):
    return [{**tokenizer(text), "sentence": text, **more} for text in TEXTS]


def test_create_optimizer_steps_as_written_down():
    """Adam after a decay by rate * weight_decay_rate of all parameters except biases and those of LayerNorm."""
    optimizer, rates = distilbert_tf.create_optimizer(
        0.1, num_train_steps=6, num_warmup_steps=2, min_lr_ratio=0.1, weight_decay_rate=0.5, power=2.0,
        include_in_weight_decay=["embedded"],
    )  # fmt: skip
    paths = ("layer/kernel", "layer/bias", "sa_layer_norm/gamma", "embedded/bias")
    variables = []
    for path in paths:
        scope, _, name = path.partition("/")
        with keras.name_scope(scope):
            variables.append(keras.Variable([2.0], name=name))
    expected = np.full(4, 2.0)
    first, second = np.zeros(4), np.zeros(4)
    gradients = np.array([0.5, -1.0, 2.0, 0.25])
    for step in range(4):
        optimizer.apply_gradients(zip([tf.constant([g], tf.float32) for g in gradients], variables, strict=True))
        # Transformers' polynomial counts from the end of the warm-up.
        rate = 0.05 * step if step < 2 else (0.1 - 0.01) * (1 - (step - 2) / 4) ** 2 + 0.01
        assert_close(float(rates(step)), rate, 1e-8)
        expected -= rate * 0.5 * expected * np.array([1, 0, 0, 1])
        first, second = 0.9 * first + 0.1 * gradients, 0.999 * second + 0.001 * gradients**2
        scale = np.sqrt(1 - 0.999 ** (step + 1)) / (1 - 0.9 ** (step + 1))
        expected -= rate * scale * first / (np.sqrt(second) + 1e-8)
    assert_close([float(variable.value[0]) for variable in variables], expected, 1e-5)  # float32
    again = distilbert_tf.AdamWeightDecay.from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
    assert_close(float(again._learning_rate(3)), float(rates(3)), 0.0)


def test_prepare_tf_dataset(tokenizer):
    model = new(Head.SEQUENCE_CLASSIFICATION)
    rows = [{**row, "label": i % 2} for i, row in enumerate(rows_of(tokenizer))]
    data = model.prepare_tf_dataset(rows, batch_size=2, shuffle=False, tokenizer=tokenizer)
    whole = tokenizer(TEXTS, padding=True, return_tensors="np")
    assert len(data) == 3
    for start, (inputs, labels) in zip((0, 2, 4), data, strict=True):
        length = inputs["input_ids"].shape[1]
        assert_close(inputs["input_ids"].numpy(), whole["input_ids"][start : start + 2, :length], 0)
        assert not whole["attention_mask"][start : start + 2, length:].any()
        assert labels.numpy().tolist() == [i % 2 for i in range(start, min(start + 2, 5))]
    keras.utils.set_random_seed(1)
    shuffled = model.prepare_tf_dataset(rows, batch_size=2, drop_remainder=True, tokenizer=tokenizer)
    orders = [np.concatenate([labels for _, labels in shuffled]).tolist() for _ in range(6)]
    assert {len(order) for order in orders} == {4}
    assert len({tuple(order) for order in orders}) > 1
    with pytest.raises(InputError, match=r"dataset must be rows, a list of dicts or a datasets\.Dataset"):
        model.prepare_tf_dataset([])
    with pytest.raises(InputError, match="dataset must have a column of input_ids, attention_mask, got words"):
        model.prepare_tf_dataset([{"words": 3}])


@pytest.mark.parametrize(
    ("head", "collator", "more"),
    [
        (Head.MASKED_LM, "DataCollatorForLanguageModeling", {}),
        (Head.TOKEN_CLASSIFICATION, "DataCollatorForTokenClassification", {"labels": [1, 2, 1]}),
        (Head.MULTIPLE_CHOICE, "DataCollatorForMultipleChoice", {"label": 1}),
    ],
)
def test_collators_feed_fit(tokenizer, head, collator, more):
    rows = [{**tokenizer([text, "no"] if head is Head.MULTIPLE_CHOICE else text), **more} for text in ("yes", "no")]
    model = new(head)
    model.compile("sgd", run_eagerly=True)
    collate = getattr(distilbert_tf, collator)(tokenizer, return_tensors="tf")
    data = model.prepare_tf_dataset(rows, batch_size=2, shuffle=False, collate_fn=collate)
    [(inputs, labels)] = data
    expected = FRAMEWORK.call(model, **inputs, labels=labels).loss
    if head is not Head.MASKED_LM:  # which draws again
        assert_close(model.fit(data, shuffle=False, verbose=0).history["loss"], [expected], 1e-6)


def test_metric_callback(tokenizer):
    """Of all rows, also where batches have different lengths."""
    model = new(Head.QUESTION_ANSWERING)
    data = model.prepare_tf_dataset(
        rows_of(tokenizer, start_positions=0, end_positions=1), batch_size=2, shuffle=False, tokenizer=tokenizer
    )
    seen = []

    def metric(given):
        seen.append(given)
        return {"rows": float(len(given[1]["start_positions"]))}

    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    callback = distilbert_tf.KerasMetricCallback(metric, data)
    history = model.fit(data, shuffle=False, verbose=0, callbacks=[callback]).history
    assert history["rows"] == [5.0]
    predictions, labels = seen[0]
    assert labels["end_positions"].tolist() == [1] * 5
    alone = FRAMEWORK.call(model, **tokenizer(TEXTS[1:2], return_tensors="np")).start_logits[0]
    assert_close(predictions["start_logits"][1, : len(alone)], alone, 1e-5)
    assert (predictions["start_logits"][4, -1]) == -100
    with pytest.raises(InputError, match="Give batch_size"):
        distilbert_tf.KerasMetricCallback(metric, ({"input_ids": [[1]]}, [0]))


def test_push_to_hub_callback(tmp_path, tokenizer, uploads):
    callback = distilbert_tf.PushToHubCallback(tmp_path / "mine", tokenizer=tokenizer)
    callback.set_model(new(Head.BASE))
    callback.on_epoch_end(0, {"loss": 0.25})
    _, files, options = uploads[-1]
    assert "| epoch | loss |\n| --- | --- |\n| 1 | 0.25 |" in (tmp_path / "mine" / "README.md").read_text()
    assert options == {"repo_id": "me/mine", "commit_message": "Training in progress, epoch 0"}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= set(files)
    (tmp_path / "mine" / "README.md").write_text("mine")
    by_steps = distilbert_tf.PushToHubCallback(tmp_path / "mine", save_strategy="steps", save_steps=3)
    by_steps.set_model(callback.model)
    by_steps.on_train_begin()
    for _ in range(2):  # epochs of two steps
        by_steps.on_train_batch_end(0)
        by_steps.on_train_batch_end(1)
    messages = [call[2]["commit_message"] for call in uploads if call[0] == "upload_folder"]
    assert messages == ["Training in progress, epoch 0", "Training in progress, step 3"]
    assert (tmp_path / "mine" / "README.md").read_text() == "mine"
    with pytest.raises(InputError, match="save_steps must be a positive integer"):
        distilbert_tf.PushToHubCallback(tmp_path, save_strategy="steps")


def test_accessors():
    model = new(Head.MASKED_LM, output_hidden_states=True)
    bias = np.arange(30522, dtype=np.float32)
    model.set_bias({"bias": bias})
    assert_close(np.asarray(model.get_bias()["bias"]), bias, 0.0)
    assert model.get_lm_head() is model.get_output_embeddings() is model.vocab_projector
    served = model.serving(model.dummy_inputs)
    assert served.hidden_states.shape == (2, 3, 5, 12)
    assert_close(served.logits.numpy(), FRAMEWORK.call(model, **model.dummy_inputs).logits, 1e-6)
    table = np.random.default_rng(0).normal(size=(50, 12))
    model.set_input_embeddings(table)
    assert_close(np.asarray(model.get_input_embeddings().embeddings), table, 1e-6)
    assert model.config.vocab_size == 50
    factors = model.get_head_mask(np.array([1.0, 0.0, 1.0]), 2)
    assert factors.shape == (2, 1, 3, 1, 1)
    base = distilbert_tf.TFDistilBertMainLayer(small_config(n_layers=1))
    assert base.distilbert is base.base_model is base
    assert base.get_bias() is base.get_prefix_bias_name() is None
    with pytest.raises(InputError, match="TFDistilBertModel has no bias to set"):
        base.set_bias({"bias": bias})
    with pytest.raises(NotImplementedError, match=r"has no create_model_card. `push_to_hub` makes a model card"):
        base.create_model_card("out")


def test_keras_2_is_warned_of(monkeypatch):
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    with pytest.warns(UserWarning, match="TF_USE_LEGACY_KERAS is set, so that tf.keras"):
        compatibility.warn_of_keras_2()


# -- the fast AdamW ------------------------------------------------------------------------------------------


def test_adamw_computes_the_formula_of_optax():
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=(2, 3)), rng.normal(size=(3, 2, 3))
    rate, decay, beta1, beta2, epsilon = 0.1, 0.01, 0.8, 0.9, 1e-3
    variable = keras.Variable(start, dtype="float64")
    optimizer = distilbert_tf.AdamW(rate, decay, beta1, beta2, epsilon)
    expected, mean, square = start, 0.0, 0.0
    for step, gradient in enumerate(gradients, 1):
        optimizer.apply([tf.constant(gradient)], [variable])
        mean, square = beta1 * mean + (1 - beta1) * gradient, beta2 * square + (1 - beta2) * gradient**2
        update = mean / (1 - beta1**step) / (np.sqrt(square / (1 - beta2**step)) + epsilon)
        expected = expected * (1 - rate * decay) - rate * update
    np.testing.assert_allclose(variable.numpy(), expected, rtol=0, atol=1e-8)  # the rate is kept in float32: 1.5e-9
    again = type(optimizer).from_config(optimizer.get_config())
    assert again.epsilon == epsilon
    with pytest.raises(InputError, match="amsgrad"):
        distilbert_tf.AdamW(amsgrad=True)
