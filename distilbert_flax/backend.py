"""`BACKEND`, which the core looks up: the contract of `distilbert_core.model.contract` in JAX and Flax NNX."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax
import numpy as np

from distilbert_core.model import contract
from distilbert_core.model.backends import BACKENDS
from distilbert_core.model.heads import Head
from distilbert_flax.heads import MODELS
from distilbert_flax.model import FlaxDistilBertModel
from distilbert_flax.tensors import to_tensor

_MODELS: dict[Head, type[contract.Model]] = {model.head: model for model in (FlaxDistilBertModel, *MODELS)}


class _Backend(contract.Backend):
    def model_class(self, head: Head) -> type[contract.Model]:
        return _MODELS[head]

    @property
    def runner(self) -> type[contract.Runner]:
        from distilbert_flax.inference import BackendInference

        return BackendInference

    @property
    def engine(self) -> type[contract.Engine]:
        from distilbert_flax.training import BackendEngine

        return BackendEngine

    @property
    def losses(self) -> contract.Losses:
        from distilbert_flax import losses

        return losses

    def to_tensor(self, array: np.ndarray) -> contract.Tensor:
        return to_tensor(array)

    @contextmanager
    def on_cpu(self) -> Iterator[Callable[[np.ndarray], contract.Tensor]]:
        before = jax.config.read("jax_enable_x64")
        jax.config.update("jax_enable_x64", True)  # otherwise JAX computes float64 in float32
        try:
            with jax.default_device(jax.devices("cpu")[0]):
                yield jax.numpy.asarray
        finally:
            jax.config.update("jax_enable_x64", before)


BACKEND: contract.Backend = _Backend(BACKENDS["flax"])
