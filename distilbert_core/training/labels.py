"""Labels: from values of a file to names, and from names to the indices that a model predicts."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.files.records import quoted
from distilbert_core.model.config import DistilBertConfig

MOST_LABELS = 100_000  # larger integers are row numbers or dates, not class labels
OUTSIDE = "O"  # the label of words outside of entities
BALANCED = "balanced"  # class weights by the frequency of the labels


def label_name(column: str, value: Any) -> str:
    """Return the name of a label given as a text or as an integer."""
    name = str(value).strip()
    number = as_number(name)
    impossible = number is not None and not (name.isdecimal() and number < MOST_LABELS)
    if not isinstance(value, str | int) or isinstance(value, bool) or not name or impossible:
        whole = isinstance(value, str | float) and number is not None and 0 <= number < MOST_LABELS and number % 1 == 0
        hint = f"Write it as {number:.0f}." if whole else "Other numbers are for the task 'regression'."
        raise InputError(
            f"{column} must be the name of a label, or an integer from 0 to {MOST_LABELS - 1}; got "
            f"{reprlib.repr(value)}. {hint}"
        )
    return name


def class_name(value: Any, names: Sequence[str]) -> Any:
    """Return the name of a class given by index, None for -1 (no label); or a list of names for a list.

    Example:
        >>> from distilbert_core.training.labels import class_name
        >>> class_name([1, 0, -1], ["neg", "pos"])
        ['pos', 'neg', None]
    """
    if isinstance(value, list):
        return [class_name(item, names) for item in value]
    if isinstance(value, bool) or not isinstance(value, int) or not -1 <= value < len(names):
        return value
    return None if value == -1 else names[value]


def as_number(value: Any) -> float | None:
    """Return a text or a number as a float, or None if it is not a number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def all_labels(names: Iterable[str]) -> list[str]:
    """Return the different labels: '0', '1', ... up to the highest if all are integers, otherwise sorted."""
    labels = set(names)
    if labels and all(name.isdecimal() for name in labels):
        return [str(index) for index in range(max(map(int, labels)) + 1)]
    return sorted(labels)


def label_names(config: DistilBertConfig) -> list[str]:
    """Return the names of a model's labels, [L]. Names may repeat."""
    return [config.label_name(index) for index in range(config.num_labels)]


def find_label(names: Sequence[str], name: str) -> int | None:
    """Return the index of a label given by name, by index, or by a name in another case; None if it is unknown.

    Example:
        >>> from distilbert_core.training.labels import find_label
        >>> [find_label(["NEGATIVE", "POSITIVE"], name) for name in ("POSITIVE", "1", "Positive", "good")]
        [1, 1, 1, None]
    """
    if name in names:
        return names.index(name)
    if name.isdecimal():
        return int(name) if int(name) < len(names) else None
    matches = [index for index, other in enumerate(names) if other.casefold() == name.casefold()]
    return matches[0] if len(matches) == 1 else None


def label_id(config: DistilBertConfig, name: str) -> int:
    """Return the index of a label, given in any way that `find_label` knows, or raise InputError."""
    index = config.label_index(name)
    if index is None:
        index = find_label(label_names(config), name)
    if index is None:
        raise InputError(
            f"Label {name!r} is not one of the model's {config.num_labels} labels: {quoted(label_names(config))}. "
            "Correct the rows, or train a new head for their labels."
        )
    return index


def class_weights(given: str | Mapping[str, float], config: DistilBertConfig, counts: np.ndarray) -> np.ndarray:
    """Return the weight of each label, [L].

    Args:
        given: 'balanced', for weights in inverse proportion to the frequency of the labels; or the weight of each label
            by its index, or by its name, which is for all labels of that name.
        config: The configuration, which names the labels.
        counts: Number of occurrences of each label, [L].

    Raises:
        InputError: A label is unknown, missing or given twice; or 'balanced' is given, and a label does not occur.

    Example:
        >>> import numpy as np
        >>> from distilbert_core import DistilBertConfig
        >>> from distilbert_core.training.labels import class_weights
        >>> class_weights("balanced", DistilBertConfig(num_labels=2), np.array([30, 10])).round(3).tolist()
        [0.667, 2.0]
    """
    names = label_names(config)
    if given == BALANCED:
        absent = [name for name, count in zip(names, counts, strict=True) if not count]
        if absent:
            raise InputError(
                f"class_weights='{BALANCED}' needs rows of every label; no row has {', '.join(absent[:8])}. Give "
                "the weights by name, or a head without these labels."
            )
        return counts.sum() / (len(counts) * counts)
    assert not isinstance(given, str)
    check_known(list(given), names, "class_weights has unknown labels", "Correct them.")
    keys = [  # the keys that give the weight of each label; an index may be the name of another label
        [name for name in (names[index], *({str(index)} - set(names))) if name in given] for index in range(len(names))
    ]
    missing = [name for name, its_keys in zip(names, keys, strict=True) if not its_keys]
    if missing or any(len(its_keys) > 1 for its_keys in keys):
        problem = f"{', '.join(missing[:8])} has none" if missing else "one is given by name and by index"
        raise InputError(f"class_weights must have one weight for each of {', '.join(names[:8])}; {problem}.")
    return np.array([given[its_keys[0]] for its_keys in keys])


def check_known(names: Sequence[str], known: Sequence[str], problem: str, advice: str) -> None:
    """Raise InputError if some names are neither names nor indices of known labels."""
    unknown = [name for name in names if find_label(known, name) is None]
    if unknown:
        raise InputError(f"{problem}: {', '.join(unknown[:8])}; known are {', '.join(known[:8])}. {advice}")
