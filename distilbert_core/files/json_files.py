"""Reading of JSON files within limits."""

from __future__ import annotations

import json
import re
import warnings
from functools import partial
from pathlib import Path
from typing import Any

from distilbert_core.errors import CheckpointError, CheckpointWarning, DistilBertError, listed, shortened
from distilbert_core.files.boundary import found, reading
from distilbert_core.files.limits import LIMITS, check_limit

SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # an escape of half of a surrogate pair: UTF-8 has no code for one half
CHECKPOINT = ("json", "config")  # limits of the files of a checkpoint
TEXT = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)  # a text in JSON


def read_content(path: str | Path, what: str = "a file of text", limit: str = "json_bytes") -> bytes:
    """Return the bytes of a file, which is not read if it is larger than a limit.

    Args:
        path: The file.
        what: What the file should be, with an article, for the message.
        limit: Name of the limit.

    Raises:
        CheckpointError: The file is missing, cannot be read, or is too large.
    """
    with reading(path, what), Path(path).open("rb") as file:
        check_limit(limit, file.seek(0, 2), str(path))
        file.seek(0)
        return file.read(LIMITS[limit].most)


def read_json(path: str | Path, what: str = "a JSON object", limits: str = "json") -> dict[str, Any]:
    """Return the object in a JSON file.

    Args:
        path: The file.
        what: What the file should be, with an article, for the message.
        limits: Beginning of the names of its limits: 'json' or 'config'.

    Raises:
        CheckpointError: The file is missing, is larger than the limits, is not JSON in UTF-8, or holds another value.

    Warns:
        CheckpointWarning: An object in the file has several values for a key; the message names it.
    """
    with reading(path, what):
        return parse_object(path, read_content(path, what, f"{limits}_bytes"), limits)


def parse_object(name: str | Path, content: bytes | str, limits: str = "json") -> dict[str, Any]:
    """Return the object that a JSON text holds; the arguments are those of `parse_json`.

    Raises:
        CheckpointError: The text is above a limit, is not JSON, or holds another value.
    """
    value = parse_json(name, content, limits=limits)
    if not isinstance(value, dict):
        raise CheckpointError(f"{name} must hold a JSON object, got {type(value).__name__}.")
    return value


def parse_json(
    name: str | Path,
    content: bytes | str,
    error: type[DistilBertError] = CheckpointError,
    limits: str = "json",
    strict: bool = False,
) -> Any:
    """Return the value of a JSON text.

    Commas and brackets are counted before the text is parsed: they bound the memory that its values take.

    Args:
        name: Name of the file, for messages.
        content: The text, or its bytes in UTF-8.
        error: Type of the error.
        limits: Beginning of the names of its limits.
        strict: Refuse what RFC 8259 does not have or leaves open: NaN, Infinity, and a key that is repeated in an
            object. The keys of an object have a limit then.

    Raises:
        CheckpointError: The text is above a limit, or is not JSON in UTF-8; with `error`, an error of that type.

    Warns:
        CheckpointWarning: An object in a file of a checkpoint has several values for a key; the message names it.

    Example:
        >>> from distilbert_core.files.json_files import parse_json
        >>> parse_json("a.json", "[" * 70 + "]" * 70)
        Traceback (most recent call last):
        distilbert_core.errors.CheckpointError: a.json has more than 64 levels of JSON.
    """
    try:
        text = content.decode() if isinstance(content, bytes) else content
        check_limit(f"{limits}_bytes", len(text), str(name), error)
        if _marks(text) > LIMITS[f"{limits}_values"].most:  # some may be in texts
            check_limit(f"{limits}_values", _marks(TEXT.sub("", text)), str(name), error)
        repeated: dict[str, None] = {}
        watched = {"object_pairs_hook": partial(_last_values, repeated)} if limits in CHECKPOINT else {}
        value = json.loads(text, **(_strict(name, error) if strict else watched))
        # Encoding fails if half of a surrogate pair is left.
        (json.dumps(value, ensure_ascii=False) if SURROGATE.search(text) else text).encode()
    except DistilBertError:
        raise
    except (ValueError, RecursionError) as cause:
        raise error(f"{name} is not valid JSON ({found(cause)}).") from cause
    if _is_deeper(value, LIMITS["json_nesting"].most):
        raise error(f"{name} has more than {LIMITS['json_nesting'].most} {LIMITS['json_nesting'].unit}.")
    if repeated:
        warnings.warn(
            f"{name} has several values for {listed([*map(shortened, repeated)], most=3)}: the last one is used. "
            "Remove the others.",
            CheckpointWarning,
            stacklevel=2,
        )
    return value


def _last_values(repeated: dict[str, None], pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object with the last value of each key. A key with different values is added to `repeated`."""
    value = dict(pairs)
    if len(value) < len(pairs):
        for name, item in pairs:
            if type(item) is not type(value[name]) or item != value[name]:
                repeated[name] = None
    return value


def to_json(value: Any) -> str:
    """Return a record as one line of JSON; arrays become lists.

    Args:
        value: JSON values and arrays.

    Example:
        >>> import numpy as np
        >>> from distilbert_core.files.json_files import to_json
        >>> to_json({"text": "é", "logits": np.array([0.5, 1.0])})
        '{"text": "é", "logits": [0.5, 1.0]}'
    """
    return json.dumps(value, ensure_ascii=False, default=lambda array: array.tolist())


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        repeated = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {shortened(repeated)} is repeated")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


def _strict(name: str | Path, error: type[DistilBertError]) -> dict[str, Any]:
    """Return the keywords of `json.loads` for a strict text."""

    def checked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        check_limit("object_keys", len(pairs), str(name), error)
        return _without_repeated_keys(pairs)

    return {"object_pairs_hook": checked, "parse_constant": _refuse_constant}


def _marks(text: str) -> int:
    """Return the number of commas and opening brackets, which bounds the number of values."""
    return sum(map(text.count, ",[{"))


def _is_deeper(value: Any, most: int) -> bool:
    """Return whether a value of JSON has more levels of lists and objects than `most`."""
    level = [value] if isinstance(value, list | dict) else []
    for _ in range(most):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, list | dict)
        ]
        if not level:
            return False
    return bool(level)
