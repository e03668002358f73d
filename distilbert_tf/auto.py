"""The names of Transformers for models whose architecture a script does not name."""

from __future__ import annotations

from distilbert_core.model.auto import auto_model
from distilbert_tf.heads import (
    TFDistilBertForMaskedLM,
    TFDistilBertForMultipleChoice,
    TFDistilBertForQuestionAnswering,
    TFDistilBertForSequenceClassification,
    TFDistilBertForTokenClassification,
)
from distilbert_tf.model import TFDistilBertModel

TFAutoModel = auto_model("TFAutoModel", TFDistilBertModel)
TFAutoModelForPreTraining = auto_model("TFAutoModelForPreTraining", TFDistilBertForMaskedLM)
TFAutoModelForMaskedLM = auto_model("TFAutoModelForMaskedLM", TFDistilBertForMaskedLM)
TFAutoModelWithLMHead = auto_model("TFAutoModelWithLMHead", TFDistilBertForMaskedLM)
TFAutoModelForSequenceClassification = auto_model(
    "TFAutoModelForSequenceClassification", TFDistilBertForSequenceClassification
)
TFAutoModelForTokenClassification = auto_model("TFAutoModelForTokenClassification", TFDistilBertForTokenClassification)
TFAutoModelForQuestionAnswering = auto_model("TFAutoModelForQuestionAnswering", TFDistilBertForQuestionAnswering)
TFAutoModelForMultipleChoice = auto_model("TFAutoModelForMultipleChoice", TFDistilBertForMultipleChoice)

__all__ = [
    "TFAutoModel",
    "TFAutoModelForMaskedLM",
    "TFAutoModelForMultipleChoice",
    "TFAutoModelForPreTraining",
    "TFAutoModelForQuestionAnswering",
    "TFAutoModelForSequenceClassification",
    "TFAutoModelForTokenClassification",
    "TFAutoModelWithLMHead",
]
