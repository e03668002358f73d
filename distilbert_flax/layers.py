"""The layers that a model is made of, all with the same numbers: initial values, dtypes, epsilon."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.nn.initializers import normal
from jax.typing import ArrayLike

from distilbert_core.config import NORM_EPSILON, DistilBertConfig
from distilbert_core.errors import InputError


class FixedTable(nnx.Variable):
    """A table that is stored and used but not trained: it is not an `nnx.Param`."""


class Embedding(nnx.Embed):
    """A table of rows; an id outside it gives NaN, never another row."""

    def __call__(self, inputs: ArrayLike | None) -> Array:
        """Ids [...] -> rows [..., D]."""
        rows = self.embedding[...].at[inputs].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
        return rows.astype(self.dtype)


@dataclass(frozen=True)
class Numerics:
    """Makes the layers of a model, all with the same numbers: initial values, dtypes, epsilon."""

    config: DistilBertConfig
    rngs: nnx.Rngs
    dtype: Any
    param_dtype: Any

    @classmethod
    def of(cls, config: DistilBertConfig, rngs: nnx.Rngs | None, dtype: Any, param_dtype: Any) -> Numerics:
        """Settle what was left out; see the model's class for the defaults."""
        param_dtype = jnp.dtype(param_dtype or jnp.promote_types(dtype or jnp.float32, jnp.float32))
        dtype = jnp.dtype(dtype or param_dtype)
        if jnp.float64 in (dtype, param_dtype) and not jax.config.read("jax_enable_x64"):
            raise InputError('dtype float64 needs jax.config.update("jax_enable_x64", True) first.')
        return cls(config, rngs or nnx.Rngs(0), dtype, param_dtype)

    @property
    def dtypes(self) -> dict[str, Any]:
        """Computation and parameter dtype, as NNX layers take them."""
        return {"dtype": self.dtype, "param_dtype": self.param_dtype}

    def dense(self, in_size: int, out_size: int) -> nnx.Linear:
        """Make a dense layer."""
        initial = normal(self.config.initializer_range)
        return nnx.Linear(in_size, out_size, kernel_init=initial, rngs=self.rngs, **self.dtypes)

    def embedding(self, rows: int, size: int, pad_row: int | None = None) -> Embedding:
        """Make an embedding table."""
        initial = partial(initial_embedding, std=self.config.initializer_range, pad_row=pad_row)
        return Embedding(rows, size, embedding_init=initial, rngs=self.rngs, **self.dtypes)

    def layer_norm(self, size: int) -> nnx.LayerNorm:
        """Make a LayerNorm with two-pass variance."""
        return nnx.LayerNorm(size, epsilon=NORM_EPSILON, use_fast_variance=False, rngs=self.rngs, **self.dtypes)

    def stored_rngs(self) -> nnx.Rngs:
        """Return generators for a model to keep, apart from the caller's."""
        return nnx.Rngs(params=self.rngs.params(), dropout=self.rngs.dropout())


def initial_embedding(key: Array, shape: tuple[int, ...], dtype: Any, *, std: float, pad_row: int | None) -> Array:
    """Draw a table [rows, size] from N(0, std); the padding row is zero."""
    table = normal(std)(key, shape, dtype)
    return table if pad_row is None else table.at[pad_row].set(0)
