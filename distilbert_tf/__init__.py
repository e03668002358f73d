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

from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.outputs import OUTPUT_TYPES
from distilbert_core.tokenization.batch_encoding import BatchEncoding
from distilbert_core.tokenization.collators import (
    DataCollatorForLanguageModeling,
    DataCollatorForMultipleChoice,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    DefaultDataCollator,
)
from distilbert_tf.backend import BACKEND
from distilbert_tf.callbacks import KerasMetricCallback, PushToHubCallback
from distilbert_tf.compatibility import ALIASES, warn_of_keras_2
from distilbert_tf.heads import (
    TFDistilBertForMaskedLM,
    TFDistilBertForMultipleChoice,
    TFDistilBertForQuestionAnswering,
    TFDistilBertForSequenceClassification,
    TFDistilBertForTokenClassification,
)
from distilbert_tf.model import TFDistilBertModel
from distilbert_tf.optimization import AdamWeightDecay, WarmUp, create_optimizer
from distilbert_tf.pretrained import TFDistilBertPreTrainedModel, to_tensor

TFDistilBertMainLayer = TFDistilBertModel
globals().update(ALIASES)  # TFBaseModelOutput and the like

warn_of_keras_2()
for _output in OUTPUT_TYPES:
    optree.register_pytree_node_class(_output, namespace="keras")
# In the order of Keras' dicts: functional models take the inputs in order, whatever their names are.
optree.register_pytree_node(
    BatchEncoding,
    lambda encoding: ([encoding[name] for name in sorted(encoding)], sorted(encoding)),
    BatchEncoding.tree_unflatten,
    namespace="keras",
)
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
    "BACKEND",
    "AdamWeightDecay",
    "DataCollatorForLanguageModeling",
    "DataCollatorForMultipleChoice",
    "DataCollatorForTokenClassification",
    "DataCollatorWithPadding",
    "DefaultDataCollator",
    "DistilBertConfig",
    "KerasMetricCallback",
    "PushToHubCallback",
    "TFDistilBertForMaskedLM",
    "TFDistilBertForMultipleChoice",
    "TFDistilBertForQuestionAnswering",
    "TFDistilBertForSequenceClassification",
    "TFDistilBertForTokenClassification",
    "TFDistilBertMainLayer",
    "TFDistilBertModel",
    "TFDistilBertPreTrainedModel",
    "WarmUp",
    "create_optimizer",
    "to_tensor",
]
