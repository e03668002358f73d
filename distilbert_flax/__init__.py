"""DistilBERT in JAX, as Flax NNX modules."""

from jax.tree_util import register_pytree_node_class

from distilbert_core.config import DistilBertConfig
from distilbert_core.outputs import OUTPUT_TYPES
from distilbert_flax.heads import (
    FlaxDistilBertForMaskedLM,
    FlaxDistilBertForMultipleChoice,
    FlaxDistilBertForQuestionAnswering,
    FlaxDistilBertForSequenceClassification,
    FlaxDistilBertForTokenClassification,
)
from distilbert_flax.layers import FixedTable
from distilbert_flax.model import FlaxDistilBertModel
from distilbert_flax.pretrained import FlaxDistilBertPreTrainedModel, to_tensor

for _output in OUTPUT_TYPES:
    register_pytree_node_class(_output)

__all__ = [
    "DistilBertConfig",
    "FixedTable",
    "FlaxDistilBertForMaskedLM",
    "FlaxDistilBertForMultipleChoice",
    "FlaxDistilBertForQuestionAnswering",
    "FlaxDistilBertForSequenceClassification",
    "FlaxDistilBertForTokenClassification",
    "FlaxDistilBertModel",
    "FlaxDistilBertPreTrainedModel",
    "to_tensor",
]
