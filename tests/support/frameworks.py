"""One harness over the three backends: the same few operations, from NumPy to NumPy.

A backend that `--backends` names and that is not installed is an error, not a skip.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from distilbert_core import BACKENDS, DistilBertConfig, Head, Parameter, backend_class, parameter_table
from support.checkpoints import random_inputs, save_random, small_config

Arrays = dict[str, np.ndarray]


class Framework:
    """The operations of a backend that tests use."""

    name: ClassVar[str]

    @cached_property
    def package(self) -> Any:
        return importlib.import_module(BACKENDS[self.name].package)

    def module(self, name: str) -> Any:
        return importlib.import_module(f"{self.package.__name__}.{name}")

    def cls(self, head: Head) -> Any:
        return backend_class(self.name, head)

    def load(self, head: Head, folder: Path | str, **kwargs: Any) -> Any:
        return self.cls(head).from_pretrained(folder, **kwargs)

    def random_model(self, head: Head, folder: Path, dtype: str = "float64", **changes: Any) -> tuple[Any, Any]:
        """A model of a small random checkpoint, loaded from a folder, and inputs for it as tensors."""
        config = small_config(**changes)
        save_random(folder, config, head)
        return self.cls(head).from_pretrained(folder, dtype=dtype), self.tensors(random_inputs(config, head))

    def tensors(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Inputs in NumPy as the framework takes them."""
        return inputs

    def array(self, tensor: Any) -> np.ndarray:
        return np.asarray(tensor)

    def numbers(self, output: Any) -> tuple[np.ndarray, ...]:
        """Every tensor of an output as NumPy, in the order of names and indices."""
        if isinstance(output, Mapping | list | tuple):
            values = [output[name] for name in sorted(output)] if isinstance(output, Mapping) else output
            return tuple(array for value in values for array in self.numbers(value))
        return (self.array(output),)

    def parameters(self, model: Any) -> Arrays:
        """Every stored parameter in the layout of a checkpoint."""
        return {p.name: np.array(model._get_array(p)) for p in model.parameter_table if p.tied_to is None}

    # Each backend implements these.
    def new(self, head: Head, config: DistilBertConfig, seed: int = 0) -> Any:
        """A freshly initialised model."""
        raise NotImplementedError

    def call(self, model: Any, train: bool = False, **inputs: Any) -> Any:
        """The model's output as NumPy, in its own container."""
        raise NotImplementedError

    def gradients(self, model: Any, cotangent: np.ndarray | None = None, **inputs: Any) -> Arrays:
        """Gradients of the loss (or of the sum of last_hidden_state * cotangent) in the layout of a checkpoint.

        Parameters that are not trained are left out. Parameters without an effect on the loss have zeros.
        """
        raise NotImplementedError

    def sgd_step(self, model: Any, rate: float, **inputs: Any) -> None:
        """One step of plain gradient descent on all trainable parameters, without dropout."""
        raise NotImplementedError

    def seed(self, seed: int) -> None:
        """Seed the global generator of the framework, if it has one."""


class PyTorch(Framework):
    name = "pt"

    def seed(self, seed: int) -> None:
        import torch

        torch.manual_seed(seed)

    def new(self, head: Head, config: DistilBertConfig, seed: int = 0) -> Any:
        self.seed(seed)
        return self.cls(head)(config).eval()

    def tensors(self, inputs: dict[str, Any]) -> dict[str, Any]:
        from distilbert_pt import to_tensor

        return {k: to_tensor(v) if isinstance(v, np.ndarray) else v for k, v in inputs.items()}

    def array(self, tensor: Any) -> np.ndarray:
        from distilbert_pt.tensors import to_array

        return to_array(tensor)

    def call(self, model: Any, train: bool = False, **inputs: Any) -> Any:
        import torch

        model.train(train)
        with torch.no_grad():
            output = model(**self.tensors(inputs))
        model.eval()
        return map_arrays(self.array, output)

    def _loss(self, model: Any, cotangent: np.ndarray | None, inputs: dict[str, Any]) -> Any:
        output = model(**self.tensors(inputs))
        if cotangent is None:
            return output.loss
        return (output.last_hidden_state * self.tensors({"c": cotangent})["c"]).sum()

    def gradients(self, model: Any, cotangent: np.ndarray | None = None, **inputs: Any) -> Arrays:
        model.zero_grad()
        self._loss(model, cotangent, inputs).backward()
        return {
            name: np.zeros(tuple(p.shape)) if p.grad is None else np.array(self.array(p.grad))
            for name, p in model.named_parameters()
            if p.requires_grad
        }

    def sgd_step(self, model: Any, rate: float, **inputs: Any) -> None:
        import torch

        model.zero_grad()
        self._loss(model, None, inputs).backward()
        torch.optim.SGD((p for p in model.parameters() if p.requires_grad), rate).step()


class Keras(Framework):
    name = "tf"

    def seed(self, seed: int) -> None:
        import keras

        keras.utils.set_random_seed(seed)

    def new(self, head: Head, config: DistilBertConfig, seed: int = 0) -> Any:
        self.seed(seed)
        return self.cls(head)(config)

    def call(self, model: Any, train: bool = False, **inputs: Any) -> Any:
        return map_arrays(lambda x: x.numpy(), model(**inputs, training=train))

    def _taped(self, model: Any, cotangent: np.ndarray | None, inputs: dict[str, Any]) -> list[Any]:
        import tensorflow as tf

        variables = [variable.value for variable in model.trainable_variables]
        with tf.GradientTape() as tape:
            output = model(**inputs)
            loss = output.loss if cotangent is None else tf.reduce_sum(output.last_hidden_state * cotangent)
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        return [tf.convert_to_tensor(gradient) for gradient in gradients]

    def gradients(self, model: Any, cotangent: np.ndarray | None = None, **inputs: Any) -> Arrays:
        from distilbert_tf.pretrained import LAYOUT

        by_id = {
            id(variable): gradient.numpy()
            for variable, gradient in zip(model.trainable_variables, self._taped(model, cotangent, inputs), strict=True)
        }
        found = {}
        for parameter in _stored(model):
            layer, leaf = LAYOUT.find(model, parameter)
            gradient = by_id.get(id(getattr(layer, leaf)))
            if gradient is not None:
                found[parameter.name] = LAYOUT.convert(parameter, gradient)
        return found

    def sgd_step(self, model: Any, rate: float, **inputs: Any) -> None:
        for variable, gradient in zip(model.trainable_variables, self._taped(model, None, inputs), strict=True):
            variable.assign_sub(rate * gradient)


class Flax(Framework):
    name = "flax"

    def load(self, head: Head, folder: Path | str, **kwargs: Any) -> Any:
        """`dtype` is also the dtype of the parameters, as in the other backends."""
        if kwargs.get("dtype", "auto") != "auto":
            kwargs.setdefault("param_dtype", kwargs["dtype"])
        return super().load(head, folder, **kwargs)

    def new(self, head: Head, config: DistilBertConfig, seed: int = 0) -> Any:
        from flax import nnx

        return self.cls(head)(config, rngs=nnx.Rngs(seed))

    def call(self, model: Any, train: bool = False, **inputs: Any) -> Any:
        return map_arrays(np.asarray, model(**inputs, train=train))

    def gradient_state(self, model: Any, cotangent: np.ndarray | None, inputs: dict[str, Any]) -> Any:
        """Return the gradients as Flax does; it may be called under `nnx.jit`."""
        from flax import nnx

        def loss(model: Any) -> Any:
            output = model(**inputs)
            return output.loss if cotangent is None else (output.last_hidden_state * cotangent).sum()

        return nnx.grad(loss)(model)

    def gradients(self, model: Any, cotangent: np.ndarray | None = None, **inputs: Any) -> Arrays:
        from flax import nnx

        # One program is compiled faster than each of its operations.
        state = nnx.jit(lambda model: self.gradient_state(model, cotangent, inputs))(model)
        return self.as_gradients(model, state)

    def as_gradients(self, model: Any, gradients: Any) -> Arrays:
        """Return the result of `gradient_state` in the layout of a checkpoint."""
        from flax import nnx

        from distilbert_flax.pretrained import LAYOUT

        state = nnx.to_flat_state(gradients)
        by_path = {".".join(map(str, path)): np.asarray(variable[...]) for path, variable in state}
        found = {}
        for parameter in _stored(model):
            path, leaf = LAYOUT.path(parameter)
            gradient = by_path.get(".".join([*path, leaf]))
            if gradient is not None:
                found[parameter.name] = LAYOUT.convert(parameter, gradient)
        return found

    def sgd_step(self, model: Any, rate: float, **inputs: Any) -> None:
        import jax
        from flax import nnx

        gradients = self.gradient_state(model, None, inputs)
        parameters = nnx.state(model, nnx.Param)
        nnx.update(model, jax.tree.map(lambda p, g: p - rate * g, parameters, gradients))


FRAMEWORKS: dict[str, Framework] = {framework.name: framework for framework in (PyTorch(), Keras(), Flax())}


def _stored(model: Any) -> list[Parameter]:
    return [p for p in parameter_table(model.config, model.head) if p.tied_to is None]


def map_arrays(function: Any, output: Any) -> Any:
    """Apply a function to every tensor of an output, keeping its containers."""
    if isinstance(output, dict):
        return type(output)({name: map_arrays(function, value) for name, value in output.items()})
    if isinstance(output, tuple):
        return tuple(map_arrays(function, value) for value in output)
    return function(output)
