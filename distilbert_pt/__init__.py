"""DistilBERT in PyTorch."""

from distilbert_core.model.auto import AutoConfig
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.tokenization import AutoTokenizer, DistilBertTokenizer, DistilBertTokenizerFast
from distilbert_core.tokenization.collators import DataCollatorWithPacking
from distilbert_pt.auto import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForPreTraining,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoModelWithLMHead,
)
from distilbert_pt.backend import BACKEND
from distilbert_pt.heads import (
    DistilBertForMaskedLM,
    DistilBertForMultipleChoice,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
)
from distilbert_pt.model import FFN, DistilBertModel, Embeddings, MultiHeadSelfAttention, Transformer, TransformerBlock
from distilbert_pt.pretrained import DistilBertPreTrainedModel
from distilbert_pt.registering import register_with_transformers
from distilbert_pt.tensors import to_tensor
from distilbert_pt.trees import register

for _output in {head.output_type for head in Head}:
    register(_output)

__all__ = [
    "BACKEND",
    "FFN",
    "AutoConfig",
    "AutoModel",
    "AutoModelForMaskedLM",
    "AutoModelForMultipleChoice",
    "AutoModelForPreTraining",
    "AutoModelForQuestionAnswering",
    "AutoModelForSequenceClassification",
    "AutoModelForTokenClassification",
    "AutoModelWithLMHead",
    "AutoTokenizer",
    "DataCollatorWithPacking",
    "DistilBertConfig",
    "DistilBertForMaskedLM",
    "DistilBertForMultipleChoice",
    "DistilBertForQuestionAnswering",
    "DistilBertForSequenceClassification",
    "DistilBertForTokenClassification",
    "DistilBertModel",
    "DistilBertPreTrainedModel",
    "DistilBertTokenizer",
    "DistilBertTokenizerFast",
    "Embeddings",
    "MultiHeadSelfAttention",
    "Transformer",
    "TransformerBlock",
    "register_with_transformers",
    "to_tensor",
]
