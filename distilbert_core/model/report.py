"""How the entries of a checkpoint match the parameters of a model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distilbert_core.errors import CheckpointError
from distilbert_core.files.limits import LIMITS
from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.heads import Head, parameter_table
from distilbert_core.model.layouts import LAYOUTS
from distilbert_core.model.parameters import BASE_MODEL, Kind, Parameter, base_model_parameters

# Old files name the scale and bias of a LayerNorm as TensorFlow does.
OLD_NORM_NAMES = {
    "LayerNorm.weight": f"LayerNorm.{LAYOUTS['keras'].leaf[Kind.NORM_SCALE]}",
    "LayerNorm.bias": f"LayerNorm.{LAYOUTS['keras'].leaf[Kind.NORM_BIAS]}",
}

# Entries of some files that hold no parameters.
_IGNORED_ENTRIES = ("embeddings.position_ids",)


@dataclass
class LoadingReport:
    """How the entries of a checkpoint match the parameters of a model.

    Attributes:
        entries: The entry that each parameter is read from.
        missing: Parameters without an entry.
        unexpected: Entries without a parameter.
        mismatched: (parameter, shape in the checkpoint, shape in the model).
        tied: The entry of each parameter that shares the array of another one, if it has an entry of its own.
    """

    entries: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    tied: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, table: Iterable[Parameter], shapes: Mapping[str, tuple[int, ...]]) -> LoadingReport:
        """Match a parameter table with the entries of a checkpoint; each may be a base model or have a head."""
        report = cls()
        used = set()
        for parameter in table:
            names = [parameter.name] if parameter.kind is Kind.OTHER else entry_names(parameter.name)
            entry = next((name for name in names if name in shapes), None)
            if entry is not None:
                used.add(entry)
            if parameter.tied_to is not None:
                if entry is not None:
                    report.tied[parameter.name] = entry
            elif entry is None:
                report.missing.append(parameter.name)
            elif shapes[entry] != parameter.shape:
                report.mismatched.append((parameter.name, shapes[entry], parameter.shape))
            else:
                report.entries[parameter.name] = entry
        report.unexpected = sorted(name for name in shapes.keys() - used if not name.endswith(_IGNORED_ENTRIES))
        return report

    def missing_values(self, table: Iterable[Parameter]) -> list[str]:
        """Return the missing parameters, without those that a formula gives."""
        computed = {parameter.name for parameter in table if parameter.computed}
        return [name for name in self.missing if name not in computed]

    def fresh(self, table: Iterable[Parameter]) -> list[str]:
        """Return the parameters that the checkpoint gives no values, or values of another shape."""
        return self.missing_values(table) + [name for name, _, _ in self.mismatched]

    def as_loading_info(self) -> dict[str, list[Any]]:
        """Return the dict that `from_pretrained` gives with `output_loading_info`."""
        return {
            "missing_keys": self.missing,
            "unexpected_keys": self.unexpected,
            "mismatched_keys": self.mismatched,
            "error_msgs": [],  # every error is raised
        }


def find_head(config: DistilBertConfig, shapes: Mapping[str, tuple[int, ...]]) -> Head:
    """Return the head that fits the entries of a checkpoint best.

    If several fit equally well, as without entries, `config.architectures` decides.
    """

    def misfit(head: Head) -> tuple[int, bool]:
        report = LoadingReport.of(parameter_table(config, head), shapes)
        wrong = len(report.missing + report.mismatched + report.unexpected) if shapes else 0
        return wrong, head.architecture not in (config.architectures or ())

    return min(Head, key=misfit)


def entry_names(name: str) -> Iterable[str]:
    """Yield the names a parameter may have in a checkpoint: with or without a prefix, old or new."""
    for prefixed in (name, name.removeprefix(f"{BASE_MODEL}."), f"{BASE_MODEL}.{name}"):
        yield prefixed
        for new, old in OLD_NORM_NAMES.items():
            if prefixed.endswith(new):
                yield prefixed.removesuffix(new) + old


def check_fits(config: DistilBertConfig, entries: int, files: Iterable[Path], source: str) -> None:
    """Raise CheckpointError if the weight files cannot hold the base model of a configuration.

    It is called before arrays are made: the configuration of a damaged checkpoint may describe a model of any size.

    Args:
        config: The configuration that is stored with the weights.
        entries: Number of stored arrays.
        files: The weight files, and folders of them.
        source: Name of the checkpoint, for the message.
    """
    if config.n_layers > entries:
        raise CheckpointError(
            f"{source} cannot hold the model of its configuration: n_layers is {config.n_layers}, but the weight files "
            f"hold {entries} arrays."
        )
    parameters = sum(math.prod(parameter.shape) for parameter in base_model_parameters(config))
    inner = (file for path in files for file in (path.rglob("*") if path.is_dir() else (path,)))
    size = sum(file.stat().st_size for file in inner if file.is_file())
    if parameters > size * LIMITS["parameters_per_byte"].most:
        raise CheckpointError(
            f"{source} cannot hold the model of its configuration: the model has {parameters} parameters, but the "
            f"weight files have {size} bytes."
        )
