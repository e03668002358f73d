"""How the entries of a checkpoint fit the parameters of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from distilbert_core.model.config import DistilBertConfig
from distilbert_core.model.parameters import BODY, Head, Kind, Parameter, parameter_table

# What old files call the scale and shift of a LayerNorm.
_OLD_LEAVES = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}


# Entries that some files hold beside the parameters, and that say nothing.
_IGNORED_ENTRIES = ("embeddings.position_ids",)


@dataclass
class LoadingReport:
    """How the entries of a checkpoint meet the parameters of a model.

    Attributes:
        entries: The entry that each parameter is read from.
        missing: Parameters that no entry is there for.
        unexpected: Entries that no parameter takes.
        mismatched: (parameter, shape in the checkpoint, shape in the model).
        tied: The entry that is there for each parameter that shares another's array.
    """

    entries: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    tied: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, table: Iterable[Parameter], shapes: Mapping[str, tuple[int, ...]]) -> LoadingReport:
        """Match a parameter table with the entries of a checkpoint, whether either is a bare body or has a head."""
        report = cls()
        used = set()
        for parameter in table:
            names = [parameter.name] if parameter.kind is Kind.OTHER else _entry_names(parameter.name)
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


def find_head(config: DistilBertConfig, shapes: Mapping[str, tuple[int, ...]]) -> Head:
    """Return the head that fits the entries of a checkpoint best; the configuration decides between equals.

    Without entries it decides alone.
    """

    def misfit(head: Head) -> tuple[int, bool]:
        report = LoadingReport.of(parameter_table(config, head), shapes)
        wrong = len(report.missing + report.mismatched + report.unexpected) if shapes else 0
        return wrong, head.architecture not in (config.architectures or ())

    return min(Head, key=misfit)


def _entry_names(name: str) -> Iterable[str]:
    """Yield the names a parameter may have in a checkpoint: with or without body prefix, old or new leaf."""
    for prefixed in (name, name.removeprefix(f"{BODY}."), f"{BODY}.{name}"):
        yield prefixed
        for new, old in _OLD_LEAVES.items():
            if prefixed.endswith(new):
                yield prefixed.removesuffix(new) + old
