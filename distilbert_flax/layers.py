"""The layers of a model: activations, layers, and the factory that makes them with one dtype and one initialisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.nn.initializers import normal
from jax.typing import ArrayLike

from distilbert_core.errors import InputError
from distilbert_core.model.config import ACTIVATIONS, LAPLACE, NORM_EPSILON, DistilBertConfig
from distilbert_flax.tensors import at_least_float32

Made = TypeVar("Made")


ACTIVATION_FUNCTIONS: Mapping[str, Callable[[Array], Array]] = {
    "gelu": partial(jax.nn.gelu, approximate=False),
    "gelu_new": partial(jax.nn.gelu, approximate=True),
    "gelu_10": lambda x: jnp.clip(jax.nn.gelu(x, approximate=False), -10, 10),
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "laplace": lambda x: 0.5 * (1 + jax.lax.erf((x - LAPLACE[0]) / (LAPLACE[1] * math.sqrt(2)))),
    "leaky_relu": jax.nn.leaky_relu,
    "linear": lambda x: x,
    "mish": jax.nn.mish,
    "relu": jax.nn.relu,
    "relu2": lambda x: jnp.square(jax.nn.relu(x)),
    "relu6": jax.nn.relu6,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "tanh": jnp.tanh,
}


def activation_function(config: DistilBertConfig) -> Callable[[Array], Array]:
    """Return the function that `config.activation` names or is."""
    if callable(config.activation):
        return config.activation
    return ACTIVATION_FUNCTIONS[ACTIVATIONS[config.activation]]


class FixedTable(nnx.Variable):
    """A table that is stored and used but not trained, because it is not an `nnx.Param`."""


class Embedding(nnx.Embed):
    """A table of rows; an id outside it gives a row of NaN."""

    def __call__(self, inputs: ArrayLike | None) -> Array:
        """Ids [...] -> rows [..., D]."""
        rows = known_value(self.embedding).at[inputs].get(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
        return rows.astype(self.dtype)


@dataclass(frozen=True)
class LayerFactory:
    """Makes the layers of a model, all with the same dtypes, initial values and epsilon.

    Attributes:
        config: Gives the standard deviation of initial matrices.
        rngs: Generators of the initial values.
        dtype: Dtype of the computation.
        param_dtype: Dtype of the parameters.
        initialize: False for layers that have shapes in place of values.
    """

    config: DistilBertConfig
    rngs: nnx.Rngs
    dtype: Any
    param_dtype: Any
    initialize: bool

    @classmethod
    def from_config(
        cls,
        config: DistilBertConfig,
        rngs: nnx.Rngs | Array | int | None = None,
        seed: int | None = None,
        dtype: Any = None,
        param_dtype: Any = None,
        initialize: bool = True,
    ) -> LayerFactory:
        """Return the factory for the arguments of a model's constructor."""
        if rngs is not None and seed is not None:
            raise InputError("Give rngs or seed, not both: seed=0 is rngs=nnx.Rngs(0).")
        param_dtype = jnp.dtype(param_dtype or at_least_float32(dtype or jnp.float32))
        dtype = jnp.dtype(dtype or param_dtype)
        if jnp.float64 in (dtype, param_dtype) and not jax.config.read("jax_enable_x64"):
            raise InputError('dtype float64 needs jax.config.update("jax_enable_x64", True) first.')
        return cls(config, initial_rngs(rngs if seed is None else seed), dtype, param_dtype, initialize)

    @property
    def dtypes(self) -> dict[str, Any]:
        """The dtypes, as arguments of NNX layers."""
        return {"dtype": self.dtype, "param_dtype": self.param_dtype}

    def dense(self, in_size: int, out_size: int) -> nnx.Linear:
        """Make a dense layer."""
        initial = normal(self.config.initializer_range)
        return self._make(lambda rngs: nnx.Linear(in_size, out_size, kernel_init=initial, rngs=rngs, **self.dtypes))

    def embedding(self, rows: int, size: int, pad_row: int | None = None) -> Embedding:
        """Make an embedding table."""
        initial = partial(initial_embedding, std=self.config.initializer_range, pad_row=pad_row)
        return self._make(lambda rngs: Embedding(rows, size, embedding_init=initial, rngs=rngs, **self.dtypes))

    def layer_norm(self, size: int) -> nnx.LayerNorm:
        """Make a LayerNorm with two-pass variance."""
        options = {"epsilon": NORM_EPSILON, "use_fast_variance": False, **self.dtypes}
        return self._make(lambda rngs: nnx.LayerNorm(size, rngs=rngs, **options))

    def bias(self, size: int) -> nnx.Param:
        """Make a bias of zeros."""
        return self._make(lambda _: nnx.Param(jnp.zeros(size, self.param_dtype)))

    def _make(self, make: Callable[[nnx.Rngs], Made]) -> Made:
        if self.initialize:
            return make(self.rngs)
        layer: Made = nnx.eval_shape(lambda: make(nnx.Rngs(0)))
        return layer

    def stored_rngs(self) -> nnx.Rngs:
        """Return generators for a model to keep, independent of the caller's."""
        dropout = self.rngs.dropout if has_stream(self.rngs, "dropout") else self.rngs.params
        return nnx.Rngs(params=self.rngs.params(), dropout=dropout())


def has_stream(rngs: nnx.Rngs, name: str) -> bool:
    """Return whether generators have a stream of this name, or a default stream."""
    return name in rngs or "default" in rngs


def initial_rngs(rngs: nnx.Rngs | Array | int | None) -> nnx.Rngs:
    """Return generators for a constructor; a key or a seed stands for all of them, None for `nnx.Rngs(0)`.

    Raises:
        InputError: The generators have no stream for parameters.
    """
    found = rngs if isinstance(rngs, nnx.Rngs) else nnx.Rngs(0 if rngs is None else rngs)
    if not has_stream(found, "params"):
        raise InputError(
            f"rngs must have a stream 'params' or a default, such as nnx.Rngs(0); it has {', '.join(found) or 'none'}."
        )
    return found


def dropout_rngs(rngs: nnx.Rngs | nnx.RngStream | Mapping[str, Any] | Array | int) -> nnx.Rngs:
    """Return generators for the dropout of a call, from the arguments that NNX users and Linen users give.

    Raises:
        InputError: The generators have no stream for dropout.
    """
    if isinstance(rngs, nnx.RngStream):
        rngs = rngs()
    if isinstance(rngs, Mapping):
        rngs = nnx.Rngs(**rngs)
    if not isinstance(rngs, nnx.Rngs):  # a key for all layers would drop the same positions in each
        return nnx.Rngs(dropout=rngs)
    if not has_stream(rngs, "dropout"):
        raise InputError(
            f"rngs must have a stream 'dropout' or a default, such as nnx.Rngs(dropout=0); it has {', '.join(rngs)}."
        )
    return rngs


def known_value(variable: nnx.Variable) -> Array:
    """Return the array in a variable, or raise InputError if it has only a shape."""
    value: Any = variable.get_value()
    if isinstance(value, jax.ShapeDtypeStruct):
        raise InputError(
            "This model has no values (_do_init=False): give params to the call, as model.init_weights(key) or "
            "from_pretrained returned them, or set model.params."
        )
    return value


def initial_embedding(key: Array, shape: tuple[int, ...], dtype: Any, *, std: float, pad_row: int | None) -> Array:
    """Draw a table [rows, size] from N(0, std); the padding row is zero."""
    table = normal(std)(key, shape, dtype)
    return table if pad_row is None else table.at[pad_row].set(0)


class VocabProjector(nnx.Module):
    """Logits of all tokens of the vocabulary: a bias, and a kernel only if it is not tied to the word embeddings."""

    def __init__(self, config: DistilBertConfig, layers: LayerFactory):
        self.dtype = layers.dtype
        if not config.tie_word_embeddings:
            self.kernel = layers.dense(config.dim, config.vocab_size).kernel  # [D, V]
        self.bias = layers.bias(config.vocab_size)

    def __call__(self, x: Array, word_embeddings: Array) -> Array:
        """[B, T, D] and the table [V, D] -> [B, T, V]."""
        kernel = self.kernel[...] if hasattr(self, "kernel") else word_embeddings.T
        bias = self.bias[...].reshape(*[1] * (x.ndim - 1), -1)  # as many axes as x: JAX can be configured to require it
        return x @ kernel.astype(self.dtype) + bias.astype(self.dtype)
