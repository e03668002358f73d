"""Labels: from what a file has to names, from names to the numbers that a model predicts."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from distilbert_core.errors import InputError
from distilbert_core.model.config import DistilBertConfig

MOST_LABELS = 100_000  # a number above is none of a label, but that of a row, or a year and a day
OUTSIDE = "O"  # the label of words that are in no entity
BALANCED = "balanced"  # class_weights by how often each label occurs


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
    """Return the name of a class given by number, None for -1, which means none; the same for each of a list.

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
    """Return a text or a number as a float, or None if it is no number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def all_labels(names: Iterable[str]) -> list[str]:
    """Return the labels that these names are: '0', '1', ... up to the highest, or the names in order."""
    found = set(names)
    if found and all(name.isdecimal() for name in found):
        return [str(number) for number in range(max(map(int, found)) + 1)]
    return sorted(found)


def label_names(config: DistilBertConfig) -> list[str]:
    """Return the names of a model's labels, [L]; several may have one name."""
    return [config.label_name(index) for index in range(config.num_labels)]


def find_label(names: Sequence[str], name: str) -> int | None:
    """Return the number of a label, given by name, by number, or by a name in another case; None if it is unknown.

    Example:
        >>> from distilbert_core.training.labels import find_label
        >>> [find_label(["NEGATIVE", "POSITIVE"], name) for name in ("POSITIVE", "1", "Positive", "good")]
        [1, 1, 1, None]
    """
    if name in names:
        return names.index(name)
    if name.isdecimal():
        return int(name) if int(name) < len(names) else None
    alike = [number for number, known in enumerate(names) if known.casefold() == name.casefold()]
    return alike[0] if len(alike) == 1 else None


def label_id(config: DistilBertConfig, name: str) -> int:
    """Return the number of a label; see `find_label`."""
    number = config.label_index(name)
    if number is None:
        number = find_label(label_names(config), name)
    if number is None:
        labels = ", ".join(label_names(config))
        raise InputError(
            f"Label {name!r} is none of the model's {config.num_labels} labels: {reprlib.repr(labels)}. Correct the "
            "rows, or train a new head for their labels."
        )
    return number


def class_weights(given: str | Mapping[str, float], config: DistilBertConfig, counts: np.ndarray) -> np.ndarray:
    """Return the weight of each label, [L].

    Args:
        given: 'balanced', for weights in inverse proportion to how often the labels occur; or the weight of each label,
            by name, which counts for all labels of that name, or by number.
        config: Knows the labels.
        counts: How often each label occurs, [L].

    Raises:
        InputError: A label is unknown, missing or given twice; or it does not occur, and 'balanced' is given.

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
                f"class_weights='{BALANCED}' needs rows of every label; there is none of {', '.join(absent[:8])}. Give "
                "the weights by name, or a head without these labels."
            )
        return counts.sum() / (len(counts) * counts)
    assert not isinstance(given, str)
    check_known(list(given), names, "class_weights has unknown labels", "Correct them.")
    keys = [  # by which the weight of each label is given; a number may be the name of another label
        [name for name in (names[index], *({str(index)} - set(names))) if name in given] for index in range(len(names))
    ]
    missing = [name for name, found in zip(names, keys, strict=True) if not found]
    if missing or any(len(found) > 1 for found in keys):
        problem = f"{', '.join(missing[:8])} has none" if missing else "one is given by name and by number"
        raise InputError(f"class_weights must have one weight for each of {', '.join(names[:8])}; {problem}.")
    return np.array([given[found[0]] for found in keys])


def check_known(names: Sequence[str], known: Sequence[str], problem: str, advice: str) -> None:
    """Raise InputError if some names are none of the known labels, nor the number of one."""
    strange = [name for name in names if find_label(known, name) is None]
    if strange:
        raise InputError(f"{problem}: {', '.join(strange[:8])}; known are {', '.join(known[:8])}. {advice}")
