"""Flax models as files of other tools: serialised exports of JAX, and SavedModels of TensorFlow by jax2tf."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from distilbert_core import BatchEncoding
from distilbert_core.model.outputs import SequenceClassifierOutput
from distilbert_flax import FlaxDistilBertForSequenceClassification
from support.checkpoints import small_config
from support.comparison import assert_close


def some_inputs(batch, tokens):
    ids = np.random.default_rng(0).integers(0, 47, (batch, tokens), np.int32)
    return ids, (ids > 9).astype(np.int32)


def test_an_export_with_our_types_is_serialised():
    """Arguments as the tokenizer returns them, and the whole output."""
    model = FlaxDistilBertForSequenceClassification(small_config(n_layers=1))
    sizes = export.symbolic_shape("b, t", constraints=["t <= 23"])
    shape = jax.ShapeDtypeStruct(sizes, jnp.int32)
    batch = BatchEncoding({"input_ids": shape, "attention_mask": shape})
    written = export.export(jax.jit(lambda batch: model(**batch)))(batch).serialize()
    read = export.deserialize(written)
    ids, mask = some_inputs(3, 7)
    output = read.call(BatchEncoding({"input_ids": ids, "attention_mask": mask}))
    assert type(output) is SequenceClassifierOutput
    assert_close(np.asarray(output.logits), np.asarray(model(ids, mask).logits), 1e-5)


def test_a_saved_model_by_jax2tf(tmp_path):
    import tensorflow as tf
    from jax.experimental import jax2tf

    model = FlaxDistilBertForSequenceClassification(small_config(n_layers=1))
    function = jax2tf.convert(lambda ids, mask: model(ids, mask).logits, polymorphic_shapes=["(b, t)", "(b, t)"])
    module = tf.Module()
    signature = [tf.TensorSpec([None, None], tf.int32)] * 2
    module.logits = tf.function(function, autograph=False, input_signature=signature)
    tf.saved_model.save(module, str(tmp_path))
    again = tf.saved_model.load(str(tmp_path))
    for sizes in ((1, 3), (4, 20)):
        ids, mask = some_inputs(*sizes)
        assert_close(again.logits(ids, mask).numpy(), np.asarray(model(ids, mask).logits), 1e-5)
