"""Initialisation, dropout, tied parameters, and fixed tables."""

from __future__ import annotations

import numpy as np
import pytest

from distilbert_core import Head, Kind
from support.checkpoints import HEADS, random_inputs, save_random, small_config
from support.comparison import assert_close, largest_difference

WORDS = "distilbert.embeddings.word_embeddings.weight"
POSITIONS = "distilbert.embeddings.position_embeddings.weight"


@pytest.mark.parametrize("head", HEADS)
def test_initial_values(framework, head):
    """Matrices are normal with standard deviation initializer_range, scales one, the rest and the pad row zero."""
    config = small_config(dim=60, hidden_dim=90, vocab_size=500, initializer_range=0.05, pad_token_id=3)
    model = framework.new(head, config)
    arrays = framework.parameters(model)
    for parameter in model.parameter_table:
        if parameter.tied_to is not None:
            continue
        array = arrays[parameter.name]
        match parameter.kind:
            case Kind.NORM_SCALE:
                assert (array == 1).all()
            case Kind.BIAS | Kind.NORM_BIAS:
                assert (array == 0).all()
            case _:
                drawn = np.delete(array, parameter.pad_row, 0) if parameter.pad_row is not None else array
                assert_normal(drawn.ravel() / 0.05, parameter.name)
                assert parameter.pad_row is None or (array[parameter.pad_row] == 0).all()


def assert_normal(values: np.ndarray, name: str) -> None:
    """Mean, deviation and kurtosis within 5 standard errors, and the tails of a normal, not of a truncated one."""
    n = len(values)
    assert abs(values.mean()) < 5 / n**0.5, name
    assert abs(values.std() - 1) < 5 / (2 * n) ** 0.5, name
    if n > 1000:
        kurtosis = (values**4).mean() / (values**2).mean() ** 2
        assert abs(kurtosis - 3) < 5 * (24 / n) ** 0.5, name
        assert np.abs(values).max() > 2.5, name


def test_initial_values_of_two_parameters_differ(framework):
    arrays = framework.parameters(framework.new(Head.BASE, small_config()))
    kernels = [array.ravel()[:30] for name, array in arrays.items() if name.endswith("_lin.weight")]
    assert len({tuple(kernel) for kernel in kernels}) == 8


def test_a_seed_gives_the_same_model_again(framework):
    first, again, other = (framework.parameters(framework.new(Head.BASE, small_config(), seed)) for seed in (1, 1, 2))
    assert_close(again, first, 0.0)
    assert largest_difference(other, first) > 0.01


def test_dropout_only_in_training(framework, tmp_path):
    config = small_config()
    save_random(tmp_path, config, Head.SEQUENCE_CLASSIFICATION)
    model = framework.load(Head.SEQUENCE_CLASSIFICATION, tmp_path)
    inputs = random_inputs(config, Head.SEQUENCE_CLASSIFICATION)
    framework.seed(0)
    first, again = framework.call(model, **inputs), framework.call(model, **inputs)
    trained = framework.call(model, train=True, **inputs)
    trained_again = framework.call(model, train=True, **inputs)
    assert_close(again, first, 0.0)
    assert largest_difference(trained, first) > 1e-3
    assert largest_difference(trained, trained_again) > 1e-3


NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0, "qa_dropout": 0.0, "seq_classif_dropout": 0.0}
DROPOUT_SITES = [
    (Head.BASE, "dropout"),
    (Head.BASE, "attention_dropout"),
    (Head.QUESTION_ANSWERING, "qa_dropout"),
    (Head.SEQUENCE_CLASSIFICATION, "seq_classif_dropout"),
    (Head.MULTIPLE_CHOICE, "seq_classif_dropout"),
    (Head.TOKEN_CLASSIFICATION, "dropout"),
]


@pytest.mark.parametrize(("head", "field"), DROPOUT_SITES)
def test_each_dropout_has_its_field(framework, tmp_path, head, field):
    inputs = random_inputs(small_config(), head)
    for rate, dropped in ((0.0, False), (0.9, True)):
        config = small_config(**{**NO_DROPOUT, field: rate})
        save_random(tmp_path / str(rate), config, head)
        model = framework.load(head, tmp_path / str(rate), dtype="float64")
        framework.seed(0)
        difference = largest_difference(framework.call(model, train=True, **inputs), framework.call(model, **inputs))
        assert (difference > 1e-6) is dropped


def test_attention_dropout_drops_the_requested_fraction(framework, tmp_path):
    config = small_config(**{**NO_DROPOUT, "attention_dropout": 0.3})
    save_random(tmp_path, config, Head.BASE)
    model = framework.load(Head.BASE, tmp_path)
    framework.seed(0)
    ids = np.ones((20, 23), np.int64)
    weights = framework.call(model, train=True, input_ids=ids, output_attentions=True).attentions[0]
    kept = framework.call(model, input_ids=ids, output_attentions=True).attentions[0]
    dropped = weights == 0
    assert abs(dropped.mean() - 0.3) < 5 * (0.3 * 0.7 / dropped.size) ** 0.5
    assert_close(weights[~dropped], kept[~dropped] / 0.7, 1e-6)


@pytest.mark.parametrize("pad", [0, 5, None])
@pytest.mark.parametrize("head", [Head.TOKEN_CLASSIFICATION, Head.MASKED_LM])
def test_pad_row_learns_nothing_from_the_look_up(framework, tmp_path, head, pad):
    config = small_config(pad_token_id=pad, tie_word_embeddings=False)
    save_random(tmp_path, config, head)
    inputs = random_inputs(config, head)
    inputs["input_ids"][:, :3] = 5
    inputs["input_ids"][:, 3:5] = 0
    words = framework.gradients(framework.load(head, tmp_path, dtype="float64"), **inputs)[WORDS]
    assert ((words[5] == 0).all(), (words[0] == 0).all()) == (pad == 5, pad == 0)


def test_tied_projector_follows_training(framework, tmp_path):
    config = small_config()
    save_random(tmp_path, config, Head.MASKED_LM)
    model = framework.load(Head.MASKED_LM, tmp_path, dtype="float64")
    inputs = random_inputs(config, Head.MASKED_LM)
    gradient = framework.gradients(model, **inputs)[WORDS]
    assert np.abs(gradient[0]).max() > 1e-4  # the projector reaches even the padding row
    before = framework.call(model, **inputs).loss
    for _ in range(3):
        framework.sgd_step(model, 0.1, **inputs)
    assert framework.call(model, **inputs).loss < before - 0.1
    assert "vocab_projector.weight" not in framework.parameters(model)
    model.save_pretrained(tmp_path / "trained")
    again = framework.load(Head.MASKED_LM, tmp_path / "trained", dtype="auto")
    assert_close(framework.call(again, **inputs), framework.call(model, **inputs), 1e-13)


@pytest.mark.parametrize("loaded", [True, False])
def test_sinusoidal_table_is_never_trained(framework, tmp_path, loaded):
    config = small_config(sinusoidal_pos_embds=True)
    save_random(tmp_path, config, Head.MASKED_LM, dtype="float32")
    model = framework.load(Head.MASKED_LM, tmp_path) if loaded else framework.new(Head.MASKED_LM, config)
    inputs = random_inputs(config, Head.MASKED_LM)
    before = framework.parameters(model)
    assert POSITIONS not in framework.gradients(model, **inputs)
    framework.sgd_step(model, 0.1, **inputs)
    after = framework.parameters(model)
    assert_close(after[POSITIONS], before[POSITIONS], 0.0)
    assert largest_difference(after[WORDS], before[WORDS]) > 1e-5
    assert model.num_parameters() - model.num_parameters(only_trainable=True) == 23 * 12


def test_learned_positions_are_trained(framework, tmp_path):
    config = small_config()
    save_random(tmp_path, config, Head.MASKED_LM)
    model = framework.load(Head.MASKED_LM, tmp_path)
    gradient = framework.gradients(model, **random_inputs(config, Head.MASKED_LM))[POSITIONS]
    assert (np.abs(gradient[:11]).max(-1) > 0).all()
    assert (gradient[11:] == 0).all()
