"""Attention in blocks of queries: the numbers and gradients of full attention, in memory that grows linearly."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import distilbert_flax.attention
from distilbert_core import Head
from distilbert_flax.attention import (
    blockwise_attention,
    cudnn_attention,
    cudnn_runs,
    eager_attention,
    fused_attention,
)
from support.checkpoints import save_random, small_config
from support.comparison import assert_close
from support.frameworks import FRAMEWORKS

FLAX = FRAMEWORKS["flax"]
BATCH, QUERIES, TOKENS, HEADS, SIZE = 2, 11, 13, 3, 5


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(distilbert_flax.attention, "WEIGHTS", 0)


def arrays():
    rng = np.random.default_rng(0)
    sizes = {"query": QUERIES, "key": TOKENS, "value": TOKENS, "cotangent": QUERIES}
    return {name: rng.normal(size=(BATCH, size, HEADS, SIZE)) for name, size in sizes.items()}


def segments():
    """Of queries and keys; one query of each row has no key."""
    rng = np.random.default_rng(1)
    of_queries, of_keys = rng.integers(0, 3, (BATCH, QUERIES)), rng.integers(0, 3, (BATCH, TOKENS))
    of_queries[:, 4] = 7
    return of_queries, of_keys


OPTIONS = {
    "plain": (None, None),
    "segments": (segments(), None),
    "mask": ((np.ones((BATCH, QUERIES), bool), segments()[1] > 0), None),
    "heads": (segments(), np.array([0.5, 0.0, 2.0])),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("block", [4, 10])
def test_blocks_are_the_whole(block, options, monkeypatch):
    """Context, and gradients of all three arguments. Measured: 4e-16."""
    monkeypatch.setattr(distilbert_flax.attention, "QUERY_BLOCK", block)

    def results(attend):
        def product(query, key, value, cotangent):
            context = attend(query, key, value, *options, 0.0, None)[0]
            return (context * cotangent).sum(), context

        (_, context), gradients = jax.value_and_grad(product, argnums=(0, 1, 2), has_aux=True)(*arrays().values())
        return tuple(np.asarray(array) for array in (context, *gradients))

    assert_close(results(blockwise_attention), results(eager_attention), 1e-14)


def test_against_the_formula():
    """Vaswani et al. 2017, equation 1, within segments, in NumPy; a query without a key sees all alike."""
    query, key, value, _ = (array.swapaxes(1, 2) for array in arrays().values())  # [B, N, Q or T, H]
    of_queries, of_keys = segments()
    mask = of_queries[:, None, :, None] == of_keys[:, None, None]
    exps = np.where(mask, np.exp(query @ key.swapaxes(-1, -2) / np.sqrt(SIZE)), 0.0)
    exps = np.where(mask.any(-1, keepdims=True), exps, 1.0)
    weights = exps / exps.sum(-1, keepdims=True)
    got = eager_attention(*list(arrays().values())[:3], segments(), None, 0.0, None)
    expected = ((weights @ value).swapaxes(1, 2), weights)
    assert_close(tuple(map(np.asarray, got)), expected, 1e-14)  # measured: 4e-16


def test_blocks_drop_each_in_its_own_way(monkeypatch):
    """Equal queries in two blocks: without dropout equal contexts, with it others, and the mean stays."""
    monkeypatch.setattr(distilbert_flax.attention, "QUERY_BLOCK", 4)
    rng = np.random.default_rng(0)
    query = np.repeat(rng.normal(size=(1, 1, 1, SIZE)), 8, axis=1)
    key, value = rng.normal(size=(2, 1, 1000, 1, SIZE))
    attend = partial(blockwise_attention, query, key, value, None, None)
    plain, dropped = (np.asarray(attend(0.5, rng)[0]) for rng in (None, jax.random.key(0)))
    assert np.ptp(plain, axis=1).max() < 1e-14
    assert (np.abs(dropped[:, :4] - dropped[:, 4:]).max(axis=-1) > 1e-3).all()
    # Half of 1000 weights are dropped: measured 0.03, and 1.0 without the factor that makes up for it.
    assert np.abs(dropped.mean(axis=1) - plain[:, 0]).max() < 0.1


@pytest.mark.parametrize("head", [Head.BASE, Head.TOKEN_CLASSIFICATION])
def test_a_model_by_blocks(head, tmp_path, monkeypatch):
    """Hidden states or logits with a ragged mask, called eagerly, against attention weights that were asked for."""
    save_random(tmp_path, small_config(), head)
    model = FLAX.load(head, tmp_path, dtype="float64")
    ids = np.arange(2 * 21).reshape(2, 21) % 47
    inputs = {"input_ids": ids, "attention_mask": (np.arange(21) < [[21], [9]]).astype(int)}
    expected = dict(FLAX.call(model, **inputs, output_attentions=True))
    expected.pop("attentions")
    monkeypatch.setattr(distilbert_flax.attention, "QUERY_BLOCK", 8)
    assert_close(dict(FLAX.call(model, **inputs)), expected, 1e-14)  # measured: 2e-15


@pytest.mark.parametrize("gradient", [False, True])
def test_memory_grows_linearly(gradient):
    """The memory that a call needs in addition to its arguments, by the compiler, at 4 and at 8 blocks of queries."""

    def memory(tokens):
        def loss(query, key, value):
            return blockwise_attention(query, key, value, None, None, 0.0, None)[0].sum()

        given = [jax.ShapeDtypeStruct((1, tokens, 2, 4), np.float32)] * 3
        compiled = jax.jit(jax.grad(loss, (0, 1, 2)) if gradient else loss).lower(*given).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    short, long = memory(512), memory(1024)
    assert long < 2.1 * short
    assert long < 2 * 1024 * 1024 * 4  # the weights alone, at once


def test_blocks_are_larger_where_there_are_few_weights(monkeypatch):
    """Of 400 queries, 128 at a time; or as many as WEIGHTS allows, in blocks of one size."""
    sizes = []
    monkeypatch.setattr(distilbert_flax.attention, "_by_blocks", lambda *_, size: sizes.append(size))
    query, key = np.zeros((1, 400, 2, 4)), np.zeros((1, 500, 2, 4))
    for weights in (0, 2 * 500 * 128, 2 * 500 * 200, 2 * 500 * 399, 2 * 500 * 400):
        monkeypatch.setattr(distilbert_flax.attention, "WEIGHTS", weights)
        blockwise_attention(query, key, key, None, None, 0.0, None)
    assert sizes == [100, 100, 200, 200]


@pytest.fixture
def kernel(monkeypatch):
    """The kernel of a GPU, replaced by XLA's attention with the same arguments; returns its calls."""
    calls = []

    def plain(*arguments, **keywords):
        calls.append(arguments)
        return jax.nn.dot_product_attention(*arguments, **keywords, implementation="xla")

    monkeypatch.setattr(distilbert_flax.attention, "kernel", plain)
    monkeypatch.setattr(distilbert_flax.attention, "on_ampere_or_later", lambda array: True)
    return calls


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_kernel_of_a_gpu_gives_the_numbers_of_eager_attention(options, kernel):
    query, key, value, _ = arrays().values()
    context, weights = cudnn_attention(query, key, value, *options, 0.0, None)
    assert (len(kernel), weights) == (1, None)
    expected, _ = eager_attention(query, key, value, *options, 0.0, None)
    assert_close(np.asarray(context), np.asarray(expected), 2e-6)  # XLA's softmax is in float32; measured 2e-7


def test_a_text_never_reads_its_neighbour_in_half_precision(tmp_path, kernel):
    config = small_config(n_heads=2, dim=16)  # heads of a size that the kernel takes
    save_random(tmp_path, config, Head.BASE)
    model = FLAX.cls(Head.BASE).from_pretrained(tmp_path, dtype="bfloat16")
    segment_ids = np.array([[1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 0, 0]])
    position_ids = np.array([[0, 1, 2, 3, 0, 1, 2, 0, 1, 2, 0, 0]])
    ids = np.arange(1, 13)[None]
    changed = np.where(segment_ids == 2, ids + 20, ids)
    before, after = (np.asarray(model.packed_outputs(x, position_ids, segment_ids)) for x in (ids, changed))
    assert len(kernel) == 2 * config.n_layers
    others = segment_ids != 2
    assert (before[others] == after[others]).all()
    assert (before[~others] != after[~others]).any(axis=-1).all()


@pytest.mark.parametrize(
    ("dtype", "queries", "keys", "size", "runs"),
    [
        ("bfloat16", 4, 12, 64, True),
        ("float16", 4, 12, 64, True),
        ("float32", 4, 12, 64, False),
        ("bfloat16", 3, 12, 64, False),
        ("bfloat16", 4, 11, 64, False),
        ("bfloat16", 4, 12, 12, False),
        ("bfloat16", 4, 12, 136, False),
    ],
)
def test_what_the_kernel_of_a_gpu_takes(dtype, queries, keys, size, runs, kernel):
    query, key = (jnp.zeros((1, length, 2, size), dtype) for length in (queries, keys))
    assert cudnn_runs(query, key) == runs
    for seed, used in ((None, runs), (jax.random.key(0), False)):
        kernel.clear()
        fused_attention(query, key, key, None, None, 0.5, seed)
        assert bool(kernel) == used


def test_there_is_no_kernel_on_the_cpu():
    query = jnp.zeros((1, 4, 2, 64), "bfloat16")
    assert not cudnn_runs(query, query)
    assert jax.eval_shape(lambda x: jnp.zeros(int(cudnn_runs(x, x))), query).shape == (0,)
