"""The names of Transformers for models whose architecture a script does not name."""

from __future__ import annotations

from distilbert_core.model.auto import auto_model
from distilbert_flax.heads import (
    FlaxDistilBertForMaskedLM,
    FlaxDistilBertForMultipleChoice,
    FlaxDistilBertForQuestionAnswering,
    FlaxDistilBertForSequenceClassification,
    FlaxDistilBertForTokenClassification,
)
from distilbert_flax.model import FlaxDistilBertModel

FlaxAutoModel = auto_model("FlaxAutoModel", FlaxDistilBertModel)
FlaxAutoModelForPreTraining = auto_model("FlaxAutoModelForPreTraining", FlaxDistilBertForMaskedLM)
FlaxAutoModelForMaskedLM = auto_model("FlaxAutoModelForMaskedLM", FlaxDistilBertForMaskedLM)
FlaxAutoModelWithLMHead = auto_model("FlaxAutoModelWithLMHead", FlaxDistilBertForMaskedLM)
FlaxAutoModelForSequenceClassification = auto_model(
    "FlaxAutoModelForSequenceClassification", FlaxDistilBertForSequenceClassification
)
FlaxAutoModelForTokenClassification = auto_model(
    "FlaxAutoModelForTokenClassification", FlaxDistilBertForTokenClassification
)
FlaxAutoModelForQuestionAnswering = auto_model("FlaxAutoModelForQuestionAnswering", FlaxDistilBertForQuestionAnswering)
FlaxAutoModelForMultipleChoice = auto_model("FlaxAutoModelForMultipleChoice", FlaxDistilBertForMultipleChoice)

__all__ = [
    "FlaxAutoModel",
    "FlaxAutoModelForMaskedLM",
    "FlaxAutoModelForMultipleChoice",
    "FlaxAutoModelForPreTraining",
    "FlaxAutoModelForQuestionAnswering",
    "FlaxAutoModelForSequenceClassification",
    "FlaxAutoModelForTokenClassification",
    "FlaxAutoModelWithLMHead",
]
