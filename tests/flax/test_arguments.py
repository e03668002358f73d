"""Errors of a Flax model about its arguments: the argument, the value, the remedy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from distilbert_core import BatchEncoding
from distilbert_core.errors import InputError
from distilbert_flax import DistilBertConfig, FlaxDistilBertForMultipleChoice, FlaxDistilBertForSequenceClassification

CONFIG = DistilBertConfig(n_layers=1, dim=8, n_heads=2, hidden_dim=16, vocab_size=20)
IDS = np.array([[2, 5, 3], [2, 6, 3]])

REFUSED = {
    "an encoding": (BatchEncoding({"input_ids": IDS}), r"input_ids .* BatchEncoding: .*model\(\*\*inputs\)"),
    "texts of different lengths": ([[2, 3], [2, 5, 3]], "different lengths.*padding=True"),
    "an array of texts": (np.array(["a film"]), "input_ids must hold only numbers to become an array, got 'a film'"),
    "a text": ("a film", "input_ids must hold only numbers"),
    "fractions": (IDS.astype("float32"), r"input_ids must be integers, got float32: give input_ids\.astype\(int\)"),
}


@pytest.fixture(scope="module")
def model():
    return FlaxDistilBertForSequenceClassification(CONFIG)


@pytest.mark.parametrize("case", REFUSED)
def test_impossible_ids_are_an_error_with_a_remedy(model, case):
    ids, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        model(ids)


def test_choices_of_different_lengths_are_named():
    with pytest.raises(InputError, match=r"different lengths.*padding=True"):
        FlaxDistilBertForMultipleChoice(CONFIG)([[[2, 3], [2, 5, 3]]])


@pytest.mark.parametrize("dtype", ["float32", "bool"])
def test_labels_that_look_like_several_in_a_row_name_their_dtype(model, dtype):
    with pytest.raises(InputError, match=rf"labels of {dtype} .*multi-label.*got \(2,\)\. Give classes as integers"):
        model(IDS, labels=np.array([0, 1], dtype))


def test_params_may_be_a_state_and_a_dict_around_them_is_named(model):
    state = jax.tree.map(lambda value: value * 2, nnx.state(model, nnx.Param))
    doubled = jax.tree.map(lambda value: value * 2, model.params)
    assert jnp.array_equal(model(IDS, params=state).logits, model(IDS, params=doubled).logits)
    with pytest.raises(InputError, match=r"missing classifier/bias.*unknown params/classifier/bias.*Give params\['par"):
        model(IDS, params={"params": model.params})


def test_inputs_on_explicit_axes_name_the_mesh(model):
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Explicit,))
    ids = jax.device_put(IDS, NamedSharding(mesh, PartitionSpec("data")))
    with pytest.raises(InputError, match=r"input_ids is divided over a mesh with Explicit axes.*data.*shard_batch"):
        jax.jit(lambda ids: model(ids).logits)(ids)


def test_loading_under_a_mesh(model, tmp_path):
    model.save_pretrained(tmp_path)
    for kind in (AxisType.Explicit, AxisType.Auto):
        with jax.set_mesh(jax.make_mesh((1,), ("data",), axis_types=(kind,))):
            loaded = FlaxDistilBertForSequenceClassification.from_pretrained(tmp_path)
            assert jnp.array_equal(loaded(IDS).logits, model(IDS).logits)
