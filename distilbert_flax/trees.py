"""The types of the core as trees of JAX with names, in exported functions too."""

from __future__ import annotations

import json
from typing import Any

from jax import export, tree_util


def register(cls: Any) -> None:
    """Let a dict type with `tree_flatten` and `tree_unflatten` be an argument or a result under all transformations.

    Two values have the same structure if they have the same names in the same order.
    """
    tree_util.register_pytree_with_keys(
        cls,
        lambda tree: ([(tree_util.DictKey(name), value) for name, value in tree.items()], tuple(tree)),
        cls.tree_unflatten,
        flatten_func=cls.tree_flatten,
    )
    export.register_pytree_node_serialization(
        cls,
        serialized_name=f"distilbert.{cls.__name__}",
        serialize_auxdata=lambda names: json.dumps(names).encode(),
        deserialize_auxdata=lambda names: tuple(json.loads(names)),
    )
