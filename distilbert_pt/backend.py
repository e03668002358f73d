"""`BACKEND`, which the core looks up: the contract of `distilbert_core.model.contract` in PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from distilbert_core.model import contract
from distilbert_core.model.backends import BACKENDS
from distilbert_core.model.heads import Head
from distilbert_pt.heads import MODELS
from distilbert_pt.model import DistilBertModel
from distilbert_pt.tensors import to_tensor

_MODELS: dict[Head, type[contract.Model]] = {model.head: model for model in (DistilBertModel, *MODELS)}


class _Backend(contract.Backend):
    def model_class(self, head: Head) -> type[contract.Model]:
        return _MODELS[head]

    @property
    def runner(self) -> type[contract.Runner]:
        from distilbert_pt.inference import BackendInference

        return BackendInference

    @property
    def engine(self) -> type[contract.Engine]:
        from distilbert_pt.training import BackendEngine

        return BackendEngine

    @property
    def losses(self) -> contract.Losses:
        from distilbert_pt import losses

        return losses

    def to_tensor(self, array: np.ndarray) -> contract.Tensor:
        return to_tensor(array)

    @contextmanager
    def on_cpu(self) -> Iterator[Callable[[np.ndarray], contract.Tensor]]:
        with torch.inference_mode():
            yield torch.from_numpy


BACKEND: contract.Backend = _Backend(BACKENDS["pt"])
