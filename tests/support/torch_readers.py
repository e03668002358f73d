"""The readers of `support.readers`, after PyTorch was imported: no checkpoint asks for its memory and time."""

from __future__ import annotations

import torch  # noqa: F401

from support.readers import convert_and_load

__all__ = ["convert_and_load"]
