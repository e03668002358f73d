"""DistilBERT in Keras 3 on TensorFlow."""

import os

# Keras picks its backend when it is first imported; this package needs TensorFlow's.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        f"distilbert_tf needs Keras on TensorFlow, but Keras runs on {keras.backend.backend()}. Set "
        'os.environ["KERAS_BACKEND"] = "tensorflow" before anything imports keras.'
    )

import optree

from distilbert_core.config import DistilBertConfig
from distilbert_core.outputs import OUTPUT_TYPES
from distilbert_tf.heads import (
    TFDistilBertForMaskedLM,
    TFDistilBertForMultipleChoice,
    TFDistilBertForQuestionAnswering,
    TFDistilBertForSequenceClassification,
    TFDistilBertForTokenClassification,
)
from distilbert_tf.model import TFDistilBertModel
from distilbert_tf.pretrained import TFDistilBertPreTrainedModel, to_tensor

for _output in OUTPUT_TYPES:
    optree.register_pytree_node_class(_output, namespace="keras")
# Keras' old .h5 files name classes without the package that they are registered under; and Keras does not register its
# own indexing, which functional models on our base model use: `body(ids).last_hidden_state[:, 0]`.
for _class in (
    TFDistilBertModel,
    TFDistilBertForMaskedLM,
    TFDistilBertForSequenceClassification,
    TFDistilBertForMultipleChoice,
    TFDistilBertForTokenClassification,
    TFDistilBertForQuestionAnswering,
    type(keras.KerasTensor((1,))[0]._keras_history.operation),
):
    keras.saving.get_custom_objects()[_class.__name__] = _class

__all__ = [
    "DistilBertConfig",
    "TFDistilBertForMaskedLM",
    "TFDistilBertForMultipleChoice",
    "TFDistilBertForQuestionAnswering",
    "TFDistilBertForSequenceClassification",
    "TFDistilBertForTokenClassification",
    "TFDistilBertModel",
    "TFDistilBertPreTrainedModel",
    "to_tensor",
]
