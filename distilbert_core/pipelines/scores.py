"""From logits to scores, in float64."""

from __future__ import annotations

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis [..., L]."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    exponentials = np.exp(shifted, out=shifted)
    exponentials /= exponentials.sum(axis=-1, keepdims=True)
    return exponentials


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return the logistic function of each logit."""
    return np.exp(-np.logaddexp(0.0, -logits.astype(np.float64)))


def best(scores: np.ndarray, count: int | None) -> np.ndarray:
    """Return the indices of the highest scores, the highest first; of equal scores the first.

    Args:
        scores: [L].
        count: Number of indices; None, or more than L: all.
    """
    if count is None or count >= scores.size:
        return np.argsort(-scores, kind="stable")
    top = np.sort(np.argpartition(-scores, count)[:count])
    return top[np.argsort(-scores[top], kind="stable")]
