"""The hooks of a model: how a framework makes a model from arrays, and how it reads and writes a parameter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Self

import numpy as np

from distilbert_core.errors import InputError, listed
from distilbert_core.model.backends import BACKENDS
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head, parameter_table
from distilbert_core.model.parameters import BASE_MODEL, Kind, Parameter, initial_values

_PACKAGES = frozenset(registration.package for registration in BACKENDS.values())


class ModelHooks:
    """The hooks of a model: loading, saving and resizing call them.

    The base class of a backend's models sets the class attributes and defines the methods that raise
    NotImplementedError.
    """

    base_model_prefix: ClassVar[str] = BASE_MODEL
    head: ClassVar[Head | None] = None  # None: a user's own class, with a base model in the attribute BASE_MODEL
    config: DistilBertConfig
    _inside: Head | None = None  # the head of the model that this one is the base of

    _reader: ClassVar[str] = "np"  # framework of the arrays that a checkpoint gives to `_set_array`
    _options: ClassVar[frozenset[str]] = frozenset()  # keywords of `from_pretrained` for the constructor
    _more_dtypes: ClassVar[frozenset[str]] = frozenset()  # names of dtypes that only this framework has
    _framework: ClassVar[str]  # the package of the framework's layers
    _adapter_advice: ClassVar[str]  # a sentence: how to merge adapters into the layers that they wrap

    @classmethod
    def _blank(cls, config: DistilBertConfig, dtype: str | None, device: Any, **options: Any) -> Self:
        """Make a model for inference whose parameters will be set, without computing initial values if possible.

        A class that a user derived is constructed normally, because its layers may compute from initial values.

        Args:
            config: The architecture.
            dtype: Dtype of the parameters. None if the caller gave none: float32, or the default of the framework.
            device: Where to put the parameters.
            **options: Keywords named in `_options`.
        """
        raise NotImplementedError

    def _finish_init(self) -> None:
        """End the constructor of a model of this package."""
        raise NotImplementedError

    def _variables(self) -> dict[str, Any]:
        """Return everything that the model stores, each once, by its path of attributes. The values have a shape."""
        raise NotImplementedError

    def _place(self, parameter: Parameter) -> tuple[str, tuple[int, ...]]:
        """Return the path of attributes to a parameter of the table, and its shape in this framework."""
        raise NotImplementedError

    def _get_array(self, parameter: Parameter) -> np.ndarray:
        """Return a parameter in the layout of a checkpoint."""
        raise NotImplementedError

    def _set_array(self, parameter: Parameter, array: Any, device: Any = None) -> None:
        """Replace a parameter by an array in the layout of a checkpoint. Its shape may change."""
        raise NotImplementedError

    def _draw_normal(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return float32 numbers from the standard normal distribution, drawn by the framework's generator."""
        raise NotImplementedError

    def tie_weights(self) -> None:
        """Make tied parameters share one array again. Does nothing where they always do."""

    def _as_array(self, value: Any) -> np.ndarray:
        """Return an array of this framework or of NumPy as a NumPy array."""
        return np.asarray(value)

    @classmethod
    def _named_device(cls, device: Any) -> Any:
        """Return a device that is named as in PyTorch ('cuda:1', 1, 'auto' for the fastest) for this framework."""
        if isinstance(device, int):
            return f"gpu:{device}"
        if device == "auto":
            return None  # Keras and JAX use an accelerator if there is one
        return device.replace("cuda", "gpu") if isinstance(device, str) else device

    def _fresh_array(self, parameter: Parameter) -> np.ndarray:
        """Return initial values, float32, drawn by the framework's generator."""
        return initial_values(parameter, self.config, self._draw_normal).astype(np.float32)

    def _adopt(self, base: ModelHooks) -> None:
        """Make a model the base of this one. They share a configuration, so that resizing either changes both."""
        base.config = self.config
        base._inside = self.head

    @property
    def base_model(self) -> Any:
        """The base model: `distilbert` inside a model with a head, else the model itself."""
        return getattr(self, BASE_MODEL, self)

    @property
    def parameter_table(self) -> tuple[Parameter, ...]:
        """Every parameter of this model: canonical name, shape and kind."""
        return parameter_table(self.config, self.head)

    @classmethod
    def _is_derived(cls) -> bool:
        """Return whether this is a user's own class, whose layers may differ from the table."""
        return cls.__module__.partition(".")[0] not in _PACKAGES

    def _is_plain(self, layer: Any) -> bool:
        """Return whether the class and the parameters of a layer determine what it computes."""
        return type(layer).__module__.partition(".")[0] in {*_PACKAGES, self._framework}

    def _foreign_layers(self, path: str) -> Iterator[str]:
        """Yield the layers on a path of attributes that neither this package nor the framework made, as text."""
        layer: Any = self
        for step in path.split(".")[:-1]:
            layer = layer[int(step)] if step.isdigit() else getattr(layer, step)
            if not self._is_plain(layer):
                yield f"a {type(layer).__name__} of {type(layer).__module__}, whose computation would be lost"

    def _stored_parameters(self) -> list[Parameter]:
        """Return the parameters in a checkpoint of this model: the table's, then others by their own names.

        Raises:
            InputError: The model has other layers than its class makes, so that it could not be loaded again.
        """
        variables = self._variables()
        stored, misfits, untied = [], [], []
        for parameter in self.parameter_table:
            path, shape = self._place(parameter)
            variable = variables.get(path)
            if variable is not None and parameter.tied_to is not None:
                untied.append(f"{parameter.name} is not {parameter.tied_to}, to which the configuration ties it")
            elif variable is not None and tuple(variable.shape) == shape:
                stored.append(parameter)
                del variables[path]
                misfits += [f"{path} is in {layer}" for layer in self._foreign_layers(path)]
            elif parameter.tied_to is None:
                actual = "is missing" if variable is None else f"has shape {tuple(variable.shape)}"
                misfits.append(f"{path} must have shape {shape}, it {actual}")
        misfits = untied + ([] if self._is_derived() else misfits)
        if misfits:
            raise InputError(
                f"This {type(self).__name__} could not be loaded again: {listed(misfits, '; ')}. If the number of "
                "labels or tokens has changed, set it in model.config (num_labels, vocab_size). If a layer was "
                f"replaced, derive a class whose constructor makes it. {self._adapter_advice}"
            )
        return stored + [Parameter(path, tuple(variable.shape), Kind.OTHER) for path, variable in variables.items()]
