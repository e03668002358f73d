"""DistilBERT in JAX, as Flax NNX modules."""

from distilbert_core.model.auto import AutoConfig
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.tokenization import AutoTokenizer, DistilBertTokenizer, DistilBertTokenizerFast
from distilbert_core.tokenization.batch_encoding import BatchEncoding
from distilbert_flax.auto import (
    FlaxAutoModel,
    FlaxAutoModelForMaskedLM,
    FlaxAutoModelForMultipleChoice,
    FlaxAutoModelForPreTraining,
    FlaxAutoModelForQuestionAnswering,
    FlaxAutoModelForSequenceClassification,
    FlaxAutoModelForTokenClassification,
    FlaxAutoModelWithLMHead,
)
from distilbert_flax.backend import BACKEND
from distilbert_flax.heads import (
    FlaxDistilBertForMaskedLM,
    FlaxDistilBertForMultipleChoice,
    FlaxDistilBertForQuestionAnswering,
    FlaxDistilBertForSequenceClassification,
    FlaxDistilBertForTokenClassification,
)
from distilbert_flax.layers import FixedTable
from distilbert_flax.model import FlaxDistilBertModel
from distilbert_flax.packing import PackedBatches
from distilbert_flax.pretrained import FlaxDistilBertPreTrainedModel
from distilbert_flax.tensors import to_tensor
from distilbert_flax.trees import register

for _type in (*{head.output_type for head in Head}, BatchEncoding):
    register(_type)

__all__ = [
    "BACKEND",
    "AutoConfig",
    "AutoTokenizer",
    "DistilBertConfig",
    "DistilBertTokenizer",
    "DistilBertTokenizerFast",
    "FixedTable",
    "FlaxAutoModel",
    "FlaxAutoModelForMaskedLM",
    "FlaxAutoModelForMultipleChoice",
    "FlaxAutoModelForPreTraining",
    "FlaxAutoModelForQuestionAnswering",
    "FlaxAutoModelForSequenceClassification",
    "FlaxAutoModelForTokenClassification",
    "FlaxAutoModelWithLMHead",
    "FlaxDistilBertForMaskedLM",
    "FlaxDistilBertForMultipleChoice",
    "FlaxDistilBertForQuestionAnswering",
    "FlaxDistilBertForSequenceClassification",
    "FlaxDistilBertForTokenClassification",
    "FlaxDistilBertModel",
    "FlaxDistilBertPreTrainedModel",
    "PackedBatches",
    "to_tensor",
]
