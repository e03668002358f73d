"""The outputs of the core as trees of PyTorch, which functions and exported graphs can return."""

from __future__ import annotations

from torch.utils import _pytree as pytree

from distilbert_core.model.outputs import ModelOutput


def register(output: type[ModelOutput]) -> None:
    """Let a type of outputs be an argument or a result under all transformations."""
    pytree.register_pytree_node(
        output,
        lambda value: (list(value.values()), tuple(value)),
        lambda values, names: output.tree_unflatten(names, values),
        serialized_type_name=f"distilbert_core.{output.__name__}",
        to_dumpable_context=list,
        from_dumpable_context=tuple,
    )
