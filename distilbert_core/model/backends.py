"""The one place where the core reaches a backend: by name, and not before it is asked for."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from distilbert_core.errors import BackendNotInstalledError
from distilbert_core.model.parameters import Head


@dataclass(frozen=True)
class Backend:
    """A backend: its short name, its title, its package, the modules it needs, and the prefix of its classes."""

    name: str
    title: str
    package: str
    requires: tuple[str, ...]
    class_prefix: str

    @property
    def install_command(self) -> str:
        """The command that installs this backend."""
        return f'pip install "distilbert[{self.name}]"'

    @property
    def missing(self) -> list[str]:
        """The modules it needs that are not installed."""
        return [module for module in self.requires if importlib.util.find_spec(module) is None]


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("pt", "PyTorch", "distilbert_pt", ("torch",), "DistilBert"),
        Backend("tf", "Keras 3 / TensorFlow", "distilbert_tf", ("tensorflow", "keras"), "TFDistilBert"),
        Backend("flax", "JAX / Flax NNX", "distilbert_flax", ("jax", "flax"), "FlaxDistilBert"),
    )
}

EXPORTED = ("onnx", "openvino")  # what runs an exported model: see `distilbert_core.model.exported`
RUNNABLE = (*BACKENDS, *EXPORTED)


def available_backends() -> list[str]:
    """Return the names of the backends whose framework is installed."""
    return [name for name, backend in BACKENDS.items() if not backend.missing]


def default_backend() -> str:
    """Return the name of the first backend that is installed.

    Raises:
        BackendNotInstalledError: There is none; the message gives the pip commands.
    """
    installed = available_backends()
    if not installed:
        commands = "; ".join(f"{backend.title}: {backend.install_command}" for backend in BACKENDS.values())
        raise BackendNotInstalledError(f"No backend is installed. {commands}")
    return installed[0]


def load_backend(name: str) -> ModuleType:
    """Import a backend's package.

    Args:
        name: 'pt', 'tf' or 'flax'.

    Raises:
        BackendNotInstalledError: Its framework is not installed; the message gives the pip command.
        ValueError: There is no such backend.
    """
    if name not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {name!r}.")
    backend = BACKENDS[name]
    if backend.missing:
        raise BackendNotInstalledError(
            f"The {backend.title} backend needs {' and '.join(backend.missing)}; install it with "
            f"{backend.install_command}"
        )
    return importlib.import_module(backend.package)


def backend_class(name: str, head: Head) -> Any:
    """Return a backend's model class for a head; see `load_backend` for the errors.

    Example:
        >>> from distilbert_core import Head
        >>> from distilbert_core.model.backends import backend_class
        >>> backend_class("pt", Head.MASKED_LM).__name__
        'DistilBertForMaskedLM'
    """
    return getattr(load_backend(name), BACKENDS[name].class_prefix + head.value)
