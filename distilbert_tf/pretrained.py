"""How Keras models are made from arrays and give them out: what `PretrainedModel` needs, and the usual accessors."""

from __future__ import annotations

import copy
import functools
import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from distilbert_core.compatibility import SAVING_ORDER, accept, renames
from distilbert_core.errors import InputError
from distilbert_core.model.backends import BACKENDS
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.parameters import BASE_MODEL, Kind, Parameter
from distilbert_core.model.pretrained import PretrainedModel
from distilbert_tf.arguments import as_inputs, as_tensor, dense, depth, refuse_texts
from distilbert_tf.compatibility import KERAS_2, TransformersMembers
from distilbert_tf.layers import Numerics, blank_variables

LAYOUT = BACKENDS["tf"].layout
EXPORTED_DTYPES = {"litert": tf.int32}  # of ids; int64 in other formats


def to_tensor(array: np.ndarray) -> tf.Tensor:
    """Return a TensorFlow tensor of a NumPy array."""
    return tf.convert_to_tensor(array)


def values_known(tensor: Any) -> bool:
    """Whether a tensor's values can be looked at: not in a tf.function or a functional model's graph."""
    return tf.executing_eagerly() and not isinstance(tensor, keras.KerasTensor)


def shape_of(tensor: Any) -> tuple[int | None, ...] | None:
    """Return the shape of a tensor, with None for sizes not known yet; None if there is no tensor.

    Raises:
        InputError: Not even the number of axes is known.
    """
    if isinstance(tensor, tf.Tensor) and tensor.shape.rank is None:
        raise InputError(
            "The number of axes of an input is not known: this graph was traced for inputs with different ones. Give "
            "input_ids [batch, tokens], for multiple choice [batch, choices, tokens]."
        )
    return None if tensor is None else tuple(tensor.shape)


# Keras' own bookkeeping in a layer or model.
KERAS_ATTRIBUTES = frozenset(vars(keras.Model(name="plain")))


def walk(part: Any, path: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Any]]:
    """Yield a layer and all layers and variables in it, each once, outer ones first, by the path of attributes to it.

    Example:
        >>> import keras
        >>> from distilbert_tf.pretrained import walk
        >>> layer = keras.layers.Dense(3)
        >>> layer.build((None, 2))
        >>> [path for path, _ in walk(layer, "top")]
        ['top', 'top.kernel', 'top.bias']
    """
    seen = set() if seen is None else seen
    if id(part) in seen:
        return
    inside: Mapping[str, Any] = {}
    match part:
        case keras.layers.Layer():
            own = {name: value for name, value in vars(part).items() if name not in KERAS_ATTRIBUTES}
            inside = {
                name if name.removeprefix("_") in own else name.removeprefix("_"): value
                for name, value in own.items()
                if not name.startswith("_self_")
            }
            if isinstance(part, keras.Model) and not isinstance(part, TFDistilBertPreTrainedModel):
                inside = {**inside, "layers": part.layers}  # of a functional model, which are no attributes of it
        case Mapping():
            inside = {str(name): value for name, value in part.items()}
        case list() | tuple():
            inside = {str(index): value for index, value in enumerate(part)}
        case keras.Variable():
            pass
        case _:
            return
    seen.add(id(part))
    if isinstance(part, keras.layers.Layer | keras.Variable):
        yield path, part
    for name, value in inside.items():
        yield from walk(value, f"{path}.{name}" if path else name, seen)


def _with_prepared_data(name: str) -> Callable[..., Any]:
    """Return one of Keras' methods, whose data go through `_prepare_data` of the model first."""
    method = getattr(keras.Model, name)
    signature = inspect.signature(method)

    @functools.wraps(method)
    def with_prepared_data(self: TFDistilBertPreTrainedModel, *args: Any, **kwargs: Any) -> Any:
        given = signature.bind(self, *args, **accept(kwargs, KERAS_2))
        self._prepare_data(given.arguments, has_labels="y" in signature.parameters)
        return method(*given.args, **given.kwargs)

    return with_prepared_data


class TFDistilBertPreTrainedModel(TransformersMembers, PretrainedModel, keras.Model):
    """Base of the six models; attribute paths are the canonical names, with Keras' own leaf names."""

    _options = frozenset({"name"})
    _framework = "keras"
    _adapter_advice = "Low-rank updates of enable_lora are added to their kernels."
    _more_dtypes = frozenset({"mixed_float16", "mixed_bfloat16"})

    def __init__(self, config: DistilBertConfig, dtype: Any = None, name: str | None = None):
        # No autocast here: labels that are numbers stay as they are. Each layer casts what it is given.
        keras.Model.__init__(self, name=name, dtype=Numerics.of(config, dtype).policy, autocast=False)
        config.validate()
        self.config = copy.deepcopy(config)
        # What Keras' summary and `tf.lite.TFLiteConverter.from_keras_model` take for the inputs.
        shapes = {name: tuple(spec.shape) for name, spec in self._open_signature().items()}
        self._build_shapes_dict = {"input_shape": shapes}

    input_dtype = "int32"  # of ids, where Keras makes inputs up from their shapes

    def get_build_config(self) -> None:
        """Return nothing: the layers are built when they are made."""

    fit = _with_prepared_data("fit")
    evaluate = _with_prepared_data("evaluate")
    predict = _with_prepared_data("predict")
    train_on_batch = _with_prepared_data("train_on_batch")
    test_on_batch = _with_prepared_data("test_on_batch")
    predict_on_batch = _with_prepared_data("predict_on_batch")

    def _prepare_data(self, given: dict[str, Any], has_labels: bool) -> None:
        """Replace lists and ragged tensors among the arguments of one of Keras' methods, which has `y` or has not."""
        given["x"] = as_inputs(given.get("x"), self.config.pad_token_id, self._depth)
        if given.get("y") is not None:
            given["y"] = as_tensor("y", given["y"])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model with its arguments, a dict of them, or a list of them in order.

        Lists of numbers become arrays. Ragged tensors are padded, and `attention_mask` is then made if it is not given.

        Raises:
            InputError: There are texts in place of ids.
            TypeError: An argument has another name than those of `call`.
        """
        if args:
            refuse_texts(args[0])
        if args and isinstance(args[0], Mapping) and self._takes_a_dict():
            return super().__call__(dense(args[0], self.config.pad_token_id), *args[1:], **kwargs)
        if args and isinstance(args[0], Mapping):
            args, kwargs = args[1:], {**args[0], **kwargs}
            args = (kwargs.pop("input_ids", None), *args)
        elif args and isinstance(args[0], list | tuple) and not 0 < (depth(args[0]) or 0) <= self._depth:
            args = (*args[0], *args[1:])
        self._refuse_unknown(kwargs)
        if any(isinstance(value, list | tuple | tf.RaggedTensor) for value in (*args, *kwargs.values())):
            args, kwargs = (), dense(self._named(*args) | kwargs, self.config.pad_token_id)
        if not args:
            args = (kwargs.pop("input_ids", None),)
        return super().__call__(*args, **kwargs)

    def _takes_a_dict(self) -> bool:
        """Whether `call`, of a user's class, has one argument for all inputs in place of `input_ids` and others."""
        return "input_ids" not in self._call_arguments() and not self._takes_any_name()

    def _takes_any_name(self) -> bool:
        parameters = inspect.signature(self.call).parameters.values()
        return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)

    def _refuse_unknown(self, names: Iterable[str]) -> None:
        """Raise TypeError if an argument, or a column of a data set, is none of those that `call` has."""
        parameters = self._call_arguments()
        unknown = [name for name in names if name not in parameters]
        if unknown and not self._takes_any_name():
            raise TypeError(
                f"{type(self).__name__} got an unexpected keyword argument {', '.join(map(repr, unknown))}: leave it "
                f"out of the inputs, or give it one of the names {', '.join(parameters)}."
            )

    @property
    def _depth(self) -> int:
        """Number of axes of `input_ids`."""
        return 3 if self.head is not None and self.head.has_choices else 2

    def _named(self, *args: Any) -> dict[str, Any]:
        """Return arguments of a call, given in order, by name."""
        return dict(zip(self._call_arguments(), args, strict=False))

    def _call_arguments(self) -> list[str]:
        return list(inspect.signature(self.call).parameters)

    def _open_signature(self, dtype: tf.DType = tf.int64) -> dict[str, tf.TensorSpec]:
        """Return the inputs of an exported graph, of any size: those two that `call` has."""
        names = [name for name in ("input_ids", "attention_mask") if name in self._call_arguments()]
        return {name: tf.TensorSpec([None] * self._depth, dtype, name=name) for name in names}

    def export(
        self,
        filepath: Any,
        format: str = "tf_saved_model",
        verbose: Any = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """Export for inference, as `keras.Model.export` does; the other arguments are those of Keras.

        Args:
            filepath: Where to write.
            format: 'tf_saved_model', 'litert' (the path ends in .tflite) or 'onnx' (which needs tf2onnx).
            verbose: See Keras.
            input_signature: If left out, the graph takes a dict of `input_ids` and `attention_mask` with any batch,
                length and number of choices: int64 as the tokenizer returns them, int32 for LiteRT. The model need not
                have been called before.
            **kwargs: See Keras.

        Example:
            >>> import tempfile
            >>> import tensorflow as tf
            >>> from distilbert_tf import DistilBertConfig, TFDistilBertModel
            >>> folder = tempfile.mkdtemp()
            >>> model = TFDistilBertModel(DistilBertConfig(n_layers=1, dim=24, n_heads=4, hidden_dim=48))
            >>> model.export(folder, verbose=False)
            >>> ids = tf.constant([[101, 7592, 102]], tf.int64)
            >>> exported = tf.saved_model.load(folder)
            >>> exported.serve({"input_ids": ids, "attention_mask": tf.ones_like(ids)})["last_hidden_state"].shape
            TensorShape([1, 3, 24])
        """
        if input_signature is None:
            input_signature = [self._open_signature(EXPORTED_DTYPES.get(format, tf.int64))]
        super().export(filepath, format=format, verbose=verbose, input_signature=input_signature, **kwargs)

    def __dir__(self) -> list[str]:
        # Keras saves and loads what it finds in the attributes; the body of a body is itself, which has no end.
        bodies = {"base_model", BASE_MODEL} if self.head is Head.BASE else {"base_model"}
        return [name for name in super().__dir__() if name not in bodies]

    def load_weights(self, filepath: Any, **kwargs: Any) -> None:
        """Load a .weights.h5 file, as `keras.Model.load_weights` does; the arguments are the same.

        Layers of a class of your own that are built when they are first called are built first.
        """
        if self._is_derived() and not all(layer.built for layer in self._flatten_layers()):
            self(self.dummy_inputs, training=False)  # Keras would leave them as they are
        super().load_weights(filepath, **kwargs)

    @renames(SAVING_ORDER, save_directory="folder")
    def save_pretrained(
        self, folder: str | Path, *, saved_model: bool = False, version: int = 1, **kwargs: Any
    ) -> None:
        """Write config.json and model.safetensors, as the Hub has them and every backend reads them.

        Args:
            folder: Destination; made if it does not exist.
            saved_model: Also write a SavedModel, by `export`, to the folder saved_model/VERSION in it.
            version: Version of the exported model.
            **kwargs: Arguments of `PretrainedModel.save_pretrained`.

        Raises:
            InputError: `saved_model` and `push_to_hub` are given together, or an error of
                `PretrainedModel.save_pretrained`.
        """
        if saved_model and kwargs.get("push_to_hub"):
            raise InputError("saved_model is not uploaded: save it, and upload the folder: hf upload NAME FOLDER.")
        super().save_pretrained(folder, **kwargs)
        if saved_model and kwargs.get("is_main_process", True):
            self.export(Path(folder) / "saved_model" / str(version), verbose=False)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save to a .keras file, as Keras does; the arguments are those of `keras.Model.save`.

        Raises:
            InputError: A layer was replaced or added, so that the class would not make it again. A file that is there
                is left as it is.
        """
        config = self.get_config()  # Keras asks for it when it has opened the file
        if self._is_derived():
            self._check_made_again(config)
        super().save(*args, **kwargs)

    def _check_made_again(self, config: dict[str, Any]) -> None:
        """Raise InputError if what `from_config` makes has other layers or variables than this model."""
        try:
            with blank_variables():
                again = type(self).from_config(copy.deepcopy(config))
        except Exception as error:  # of the user's constructor
            raise InputError(
                f"A {type(self).__name__} cannot be made again from what its get_config returns "
                f"({type(error).__name__}: {error}). Its constructor must take config, dtype and name, or its "
                "get_config and from_config say otherwise."
            ) from error
        ours, theirs = (
            {path: (type(part).__name__, getattr(part, "shape", None)) for path, part in walk(model) if _holds(part)}
            for model in (self, again)
        )
        differing = sorted(path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path))
        if differing:
            raise InputError(
                f"A {type(self).__name__} made again from its get_config would differ in {', '.join(differing[:8])}. "
                "Make and build all layers in the constructor: layer.build(shape)."
            )

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` makes the same architecture from: what is frozen or quantized stays so.

        Raises:
            InputError: A layer was replaced or added. Only a class whose constructor makes it can be made again.
        """
        further = [parameter.name for parameter in self._stored_parameters() if parameter.kind is Kind.OTHER]
        if further and not self._is_derived():
            raise InputError(
                f"A {type(self).__name__} cannot be made again with what was added to it: {', '.join(further)}. Derive "
                "a class whose constructor makes it, and register it with keras.saving.register_keras_serializable."
            )
        return {
            "config": json.loads(self.config.to_json_string()),
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "frozen": [path for path, part in walk(self) if not part.trainable],
            "quantized": {path: _quantization(layer) for path, layer in walk(self) if _is_quantized(layer)},
            "policies": self._other_policies(),
        }

    def _other_policies(self) -> dict[str, Any]:
        """Return the dtype policies of layers whose policy is not the model's, by path."""
        return {
            path: keras.dtype_policies.serialize(layer.dtype_policy)
            for path, layer in walk(self)
            if isinstance(layer, keras.layers.Layer) and not _is_quantized(layer)
            if layer.dtype_policy != self.dtype_policy
        }

    @classmethod
    def from_config(cls, config: dict[str, Any] | DistilBertConfig, custom_objects: Any = None) -> Self:
        """Make a model with fresh parameters from what `get_config` returned, or from a configuration."""
        if isinstance(config, DistilBertConfig):
            return cls(config)
        config = {"frozen": (), "quantized": {}, "policies": {}, **config}  # an older version's files do not have these
        frozen, quantized, policies = (config.pop(name) for name in ("frozen", "quantized", "policies"))
        model = cls(
            **{
                **config,
                "config": DistilBertConfig.from_dict(config["config"]),
                "dtype": keras.dtype_policies.deserialize(config["dtype"]),
            }
        )
        parts = dict(walk(model))
        for path, policy in policies.items():
            parts[path].dtype_policy = keras.dtype_policies.deserialize(policy)
        for path, how in quantized.items():
            parts[path].quantize(how["mode"], config=keras.saving.deserialize_keras_object(how["config"]))
        for path, part in walk(model):  # a layer passes its own state on to what is in it, which comes after it
            if path in frozen or isinstance(part, keras.layers.Layer):
                part.trainable = path not in frozen
        return model

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
            InputError: `rank` is not a positive integer, or there are updates already.

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
            raise InputError("enable_lora was called before, which can be done once: load the model again.")
        for variable in self.base_model.trainable_variables:
            variable.trainable = False
        for layer in layers:
            layer.enable_lora(rank, lora_alpha=alpha)

    @classmethod
    def _blank(cls, config: DistilBertConfig, dtype: str | None, device: Any, **options: Any) -> Self:
        if dtype is not None:
            options["dtype"] = dtype
        with tf.device(device), blank_variables():
            return cls(config, **options)

    def _variables(self) -> dict[str, Any]:
        variables = {path: part for path, part in walk(self) if isinstance(part, keras.Variable)}
        for path, layer in walk(self):
            if getattr(layer, "lora_enabled", False) or _is_quantized(layer):  # several variables make one matrix
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
        """Return the layer that has a parameter."""
        if parameter.kind is Kind.OTHER:
            return dict(walk(self)).get(parameter.name.rpartition(".")[0], self)
        return LAYOUT.find(self, parameter)[0]

    def _get_array(self, parameter: Parameter) -> np.ndarray:
        layer = self._layer_of(parameter)
        if _is_quantized(layer):
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
                layer.finalize_state()  # what it computes with follows from its variables
            return
        layer, leaf = LAYOUT.find(self, parameter)
        array = np.ascontiguousarray(LAYOUT.convert(parameter, array))
        if getattr(layer, leaf).shape != array.shape:
            with self.distribute_strategy.scope():
                _give_shape(layer, leaf, array.shape)
        getattr(layer, leaf).assign(array)  # a variable stays on the device that it was made on

    def _reshaped_parameters(self, config: DistilBertConfig) -> list[tuple[Parameter, Parameter]]:
        reshaped = super()._reshaped_parameters(config)
        for layer in (self._layer_of(old) for old, _ in reshaped):
            if getattr(layer, "lora_enabled", False):
                raise InputError(f"{layer.name} has low-rank updates: resize or prune before enable_lora.")
        return reshaped

    def _draw_normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.array(keras.random.normal(shape, dtype="float32"))


def _give_shape(layer: keras.layers.Layer, leaf: str, shape: tuple[int, ...]) -> None:
    """Replace a layer's variable by one of another shape. Keras has no public way: its own quantizers do this."""
    old = getattr(layer, leaf)
    attribute = f"_{leaf}" if hasattr(layer, f"_{leaf}") else leaf
    can_be_trained = any(variable is old for variable in layer._trainable_variables)
    layer._untrack_variable(old)
    layer._tracker.unlock()
    new = layer.add_weight(shape=shape, initializer="zeros", name=leaf, trainable=can_be_trained)
    setattr(layer, attribute, new)
    layer._tracker.lock()
    new.trainable = old.trainable  # what was frozen stays so, and can be thawed
    if isinstance(layer, keras.layers.Dense) and leaf == "kernel":
        layer.units = shape[1]
        layer.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: shape[0]})
    elif isinstance(layer, keras.layers.Embedding):
        layer.input_dim = shape[0]


def _holds(part: Any) -> bool:
    """Whether this is a variable, or a layer with some."""
    return isinstance(part, keras.Variable) or bool(part.weights)


def _is_quantized(part: Any) -> bool:
    """Whether a layer computes with integers, or other narrow numbers, and scales."""
    return isinstance(part, keras.layers.Layer) and part.quantization_mode is not None


def _quantization(layer: keras.layers.Layer) -> dict[str, Any]:
    """Return what `quantize` of an equal layer takes, as JSON has it."""
    return {
        "mode": layer.quantization_mode,
        "config": keras.saving.serialize_keras_object(getattr(layer, "quantization_config", None)),
    }
