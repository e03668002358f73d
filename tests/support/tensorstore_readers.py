"""The readers of `support.readers`, after TensorStore was imported: no checkpoint asks for its memory and time."""

from __future__ import annotations

import tensorstore  # noqa: F401

from support.readers import convert_and_load

__all__ = ["convert_and_load"]
