"""The label maps of a configuration: num_labels, id2label and label2id, which say the same in three ways."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any

from distilbert_core.errors import ConfigError, shortened
from distilbert_core.files.limits import LIMITS
from distilbert_core.model.config_checks import is_integer

LABEL_FIELDS = ("num_labels", "id2label", "label2id")
LARGEST_NUM_LABELS = LIMITS["num_labels"].most


def consistent_maps(
    num_labels: int | None, id2label: Mapping[Any, Any] | None, label2id: Mapping[Any, Any] | None
) -> tuple[dict[int, str], dict[str, int]]:
    """Return id2label and label2id from the fields that are given, or raise ConfigError if they contradict each other.

    Example:
        >>> from distilbert_core.model.label_maps import consistent_maps
        >>> consistent_maps(2, None, None)
        ({0: 'LABEL_0', 1: 'LABEL_1'}, {'LABEL_0': 0, 'LABEL_1': 1})
    """
    names, ids, problems = label_maps(num_labels, id2label, label2id)
    if problems:
        raise ConfigError(f"{problems[0]}.")
    return names, ids


def label_maps(
    num_labels: int | None, id2label: Mapping[Any, Any] | None, label2id: Mapping[Any, Any] | None
) -> tuple[dict[int, str], dict[str, int], list[str]]:
    """Return id2label and label2id from the fields that are given, and a sentence for each contradiction.

    The names are taken from id2label; without it, from label2id if it has one for each class, else they are LABEL_0,
    LABEL_1, ....

    Raises:
        ConfigError: A field is not a map, or `num_labels` is not a possible number.
    """
    if num_labels is not None and (not is_integer(num_labels) or num_labels < 1):
        raise ConfigError(f"num_labels must be a positive integer, got {shortened(num_labels)}.")
    if num_labels is not None and num_labels > LARGEST_NUM_LABELS:
        raise ConfigError(f"num_labels must be at most {LARGEST_NUM_LABELS}, got {shortened(num_labels)}.")
    ids = {label: index for index, label in _label_pairs(label2id or {}, "label2id", "labels to integers")}
    if id2label is not None:
        given, pairs = "id2label", _label_pairs(id2label, "id2label", "integers to labels")
    elif ids:
        given, pairs = "label2id", [(index, label) for label, index in ids.items()]
    else:
        given, pairs = "num_labels", _unnamed_labels(num_labels)
    names = dict(sorted(dict(pairs).items()))
    problems = []
    if not names or list(names) != list(range(len(pairs))):
        problem = f"{given} must have each index 0, 1, ... once, got {reprlib.repr([index for index, _ in pairs])}"
        if not names or min(names) < 0:
            raise ConfigError(f"{problem}.")
        problems.append(problem)
    if num_labels not in (None, len(names)):
        problems.append(f"num_labels and {given} disagree: {num_labels} against {len(names)} labels")
    if problems and given == "label2id":
        names = dict(_unnamed_labels(num_labels))
    elif ids and not _fits(ids, names):
        problems.append(f"label2id and id2label disagree: {reprlib.repr(ids)} against {reprlib.repr(names)}")
    if not ids:
        for index, label in names.items():
            ids.setdefault(label, index)
    return names, ids, problems


def _label_pairs(labels: Mapping[Any, Any], name: str, meaning: str) -> list[tuple[int, str]]:
    """Return the indices and labels of a map in either direction, or raise ConfigError if it is not a map."""
    try:
        if len(labels) > LARGEST_NUM_LABELS:
            raise ConfigError(f"{name} must have at most {LARGEST_NUM_LABELS} labels, got {len(labels)}.")
        pairs = list(labels.items()) if name == "id2label" else [(index, label) for label, index in labels.items()]
        return [(_label_index(index), str(label)) for index, label in pairs]  # JSON turns keys into texts
    except ConfigError:
        raise
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise ConfigError(f"{name} must be a dict of {meaning}, got {shortened(labels)}.") from None


def _label_index(value: object) -> int:
    index = int(value)  # type: ignore[call-overload]
    if not isinstance(value, str) and index != value:
        raise ValueError(f"{value!r} is not an integer")
    return index


def _unnamed_labels(num_labels: int | None) -> list[tuple[int, str]]:
    return [(index, f"LABEL_{index}") for index in range(2 if num_labels is None else num_labels)]


def _fits(label2id: Mapping[str, int], id2label: Mapping[int, str]) -> bool:
    """Return whether label2id is an inverse of id2label: it has each name, with an index of that name."""
    names = set(id2label.values())
    return names == label2id.keys() and all(id2label.get(index) == name for name, index in label2id.items())
