"""Models, outputs and encodings in JAX and NNX programs."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState
from jax import export
from jax.sharding import AxisType, PartitionSpec

from distilbert_core import BatchEncoding, DistilBertTokenizerFast, Head, InputError
from support.checkpoints import HEADS, random_inputs, small_config
from support.comparison import assert_close
from support.frameworks import FRAMEWORKS
from support.jax_trees import numbers
from support.paths import TESTS
from support.processes import fresh_python

FLAX = FRAMEWORKS["flax"]
HEAD = Head.SEQUENCE_CLASSIFICATION


@pytest.fixture(scope="module")
def model():
    return FLAX.cls(HEAD)(small_config(vocab_size=30522, n_layers=1), dtype="float64")


@pytest.fixture(scope="module")
def encode():
    tokenizer = DistilBertTokenizerFast.from_pretrained("sst2-tiny")
    return lambda *texts: tokenizer(list(texts), padding=True, return_tensors="np")


def test_what_a_tokenizer_returns_is_a_tree(model, encode):
    traced = []

    @jax.jit
    def logits(model, encoding):
        traced.append(type(encoding))
        return model(**encoding).logits, encoding

    batches = encode("good", "a bad film"), encode("nice", "a fine film")
    for batch in batches:
        found, returned = logits(model, batch)
        assert_close(np.asarray(found), np.asarray(model(**batch).logits), 1e-13)
        assert_close(dict(returned), dict(batch), 0)
    assert traced == [BatchEncoding]  # without its texts: another batch of this shape is not compiled again
    assert [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(batches[0])] == [
        "['input_ids']",
        "['attention_mask']",
    ]


# How a function of a batch is run, in each case row by row or on one device.
TRANSFORMATIONS = {
    "nnx.jit": lambda model, batch: nnx.jit(lambda model, batch: model(**batch))(model, batch).logits,
    "vmap": lambda model, batch: jax.vmap(lambda row: model(**jax.tree.map(lambda x: x[None], row)).logits[0])(batch),
    "device_put": lambda model, batch: model(**jax.device_put(batch, jax.devices()[0])).logits,
    "shard_map": lambda model, batch: (
        jax.shard_map(
            lambda batch: model(**batch),
            mesh=jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,)),
            in_specs=PartitionSpec("data"),
            out_specs=PartitionSpec("data"),
        )(batch).logits
    ),
}


@pytest.mark.parametrize("how", TRANSFORMATIONS)
def test_transformations_of_functions_of_a_batch(model, encode, how):
    batch = encode("good", "a bad film")
    assert_close(np.asarray(TRANSFORMATIONS[how](model, batch)), np.asarray(model(**batch).logits), 1e-13)


@pytest.mark.parametrize("options", [{}, {"train": True}])
@pytest.mark.parametrize("head", [Head.MASKED_LM, HEAD])
def test_tabulate(head, options):
    model = FLAX.cls(head)(small_config(n_layers=1))
    ids = np.array([[2, 7, 3]])
    table = nnx.tabulate(model, ids, **options, console_kwargs={"force_terminal": False, "width": 300})
    size = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
    assert "distilbert/transformer/layer/0/attention/q_lin" in table
    assert f"{size:,} (" in table
    assert model(ids).logits.shape[0] == 1


@pytest.mark.parametrize(("head", "options"), [(head, {}) for head in HEADS] + [(HEAD, {"scan_layers": True})])
def test_export_with_symbolic_sizes(head, options):
    """Batch and length are open, and lengths that attend by blocks elsewhere give the same. Measured: 2e-14."""
    model = FLAX.cls(head)(small_config(max_position_embeddings=150, n_layers=1), dtype="float64", **options)
    choices = (4,) if head is Head.MULTIPLE_CHOICE else ()
    batch, tokens = export.symbolic_shape("b, t", constraints=["t <= 150"])
    shape = jax.ShapeDtypeStruct((batch, *choices, tokens), jnp.int32)
    whole = jax.jit(lambda ids, mask: model(ids, mask, output_hidden_states=True))
    exported = export.export(whole)(shape, shape)
    for sizes in ((1, 3), (2, 140)):
        ids = np.random.default_rng(0).integers(0, 47, (sizes[0], *choices, sizes[1]), np.int32)
        mask = (ids > 9).astype(np.int32)
        found = exported.call(ids, mask)
        assert type(found) is type(model(ids, mask))
        assert_close(numbers(found), numbers(model(ids, mask, output_hidden_states=True)), 1e-12)


def test_export_checks_known_values():
    model = FLAX.cls(HEAD)(small_config(n_layers=1))
    batch, tokens = export.symbolic_shape("b, t")
    ids, mask = (jax.ShapeDtypeStruct(shape, jnp.int32) for shape in ((batch, tokens), (batch, tokens, 2)))
    with pytest.raises(InputError, match=r"attention_mask must have shape \[batch, tokens\]"):
        export.export(jax.jit(lambda ids, mask: model(ids, mask)))(ids, mask)
    embeds = jax.ShapeDtypeStruct((batch, tokens, 5), jnp.float32)
    with pytest.raises(InputError, match=r"inputs_embeds must have shape .* dim=12"):
        export.export(jax.jit(lambda embeds: model(inputs_embeds=embeds)))(embeds)


def test_gradients_with_a_symbolic_batch():
    model = FLAX.cls(HEAD)(small_config(n_layers=1), dtype="float64")
    (batch,) = export.symbolic_shape("b")
    ids, labels = (jax.ShapeDtypeStruct(shape, jnp.int32) for shape in ((batch, 7), (batch,)))
    step = jax.jit(jax.grad(lambda params, ids, labels: model(ids, labels=labels, params=params).loss))
    exported = export.export(step)(model.params_shape_tree, ids, labels)
    inputs = np.arange(21, dtype=np.int32).reshape(3, 7), np.array([1, 0, -100], np.int32)
    assert_close(numbers(exported.call(model.params, *inputs)), numbers(step(model.params, *inputs)), 1e-13)


STRICT = """
import jax, numpy as np, sys
from flax import nnx
for name, value in (("numpy_rank_promotion", "raise"), ("numpy_dtype_promotion", "strict"), ("debug_nans", True),
                    ("check_tracer_leaks", True)):
    jax.config.update("jax_" + name, value)
sys.path.insert(0, sys.argv[1])
from support.checkpoints import HEADS, random_inputs, small_config
from support.frameworks import FRAMEWORKS
for x64, heads in ((False, HEADS), (True, HEADS[-1:])):
    jax.config.update("jax_enable_x64", x64)
    for head in heads:
        config = small_config(n_layers=1)
        model = FRAMEWORKS["flax"].cls(head)(config, scan_layers=x64)
        inputs = random_inputs(config, head)

        @nnx.jit
        def step(model, inputs):
            def loss(model):
                output = model(**inputs, train=True, head_mask=np.ones(3, np.float32), output_attentions=x64)
                return output.loss if "loss" in output else output.last_hidden_state.sum()
            return nnx.value_and_grad(loss)(model)

        loss, gradients = step(model, inputs)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((loss, gradients))), head
print("right")
"""


def test_the_strict_modes_of_jax():
    """No number is silently given another rank or dtype, none is NaN on the way, and no tracer leaks."""
    assert fresh_python(STRICT, str(TESTS)).strip() == "right"


# What is given as rngs -> the seed of which it draws the same; None where it has streams of its own.
GENERATORS = {
    "seed": (3, 3),
    "key": (jax.random.key(3), 3),
    "raw key": (jax.random.PRNGKey(3), 3),
    "default": (nnx.Rngs(3), 3),
    "named default": (nnx.Rngs(default=3), 3),
    "params": (nnx.Rngs(params=3), None),
    "both": (nnx.Rngs(params=3, dropout=4), None),
}


@pytest.mark.parametrize("how", GENERATORS)
def test_generators_of_a_constructor(how):
    rngs, seed = GENERATORS[how]
    made = FLAX.cls(Head.BASE)(small_config(n_layers=1), rngs=rngs)
    if seed is not None:
        expected = FLAX.cls(Head.BASE)(small_config(n_layers=1), seed=seed)
        assert_close(numbers(made.params), numbers(expected.params), 0)
    ids = random_inputs(small_config(), Head.BASE)["input_ids"]
    first, second = (np.asarray(made(ids, train=True).last_hidden_state) for _ in range(2))
    assert (first != second).any()


@pytest.mark.parametrize(
    "rngs",
    [5, jax.random.key(5), nnx.Rngs(dropout=5), {"dropout": jax.random.key(5)}, {"dropout": 5, "params": 1}],
    ids=["seed", "key", "Rngs", "dict", "dict of two"],
)
def test_generators_of_a_call(model, encode, rngs):
    batch = encode("good")
    expected = model(**batch, train=True, rngs=jax.random.PRNGKey(5)).logits
    assert_close(np.asarray(model(**batch, train=True, rngs=rngs).logits), np.asarray(expected), 0)


def test_generators_that_lack_a_stream(model, encode):
    with pytest.raises(InputError, match=r"rngs must have a stream 'params' or a default.*; it has dropout"):
        FLAX.cls(HEAD)(small_config(), rngs=nnx.Rngs(dropout=0))
    with pytest.raises(InputError, match="Give rngs or seed, not both"):
        FLAX.cls(HEAD)(small_config(), rngs=nnx.Rngs(0), seed=0)
    with pytest.raises(InputError, match=r"rngs must have a stream 'dropout' or a default.*; it has params"):
        model(**encode("good"), train=True, rngs=nnx.Rngs(params=0))


def test_views_of_nnx(model, encode):
    batch = encode("good", "bad")
    quiet = np.asarray(model(**batch).logits)
    noisy = nnx.view(model, deterministic=False)
    assert (np.asarray(noisy(**batch).logits) != quiet).any()
    assert_close(np.asarray(nnx.view(noisy, deterministic=True)(**batch).logits), quiet, 0)


def test_a_train_state_of_flax(encode):
    """A script for Transformers' Flax models: parameters in a TrainState, `apply_fn` the model's own call."""
    model = FLAX.cls(HEAD)(small_config(vocab_size=30522, n_layers=1, num_labels=2), (1, 1), 0, jnp.float32)

    def tables(params):
        return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "embedding", params)

    optimizer = optax.chain(optax.adamw(1e-2), optax.masked(optax.set_to_zero(), tables))
    state = TrainState.create(apply_fn=model.__call__, params=model.params, tx=optimizer)

    @jax.jit
    def step(state, batch, labels, key):
        def loss(params):
            logits = state.apply_fn(**batch, params=params, dropout_rng=key, train=True)[0]
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        value, gradients = jax.value_and_grad(loss)(state.params)
        return state.apply_gradients(grads=gradients), value

    before, losses = numbers(model.params), []
    for _ in range(4):
        state, loss = step(state, encode("good", "bad"), np.array([1, 0]), jax.random.PRNGKey(0))
        losses.append(float(loss))
    assert losses[-1] < losses[0]
    assert_close(numbers(model.params), before, 0)
    base, trained = model.params["distilbert"], state.params["distilbert"]
    assert_close(numbers(trained["embeddings"]["word_embeddings"]), numbers(base["embeddings"]["word_embeddings"]), 0)
