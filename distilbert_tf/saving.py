"""How a model is saved by Keras and TensorFlow: .keras files, .weights.h5 files, and exported graphs."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Self

import keras
import tensorflow as tf

from distilbert_core.compatibility import SAVING_ORDER, renames
from distilbert_core.errors import InputError
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head
from distilbert_core.model.parameters import BASE_MODEL, Kind
from distilbert_core.model.pretrained import PretrainedModel
from distilbert_tf.layers import blank_variables
from distilbert_tf.trees import walk

EXPORTED_DTYPES = {"litert": tf.int32}  # of ids; int64 in other formats


class KerasFiles(PretrainedModel, keras.Model):
    """Saving and loading by Keras' own methods."""

    def export(
        self,
        filepath: Any,
        format: str = "tf_saved_model",
        verbose: Any = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """Export for inference, as `keras.Model.export` does.

        Args:
            filepath: Where to write.
            format: 'tf_saved_model', 'litert' (the path ends in .tflite) or 'onnx' (which needs tf2onnx).
            verbose: Print the signature; the default of Keras if left out.
            input_signature: If left out, the graph takes a dict of `input_ids` and `attention_mask` with any batch,
                length and number of choices: int64 as the tokenizer returns them, int32 for LiteRT. The model need not
                have been called before.
            **kwargs: Other arguments of `keras.Model.export`.

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
        # Keras saves and loads all attributes. The base model of a base model is itself: an infinite recursion.
        hidden = {"base_model", BASE_MODEL} if self.head is Head.BASE else {"base_model"}
        return [name for name in super().__dir__() if name not in hidden]

    def load_weights(self, filepath: Any, **kwargs: Any) -> None:
        """Load a .weights.h5 file, as `keras.Model.load_weights` does.

        Layers of your own class that build themselves in their first call are built first.

        Args:
            filepath: The file.
            **kwargs: Other arguments of `keras.Model.load_weights`.
        """
        if self._is_derived() and not all(layer.built for layer in self._flatten_layers()):
            self(self.dummy_inputs, training=False)  # Keras would skip them
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
        """Save to a .keras file, as `keras.Model.save` does.

        Args:
            *args: Arguments of `keras.Model.save`.
            **kwargs: Keyword arguments of `keras.Model.save`.

        Raises:
            InputError: A layer was replaced or added, which the class does not make. An existing file is not changed.
        """
        config = self.get_config()  # before Keras opens the file
        if self._is_derived():
            self._check_made_again(config)
        super().save(*args, **kwargs)

    def _check_made_again(self, config: dict[str, Any]) -> None:
        """Raise InputError if the model that `from_config` makes has other layers or variables than this one."""
        try:
            with blank_variables():
                again = type(self).from_config(copy.deepcopy(config))
        except Exception as error:  # of the user's constructor
            raise InputError(
                f"from_config cannot make a {type(self).__name__} from the result of get_config "
                f"({type(error).__name__}: {error}). Its constructor must take config, dtype and name, or its "
                "get_config and from_config must be changed."
            ) from error
        ours, theirs = (
            {path: (type(part).__name__, getattr(part, "shape", None)) for path, part in walk(model) if _holds(part)}
            for model in (self, again)
        )
        differing = sorted(path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path))
        if differing:
            raise InputError(
                f"The {type(self).__name__} that from_config makes would differ in {', '.join(differing[:8])}. "
                "Make and build all layers in the constructor: layer.build(shape)."
            )

    def get_config(self) -> dict[str, Any]:
        """Return the architecture for `from_config`, with the frozen and the quantized layers.

        Raises:
            InputError: A layer was replaced or added, and the constructor of the class does not make it.
        """
        further = [parameter.name for parameter in self._stored_parameters() if parameter.kind is Kind.OTHER]
        if further and not self._is_derived():
            raise InputError(
                f"from_config cannot make a {type(self).__name__} with these additions: {', '.join(further)}. Derive "
                "a class whose constructor makes it, and register it with keras.saving.register_keras_serializable."
            )
        return {
            "config": json.loads(self.config.to_json_string()),
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
            "frozen": [path for path, part in walk(self) if not part.trainable],
            "quantized": {path: _quantization(layer) for path, layer in walk(self) if is_quantized(layer)},
            "policies": self._other_policies(),
        }

    def _other_policies(self) -> dict[str, Any]:
        """Return the dtype policies of layers whose policy is not the model's, by path."""
        return {
            path: keras.dtype_policies.serialize(layer.dtype_policy)
            for path, layer in walk(self)
            if isinstance(layer, keras.layers.Layer) and not is_quantized(layer)
            if layer.dtype_policy != self.dtype_policy
        }

    @classmethod
    def from_config(cls, config: dict[str, Any] | DistilBertConfig, custom_objects: Any = None) -> Self:
        """Make a model with fresh parameters from the result of `get_config`, or from a configuration."""
        if isinstance(config, DistilBertConfig):
            return cls(config)
        config = {"frozen": (), "quantized": {}, "policies": {}, **config}  # files of older versions lack these
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
        for path, part in walk(model):  # outer layers first: a layer sets the state of its inner layers
            if path in frozen or isinstance(part, keras.layers.Layer):
                part.trainable = path not in frozen
        return model


def _holds(part: Any) -> bool:
    """Return whether this is a variable, or a layer with variables."""
    return isinstance(part, keras.Variable) or bool(part.weights)


def is_quantized(part: Any) -> bool:
    """Return whether a layer computes with integers, or other narrow numbers, and scales."""
    return isinstance(part, keras.layers.Layer) and part.quantization_mode is not None


def _quantization(layer: keras.layers.Layer) -> dict[str, Any]:
    """Return the arguments of `quantize` for an equal layer, in types of JSON."""
    return {
        "mode": layer.quantization_mode,
        "config": keras.saving.serialize_keras_object(getattr(layer, "quantization_config", None)),
    }
