"""The calling style of Transformers' Flax models: parameters and the dropout key are arguments of the call."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flax.core import freeze
from flax.serialization import msgpack_restore
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors.numpy import load_file

from distilbert_core import DistilBertConfig, Head, InputError
from support.checkpoints import HEADS, random_inputs, save_random, small_config
from support.comparison import assert_close, largest_difference
from support.frameworks import FRAMEWORKS
from support.jax_trees import numbers
from support.paths import FIXTURES
from weight_conversion.names import flax_name

FLAX = FRAMEWORKS["flax"]
HEAD = Head.SEQUENCE_CLASSIFICATION
TRANSFORMERS = FIXTURES / "checkpoints"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_random(folder, small_config(n_layers=1), HEAD)
    return folder


@pytest.fixture
def model(folder):
    return FLAX.load(HEAD, folder, dtype="float64")


@pytest.fixture(scope="module")
def inputs():
    return random_inputs(small_config(n_layers=1), HEAD)


@pytest.mark.parametrize(
    ("head", "changes"),
    [
        *((head, {}) for head in HEADS),
        (Head.MASKED_LM, {"tie_word_embeddings": False}),
        (Head.BASE, {"sinusoidal_pos_embds": True}),
    ],
)
def test_params_have_the_names_of_transformers(head, changes):
    model = nnx.eval_shape(lambda: FLAX.cls(head)(small_config(**changes)))
    trained = [p for p in model.parameter_table if p.tied_to is None and not p.computed]
    params = flatten_dict(model.params, sep="/")
    assert params.keys() == {flax_name(parameter, head) for parameter in trained}


def test_params_that_transformers_wrote():
    """They are used as they are, here by a model that has no values of its own."""
    folder = TRANSFORMERS / "flax_masked_lm"
    params = msgpack_restore((folder / "flax_model.msgpack").read_bytes())
    expected = load_file(folder / "outputs.safetensors")
    config = DistilBertConfig.from_json_file(folder / "config.json")
    model = nnx.eval_shape(lambda: FLAX.cls(Head.MASKED_LM)(config))
    inputs = {name: expected[name] for name in ("input_ids", "attention_mask") if name in expected}
    logits = np.asarray(jax.jit(lambda params: model(**inputs, params=params).logits)(params))
    assert_close(logits, expected["logits"], 1e-5)  # measured: 1.2e-6, in float32


def test_gradients_of_params_equal_those_of_the_module(model, inputs):
    loss, gradients = jax.value_and_grad(lambda params: model(**inputs, params=params).loss)(model.params)
    expected_loss, expected = nnx.value_and_grad(lambda model: model(**inputs).loss)(model)
    assert_close(np.asarray(loss), np.asarray(expected_loss), 0)
    named = {"/".join(map(str, path)): variable.get_value() for path, variable in nnx.to_flat_state(expected)}
    assert_close(flatten_dict(gradients, sep="/"), named, 0)


@pytest.mark.parametrize("wrong", [{}, {"input_ids": 47}, {"labels": 7}])
def test_inputs_that_are_known_under_jit(model, inputs, wrong):
    """Arrays that a compiled function closes over have values: they are checked, and used."""
    inputs = {name: jnp.asarray(wrong.get(name, 0) + 0 * value) for name, value in inputs.items()}
    loss = jax.jit(lambda params: model(**inputs, params=params).loss)
    if wrong:
        with pytest.raises(InputError, match=f"{next(iter(wrong))} must lie in"):
            loss(model.params)
    else:
        assert_close(np.asarray(loss(model.params)), np.asarray(model(**inputs).loss), 1e-14)  # measured: 2.2e-16


def test_other_params_give_another_answer_and_change_nothing(model, inputs, folder):
    before = np.asarray(model(**inputs).logits)
    params = jax.tree.map(lambda leaf: leaf / 2, model.params)
    halved = np.asarray(model(**inputs, params=params).logits)
    assert largest_difference(halved, before) > 1e-2
    assert_close(np.asarray(model(**inputs).logits), before, 0)
    assert_close(np.asarray(model.with_params(freeze(params))(**inputs).logits), halved, 0)
    model.params = params
    assert_close(np.asarray(model(**inputs).logits), halved, 0)
    model.params = nnx.to_pure_dict(nnx.state(FLAX.load(HEAD, folder, dtype="float64"), nnx.Param))
    assert_close(np.asarray(model(**inputs).logits), before, 0)


@pytest.mark.parametrize("key", [jax.random.key, jax.random.PRNGKey], ids=["key", "PRNGKey"])
def test_dropout_key(model, inputs, key):
    def logits(seed, **kwargs):
        return np.asarray(model(**inputs, dropout_rng=key(seed), train=True, **kwargs).logits)

    first = logits(0, params=model.params)
    assert_close(logits(0, params=model.params), first, 0)
    assert_close(logits(0), first, 0)
    assert_close(np.asarray(model(**inputs, rngs=nnx.Rngs(dropout=key(0)), train=True).logits), first, 0)
    assert largest_difference(logits(1, params=model.params), first) > 1e-3


def test_a_call_with_params_is_independent_of_state(model, inputs):
    def drawn():
        return numbers(nnx.state(model, nnx.RngCount))

    expected, before = np.asarray(model(**inputs).logits), drawn()
    model.train()
    assert_close(np.asarray(model(**inputs, params=model.params).logits), expected, 0)
    model(**inputs, params=model.params, dropout_rng=jax.random.key(0), train=True)
    assert_close(drawn(), before, 0)
    model(**inputs)
    assert largest_difference(drawn(), before) > 0  # what the model's own generator does


def test_per_example_gradients(model, inputs):
    """By vmap, in one pass, what a loop over the examples gives."""

    def loss(params, example):
        return model(**{name: value[None] for name, value in example.items()}, params=params).loss

    inputs = {**inputs, "labels": inputs["labels"].clip(0)}
    gradient = jax.jit(jax.grad(loss))
    looped = [gradient(model.params, {name: value[row] for name, value in inputs.items()}) for row in range(5)]
    at_once = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(model.params, inputs)
    expected = jax.tree.map(lambda *rows: jnp.stack(rows), *looped)
    assert_close(numbers(at_once), numbers(expected), 1e-14)  # measured: 2.2e-16


@pytest.mark.parametrize("head", [Head.BASE, Head.MULTIPLE_CHOICE, Head.QUESTION_ANSWERING])
def test_every_kind_of_call(head):
    config = small_config(n_layers=1)
    model, other = (FLAX.new(head, config, seed) for seed in (0, 1))
    inputs = random_inputs(config, head)
    assert_close(numbers(model(**inputs, params=other.params)), numbers(other(**inputs)), 0)


def changed(params, change):
    flat = flatten_dict(params, sep="/")
    change(flat)
    return unflatten_dict(flat, sep="/")


BIAS = "distilbert/transformer/layer/0/ffn/lin2/bias"
WRONG_PARAMS = {
    "missing": (lambda flat: flat.pop(BIAS), f"missing {BIAS}"),
    "unknown": (lambda flat: flat.update({"pooler/bias": np.zeros(2)}), "unknown pooler/bias"),
    "shape": (lambda flat: flat.update({BIAS: np.zeros(13)}), rf"{BIAS} must have shape \(12,\), got \(13,\)"),
}


@pytest.mark.parametrize("wrong", WRONG_PARAMS)
def test_wrong_params(model, inputs, wrong):
    change, message = WRONG_PARAMS[wrong]
    params = changed(model.params, change)
    with pytest.raises(InputError, match=message):
        model(**inputs, params=params)
    with pytest.raises(InputError, match=message):
        model.params = params


def test_contradicting_arguments(model, inputs):
    with pytest.raises(InputError, match="train=True with params needs dropout_rng"):
        model(**inputs, params=model.params, train=True)
    with pytest.raises(InputError, match="Give rngs or dropout_rng, not both"):
        model(**inputs, rngs=nnx.Rngs(0), dropout_rng=jax.random.key(0))


def test_the_constructor_of_transformers():
    """By position: config, input_shape, seed, dtype, _do_init."""
    cls, config = FLAX.cls(HEAD), small_config(n_layers=1)
    made = cls(config, (1, 1), 3, jnp.bfloat16)
    assert (made.input_shape, made.dtype) == ((1, 1), jnp.bfloat16)
    assert_close(numbers(made.params), numbers(cls(config, rngs=nnx.Rngs(3)).params), 0)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(made.params)} == {"float32"}


def test_a_model_without_values(inputs, tmp_path):
    """`_do_init=False`: nothing is made, and every call takes parameters."""
    config = small_config(n_layers=1)
    bare, made = FLAX.cls(HEAD)(config, _do_init=False), FLAX.cls(HEAD)(config)
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(bare.params))
    assert jax.tree.map(jnp.shape, bare.params_shape_tree) == jax.tree.map(jnp.shape, made.params)
    assert bare.required_params == set(flatten_dict(made.params))
    for refused in (lambda: bare(**inputs), lambda: bare.save_pretrained(tmp_path / "bare")):
        with pytest.raises(InputError, match=r"This model has no values \(_do_init=False\): give params"):
            refused()
    drawn = jax.jit(bare.init_weights, static_argnums=1)(jax.random.PRNGKey(0), (1, 1))
    assert jax.tree.map(jnp.shape, drawn) == jax.tree.map(jnp.shape, made.params)
    assert 0.01 < np.std(drawn["pre_classifier"]["kernel"]) < 0.03
    kept = bare.init_weights(jax.random.PRNGKey(1), (1, 1), {"classifier": drawn["classifier"]})
    assert_close(numbers(kept["classifier"]), numbers(drawn["classifier"]), 0)
    assert largest_difference(numbers(kept["pre_classifier"]), numbers(drawn["pre_classifier"])) > 1e-3
    expected = np.asarray(made(**inputs).logits)
    assert_close(np.asarray(bare(**inputs, params=made.params).logits), expected, 0)
    bare.params = made.params
    assert_close(np.asarray(bare(**inputs).logits), expected, 0)


def test_loading_model_and_parameters_apart(folder, model, inputs):
    bare, params = FLAX.cls(HEAD).from_pretrained(folder, dtype="float64", _do_init=False, seed=0, input_shape=(1, 1))
    assert_close(numbers(params), numbers(model.params), 0)
    assert_close(np.asarray(bare(**inputs, params=params).logits), np.asarray(model(**inputs).logits), 0)
    with pytest.raises(InputError, match="This model has no values"):
        bare(**inputs)


@pytest.mark.parametrize(("cast", "dtype"), [("to_bf16", "bfloat16"), ("to_fp16", "float16"), ("to_fp32", "float32")])
def test_casting_of_params(model, cast, dtype):
    params = model.params
    mask = unflatten_dict({path: path[-1] == "kernel" for path in flatten_dict(params)})
    assert {leaf.dtype.name for leaf in jax.tree.leaves(getattr(model, cast)(params))} == {dtype}
    cast_in_part = flatten_dict(getattr(model, cast)(params, mask))
    assert {path[-1] == "kernel": leaf.dtype.name for path, leaf in cast_in_part.items()} == {
        True: dtype,
        False: "float64",
    }
    assert {leaf.dtype.name for leaf in jax.tree.leaves(model.params)} == {"float64"}


def test_members_that_scripts_read(model):
    assert (model.framework, model.main_input_name, model.can_generate()) == ("flax", "input_ids", False)
    assert model.config_class is DistilBertConfig
    model.enable_gradient_checkpointing()
    assert model.distilbert.transformer.gradient_checkpointing
    with pytest.raises(AttributeError, match=r"write model\(..., params=params\)"):
        _ = model.module
    with pytest.raises(NotImplementedError, match=r"has no load_flax_weights\. from_pretrained reads"):
        model.load_flax_weights("flax_model.msgpack")


def test_saving_other_params(model, inputs, tmp_path):
    halved = jax.tree.map(lambda leaf: leaf / 2, model.params)
    model.save_pretrained(tmp_path, params=halved)
    again = FLAX.load(HEAD, tmp_path, dtype="float64")
    assert_close(numbers(again.params), numbers(halved), 0)
