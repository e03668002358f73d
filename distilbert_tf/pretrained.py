"""The base of the Keras models: the hooks of `PretrainedModel`, and the usual accessors."""

from __future__ import annotations

import copy
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from distilbert_core.errors import InputError
from distilbert_core.model.backends import BACKENDS
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.parameters import Kind, Parameter
from distilbert_tf.calling import KerasCalls
from distilbert_tf.compatibility import TransformersMembers
from distilbert_tf.keras_private import BuiltOnOneReplica, replace_variable
from distilbert_tf.layers import LayerFactory, blank_variables
from distilbert_tf.saving import KerasFiles, is_quantized
from distilbert_tf.trees import walk

LAYOUT = BACKENDS["tf"].layout


class TFDistilBertPreTrainedModel(TransformersMembers, KerasCalls, KerasFiles, BuiltOnOneReplica):
    """Base of the six models; paths of attributes are the canonical names, with Keras' names for the last part."""

    _options = frozenset({"name"})
    _framework = "keras"
    _adapter_advice = "Low-rank updates of enable_lora are added to their kernels."
    _more_dtypes = frozenset({"mixed_float16", "mixed_bfloat16"})

    def __init__(self, config: DistilBertConfig, dtype: Any = None, name: str | None = None):
        # No autocast: it would cast labels that are numbers. Each layer casts its inputs.
        keras.Model.__init__(self, name=name, dtype=LayerFactory.from_config(config, dtype).policy, autocast=False)
        self.config = copy.deepcopy(config)
        # Keras' summary and `tf.lite.TFLiteConverter.from_keras_model` read the shapes of the inputs here.
        shapes = {name: tuple(spec.shape) for name, spec in self._open_signature().items()}
        self._build_shapes_dict = {"input_shape": shapes}

    input_dtype = "int32"  # of the ids that Keras makes from shapes

    def get_build_config(self) -> None:
        """Return nothing: layers are built in the constructor."""

    def num_parameters(self, only_trainable: bool = False) -> int:
        """Return the number of parameters."""
        weights = self.trainable_weights if only_trainable else self.weights
        return sum(int(np.prod(weight.shape)) for weight in weights)

    def enable_lora(self, rank: int, alpha: float | None = None) -> None:
        """Train low-rank updates of the attention and feed-forward kernels in place of the base model.

        A head is trained as before. `save_pretrained` and Keras' own files hold the kernels with their updates added.
        Compile afterwards.

        Args:
            rank: Rank of the updates.
            alpha: An update counts `alpha / rank` times; `rank` if left out.

        Raises:
            InputError: `rank` is not a positive integer, or the model has updates already.

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
            raise InputError("enable_lora can be called once, and was called before: load the model again.")
        for variable in self.base_model.trainable_variables:
            variable.trainable = False
        for layer in layers:
            layer.enable_lora(rank, lora_alpha=alpha)

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether the backward pass computes blocks again to save memory."""
        return bool(self.base_model.transformer.gradient_checkpointing)

    def gradient_checkpointing_enable(self) -> None:
        """Keep only the input of each block for the backward pass, which computes the rest again.

        Losses and gradients stay the same, also with dropout. It has an effect in training mode only. Call it before
        `compile`, and before a `tf.function` is traced.
        """
        self.base_model.transformer.gradient_checkpointing = True

    def gradient_checkpointing_disable(self) -> None:
        """Undo `gradient_checkpointing_enable`."""
        self.base_model.transformer.gradient_checkpointing = False

    def _finish_init(self) -> None:
        self.built = True  # the constructor has built all layers

    @classmethod
    def _blank(cls, config: DistilBertConfig, dtype: str | None, device: Any, **options: Any) -> Self:
        if dtype is not None:
            options["dtype"] = dtype
        with tf.device(device), blank_variables():
            return cls(config, **options)

    def _variables(self) -> dict[str, Any]:
        variables = {path: part for path, part in walk(self) if isinstance(part, keras.Variable)}
        for path, layer in walk(self):
            if getattr(layer, "lora_enabled", False) or is_quantized(layer):  # several variables make one matrix
                variables = {name: value for name, value in variables.items() if name.rpartition(".")[0] != path}
                leaves = [leaf for leaf in LAYOUT.leaf.values() if hasattr(layer, leaf)]
                variables |= {f"{path}.{leaf}": getattr(layer, leaf) for leaf in leaves}
        return variables

    def _is_plain(self, layer: Any) -> bool:
        activated = isinstance(layer, keras.layers.Dense) and layer.activation is not keras.activations.linear
        return super()._is_plain(layer) and not activated

    def _place(self, parameter: Parameter) -> tuple[str, tuple[int, ...]]:
        return LAYOUT.place(parameter)

    def _layer_of(self, parameter: Parameter) -> Any:
        """Return the layer of a parameter."""
        if parameter.kind is Kind.OTHER:
            return dict(walk(self)).get(parameter.name.rpartition(".")[0], self)
        return LAYOUT.find(self, parameter)[0]

    def _get_array(self, parameter: Parameter) -> np.ndarray:
        layer = self._layer_of(parameter)
        if is_quantized(layer):
            raise InputError(
                f"{parameter.name} is quantized to {layer.quantization_mode}, and cannot be resized, nor written to a "
                "checkpoint, which holds floating numbers. Do that before quantize. Save the quantized model as .keras."
            )
        if parameter.kind is Kind.OTHER:
            return ops.convert_to_numpy(self._variables()[parameter.name])
        return LAYOUT.convert(parameter, ops.convert_to_numpy(getattr(layer, LAYOUT.leaf[parameter.kind])))

    def _set_array(self, parameter: Parameter, array: np.ndarray, device: Any = None) -> None:
        if parameter.kind is Kind.OTHER:
            self._variables()[parameter.name].assign(array)
            layer = self._layer_of(parameter)
            if isinstance(layer, keras.layers.Normalization):
                layer.finalize_state()  # it computes with values derived from its variables
            return
        layer, leaf = LAYOUT.find(self, parameter)
        array = np.ascontiguousarray(LAYOUT.convert(parameter, array))
        if getattr(layer, leaf).shape != array.shape:
            with self.distribute_strategy.scope():
                replace_variable(layer, leaf, array.shape)
        getattr(layer, leaf).assign(array)  # on the device of the variable

    def _reshaped_parameters(self, config: DistilBertConfig) -> list[tuple[Parameter, Parameter]]:
        reshaped = super()._reshaped_parameters(config)
        for layer in (self._layer_of(old) for old, _ in reshaped):
            if getattr(layer, "lora_enabled", False):
                raise InputError(f"{layer.name} has low-rank updates: resize or prune before enable_lora.")
        return reshaped

    def _draw_normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.array(keras.random.normal(shape, dtype="float32"))
