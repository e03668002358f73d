"""Trees of JAX arrays as NumPy's."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np


def numbers(tree: Any) -> tuple[np.ndarray, ...]:
    """The leaves of a tree, in order."""
    return tuple(np.asarray(leaf) for leaf in jax.tree.leaves(tree))
