"""The functions that the core uses; `distilbert_core.files.conversion` describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from weight_conversion.converting import save_native
from weight_conversion.matching import canonical_arrays
from weight_conversion.reading import open_checkpoint, open_tokenizer

__all__ = ["canonical_arrays", "open_checkpoint", "open_tokenizer", "save_native"]

if TYPE_CHECKING:  # compares the functions with the protocol
    from distilbert_core.files.conversion import Conversion
    from weight_conversion import entry

    CONVERSION: Conversion = entry
