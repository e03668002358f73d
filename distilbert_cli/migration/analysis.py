"""What a program does with the names of Transformers: which of them move, and which stay, and why."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
from libcst.helpers import get_full_name_for_node
from libcst.metadata import CodeRange, MetadataWrapper, ParentNodeProvider, PositionProvider, QualifiedNameProvider

from distilbert_cli.migration.names import (
    ALWAYS,
    AUTO,
    GONE,
    HOMES,
    LIBRARY,
    OF_OTHER_FRAMEWORK,
    PIPELINE,
    is_distilbert,
)
from distilbert_core.pipelines import PIPELINE_CLASSES

LOADERS = ("from_pretrained", "from_config", "for_model")
TASKS = {*PIPELINE_CLASSES, "sentiment-analysis", "ner"}


@dataclass(frozen=True, order=True)
class Note:
    """A place in a program that was left as it is.

    Attributes:
        line: Its line, from 1.
        name: The name in Transformers.
        reason: Why it was left, or what to do.
    """

    line: int
    name: str
    reason: str


def names_of(visitor: cst.MetadataDependent, node: cst.CSTNode) -> set[str]:
    """Return the full names that a node may have."""
    return {found.name for found in visitor.get_metadata(QualifiedNameProvider, node, set())}


def last_name(full: str) -> str:
    """Return the last part of a full name."""
    return full.rpartition(".")[2]


class Analysis(cst.CSTVisitor):
    """Collects the uses of the names that open checkpoints, and the names that stay.

    Args:
        folder: Folder of the program, for the paths of checkpoints in it.

    Attributes:
        notes: What is left, with reasons.
    """

    METADATA_DEPENDENCIES = (PositionProvider, QualifiedNameProvider, ParentNodeProvider)

    def __init__(self, folder: Path):
        self.folder = folder
        self.notes: list[Note] = []
        self._constants: dict[str, set[str | None]] = defaultdict(set)  # name -> its values, None for unknown ones
        self._made_by: dict[str, set[str]] = defaultdict(set)  # name -> classes whose from_pretrained gave it
        self._uses: dict[str, list[tuple[int, cst.Call | None]]] = defaultdict(list)  # Auto name -> line, call

    @classmethod
    def of(cls, module: MetadataWrapper, folder: Path) -> Analysis:
        """Return the analysis of a module."""
        analysis = cls(folder)
        module.visit(analysis)
        return analysis

    def moved(self) -> set[str]:
        """Return the names that move. Those that stay get a note for each of their uses."""
        moved = set(ALWAYS)
        for name in (*AUTO, PIPELINE):
            uses = self._uses.get(name, [])
            reasons = [(line, self._reason(name, call, moved)) for line, call in uses]
            if uses and not any(reason for _, reason in reasons):
                moved.add(name)
            elif uses:
                self.notes += [
                    Note(line, name, f"stays: {reason or 'another use of it does'}") for line, reason in reasons
                ]
        return moved

    # -- visits -------------------------------------------------------------------------------------------------

    def visit_Assign(self, node: cst.Assign) -> None:
        """Note constants, and objects that a class of Transformers made."""
        for target in node.targets:
            if isinstance(target.target, cst.Name):
                self._constants[target.target.value].add(_text(node.value))
                if isinstance(node.value, cst.Call) and isinstance(node.value.func, cst.Attribute):
                    makers = names_of(self, node.value.func.value)
                    self._made_by[target.target.value] |= {last_name(maker) for maker in makers}

    def visit_ImportFrom(self, node: cst.ImportFrom) -> None:
        """Note imports of names that have no home here."""
        module = get_full_name_for_node(node.module) if node.module else None
        if module is None or module.partition(".")[0] != LIBRARY:
            return
        if isinstance(node.names, cst.ImportStar):
            self._note(node, "*", "name the imports, and migrate again")
            return
        for alias in node.names:
            name = alias.evaluated_name
            if name in GONE:
                self._note(node, name, GONE[name])
            elif name not in HOMES and OF_OTHER_FRAMEWORK.fullmatch(name):
                self._note(
                    node, name, "Transformers 5 has no models and tools of this framework, and here is DistilBERT only"
                )

    def visit_Call(self, node: cst.Call) -> None:
        """Note a call that opens a checkpoint by a name for all architectures."""
        if not isinstance(node.func, cst.Name | cst.Attribute):  # the call of a result has the names of what made it
            return
        for full in names_of(self, node.func):
            library, _, path = full.partition(".")
            owner, method = last_name(path.rpartition(".")[0]), last_name(path)
            if library == LIBRARY and path == PIPELINE:
                self._uses[PIPELINE].append((self._line(node), node))
            elif library == LIBRARY and owner in AUTO and method in LOADERS:
                self._uses[owner].append((self._line(node), node))

    def visit_Name(self, node: cst.Name) -> None:
        """Note a name for all architectures that is used in another way than in a call of its loaders."""
        self._other_use(node)

    def visit_Attribute(self, node: cst.Attribute) -> None:
        """Note such a name that is an attribute of the library."""
        self._other_use(node)

    def _other_use(self, node: cst.Name | cst.Attribute) -> None:
        found = {full for full in names_of(self, node) if full.startswith(f"{LIBRARY}.")}
        name = last_name(next(iter(found), ""))
        if name not in {*AUTO, PIPELINE} or any(full != f"{LIBRARY}.{name}" for full in found):
            return
        parent = self.get_metadata(ParentNodeProvider, node)
        if isinstance(parent, cst.ImportAlias | cst.AsName) or (
            isinstance(parent, cst.Attribute) and parent.attr is node
        ):
            return
        called = isinstance(parent, cst.Call) and parent.func is node and name == PIPELINE
        loads = isinstance(parent, cst.Attribute) and parent.attr.value in LOADERS
        if not called and not loads:
            self._uses[name].append((self._line(node), None))

    # -- decisions ----------------------------------------------------------------------------------------------

    def _reason(self, name: str, call: cst.Call | None, moved: set[str]) -> str:
        """Return why a use keeps a name in Transformers; '' if it does not."""
        if call is None:
            return "it is used as a value, and may open any architecture"
        arguments = {
            argument.keyword.value if argument.keyword else index: argument.value
            for index, argument in enumerate(call.args)
        }
        if name != PIPELINE:
            checkpoint = arguments.get(0, arguments.get("pretrained_model_name_or_path", arguments.get("model_type")))
            return self._unknown(checkpoint, moved | AUTO.keys())
        task = self._value(arguments.get(0, arguments.get("task")))
        if task not in TASKS:
            return f"the task is {task or 'not known'}; the pipelines here are {', '.join(sorted(TASKS))}"
        return self._unknown(arguments.get(1, arguments.get("model")), moved)

    def _unknown(self, node: cst.BaseExpression | None, moved: set[str]) -> str:
        """Return why an argument may be another architecture; '' if it is a DistilBERT."""
        if node is None:
            return "no checkpoint is named"
        value = self._value(node)
        if value is not None:
            return "" if is_distilbert(value, self.folder) else f"{value} is not known to be a DistilBERT"
        if isinstance(node, cst.Name) and self._made_by[node.value] and self._made_by[node.value] <= moved:
            return ""
        return "its checkpoint is not written in the program"

    def _value(self, node: cst.BaseExpression | None) -> str | None:
        """Return the text of an argument: a literal, or a variable that only ever has one."""
        if isinstance(node, cst.Name):
            values = self._constants[node.value]
            return next(iter(values)) if len(values) == 1 else None
        return _text(node)

    def _note(self, node: cst.CSTNode, name: str, reason: str) -> None:
        self.notes.append(Note(self._line(node), name, reason))

    def _line(self, node: cst.CSTNode) -> int:
        position: CodeRange = self.get_metadata(PositionProvider, node)
        return position.start.line


def _text(node: cst.BaseExpression | None) -> str | None:
    """Return the value of a literal text."""
    value = node.evaluated_value if isinstance(node, cst.SimpleString | cst.ConcatenatedString) else None
    return value if isinstance(value, str) else None
