"""The one place where the core finds a backend: by its name. A backend is imported when it is first used."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from distilbert_core.errors import BackendNotInstalledError
from distilbert_core.model.contract import Backend, Registration
from distilbert_core.model.heads import Head
from distilbert_core.model.layouts import FLAX, KERAS, TORCH
from distilbert_core.model.runtimes import RUNTIMES

BACKENDS = {
    registration.name: registration
    for registration in (
        Registration("pt", "PyTorch", "distilbert_pt", ("torch",), "DistilBert", TORCH),
        Registration("tf", "Keras 3 / TensorFlow", "distilbert_tf", ("tensorflow", "keras"), "TFDistilBert", KERAS),
        Registration("flax", "JAX / Flax NNX", "distilbert_flax", ("jax", "flax"), "FlaxDistilBert", FLAX),
    )
}

EXPORTED = tuple(RUNTIMES)  # runtimes of exported models
RUNNABLE = (*BACKENDS, *EXPORTED)


def available_backends() -> list[str]:
    """Return the names of the backends whose framework is installed."""
    return [name for name, registration in BACKENDS.items() if not registration.missing]


def default_backend() -> str:
    """Return the name of the first backend that is installed.

    Raises:
        BackendNotInstalledError: No framework is installed; the message gives the pip commands.
    """
    installed = available_backends()
    if not installed:
        commands = "; ".join(f"{row.title}: {row.install_command}" for row in BACKENDS.values())
        raise BackendNotInstalledError(f"No backend is installed. {commands}")
    return installed[0]


def load_backend(name: str) -> ModuleType:
    """Import a backend's package.

    Args:
        name: 'pt', 'tf' or 'flax'.

    Raises:
        BackendNotInstalledError: Its framework is not installed; the message gives the pip command.
        ValueError: The name is not one of `BACKENDS`.
    """
    if name not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {name!r}.")
    registration = BACKENDS[name]
    if registration.missing:
        raise BackendNotInstalledError(
            f"The {registration.title} backend needs {' and '.join(registration.missing)}; install it with "
            f"{registration.install_command}"
        )
    return importlib.import_module(registration.package)


def get_backend(name: str) -> Backend:
    """Import a backend's package and return its `BACKEND`; the errors are the same as of `load_backend`.

    Example:
        >>> from distilbert_core.model.backends import get_backend
        >>> backend = get_backend("pt")
        >>> backend.title, backend.runner.__name__
        ('PyTorch', 'BackendInference')
    """
    backend: Backend = load_backend(name).BACKEND
    return backend


def backend_class(name: str, head: Head) -> Any:
    """Return a backend's model class for a head; the errors are the same as of `load_backend`.

    Example:
        >>> from distilbert_core import Head
        >>> from distilbert_core.model.backends import backend_class
        >>> backend_class("pt", Head.MASKED_LM).__name__
        'DistilBertForMaskedLM'
    """
    return get_backend(name).model_class(head)
