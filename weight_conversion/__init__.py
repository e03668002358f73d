"""Checkpoints of every format converted into every other, compared, and made into students.

Each name is imported on first use, so that importing one of them does not load the rest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from distilbert_core.model.layouts import LAYOUTS, Layout

if TYPE_CHECKING:
    from weight_conversion.bert import bert_names, bert_to_distilbert
    from weight_conversion.converting import convert
    from weight_conversion.formats import FORMATS, Format
    from weight_conversion.reading import open_weights
    from weight_conversion.students import corpus_vocabulary, make_student
    from weight_conversion.verification.comparing import diff
    from weight_conversion.verification.verifying import verify
    from weight_conversion.weights import LazyTensor, Tensor, Weights

_MODULES = {  # name -> the module that defines it
    "bert_names": "bert",
    "bert_to_distilbert": "bert",
    "diff": "verification.comparing",
    "convert": "converting",
    "FORMATS": "formats",
    "Format": "formats",
    "open_weights": "reading",
    "corpus_vocabulary": "students",
    "make_student": "students",
    "verify": "verification.verifying",
    "LazyTensor": "weights",
    "Tensor": "weights",
    "Weights": "weights",
}

__all__ = [
    "FORMATS",
    "LAYOUTS",
    "Format",
    "Layout",
    "LazyTensor",
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
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
