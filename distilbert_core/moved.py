"""Former import paths: moved modules can still be imported under their former names.

`import distilbert_core.packing` returns the module `distilbert_core.model.packing` itself, so that each class and each
table exists once, and patching one name patches both.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import InspectLoader, Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType

_WINGS = {  # wing -> its modules that were in no wing before
    "files": ("checkpoint", "conversion", "hub", "records"),
    "model": (
        "backends",
        "config",
        "exported",
        "inference",
        "inputs",
        "outputs",
        "packing",
        "parameters",
        "pretrained",
    ),
    "tokenization": ("batching", "collators"),
    "training": ("distillation",),
}
MOVED = {  # former name -> new name; the modules of a package move together with it
    **{f"distilbert_core.{module}": f"distilbert_core.{wing}.{module}" for wing in _WINGS for module in _WINGS[wing]},
    "distilbert_core.cli": "distilbert_cli",
    "weight_conversion.cli": "distilbert_cli.conversion",
    "weight_conversion.companions": "weight_conversion.sidecars",
    "weight_conversion.layouts": "distilbert_core.model.layouts",
    "weight_conversion.student": "weight_conversion.students",
    "weight_conversion.student_cli": "distilbert_cli.student",
    **{
        f"weight_conversion.{module}": f"weight_conversion.verification.{module}"
        for module in ("charts", "comparing", "report", "verifying")
    },
}

MOVED_NAMES = {  # former module -> names that have moved to another module than the rest, and that module
    "distilbert_core.inference": {
        "inference_of": "distilbert_core.model.loading",
        "load_inference": "distilbert_core.model.loading",
    },
    "distilbert_core.inputs": {"weight_axes": "distilbert_core.model.losses"},
    "distilbert_core.parameters": {
        "Head": "distilbert_core.model.heads",
        "parameter_table": "distilbert_core.model.heads",
    },
    "distilbert_core.pretrained": {"dtype_name": "distilbert_core.model.dtypes"},
}


class _Finder(MetaPathFinder, Loader):
    """Finds and loads moved modules."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return None if _moved_spec(fullname) is None else importlib.util.spec_from_loader(fullname, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        name = new_name(spec.name)
        assert name is not None
        # The import system sets attributes of the module that this returns: the moved module keeps its own.
        return _Placeholder(importlib.import_module(name))

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        name, moved = module.__spec__.name, vars(module)["moved"]
        for member, home in MOVED_NAMES.get(name, {}).items():
            setattr(moved, member, getattr(importlib.import_module(home), member))
        sys.modules[name] = moved

    def get_code(self, fullname: str) -> CodeType | None:
        """Return the code of a module; `python -m distilbert_core.cli` runs it."""
        spec = _moved_spec(fullname)
        return spec.loader.get_code(spec.name) if spec and isinstance(spec.loader, InspectLoader) else None

    def is_package(self, fullname: str) -> bool:
        """Return whether a module is a package."""
        spec = _moved_spec(fullname)
        return spec is not None and spec.submodule_search_locations is not None


class _Placeholder(ModuleType):
    """Stands for a moved module until its import is complete."""

    def __init__(self, moved: ModuleType):
        super().__init__(moved.__name__)
        self.moved = moved


def _moved_spec(name: str) -> ModuleSpec | None:
    """Return the spec of a moved module, under its new name; None if the name has not moved, or is unknown."""
    new = new_name(name)
    try:
        return None if new is None else importlib.util.find_spec(new)
    except ModuleNotFoundError:  # the parent is not a package
        return None


def new_name(name: str) -> str | None:
    """Return the new name of a module, or None if it has not moved.

    Args:
        name: Its former name.

    Example:
        >>> from distilbert_core.moved import new_name
        >>> new_name("distilbert_core.distillation.cache")
        'distilbert_core.training.distillation.cache'
    """
    former = name  # then the packages that it is in; every import of the process asks, so nothing is searched
    while former and former not in MOVED:
        former = former.rpartition(".")[0]
    return MOVED[former] + name.removeprefix(former) if former else None


def install() -> None:
    """Make the former names importable."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())  # first, as a former version may have left empty folders
