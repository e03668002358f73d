"""DistilBERT in PyTorch."""

from torch.utils import _pytree as pytree

from distilbert_core.config import DistilBertConfig
from distilbert_core.outputs import OUTPUT_TYPES
from distilbert_pt.heads import (
    DistilBertForMaskedLM,
    DistilBertForMultipleChoice,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
)
from distilbert_pt.model import DistilBertModel
from distilbert_pt.pretrained import DistilBertPreTrainedModel, to_tensor

for _output in OUTPUT_TYPES:
    pytree.register_pytree_node(
        _output,
        lambda output: output.tree_flatten(),
        lambda values, names, _output=_output: _output.tree_unflatten(names, values),
        serialized_type_name=f"distilbert_core.{_output.__name__}",
        to_dumpable_context=list,
        from_dumpable_context=tuple,
    )

__all__ = [
    "DistilBertConfig",
    "DistilBertForMaskedLM",
    "DistilBertForMultipleChoice",
    "DistilBertForQuestionAnswering",
    "DistilBertForSequenceClassification",
    "DistilBertForTokenClassification",
    "DistilBertModel",
    "DistilBertPreTrainedModel",
    "to_tensor",
]
