"""Earlier import paths: modules that have moved can still be imported under their former names.

`import distilbert_core.packing` gives the module `distilbert_core.model.packing` itself, so there is one of each.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import InspectLoader, Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType

_WINGS = {  # wing -> the modules in it that had no wing before
    "files": ("checkpoint", "conversion", "hub", "records"),
    "model": (
        "backends",
        "config",
        "exported",
        "inference",
        "inputs",
        "outputs",
        "packing",
        "pretrained",
    ),
    "tokenization": ("batching", "collators"),
    "training": ("distillation",),
}
MOVED = {  # former name -> name; the modules of a package move with it
    **{f"distilbert_core.{module}": f"distilbert_core.{wing}.{module}" for wing in _WINGS for module in _WINGS[wing]},
    "distilbert_core.cli": "distilbert_cli",
    "distilbert_core.parameters": "distilbert_core.model.heads",
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


class _Finder(MetaPathFinder, Loader):
    """Imports a moved module, and gives it under its former name, too."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(fullname, self) if new_name(fullname) else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        name = new_name(spec.name)
        assert name is not None
        module = importlib.import_module(name)
        # The import system writes a module's new spec into it: this one keeps its own.
        return _Alias(module)

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        sys.modules[module.__spec__.name] = vars(module)["moved"]

    def get_code(self, fullname: str) -> CodeType | None:
        """Return the code of a module; `python -m distilbert_core.cli` runs it."""
        loader = _spec(fullname).loader
        return loader.get_code(_spec(fullname).name) if isinstance(loader, InspectLoader) else None

    def is_package(self, fullname: str) -> bool:
        """Return whether a module has modules of its own."""
        return _spec(fullname).submodule_search_locations is not None


class _Alias(ModuleType):
    """Stands for a moved module until its import is complete."""

    def __init__(self, moved: ModuleType):
        super().__init__(moved.__name__)
        self.moved = moved


def _spec(name: str) -> ModuleSpec:
    """Return the specification of a moved module, under its new name.

    Raises:
        ImportError: The module does not exist.
    """
    spec = importlib.util.find_spec(new_name(name) or name)
    if spec is None:
        raise ImportError(f"No module named {name!r}", name=name)
    return spec


def new_name(name: str) -> str | None:
    """Return where a module is now, or None if it has not moved.

    Example:
        >>> from distilbert_core.moved import new_name
        >>> new_name("distilbert_core.distillation.cache")
        'distilbert_core.training.distillation.cache'
    """
    package = next((old for old in MOVED if name == old or name.startswith(f"{old}.")), None)
    return None if package is None else MOVED[package] + name.removeprefix(package)


def install() -> None:
    """Make the former names importable."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())  # before empty folders that a former version left
