"""Other libraries: imports that only some calls need, and values of their types."""

from __future__ import annotations

import importlib
from types import ModuleType

from distilbert_core.errors import BackendNotInstalledError, DistilBertError

# Methods of arrays, columns, scalars and tensors of other libraries. They return Python's own values, or an array that
# has such a method.
TO_PYTHON = ("as_py", "tolist", "to_list", "to_pylist", "numpy")


def require_library(
    module: str,
    library: str,
    extra: str,
    needed_by: str = "This",
    error: type[DistilBertError] = BackendNotInstalledError,
) -> ModuleType:
    """Import a module of an optional library.

    Args:
        module: The module to import.
        library: Name of the library, for the message.
        extra: The extra of this project that installs the library.
        needed_by: Subject of the message, such as the name of a file.
        error: Type of the error if the library is not installed; its message gives the pip command.

    Raises:
        BackendNotInstalledError: The library is not installed, and no other `error` is given.
    """
    try:
        return importlib.import_module(module)
    except ImportError as cause:
        raise error(
            f'{needed_by} needs {library}, which is not installed: pip install "distilbert[{extra}]"'
        ) from cause
