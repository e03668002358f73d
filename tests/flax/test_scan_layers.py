"""Scanned and checkpointed blocks compute the same as blocks in a loop, with fewer traces and recomputation."""

from __future__ import annotations

from collections import Counter
from functools import partial

import jax
import numpy as np
import pytest
from flax import nnx

from distilbert_core import Head, InputError
from support.checkpoints import random_inputs, save_random, small_config
from support.comparison import assert_close
from support.frameworks import FRAMEWORKS
from support.jax_trees import numbers

FLAX = FRAMEWORKS["flax"]
HEAD = Head.TOKEN_CLASSIFICATION
PLAIN = {"scan_layers": False, "gradient_checkpointing": False}
WAYS = [
    {"scan_layers": True},
    {"gradient_checkpointing": True},
    {"scan_layers": True, "gradient_checkpointing": True},
]
CONFIG = small_config()
INPUTS = random_inputs(CONFIG, HEAD)


def everything(model, inputs, head_mask):
    """All outputs without dropout, and the loss and gradients with it."""
    return _everything(*nnx.split(model), inputs, head_mask)


# So compiled in a third of the time.
@partial(jax.jit, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0})
def _everything(graph, state, inputs, head_mask):
    model = nnx.merge(graph, state)
    options = {"head_mask": head_mask, "output_hidden_states": True, "output_attentions": True}
    output = model(**inputs, **options)
    loss, gradients = nnx.value_and_grad(lambda model: model(**inputs, train=True, rngs=jax.random.key(3)).loss)(model)
    return dict(output), loss, gradients


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    save_random(folder, CONFIG, HEAD)
    return folder


@pytest.fixture(scope="module")
def head_mask():
    return np.random.default_rng(1).uniform(0, 2, (2, 3))


@pytest.fixture(scope="module")
def expected(folder, head_mask):
    return numbers(everything(FLAX.load(HEAD, folder, dtype="float64"), INPUTS, head_mask))


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_same_numbers(folder, head_mask, expected, way):
    """Logits, hidden states, attention weights; loss and gradients with dropout on."""
    model = FLAX.load(HEAD, folder, dtype="float64", **way)
    assert_close(numbers(everything(model, INPUTS, head_mask)), expected, 1e-14)  # measured: 1.1e-15


@pytest.mark.parametrize("way", [PLAIN, *WAYS], ids=str)
@pytest.mark.parametrize("n_layers", [1, 3])
def test_output_tokens(tmp_path, way, n_layers):
    """The last block alone computes only these; with it, all that a call may return."""
    config = small_config(n_layers=n_layers)
    save_random(tmp_path, config, Head.BASE)
    ids, mask = INPUTS["input_ids"], INPUTS["attention_mask"]
    places = np.array([[0, 5], [3, 4], [1, 10], [2, 9], [7, 8]])
    call = nnx.jit(lambda model, **arrays: dict(model(ids, mask, output_hidden_states=True, **arrays)))
    expected = call(FLAX.load(Head.BASE, tmp_path, dtype="float64"))
    got = call(FLAX.load(Head.BASE, tmp_path, dtype="float64", **way), output_tokens=places)
    hidden = np.take_along_axis(np.asarray(expected["last_hidden_state"]), places[..., None], axis=1)
    assert_close(np.asarray(got["last_hidden_state"]), hidden, 1e-14)  # measured: 2e-15
    assert_close(numbers(got["hidden_states"]), (*numbers(expected["hidden_states"])[:-1], hidden), 1e-14)


def jaxpr(n_layers: int, gradient: bool = False, **way: bool):
    """What is traced for a loss or its gradients."""
    model = FLAX.cls(HEAD)(small_config(n_layers=n_layers), **way)
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def loss(params):
        return nnx.merge(graph, params, rest)(**INPUTS).loss

    return jax.make_jaxpr(jax.grad(loss) if gradient else loss)(params).jaxpr


def primitives(jaxpr) -> Counter[str]:
    """How often each primitive stands in a jaxpr, those inside of others included."""
    counts: Counter[str] = Counter()
    for equation in jaxpr.eqns:
        counts[equation.primitive.name] += 1
        for inner in jax.core.jaxprs_in_params(equation.params):
            counts += primitives(inner)
    return counts


def test_a_scan_traces_one_block():
    """More layers add to a scanned model nothing but the stacking of their parameters."""
    few, many = (primitives(jaxpr(layers, scan_layers=True)) for layers in (2, 6))
    assert {name for name in many | few if many[name] != few[name]} <= {"broadcast_in_dim"}
    assert many["scan"] == 1
    looped = [primitives(jaxpr(layers))["dot_general"] for layers in (2, 6)]
    assert looped[1] - looped[0] == 4 * 8  # six dense layers and two products of attention
    assert many["dot_general"] < looped[0]


@pytest.mark.parametrize("scan_layers", [False, True])
def test_checkpointing_computes_each_block_again(scan_layers):
    plain, again = (
        primitives(jaxpr(3, gradient=True, scan_layers=scan_layers, gradient_checkpointing=on)) for on in (False, True)
    )
    blocks = 1 if scan_layers else 3
    assert (plain["remat2"], again["remat2"]) == (0, blocks)
    assert again["erfc"] - plain["erfc"] == blocks  # the activation, once more


@pytest.mark.parametrize("way", WAYS[:2], ids=str)
def test_parameters_keep_their_names(folder, tmp_path, way):
    model = FLAX.load(HEAD, folder, dtype="float64", **way)
    model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert [path for path, _ in nnx.to_flat_state(nnx.state(model))] == [
        path for path, _ in nnx.to_flat_state(nnx.state(FLAX.load(HEAD, folder)))
    ]


def test_pruned_alike(tmp_path, head_mask):
    """The same number of heads in each layer, but other ones."""
    save_random(tmp_path, small_config(pruned_heads={0: [0], 1: [2]}), HEAD)
    scanned, looped = (FLAX.load(HEAD, tmp_path, dtype="float64", scan_layers=scan) for scan in (True, False))
    call = nnx.jit(lambda model: model(**INPUTS, head_mask=head_mask))
    assert_close(numbers(call(scanned)), numbers(call(looped)), 1e-14)  # measured: 1.3e-15


def test_pruned_differently(folder):
    model = FLAX.load(HEAD, folder, scan_layers=True)
    model.prune_heads({1: [0]})
    with pytest.raises(InputError, match=r"layer 1 differs from layer 0 in its number of heads.*scan_layers=False"):
        model(**INPUTS)
