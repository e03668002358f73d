"""The names of Transformers for models whose architecture a script does not name."""

from __future__ import annotations

from distilbert_core.model.auto import auto_model
from distilbert_pt.heads import (
    DistilBertForMaskedLM,
    DistilBertForMultipleChoice,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
)
from distilbert_pt.model import DistilBertModel

AutoModel = auto_model("AutoModel", DistilBertModel)
AutoModelForPreTraining = auto_model("AutoModelForPreTraining", DistilBertForMaskedLM)
AutoModelForMaskedLM = auto_model("AutoModelForMaskedLM", DistilBertForMaskedLM)
AutoModelWithLMHead = auto_model("AutoModelWithLMHead", DistilBertForMaskedLM)
AutoModelForSequenceClassification = auto_model(
    "AutoModelForSequenceClassification", DistilBertForSequenceClassification
)
AutoModelForTokenClassification = auto_model("AutoModelForTokenClassification", DistilBertForTokenClassification)
AutoModelForQuestionAnswering = auto_model("AutoModelForQuestionAnswering", DistilBertForQuestionAnswering)
AutoModelForMultipleChoice = auto_model("AutoModelForMultipleChoice", DistilBertForMultipleChoice)

__all__ = [
    "AutoModel",
    "AutoModelForMaskedLM",
    "AutoModelForMultipleChoice",
    "AutoModelForPreTraining",
    "AutoModelForQuestionAnswering",
    "AutoModelForSequenceClassification",
    "AutoModelForTokenClassification",
    "AutoModelWithLMHead",
]
