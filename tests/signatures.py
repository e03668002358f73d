"""The public names of Transformers' DistilBERT, from `fixtures/oracle/signatures.json`."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

FIXTURE = Path(__file__).parent / "fixtures" / "oracle" / "signatures.json"

Members = dict[str, Any]  # of a class: attributes and methods


@cache
def classes(group: str) -> dict[str, Members]:
    """The classes of a group by name, each with all its members, those of its base too."""
    written = json.loads(FIXTURE.read_text())
    return {name: _members(name, written) for name, found in written.items() if found["group"] == group}


def _members(name: str, written: dict[str, Any]) -> Members:
    found = written[name]
    own: Members = {kind: found[kind] for kind in ("attributes", "methods")}
    if found["base"] is None:
        return own
    base = _members(found["base"], written)
    return {
        kind: {key: value for key, value in (base[kind] | own[kind]).items() if key not in found["lacking"]}
        for kind in own
    }


def entries(members: Members) -> list[str]:
    """The names of a class: `attribute`, `method`, and `method(argument)`."""
    names = list(members["attributes"])
    for method, arguments in members["methods"].items():
        names += [method, *(f"{method}({argument})" for argument in arguments)]
    return names


def parameters(function: Callable[..., Any]) -> set[str]:
    """The arguments that a function names."""
    found = inspect.signature(function).parameters.values()
    return {
        parameter.name for parameter in found if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
