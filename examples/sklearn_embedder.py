"""A scikit-learn transformer from texts to vectors, used here with a logistic regression.

    pip install "distilbert[pt]" scikit-learn
    python examples/sklearn_embedder.py train.tsv dev.tsv

The files have a header and the tab-separated columns `text` and `label`, without quoting.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from distilbert_core import DEFAULT_MODEL
from distilbert_core.pipelines import pipeline

load = lru_cache(maxsize=1)(pipeline)  # the copies in a grid search share one model


class TextEmbedder(TransformerMixin, BaseEstimator):
    """Computes a vector for each text. It is not trained. The model is loaded at first use, and is not pickled.

    Args:
        model: Folder, embedded model or Hub id; default: the embedded model.
        framework: 'pt', 'tf' or 'flax'; default: the first one installed.
        pooling: 'mean' or 'cls'.
        normalize: Scale vectors to length 1.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        framework: str | None = None,
        pooling: str = "mean",
        normalize: bool = True,
    ):
        self.model = model
        self.framework = framework
        self.pooling = pooling
        self.normalize = normalize

    def fit(self, X: Iterable[str], y: object = None) -> TextEmbedder:  # noqa: N803 scikit-learn's name
        """Return self; the transformer has no parameters to fit."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def transform(self, X: Iterable[str]) -> np.ndarray:  # noqa: N803 scikit-learn's name
        """Return the vectors [n, D] of n texts."""
        embed = load("feature-extraction", self.model, framework=self.framework)
        return np.stack(embed(list(X), pooling=self.pooling, normalize=self.normalize))


def read(path: Path) -> tuple[list[str], list[str]]:
    """Return the texts and the labels of a file."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit on the first file, and print the accuracy on the second."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("dev", type=Path)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="folder, embedded model or Hub id")
    parser.add_argument("--framework", choices=("pt", "tf", "flax"))
    args = parser.parse_args(arguments)
    classifier = make_pipeline(
        TextEmbedder(args.model, framework=args.framework), LogisticRegression(C=10, max_iter=1000)
    )
    classifier.fit(*read(args.train))
    print(f"accuracy: {classifier.score(*read(args.dev)):.4f}")


if __name__ == "__main__":
    main()
