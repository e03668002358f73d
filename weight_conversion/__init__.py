"""Checkpoints of every kind into every other: names, layouts, formats, and the canonical form between them.

The backends need the layouts alone, so everything else is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from distilbert_core.model.layouts import LAYOUTS, Layout

if TYPE_CHECKING:
    from weight_conversion.bert import bert_names, bert_to_distilbert
    from weight_conversion.comparing import diff
    from weight_conversion.converting import convert
    from weight_conversion.formats import FORMATS, Format
    from weight_conversion.reading import open_weights
    from weight_conversion.student import corpus_vocabulary, make_student
    from weight_conversion.verifying import verify
    from weight_conversion.weights import Tensor, Weights

_HOMES = {  # name -> module
    "bert_names": "bert",
    "bert_to_distilbert": "bert",
    "diff": "comparing",
    "convert": "converting",
    "FORMATS": "formats",
    "Format": "formats",
    "open_weights": "reading",
    "corpus_vocabulary": "student",
    "make_student": "student",
    "verify": "verifying",
    "Tensor": "weights",
    "Weights": "weights",
}

__all__ = [
    "FORMATS",
    "LAYOUTS",
    "Format",
    "Layout",
    "Tensor",
    "Weights",
    "bert_names",
    "bert_to_distilbert",
    "convert",
    "corpus_vocabulary",
    "diff",
    "make_student",
    "open_weights",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
