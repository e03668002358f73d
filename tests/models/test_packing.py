"""Padding is free: packed rows against the padded model, on every real token."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from distilbert_core import Head, InputError
from distilbert_core.model.loading import load_inference
from distilbert_core.model.packing import Ragged, first_tokens, pack
from support.checkpoints import BATCH, HEADS, TOKENS, ragged_mask, random_inputs, save_random, small_config
from support.comparison import assert_close

FLOAT64_TOLERANCE = 1e-12  # measured: 1.3e-15
WHOLE_TEXTS = (Head.SEQUENCE_CLASSIFICATION, Head.MULTIPLE_CHOICE)


def loaded(framework, head, folder, **changes):
    """An inference object in float64, and ids with a mask: all real, padded right, left, with a hole, and empty."""
    config = small_config(**changes)
    save_random(folder, config, head)
    inputs = {name: random_inputs(config, head)[name] for name in ("input_ids", "attention_mask")}
    if head in WHOLE_TEXTS:  # the padded model reads the first place, padding or not
        inputs["attention_mask"][..., 0] = 1
    return load_inference(framework.name, head, folder, dtype="float64"), inputs


@pytest.mark.parametrize("head", HEADS)
def test_packed_is_padded_on_real_tokens(framework, head, tmp_path):
    """Measured: 1e-15."""
    model, inputs = loaded(framework, head, tmp_path)
    expected = model.run(**inputs)
    if head.reads_tokens:
        for array in expected.values():
            array[inputs["attention_mask"] == 0] = 0
    assert_close(model(**inputs), expected, FLOAT64_TOLERANCE)


@pytest.mark.parametrize("head", HEADS)
def test_texts_without_padding(framework, head, tmp_path):
    """`run_ragged` gives the tokens of a padded batch, with padding anywhere, what the padded model gives them."""
    model, inputs = loaded(framework, head, tmp_path)
    mask = inputs["attention_mask"].reshape(-1, TOKENS) == 1
    texts = Ragged.from_padded(inputs["input_ids"], mask)
    expected = model.run(**inputs)
    if head.reads_tokens:
        expected = {name: array[mask] for name, array in expected.items()}
    elif head.has_choices:
        expected = {name: array.reshape(-1, 1) for name, array in expected.items()}
    got = model.run_ragged(texts)
    assert_close(got, expected, FLOAT64_TOLERANCE)
    if head.reads_tokens:
        selected = np.flatnonzero(np.arange(len(texts.ids)) % 3 == 1)
        some = model.run_ragged(texts, selected)
        assert_close(some, {name: array[selected] for name, array in expected.items()}, FLOAT64_TOLERANCE)


@pytest.mark.parametrize("head", HEADS)
def test_rows_of_ids_are_the_same_as_padded(framework, head, tmp_path):
    """Bit for bit: they are the same packed rows."""
    model, inputs = loaded(framework, head, tmp_path, n_layers=1)
    lengths = 1 + np.arange(BATCH)
    ids = inputs["input_ids"].reshape(-1, TOKENS)[:BATCH]
    padded = {"input_ids": ids, "attention_mask": np.arange(TOKENS) < lengths[:, None]}
    if head.has_choices:
        padded = {name: array[:, None] for name, array in padded.items()}
    texts = Ragged.from_rows([row[:length].tolist() for row, length in zip(ids, lengths, strict=True)])
    from_padded = model(**padded)
    for name, values in model.run_ragged(texts).items():
        rows = texts.split(values) if head.reads_tokens else values
        for row, length, expected in zip(rows, lengths, from_padded[name], strict=True):
            np.testing.assert_array_equal(row, expected[:length] if head.reads_tokens else expected)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[], []], r"attention_mask must have a nonzero entry in every row; row \[0\] has none"),
        ([[5, 6], []], r"attention_mask must have a nonzero entry in every row; row \[1\] has none"),
        ([[5, 10**6]], r"input_ids must lie in .*got 1000000"),
        ([[5, -1]], r"input_ids must lie in .*got -1"),
        ([[5, 6], [5] * 99], "99 tokens, more than max_position_embeddings"),
    ],
)
def test_texts_that_cannot_be_computed(framework, rows, message, tmp_path):
    model, _ = loaded(framework, Head.SEQUENCE_CLASSIFICATION, tmp_path)
    with pytest.raises(InputError, match=message):
        model.run_ragged(Ragged.from_rows(rows))


# Of hidden states up to 2.6. Measured in PyTorch: 6.6e-7 and 0.04; the padded model in bfloat16: 0.03.
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 5e-6), ("bfloat16", 0.1)])
def test_packed_in_other_dtypes_is_the_truth_within_their_rounding(framework, dtype, tolerance, tmp_path):
    model, inputs = loaded(framework, Head.BASE, tmp_path)
    real = inputs["attention_mask"] == 1
    expected = model.run(**inputs)["last_hidden_state"][real]
    got = load_inference(framework.name, Head.BASE, tmp_path, dtype=dtype)(**inputs)["last_hidden_state"][real]
    assert_close(got.astype(np.float64), expected, tolerance)


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("head", [Head.BASE, Head.SEQUENCE_CLASSIFICATION])
def test_batches_of_all_sizes(framework, head, rows, tmp_path):
    model, inputs = loaded(framework, head, tmp_path, n_layers=1)
    lengths = 1 + np.arange(rows) * (TOKENS - 1) // rows
    inputs = {
        "input_ids": np.resize(inputs["input_ids"], (rows, TOKENS)),
        "attention_mask": (np.arange(TOKENS) < lengths[:, None]).astype(np.int64),
    }
    expected = model.run(**inputs)
    if head is Head.BASE:
        expected = {name: array * inputs["attention_mask"][:, :, None] for name, array in expected.items()}
    assert_close(model(**inputs), expected, FLOAT64_TOLERANCE)


@pytest.mark.parametrize("head", [Head.BASE, Head.SEQUENCE_CLASSIFICATION, Head.TOKEN_CLASSIFICATION])
def test_large_batches_are_computed_in_blocks(framework, head, tmp_path, monkeypatch):
    """Blocks of a few tokens; nobody asks for a token of the first texts."""
    model, inputs = loaded(framework, head, tmp_path)
    inputs = {name: np.tile(array, (4, 1)) for name, array in inputs.items()}
    tokens = np.arange(len(inputs["input_ids"]))[:, None] + np.zeros(TOKENS, int) > 9 if head.reads_tokens else None
    blocks = []
    module = importlib.import_module(f"distilbert_{framework.name}.inference")
    once_a_block = {"pt": "to_array", "tf": "call_traced", "flax": "_run_packed"}[framework.name]
    original = getattr(module, once_a_block)
    monkeypatch.setattr(module, once_a_block, lambda *args: blocks.append(args) or original(*args))
    monkeypatch.setattr(module, "_run_few", lambda: module._run_packed, raising=False)  # of Flax
    whole, few = model(**inputs, tokens=tokens), len(blocks)
    monkeypatch.setattr(module, "CHUNK_TOKENS", 2 * TOKENS)
    assert_close(model(**inputs, tokens=tokens), whole, FLOAT64_TOLERANCE)
    assert len(blocks) - few > few


@pytest.mark.parametrize("name", ["pre_classifier.bias", "distilbert.transformer.layer.0.ffn.lin1.bias"])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_nan_values_are_not_hidden(framework, activation, name, tmp_path):
    """Kernels that fuse a product with relu may make 0 of it."""
    config = small_config(activation=activation)
    save_random(tmp_path, config, Head.SEQUENCE_CLASSIFICATION)
    weights = load_file(tmp_path / "model.safetensors")
    weights[name][0] = np.nan
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    model = load_inference(framework.name, Head.SEQUENCE_CLASSIFICATION, tmp_path)
    assert np.isnan(model(input_ids=np.array([[5, 6, 7]]))["logits"]).all()


def test_without_padding_and_without_a_mask(framework, tmp_path):
    model, inputs = loaded(framework, Head.TOKEN_CLASSIFICATION, tmp_path)
    ids = inputs["input_ids"]
    assert_close(model(input_ids=ids), model.run(input_ids=ids), FLOAT64_TOLERANCE)


@pytest.mark.parametrize("head", [head for head in HEADS if head.reads_tokens])
def test_outputs_of_some_tokens(framework, head, tmp_path):
    model, inputs = loaded(framework, head, tmp_path)
    wanted = np.random.default_rng(0).random((BATCH, TOKENS)) < 0.3
    real = wanted & (inputs["attention_mask"] == 1)
    assert (wanted != real).any()  # padding does not count
    expected = {name: array[real] for name, array in model.run(**inputs).items()}
    assert_close(model(**inputs, tokens=wanted), expected, FLOAT64_TOLERANCE)


def test_a_text_begins_with_its_first_real_token(framework, tmp_path):
    """Padding on the left: the head reads the first token, at the position that it has in the batch."""
    model, inputs = loaded(framework, Head.SEQUENCE_CLASSIFICATION, tmp_path, max_position_embeddings=TOKENS + 3)
    ids = np.pad(inputs["input_ids"], [(0, 0), (3, 0)])
    mask = np.pad(inputs["attention_mask"], [(0, 0), (3, 0)])
    positions = np.arange(3, TOKENS + 3)[None]
    assert_close(
        model(input_ids=ids, attention_mask=mask), model.run(**inputs, position_ids=positions), FLOAT64_TOLERANCE
    )


def test_other_arguments_go_to_the_model_as_they_are(framework, tmp_path):
    model, inputs = loaded(framework, Head.TOKEN_CLASSIFICATION, tmp_path)
    positions = np.arange(TOKENS)[::-1][None].copy()
    expected = model.run(**inputs, position_ids=positions)
    assert_close(model(**inputs, position_ids=positions), expected, FLOAT64_TOLERANCE)
    real = inputs["attention_mask"] == 1
    got = model(**inputs, position_ids=positions, tokens=np.ones((BATCH, TOKENS), int))
    assert_close(got, {name: array[real] for name, array in expected.items()}, FLOAT64_TOLERANCE)


def test_choices_of_other_numbers_and_lengths_with_other_arguments(framework, tmp_path):
    """One traced program may not keep the sizes that it saw first."""
    model, inputs = loaded(framework, Head.MULTIPLE_CHOICE, tmp_path)
    positions = np.arange(TOKENS)[None]
    whole = model(**inputs, position_ids=positions)["logits"]
    inputs["attention_mask"][..., -2:] = 0
    all_tokens = model(**inputs, position_ids=positions)["logits"]
    some = {name: array[:3, ..., :-2] for name, array in inputs.items()}
    assert_close(model(**some, position_ids=positions[:, :-2])["logits"], all_tokens[:3], FLOAT64_TOLERANCE)
    two = {name: array[:, :2] for name, array in inputs.items()}
    assert_close(model(**two, position_ids=positions)["logits"], all_tokens[:, :2], FLOAT64_TOLERANCE)
    assert abs(whole - all_tokens).max() > FLOAT64_TOLERANCE


def test_segments_of_the_model_itself(framework, tmp_path):
    """`segment_ids` and `output_tokens` are arguments of the base model: two texts in one row, two selected tokens."""
    model, _ = loaded(framework, Head.BASE, tmp_path)
    ids = np.array([[5, 6, 7, 8, 9, 10], [1, 2, 3, 4, 5, 6]])
    segments = np.array([[1, 1, 1, 1, 2, 2], [1, 1, 2, 2, 2, 2]])
    positions = np.array([[0, 1, 2, 3, 0, 1], [0, 1, 0, 1, 2, 3]])
    alone = [
        model.run(input_ids=ids[row : row + 1, part])["last_hidden_state"][0]
        for row, part in ((0, np.s_[:4]), (0, np.s_[4:]), (1, np.s_[:2]), (1, np.s_[2:]))
    ]
    expected = np.stack([np.concatenate(alone[:2]), np.concatenate(alone[2:])])
    packed = {"input_ids": ids, "position_ids": positions, "segment_ids": segments}
    assert_close(model.run(**packed)["last_hidden_state"], expected, FLOAT64_TOLERANCE)
    places = np.array([[0, 4], [1, 3]])
    got = model.run(**packed, output_tokens=places)["last_hidden_state"]
    assert_close(got, np.take_along_axis(expected, places[:, :, None], axis=1), FLOAT64_TOLERANCE)
    with_weights = framework.call(model.model, **packed, output_attentions=True)  # of each segment to itself
    assert_close(with_weights["last_hidden_state"], expected, FLOAT64_TOLERANCE)
    assert (with_weights["attentions"][0][0, :, :4, 4:] == 0).all()


@pytest.mark.parametrize("head", [Head.SEQUENCE_CLASSIFICATION, Head.TOKEN_CLASSIFICATION])
def test_packed_rows_of_several_texts(framework, head, tmp_path):
    """Rows of other lengths than the backend itself would choose, with outputs that nobody asked for between others."""
    model, inputs = loaded(framework, head, tmp_path)
    inputs["attention_mask"][4, :3] = 1
    ids, mask = inputs["input_ids"], inputs["attention_mask"] == 1
    wanted = first_tokens(mask) if head in WHOLE_TEXTS else mask & (np.arange(TOKENS) % 3 == 1)
    packing = pack(mask, row_length=TOKENS + 3)
    places, order = packing.select(wanted)
    assert len(packing.segment_ids) > 1
    assert packing.segment_ids.max() > 1
    got = model.run_packed({**packing.rows(ids), "output_tokens": places})
    logits = model.run(**inputs)["logits"]
    expected = logits if head in WHOLE_TEXTS else logits[wanted]
    assert_close(got.reshape(-1, got.shape[-1])[order], expected, FLOAT64_TOLERANCE)


def test_what_is_done_to_the_model_is_seen(framework, tmp_path):
    model, inputs = loaded(framework, Head.SEQUENCE_CLASSIFICATION, tmp_path, dropout=0.5)
    before = model(**inputs)["logits"]
    framework.sgd_step(model.model, 0.1, **inputs, labels=np.arange(BATCH) % 3)
    trained = model(**inputs)["logits"]
    assert abs(trained - before).max() > 0.01
    model.model.prune_heads({0: [1]})
    pruned = model(**inputs)["logits"]
    assert abs(pruned - trained).max() > 1e-4
    assert_close(pruned, framework.call(model.model, **inputs)["logits"], FLOAT64_TOLERANCE)
    if hasattr(model.model, "train"):  # of PyTorch and Flax; inference drops nothing all the same
        model.model.train()
        assert_close(model(**inputs)["logits"], pruned, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    {
        "no token": (
            {"attention_mask": ragged_mask()},
            r"attention_mask must have a nonzero entry in every row; row \[4\]",
        ),
        "shape": ({"attention_mask": np.ones((2, 2))}, "attention_mask must have shape"),
        "length": ({"input_ids": np.zeros((BATCH, 99), int)}, "99 tokens, more than max_position_embeddings"),
        "id": ({"input_ids": np.full((BATCH, TOKENS), 10**6)}, r"input_ids must lie in .*got 1000000"),
        "tokens": (
            {"tokens": np.ones((BATCH, TOKENS), bool)},
            "tokens must have .* for a head that predicts something",
        ),
        "segments": ({"segment_ids": np.ones((BATCH, TOKENS), int)}, "segment_ids go with position_ids"),
    }.values(),
)
def test_what_cannot_be_packed(framework, changes, message, tmp_path):
    head = Head.BASE if "segment_ids" in changes else Head.SEQUENCE_CLASSIFICATION
    model, inputs = loaded(framework, head, tmp_path)
    inputs = {**inputs, **changes}
    if inputs["input_ids"].shape[1] == 99:
        del inputs["attention_mask"]
    with pytest.raises(InputError, match=message):
        model(**inputs)
