"""How Keras models are made from arrays and give them out: what `PretrainedModel` needs, and the usual accessors."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from distilbert_core.config import NORM_EPSILON, DistilBertConfig
from distilbert_core.errors import InputError
from distilbert_core.parameters import Kind, Parameter, sinusoidal_table
from distilbert_core.pretrained import PretrainedModel
from distilbert_tf.attention import upcast
from weight_conversion import LAYOUTS

LAYOUT = LAYOUTS["keras"]

_BLANK = ContextVar("blank", default=False)


def to_tensor(array: np.ndarray) -> tf.Tensor:
    """Return a TensorFlow tensor of a NumPy array."""
    return tf.convert_to_tensor(array)


def values_known(tensor: Any) -> bool:
    """Whether a tensor's values can be looked at: not in a tf.function or a functional model's graph."""
    return tf.executing_eagerly() and not isinstance(tensor, keras.KerasTensor)


def shape_of(tensor: Any) -> tuple[int | None, ...] | None:
    """Return the shape of a tensor, with None for sizes not known yet; None if there is no tensor."""
    return None if tensor is None else tuple(tensor.shape)


@contextlib.contextmanager
def blank_variables() -> Iterator[None]:
    """Within this, layers are made with zeros: their values are about to be loaded."""
    token = _BLANK.set(True)
    try:
        yield
    finally:
        _BLANK.reset(token)


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
        """Quantize as Keras' own layer does, which leaves subclasses out unless told."""
        super().quantize(mode, type_check=False, **kwargs)


class DenseRows(Dense):
    """A dense layer of the rows of one matrix. TensorFlow makes product, bias and a gelu after it one operation.

    It would do so with relu too, and that operation makes 0 of what is no number: there, take `Dense`.
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


class FixedEmbedding(keras.layers.Embedding):
    """An embedding table that is stored and used but never trained, whatever `trainable` is set to."""

    def build(self, input_shape: Any = None) -> None:
        """Make the table."""
        self._embeddings = self.add_weight(
            shape=(self.input_dim, self.output_dim),
            initializer=self.embeddings_initializer,
            name="embeddings",
            trainable=False,
        )
        self.built = True


@dataclass(frozen=True)
class Numerics:
    """Makes the layers of a model, all with the same numbers: initial values, dtypes, epsilon."""

    policy: keras.DTypePolicy
    std: float

    @classmethod
    def of(cls, config: DistilBertConfig, dtype: Any) -> Numerics:
        """Settle what was left out: Keras' global policy."""
        return cls(keras.dtype_policies.get(dtype), config.initializer_range)

    def normal(self) -> Any:
        """The initial values of a matrix."""
        return "zeros" if _BLANK.get() else keras.initializers.RandomNormal(0.0, self.std)

    def dense(self, name: str, in_size: int, out_size: int, cls: type[Dense] = Dense) -> Dense:
        """Make a dense layer."""
        layer = cls(out_size, kernel_initializer=self.normal(), dtype=self.policy, name=name)
        layer.build((None, in_size))
        return layer

    def word_embeddings(self, config: DistilBertConfig) -> keras.layers.Embedding:
        """Make the word embeddings; the padding row is zero."""
        initial = "zeros" if _BLANK.get() else partial(initial_embedding, std=self.std, pad_row=config.pad_token_id)
        return self._embedding("word_embeddings", keras.layers.Embedding, config.vocab_size, config.dim, initial)

    def position_embeddings(self, config: DistilBertConfig) -> keras.layers.Embedding:
        """Make the position embeddings, learned or sinusoidal."""
        rows, size = config.max_position_embeddings, config.dim
        if config.sinusoidal_pos_embds:
            table = keras.initializers.Constant(sinusoidal_table(rows, size))
            return self._embedding("position_embeddings", FixedEmbedding, rows, size, table)
        return self._embedding("position_embeddings", keras.layers.Embedding, rows, size, self.normal())

    def _embedding(self, name: str, cls: type, rows: int, size: int, initial: Any) -> keras.layers.Embedding:
        layer = cls(rows, size, embeddings_initializer=initial, dtype=self.policy, name=name)
        layer.build()
        return layer

    def layer_norm(self, name: str, size: int) -> LayerNorm:
        """Make a LayerNorm."""
        layer = LayerNorm(epsilon=NORM_EPSILON, dtype=self.policy, name=name)
        layer.build((None, size))
        return layer

    def dropout(self, rate: float) -> keras.layers.Dropout:
        """Make a dropout layer."""
        return keras.layers.Dropout(rate, dtype=self.policy)


def initial_embedding(shape: tuple[int, ...], dtype: Any = None, *, std: float, pad_row: int | None) -> tf.Tensor:
    """Draw a table [rows, size] from N(0, std); the padding row is zero."""
    table = keras.random.normal(shape, 0.0, std, dtype=dtype)
    if pad_row is None:
        return table
    return ops.where(ops.arange(shape[0])[:, None] == pad_row, ops.zeros_like(table), table)


class TFDistilBertPreTrainedModel(PretrainedModel, keras.Model):
    """Base of the six models; attribute paths are the canonical names, with Keras' own leaf names."""

    _options = frozenset({"name"})
    _more_dtypes = frozenset({"mixed_float16", "mixed_bfloat16"})

    def __init__(self, config: DistilBertConfig, make: Numerics, name: str | None):
        # No autocast here: labels that are numbers stay as they are. Each layer casts what it is given.
        keras.Model.__init__(self, name=name, dtype=make.policy, autocast=False)
        config.validate()
        self.config = config

    def __call__(self, input_ids: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Call the model with its arguments, a dict of them, or a list of them in order."""
        if isinstance(input_ids, Mapping):
            kwargs = {**input_ids, **kwargs}
            input_ids = kwargs.pop("input_ids", None)
        elif isinstance(input_ids, list | tuple):
            return super().__call__(*input_ids, *args, **kwargs)
        return super().__call__(input_ids, *args, **kwargs)

    def __dir__(self) -> list[str]:
        # Keras saves and loads what it finds in the attributes; the body's `base_model` is itself, which has no end.
        return [name for name in super().__dir__() if name != "base_model"]

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` makes the same architecture from."""
        return {
            "config": json.loads(self.config.to_json_string()),
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """Make a model with fresh parameters from what `get_config` returned."""
        fields = {**config, "config": DistilBertConfig.from_dict(config["config"])}
        fields["dtype"] = keras.dtype_policies.deserialize(config["dtype"])
        return cls(**fields)

    def num_parameters(self, only_trainable: bool = False) -> int:
        """Return the number of parameters."""
        weights = self.trainable_weights if only_trainable else self.weights
        return sum(int(np.prod(weight.shape)) for weight in weights)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        # Before training on several devices Keras looks at a batch, the mean of the devices' ones: that makes fractions
        # of ids, and fails for a dict in several processes. One device's batch has the same shapes.
        strategy = self.distribute_strategy
        if iterator is not None and strategy.num_replicas_in_sync > 1:
            _, _, batches = next(iter(iterator))
            data_batch = keras.tree.map_structure(lambda v: strategy.experimental_local_results(v)[0], next(batches))
            iterator = None
        super()._maybe_symbolic_build(iterator=iterator, data_batch=data_batch)

    def enable_lora(self, rank: int, alpha: float | None = None) -> None:
        """Train low-rank updates of the attention and feed-forward kernels in place of the body; a head stays as it is.

        `save_pretrained` and Keras' own files hold the kernels with their updates added. Compile afterwards.

        Args:
            rank: Rank of the updates.
            alpha: An update counts `alpha / rank` times; `rank` if left out.

        Raises:
            InputError: `rank` is no positive integer, or updates are there already.

        Example:
            >>> from distilbert_tf import DistilBertConfig, TFDistilBertForSequenceClassification
            >>> config = DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48)
            >>> model = TFDistilBertForSequenceClassification(config)
            >>> model.enable_lora(rank=2)
            >>> model.base_model.num_parameters(only_trainable=True)  # 2 * (in + out) of six kernels
            672
        """
        if not isinstance(rank, int) or rank < 1:
            raise InputError(f"rank must be a positive integer, got {rank!r}.")
        kernels = [p for p in self.parameter_table if p.kind is Kind.KERNEL and ".transformer." in f".{p.name}"]
        layers = [LAYOUT.find(self, parameter)[0] for parameter in kernels]
        if any(layer.lora_enabled for layer in layers):
            raise InputError("enable_lora was called before, which can be done once: load the model anew.")
        for variable in self.base_model.trainable_variables:
            variable.trainable = False
        for layer in layers:
            layer.enable_lora(rank, lora_alpha=alpha)

    @classmethod
    def _blank(cls, config: DistilBertConfig, dtype: str | None, device: Any, **options: Any) -> Self:
        with tf.device(device), blank_variables():
            return cls(config, dtype=dtype, **options)  # type: ignore[call-arg]  # the six classes take them

    def _get_array(self, parameter: Parameter) -> np.ndarray:
        layer, leaf = LAYOUT.find(self, parameter)
        return LAYOUT.convert(parameter, ops.convert_to_numpy(getattr(layer, leaf)))

    def _set_array(self, parameter: Parameter, array: np.ndarray, device: Any = None) -> None:
        layer, leaf = LAYOUT.find(self, parameter)
        array = np.ascontiguousarray(LAYOUT.convert(parameter, array))
        if getattr(layer, leaf).shape != array.shape:
            _give_shape(layer, leaf, array.shape)
        getattr(layer, leaf).assign(array)  # a variable stays on the device that it was made on

    def _draw_normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.array(keras.random.normal(shape, dtype="float32"))


def _give_shape(layer: keras.layers.Layer, leaf: str, shape: tuple[int, ...]) -> None:
    """Replace a layer's variable by one of another shape. Keras has no public way: its own quantizers do this."""
    if getattr(layer, "lora_enabled", False):
        raise InputError(f"{layer.name} has low-rank updates: resize or prune before enable_lora.")
    old = getattr(layer, leaf)
    attribute = f"_{leaf}" if hasattr(layer, f"_{leaf}") else leaf
    layer._untrack_variable(old)
    layer._tracker.unlock()
    setattr(layer, attribute, layer.add_weight(shape=shape, initializer="zeros", name=leaf, trainable=old.trainable))
    layer._tracker.lock()
    if isinstance(layer, keras.layers.Dense) and leaf == "kernel":
        layer.units = shape[1]
        layer.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: shape[0]})
    elif isinstance(layer, keras.layers.Embedding):
        layer.input_dim = shape[0]
