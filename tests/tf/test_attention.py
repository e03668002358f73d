"""Attention in blocks of queries: the numbers of full attention, without the weights of all queries at once."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from distilbert_tf import attention
from distilbert_tf.attention import eager_attention
from support.comparison import assert_close

BATCH, HEADS, TOKENS, SIZE = 2, 3, 11, 5
TOLERANCE = 1e-14  # measured: 4e-16


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(attention, "QUERY_BLOCK", 4)
    monkeypatch.setattr(attention, "WEIGHTS", 0)


def tensors(queries=TOKENS):
    rng = np.random.default_rng(0)
    lengths = (queries, TOKENS, TOKENS, queries)
    return [tf.constant(rng.normal(size=(BATCH, HEADS, length, SIZE))) for length in lengths]


def context_and_gradients(attend, queries, keys, values, upstream, segments, head_mask, seed=None):
    with tf.GradientTape() as tape:
        tape.watch([queries, keys, values])
        context, _ = attend(queries, keys, values, segments, head_mask, 0.4, seed)
    gradients = tape.gradient(context, [queries, keys, values], output_gradients=upstream)
    return dict(zip(("context", "query", "key", "value"), (context, *gradients), strict=True))


def segments_of(queries):
    """Of packed rows; the query at the end has no key."""
    of_keys = tf.constant([[1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 0], [1, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0]])
    return tf.concat([of_keys[:, : queries - 1], [[9], [9]]], axis=1), of_keys


PADDING = (tf.ones((1, 1), tf.int32), tf.constant([[1] * 7 + [0] * 4, [0] * 2 + [1] * 9]))


def free_shape(x):
    """The shape of a tensor while tracing for all shapes; the size of a head is always known."""
    return tf.TensorSpec([None] * (x.ndim - 1) + [SIZE if x.ndim == 4 else None], x.dtype)


@pytest.mark.parametrize("how", ["eager", "static shapes", "any shapes", "XLA"])
@pytest.mark.parametrize(
    ("queries", "segments"),
    [(11, None), (11, PADDING), (11, segments_of(11)), (8, segments_of(8)), (3, segments_of(3))],
    ids=["all to all", "padding", "packed", "whole blocks", "fewer than a block"],
)
def test_blocks_do_not_change_the_numbers(queries, segments, how):
    inputs = [*tensors(queries), segments, tf.constant([1.0, 0.5, 0.0], tf.float64)]

    def in_blocks(*arguments):
        return context_and_gradients(attention.blockwise_attention, *arguments)

    if how == "static shapes":
        in_blocks = tf.function(in_blocks, autograph=False)
    if how == "XLA":
        in_blocks = tf.function(in_blocks, autograph=False, jit_compile=True)
    if how == "any shapes":
        function = tf.function(in_blocks, autograph=False)
        shapes = tf.nest.map_structure(lambda x: None if x is None else free_shape(x), inputs)
        in_blocks = function.get_concrete_function(*shapes)
    assert_close(in_blocks(*inputs), context_and_gradients(eager_attention, *inputs), TOLERANCE)


def test_no_block_has_the_weights_of_all_queries(monkeypatch):
    seen = []
    softmax = tf.nn.softmax
    monkeypatch.setattr(tf.nn, "softmax", lambda scores: (seen.append(scores.shape[2]), softmax(scores))[1])
    context_and_gradients(attention.blockwise_attention, *tensors(), None, None)
    assert seen == [4] * 6  # three blocks, forwards and backwards


def test_the_backward_pass_drops_the_same_weights():
    """The context is linear in the values, so it is the sum of the values times their gradients; measured: 2e-15."""
    query, key, value, upstream = tensors()
    seed = tf.constant([7, 3])
    found = context_and_gradients(attention.blockwise_attention, query, key, value, upstream, None, None, seed)
    expected = tf.reduce_sum(found["context"] * upstream)
    assert_close(tf.reduce_sum(found["value"] * value).numpy(), expected.numpy(), 1e-13)
    kept = context_and_gradients(attention.blockwise_attention, query, key, value, upstream, None, None)
    assert not np.allclose(found["context"], kept["context"])


def test_each_block_drops_weights_of_its_own():
    query, key, value, _ = tensors()
    alike = tf.ones_like(query)
    context, _ = attention.blockwise_attention(alike, key, value, None, None, 0.4, tf.constant([7, 3]))
    assert not np.allclose(context[:, :, :4], context[:, :, 4:8])


@pytest.mark.parametrize("traced", [False, True])
def test_blocks_are_larger_where_there_are_few_weights(traced, monkeypatch):
    """Of 40 queries, 4 at a time; or as many as WEIGHTS allows, in blocks of one size."""
    query, key, sizes = tf.zeros((1, 2, 40, 4)), tf.zeros((1, 2, 50, 4)), []

    def spy(block, *arguments):
        tf.py_function(lambda size: sizes.append(int(size)), [tf.shape(block)[2]], [])
        return eager_attention(block, *arguments)

    monkeypatch.setattr(attention, "eager_attention", spy)
    for weights in (0, 2 * 50 * 12, 2 * 50 * 20, 2 * 50 * 40):
        monkeypatch.setattr(attention, "WEIGHTS", weights)
        attend = tf.function(
            lambda *tensors: attention.blockwise_attention(*tensors, None, None, 0.0, None)[0], autograph=False
        )
        if traced:
            attend = attend.get_concrete_function(*[tf.TensorSpec([None, 2, None, 4])] * 3)
        attend(query, key, key)
    assert sizes == [4] * 10 + [10] * 4 + [20] * 2 + [40]
