"""The PyTorch model on a padded batch, as graphs need it: outputs by name, also of a sentence, at any size.

Shapes: B texts, T tokens, D model size.
"""

from __future__ import annotations

from typing import Any

from distilbert_core.model.heads import Head
from weight_conversion.formats.graphs import PADDED_INPUTS, padded_axes
from weight_conversion.sentences import SENTENCE_EMBEDDING, Pooling


def padded_outputs(head: Head, pooling: Pooling | None) -> tuple[str, ...]:
    """Return the names of the outputs of a graph."""
    return (*head.outputs, *([] if pooling is None else [SENTENCE_EMBEDDING]))


def padded_module(torch: Any, model: Any, pooling: Pooling | None = None, dtype: str | None = None) -> Any:
    """Return a module that computes a dict of the outputs of a model from `PADDED_INPUTS`.

    Args:
        torch: PyTorch.
        model: The model.
        pooling: Adds the output `SENTENCE_EMBEDDING`.
        dtype: Dtype of the outputs; None: as computed.
    """

    class TorchOps:
        """Operations of `Pooling`."""

        sqrt = staticmethod(torch.sqrt)
        expand_dims = staticmethod(torch.unsqueeze)

        @staticmethod
        def sum(x: Any, axis: int, keepdims: bool = False) -> Any:
            return x.sum(dim=axis, keepdim=keepdims)

        @staticmethod
        def maximum(x: Any, lowest: float) -> Any:
            return x.clamp(min=lowest)

    class Outputs(torch.nn.Module):
        """The model with plain outputs."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> dict[str, Any]:
            computed = self.model(input_ids=input_ids, attention_mask=attention_mask)
            outputs = {name: computed[name] for name in model.head.outputs}
            if pooling is not None:
                (hidden,) = outputs.values()
                hidden = hidden.to(torch.promote_types(hidden.dtype, torch.float32))  # a sum over all tokens
                outputs[SENTENCE_EMBEDDING] = pooling(TorchOps, hidden, attention_mask.to(hidden.dtype))  # [B, D]
            return {name: value.to(getattr(torch, dtype) if dtype else value.dtype) for name, value in outputs.items()}

    return Outputs().eval()


def padded_examples(torch: Any, model: Any) -> tuple[tuple[Any, ...], tuple[dict[int, Any], ...]]:
    """Return example tensors for `PADDED_INPUTS`, and their axes, which are of any size."""
    names, longest = padded_axes(model.head.has_choices), model.config.max_position_embeddings
    axes = {axis: torch.export.Dim(name, max=longest if name == "tokens" else None) for axis, name in enumerate(names)}
    # Two tensors: one tensor for both inputs would become one input of the graph.
    examples = tuple(torch.ones((2, 3, 5)[-len(names) :], dtype=torch.int64) for _ in PADDED_INPUTS)
    return examples, (axes,) * len(examples)
