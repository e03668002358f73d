"""The tables of `docs/migrating.md`, the public names of Transformers' DistilBERT, and what of both is true here.

A row says of names how they are here: 'same', 'no effect', 'different' or 'not here'. A name is an attribute, a method,
or an argument: in a table whose first column is headed "argument of `method`", else spelled `method(argument)`. The row
of a method speaks of all its arguments that have no row of their own.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from support.paths import FIXTURES, ROOT

PAGE = ROOT / "docs" / "migrating.md"
FIXTURE = FIXTURES / "oracle" / "signatures.json"
DASH = "\u2013"
STATUSES = ("same", "no effect", "different", "not here")

Members = dict[str, Any]  # of a class: attributes and methods


# -- Transformers: the fixture ---------------------------------------------------------------------------------------


@cache
def classes(group: str) -> dict[str, Members]:
    """The classes of a group by name, each with all its members, those of its base too."""
    written = json.loads(FIXTURE.read_text())
    return {name: _members(name, written) for name, found in written.items() if found["group"] == group}


def _members(name: str, written: Mapping[str, Any]) -> Members:
    found = written[name]
    own: Members = {kind: found[kind] for kind in ("attributes", "methods")}
    if found["base"] is None:
        return own
    base = _members(found["base"], written)
    return {
        kind: {key: value for key, value in (base[kind] | own[kind]).items() if key not in found["lacking"]}
        for kind in own
    }


@cache
def names(group: str) -> set[str]:
    """The names of all classes of a group."""
    return {entry for members in classes(group).values() for entry in entries(members)}


def entries(members: Members) -> list[str]:
    """The names of a class: `attribute`, `method`, and `method(argument)`."""
    names = list(members["attributes"])
    for method, arguments in members["methods"].items():
        names += [method, *(f"{method}({argument})" for argument in arguments)]
    return names


# -- the page --------------------------------------------------------------------------------------------------------

# The columns of a section, and the group of the fixture that each speaks of.
SECTIONS: dict[str, dict[str, str]] = {
    "Configuration": {"here": "config"},
    "Models": {"PyTorch": "pt", "Keras": "tf", "Flax": "flax"},
    "Tokenizers": {"here": "tokenizer"},
    "Encodings": {"here": "encoding"},
    "Outputs": {"PyTorch": "pt-output", "Keras": "tf-output", "Flax": "flax-output"},
    "Methods of outputs": {"here": "output"},
    "Pipelines": {"here": "pipeline"},
}
GROUPS = [group for columns in SECTIONS.values() for group in columns.values()]


@dataclass(frozen=True)
class Row:
    """A row of the page.

    Attributes:
        section: Its section.
        names: For each name in the first column the entries that it stands for: one, or one of each method that the
            table speaks of.
        statuses: How they are in each column; a dash is left out.
        note: The last column.
    """

    section: str
    names: tuple[tuple[str, ...], ...]
    statuses: Mapping[str, str]
    note: str


def rows(page: str | None = None) -> list[Row]:
    """All rows of the sections of the page."""
    found: list[Row] = []
    section, header = "", []
    for line in (PAGE.read_text() if page is None else page).splitlines():
        if line.startswith("#"):
            title = line.lstrip("#").strip()
            section = title if line.startswith("## ") or title in SECTIONS else section
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")] if line.startswith("|") else []
        if not cells:
            header = []
        elif not header:
            header = cells
        elif section in SECTIONS and not set(line) <= set("|- "):
            assert len(cells) == len(header), line
            found.append(_row(section, header, cells))
    return found


def _row(section: str, header: Sequence[str], cells: Sequence[str]) -> Row:
    names = _entries_of(re.findall("`([^`]*)`", cells[0]), re.findall("`([^`]*)`", header[0]))
    columns = SECTIONS[section]
    statuses = {column: cell for column, cell in zip(header, cells, strict=True) if column in columns and cell != DASH}
    assert set(statuses.values()) <= set(STATUSES), cells
    return Row(section, tuple(names), statuses, cells[-1] if header[-1] not in columns else "")


def _entries_of(names: Sequence[str], methods: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """`method(a, b)` is `method(a)` and `method(b)`; a name in a table of arguments, one of each of its methods."""
    for name in names:
        method, _, arguments = name.rstrip(")").partition("(")
        if arguments:
            yield from ((f"{method}({argument})",) for argument in arguments.split(", "))
        else:
            yield tuple(f"{method}({name})" for method in methods) or (name,)


@cache
def statuses(group: str) -> dict[str, str]:
    """How the page says that each name of a group is here. A name that it speaks of twice is an error."""
    found: dict[str, str] = {}
    for row in rows():
        for column, status in row.statuses.items():
            if SECTIONS[row.section][column] == group:
                for name in itertools.chain(*row.names):
                    assert name not in found, f"{row.section}: {name} is there twice."
                    found[name] = status
    return found


def status(group: str, name: str) -> str | None:
    """The row of a name, of its method if it is an argument without one, or None."""
    said = statuses(group)
    return said.get(name, said.get(name.split("(")[0]))


# -- what is true here -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subject:
    """An object of ours that stands for a class of Transformers.

    Attributes:
        name: That class.
        object: Ours.
        refused: Methods that only say what to do instead.
        calls: Arguments by which a method can be called, for those that take keywords which they do not name.
        tables: The keywords that such a method takes without effect.
    """

    name: str
    object: Any
    refused: Collection[str] = ()
    calls: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tables: Mapping[str, Collection[str]] = field(default_factory=dict)

    def method(self, name: str) -> Any:
        """A method, or None; the constructor is `__init__`, and options are those of a call."""
        return type(self.object) if name == "__init__" else getattr(self.object, _ALIASES.get(name, name), None)

    def taken(self, method: str, arguments: Mapping[str, str]) -> set[str]:
        """Which arguments a method takes by name, at the defaults that they have there."""
        function = self.method(method)
        if not arguments:
            return set()
        named = set(arguments) & _named(function)
        if method not in self.calls:
            return named | set(arguments) & set(self.tables.get(method, ()))
        others = [argument for argument in arguments if argument not in named]
        if self._takes(function, method, arguments, others):  # in one call, which is quicker
            return set(arguments)
        return named | {name for name in others if self._takes(function, method, arguments, [name])}

    def _takes(self, function: Any, method: str, arguments: Mapping[str, str], names: Sequence[str]) -> bool:
        given = {name: _value(arguments[name]) for name in names}
        try:
            function(**{**given, **self.calls[method]})
        except TypeError:
            return False
        return True


_ALIASES = {"options": "__call__"}
# How many arguments are given by position, where it is not one.
_POSITIONAL = {"__call__": 2, "forward": 2, "call": 2, "encode": 2, "options": 0}


def _named(function: Callable[..., Any]) -> set[str]:
    named = inspect.signature(function).parameters.values()
    return {p.name for p in named if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


def _value(default: str) -> Any:
    try:
        return ast.literal_eval(default)
    except (ValueError, SyntaxError):
        return None


def _misplaced(method: str, function: Callable[..., Any], arguments: Sequence[str]) -> Iterator[str]:
    """Those of the first arguments that have another position, or none; a name that is not ours is not looked at."""
    found = inspect.signature(function).parameters.values()
    ours = [p.name for p in found if p.kind is p.POSITIONAL_OR_KEYWORD]
    for index, argument in enumerate(arguments[: _POSITIONAL.get(method, 1)]):
        if argument in _named(function) and ours[index : index + 1] != [argument]:
            yield argument


def untruths(group: str, members: Members, subject: Subject) -> Iterator[str]:
    """What the page says of a class and is not true."""
    for name, value in members["attributes"].items():
        there, said = hasattr(subject.object, name), status(group, name)
        if there != (said != "not here"):
            yield f"{subject.name}.{name}: {said}, but {'there' if there else 'not there'}"
        elif said == "same" and value is not None and not _equal(getattr(subject.object, name), _value(value)):
            yield f"{subject.name}.{name}: {said}, but {getattr(subject.object, name)!r}, not {value}"
    for method, arguments in members["methods"].items():
        there, said = callable(subject.method(method)) and method not in subject.refused, status(group, method)
        if there != (said != "not here"):
            yield f"{subject.name}.{method}(): {said}, but {'there' if there else 'not there'}"
        for argument in _misplaced(method, subject.method(method), list(arguments)) if there and arguments else ():
            if status(group, f"{method}({argument})") == "same":
                yield f"{subject.name}.{method}({argument}=): same, but elsewhere by position"
        taken = subject.taken(method, arguments) if there else ()
        for argument in arguments if there else ():
            said = status(group, f"{method}({argument})")
            if (argument in taken) != (said != "not here"):
                yield f"{subject.name}.{method}({argument}=): {said}, but {'' if argument in taken else 'not '}taken"
            elif argument in subject.tables.get(method, ()) and said == "same":
                yield f"{subject.name}.{method}({argument}=): {said}, but without effect"


def _equal(ours: Any, theirs: Any) -> bool:
    return ours == theirs or (isinstance(ours, tuple) and list(ours) == theirs)
