"""`BACKEND`, which the core looks up: the contract of `distilbert_core.model.contract` in Keras 3 on TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras
import numpy as np

from distilbert_core.model import contract
from distilbert_core.model.backends import BACKENDS
from distilbert_core.model.heads import Head
from distilbert_tf.heads import MODELS
from distilbert_tf.model import TFDistilBertModel
from distilbert_tf.tensors import to_tensor

_MODELS: dict[Head, type[contract.Model]] = {model.head: model for model in (TFDistilBertModel, *MODELS)}


class _Backend(contract.Backend):
    def model_class(self, head: Head) -> type[contract.Model]:
        return _MODELS[head]

    @property
    def runner(self) -> type[contract.Runner]:
        from distilbert_tf.inference import BackendInference

        return BackendInference

    @property
    def engine(self) -> type[contract.Engine]:
        from distilbert_tf.training import BackendEngine

        return BackendEngine

    @property
    def losses(self) -> contract.Losses:
        from distilbert_tf import losses

        return losses

    def to_tensor(self, array: np.ndarray) -> contract.Tensor:
        return to_tensor(array)

    @contextmanager
    def on_cpu(self) -> Iterator[Callable[[np.ndarray], contract.Tensor]]:
        with keras.device("cpu"):
            yield to_tensor


BACKEND: contract.Backend = _Backend(BACKENDS["tf"])
