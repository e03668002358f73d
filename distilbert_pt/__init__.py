"""DistilBERT in PyTorch."""

from torch.utils import _pytree as pytree

from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.outputs import OUTPUT_TYPES, ModelOutput
from distilbert_pt.backend import BACKEND
from distilbert_pt.heads import (
    DistilBertForMaskedLM,
    DistilBertForMultipleChoice,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
)
from distilbert_pt.model import FFN, DistilBertModel, Embeddings, MultiHeadSelfAttention, Transformer, TransformerBlock
from distilbert_pt.pretrained import DistilBertPreTrainedModel, to_tensor


def _register(output: type[ModelOutput]) -> None:
    pytree.register_pytree_node(
        output,
        lambda value: (list(value.values()), tuple(value)),
        lambda values, names: output.tree_unflatten(names, values),
        serialized_type_name=f"distilbert_core.{output.__name__}",
        to_dumpable_context=list,
        from_dumpable_context=tuple,
    )


for _output in OUTPUT_TYPES:
    _register(_output)

__all__ = [
    "BACKEND",
    "FFN",
    "DistilBertConfig",
    "DistilBertForMaskedLM",
    "DistilBertForMultipleChoice",
    "DistilBertForQuestionAnswering",
    "DistilBertForSequenceClassification",
    "DistilBertForTokenClassification",
    "DistilBertModel",
    "DistilBertPreTrainedModel",
    "Embeddings",
    "MultiHeadSelfAttention",
    "Transformer",
    "TransformerBlock",
    "to_tensor",
]
