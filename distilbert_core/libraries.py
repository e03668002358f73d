"""Libraries that only some calls need."""

from __future__ import annotations

import importlib
from types import ModuleType

from distilbert_core.errors import BackendNotInstalledError


def require_library(module: str, library: str, extra: str) -> ModuleType:
    """Import a module of a library that not everybody needs.

    Raises:
        BackendNotInstalledError: It is not installed; the message gives the pip command.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BackendNotInstalledError(
            f'This needs {library}, which is not installed: pip install "distilbert[{extra}]"'
        ) from error
