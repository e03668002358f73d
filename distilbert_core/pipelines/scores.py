"""From logits to scores, in float64."""

from __future__ import annotations

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return the softmax over the last axis [..., L]."""
    logits = logits.astype(np.float64)
    return np.exp(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return the logistic function of each number."""
    return np.exp(-np.logaddexp(0.0, -logits.astype(np.float64)))


def best(scores: np.ndarray, count: int | None) -> np.ndarray:
    """Return the indices of the highest scores [L], the highest first.

    Args:
        scores: Numbers [L].
        count: How many; None, or more than there are: all.
    """
    if count is None or count >= scores.size:
        return np.argsort(-scores, kind="stable")
    top = np.sort(np.argpartition(-scores, count)[:count])  # of equal ones the first comes first
    return top[np.argsort(-scores[top], kind="stable")]
