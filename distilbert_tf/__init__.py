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

from distilbert_core.model.auto import AutoConfig
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.tokenization import AutoTokenizer, DistilBertTokenizer, DistilBertTokenizerFast
from distilbert_core.tokenization.collators import (
    DataCollatorForLanguageModeling,
    DataCollatorForMultipleChoice,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    DefaultDataCollator,
)
from distilbert_tf.auto import (
    TFAutoModel,
    TFAutoModelForMaskedLM,
    TFAutoModelForMultipleChoice,
    TFAutoModelForPreTraining,
    TFAutoModelForQuestionAnswering,
    TFAutoModelForSequenceClassification,
    TFAutoModelForTokenClassification,
    TFAutoModelWithLMHead,
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
from distilbert_tf.keras_private import indexing_operation
from distilbert_tf.model import TFDistilBertModel
from distilbert_tf.optimization import AdamW, AdamWeightDecay, WarmUp, create_optimizer
from distilbert_tf.pretrained import TFDistilBertPreTrainedModel
from distilbert_tf.tensors import to_tensor
from distilbert_tf.trees import register, register_encoding

TFDistilBertMainLayer = TFDistilBertModel
globals().update(ALIASES)  # TFBaseModelOutput and the like

warn_of_keras_2()
for _output in {head.output_type for head in Head}:
    register(_output)
register_encoding()
# Keras' old .h5 files name classes without the package under which they are registered. Keras does not register its own
# indexing, which functional models on the base model use: `model(ids).last_hidden_state[:, 0]`.
for _class in (
    TFDistilBertModel,
    TFDistilBertForMaskedLM,
    TFDistilBertForSequenceClassification,
    TFDistilBertForMultipleChoice,
    TFDistilBertForTokenClassification,
    TFDistilBertForQuestionAnswering,
    indexing_operation(),
):
    keras.saving.get_custom_objects()[_class.__name__] = _class

__all__ = [
    "BACKEND",
    "AdamW",
    "AdamWeightDecay",
    "AutoConfig",
    "AutoTokenizer",
    "DataCollatorForLanguageModeling",
    "DataCollatorForMultipleChoice",
    "DataCollatorForTokenClassification",
    "DataCollatorWithPadding",
    "DefaultDataCollator",
    "DistilBertConfig",
    "DistilBertTokenizer",
    "DistilBertTokenizerFast",
    "KerasMetricCallback",
    "PushToHubCallback",
    "TFAutoModel",
    "TFAutoModelForMaskedLM",
    "TFAutoModelForMultipleChoice",
    "TFAutoModelForPreTraining",
    "TFAutoModelForQuestionAnswering",
    "TFAutoModelForSequenceClassification",
    "TFAutoModelForTokenClassification",
    "TFAutoModelWithLMHead",
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
