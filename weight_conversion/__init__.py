"""How names and arrays look outside: the layouts of the three frameworks (file formats join them here)."""

from weight_conversion.layouts import LAYOUTS, Layout

__all__ = ["LAYOUTS", "Layout"]
