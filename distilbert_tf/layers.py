"""The layers of a model: activations, layers, and the factory that makes them with one dtype and one initialisation.

A layer is built in the constructor of its model. Its variables are named after the open scopes (`keras.name_scope`), so
that each has its own path: 'distilbert/transformer/layer_0/attention/q_lin/kernel'.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from distilbert_core.model.config import ACTIVATIONS, LAPLACE, NORM_EPSILON, DistilBertConfig, validated
from distilbert_core.model.parameters import sinusoidal_table
from distilbert_tf.tensors import upcast

_BLANK = ContextVar("blank", default=False)


@contextlib.contextmanager
def blank_variables() -> Iterator[None]:
    """Context manager: make layers with zeros, because their values will be loaded."""
    token = _BLANK.set(True)
    try:
        yield
    finally:
        _BLANK.reset(token)


def gelu(x: tf.Tensor) -> tf.Tensor:
    """Compute the exact gelu. TensorFlow's own rounds its constants to float32 in every dtype (5e-9 off in float64)."""
    return 0.5 * x * (1 + ops.erf(x / math.sqrt(2)))


def gelu_new(x: tf.Tensor) -> tf.Tensor:
    """Compute the tanh approximation of gelu, with constants of the input's dtype."""
    return 0.5 * x * (1 + ops.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


ACTIVATION_FUNCTIONS: Mapping[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "gelu": gelu,
    "gelu_new": gelu_new,
    "gelu_10": lambda x: ops.clip(gelu(x), -10, 10),
    "quick_gelu": lambda x: x * ops.sigmoid(1.702 * x),
    "laplace": lambda x: 0.5 * (1 + ops.erf((x - LAPLACE[0]) / (LAPLACE[1] * math.sqrt(2)))),
    "leaky_relu": lambda x: ops.maximum(x, 0.01 * x),
    "linear": lambda x: x,
    "mish": lambda x: x * ops.tanh(ops.softplus(x)),
    "relu": ops.relu,
    "relu2": lambda x: ops.square(ops.relu(x)),
    "relu6": ops.relu6,
    "sigmoid": ops.sigmoid,
    "silu": ops.silu,
    "tanh": ops.tanh,
}


def activation_function(config: DistilBertConfig) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the function that `config.activation` names or is."""
    if callable(config.activation):
        return config.activation
    return ACTIVATION_FUNCTIONS[ACTIVATIONS[config.activation]]


class Dense(keras.layers.Dense):
    """A dense layer as one product of two matrices: TensorFlow multiplies a batch of matrices at half the speed."""

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """[..., in] -> [..., out]."""
        rows = self.multiply(tf.reshape(inputs, (-1, self.input_spec.axes[-1])))
        return tf.reshape(rows, (*ops.shape(inputs)[:-1], self.units))

    def multiply(self, rows: tf.Tensor) -> tf.Tensor:
        """[R, in] -> [R, out]."""
        kernel, bias = (tf.convert_to_tensor(ops.convert_to_tensor(x)) for x in (self.kernel, self.bias))
        return tf.nn.bias_add(tf.matmul(rows, kernel), bias)

    def quantize(self, mode: Any = None, type_check: bool = True, **kwargs: Any) -> None:
        """Quantize; Keras' own layer refuses subclasses unless `type_check` is False."""
        super().quantize(mode, type_check=False, **kwargs)


class DenseRows(Dense):
    """A dense layer for the rows of one matrix. TensorFlow fuses product, bias and a gelu after it into one operation.

    It would also fuse a relu, and the fused relu turns NaN into 0: use `Dense` before a relu.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """[R, in] -> [R, out]."""
        return self.multiply(inputs)


class LayerNorm(keras.layers.LayerNormalization):
    """LayerNorm with two-pass variance in at least float32."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """[..., D] -> [..., D]."""
        x = upcast(inputs)
        centred = x - ops.mean(x, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(centred), axis=-1, keepdims=True)
        gamma, beta = (ops.cast(variable, x.dtype) for variable in (self.gamma, self.beta))
        return ops.cast(centred * ops.rsqrt(variance + self.epsilon) * gamma + beta, self.compute_dtype)


class Embedding(keras.layers.Embedding):
    """A table of rows. TensorFlow raises on ids outside it, where Keras' own layer counts negative ones from the end.

    Args:
        *args: Arguments of Keras' layer.
        trained: False for a table that is stored and used but never trained, whatever `trainable` says.
        **kwargs: Arguments of Keras' layer.
    """

    def __init__(self, *args: Any, trained: bool = True, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.trained = trained

    def build(self, input_shape: Any = None) -> None:
        """Make the table."""
        self._embeddings = self.add_weight(
            shape=(self.input_dim, self.output_dim),
            initializer=self.embeddings_initializer,
            name="embeddings",
            trainable=self.trained,
        )
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Ids [...] -> rows [..., D]. Ids may be floating: Keras calls models with such ids while it loads them."""
        ids = inputs if inputs.dtype.is_integer else ops.cast(inputs, "int32")
        table = ops.convert_to_tensor(self.embeddings)  # a variable; the next line takes its value
        return ops.cast(_rows(tf.convert_to_tensor(table), ids), self.compute_dtype)

    def table(self) -> tf.Tensor:
        """Return all rows [V, D], also of a quantized table."""
        return self.embeddings if self.quantization_mode is None else self(ops.arange(self.input_dim))

    def quantize(self, mode: Any = None, type_check: bool = True, **kwargs: Any) -> None:
        """Quantize; Keras' own layer refuses subclasses unless `type_check` is False."""
        super().quantize(mode, type_check=False, **kwargs)


@tf.custom_gradient
def _rows(table: tf.Tensor, ids: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
    """Gather with a dense gradient: clipping by norm counts repeated rows of a sparse gradient wrongly."""

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
        return tf.math.unsorted_segment_sum(upstream, ids, tf.shape(table)[0]), None

    return tf.gather(table, ids), gradient


@dataclass(frozen=True)
class LayerFactory:
    """Makes the layers of a model, all with the same dtype policy, initial values and epsilon.

    Attributes:
        policy: Dtype policy of the layers.
        std: Standard deviation of initial matrices.
    """

    policy: keras.DTypePolicy
    std: float

    @classmethod
    def from_config(cls, config: DistilBertConfig, dtype: Any) -> LayerFactory:
        """Return the factory for a configuration, which it checks; without `dtype` with Keras' global policy."""
        return cls(keras.dtype_policies.get(dtype), validated(config).initializer_range)

    def normal(self) -> Any:
        """Return the initialiser of a matrix."""
        return "zeros" if _BLANK.get() else keras.initializers.RandomNormal(0.0, self.std)

    def dense(self, name: str, in_size: int, out_size: int, cls: type[Dense] = Dense) -> Dense:
        """Make a dense layer."""
        layer = cls(out_size, kernel_initializer=self.normal(), dtype=self.policy, name=name)
        layer.build((None, in_size))
        return layer

    def word_embeddings(self, config: DistilBertConfig) -> Embedding:
        """Make the word embeddings; the padding row is zero."""
        initial = "zeros" if _BLANK.get() else partial(initial_embedding, std=self.std, pad_row=config.pad_token_id)
        return self._embedding("word_embeddings", config.vocab_size, config.dim, initial)

    def position_embeddings(self, config: DistilBertConfig) -> Embedding:
        """Make the position embeddings, learned or sinusoidal."""
        rows, size = config.max_position_embeddings, config.dim
        if config.sinusoidal_pos_embds:
            table = keras.initializers.Constant(sinusoidal_table(rows, size))
            return self._embedding("position_embeddings", rows, size, table, trained=False)
        return self._embedding("position_embeddings", rows, size, self.normal())

    def _embedding(self, name: str, rows: int, size: int, initial: Any, trained: bool = True) -> Embedding:
        layer = Embedding(rows, size, trained=trained, embeddings_initializer=initial, dtype=self.policy, name=name)
        layer.build()
        return layer

    def layer_norm(self, name: str, size: int) -> LayerNorm:
        """Make a LayerNorm."""
        layer = LayerNorm(epsilon=NORM_EPSILON, dtype=self.policy, name=name)
        layer.build((None, size))
        return layer

    def dropout(self, rate: float) -> keras.layers.Dropout:
        """Make a dropout layer."""
        return keras.layers.Dropout(rate, dtype=self.policy, name="dropout")


def initial_embedding(shape: tuple[int, ...], dtype: Any = None, *, std: float, pad_row: int | None) -> tf.Tensor:
    """Draw a table [rows, size] from N(0, std); the padding row is zero."""
    table = keras.random.normal(shape, 0.0, std, dtype=dtype)
    if pad_row is None:
        return table
    return ops.where(ops.arange(shape[0])[:, None] == pad_row, ops.zeros_like(table), table)


class VocabProjector(keras.layers.Layer):
    """Logits of all tokens of the vocabulary: a bias, and a kernel only if it is not tied to the word embeddings."""

    def __init__(self, config: DistilBertConfig, layers: LayerFactory):
        super().__init__(name="vocab_projector", dtype=layers.policy)
        if not config.tie_word_embeddings:
            shape = (config.dim, config.vocab_size)
            self.kernel = self.add_weight(shape=shape, initializer=layers.normal(), name="kernel")
        self.bias = self.add_weight(shape=(config.vocab_size,), initializer="zeros", name="bias")
        self.built = True

    def call(self, x: tf.Tensor, word_embeddings: tf.Tensor) -> tf.Tensor:
        """[B, T, D] -> [B, T, V]. Without a kernel, the table of the word embeddings [V, D] is used."""
        kernel = getattr(self, "kernel", None)
        if kernel is None:
            kernel = ops.transpose(word_embeddings)
        return ops.matmul(x, ops.cast(kernel, x.dtype)) + ops.cast(self.bias, x.dtype)
