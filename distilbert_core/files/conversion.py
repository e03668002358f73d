"""The one place where the core reaches the conversion, a floor above: by name, and not before it is asked for."""

from __future__ import annotations

import importlib
from typing import Any

PACKAGE = "weight_conversion"


def open_checkpoint(*args: Any, **kwargs: Any) -> Any:
    """Open a checkpoint that is not safetensors with the Hub's names; see `weight_conversion.reading`."""
    return importlib.import_module(f"{PACKAGE}.reading").open_checkpoint(*args, **kwargs)


def canonical_arrays(*args: Any, **kwargs: Any) -> dict[str, Any]:
    """Give arrays the Hub's names; see `weight_conversion.reading`."""
    found: dict[str, Any] = importlib.import_module(f"{PACKAGE}.reading").canonical_arrays(*args, **kwargs)
    return found


def open_tokenizer(*args: Any, **kwargs: Any) -> Any:
    """Make the tokenizer that travels with a checkpoint of another format; see `weight_conversion.reading`."""
    return importlib.import_module(f"{PACKAGE}.reading").open_tokenizer(*args, **kwargs)


def save_native(*args: Any, **kwargs: Any) -> None:
    """Write a checkpoint in the format of one framework; see `weight_conversion.converting`."""
    importlib.import_module(f"{PACKAGE}.converting").save_native(*args, **kwargs)
