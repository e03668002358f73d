"""What a program does with the names of Transformers: which of them move, and which stay, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import libcst as cst
from libcst.helpers import get_full_name_for_node
from libcst.metadata import (
    Assignment,
    CodeRange,
    MetadataWrapper,
    ParentNodeProvider,
    PositionProvider,
    QualifiedNameProvider,
    ScopeProvider,
)

from distilbert_cli.migration.names import (
    ALWAYS,
    AUTO,
    LIBRARY,
    PARTS,
    PIPELINE,
    SHARED,
    advice,
    home_of,
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
        moved: The names that move.
    """

    METADATA_DEPENDENCIES = (PositionProvider, QualifiedNameProvider, ParentNodeProvider, ScopeProvider)

    def __init__(self, folder: Path):
        self.folder = folder
        self.notes: list[Note] = []
        self.moved: set[str] = set()
        self._uses: dict[str, list[tuple[int, cst.Call | None]]] = defaultdict(list)  # Auto name -> line, call
        self._named: list[tuple[int, str]] = []  # the names of Transformers that are imported or attributes, with lines

    @classmethod
    def of(cls, module: MetadataWrapper, folder: Path) -> Analysis:
        """Return the analysis of a module."""
        analysis = cls(folder)
        with analysis.resolve(module):
            module.module.visit(analysis)
            analysis.moved = analysis._decide()
        return analysis

    def _decide(self) -> set[str]:
        """Return the names that move. Those that stay get a note for each of their uses."""
        moved = {*ALWAYS, *PARTS}
        for name in (*AUTO, PIPELINE):
            uses = self._uses.get(name, [])
            reasons = [(line, self._reason(name, call, moved)) for line, call in uses]
            if uses and not any(reason for _, reason in reasons):
                moved.add(name)
            elif uses:
                self.notes += [
                    Note(line, name, f"stays: {reason or 'another use of it does'}") for line, reason in reasons
                ]
        if any(last_name(full) in moved and home_of(full) for _, full in self._named):
            self.notes += [
                Note(line, name, f"stays: models and tokenizers here use {SHARED[name]}.{name}")
                for line, full in self._named
                if (name := last_name(full)) in SHARED
            ]
        return moved

    # -- visits -------------------------------------------------------------------------------------------------

    def visit_ImportFrom(self, node: cst.ImportFrom) -> None:
        """Note imports of names that have no home here."""
        module = get_full_name_for_node(node.module) if node.module else None
        if module is None or module.partition(".")[0] != LIBRARY:
            return
        if isinstance(node.names, cst.ImportStar):
            self._note(node, "*", "name the imports, and migrate again")
            return
        for alias in node.names:
            self._note_name(node, f"{module}.{alias.evaluated_name}")

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
        """Note such a name, or one without a home here, that is an attribute of the library."""
        self._other_use(node)
        for full in names_of(self, node):
            if last_name(full) == node.attr.value and full.startswith(f"{LIBRARY}."):
                self._note_name(node, full)

    def _note_name(self, node: cst.CSTNode, full: str) -> None:
        self._named.append((self._line(node), full))
        if reason := advice(full):
            self._note(node, last_name(full), reason)

    def _other_use(self, node: cst.Name | cst.Attribute) -> None:
        found = {full for full in names_of(self, node) if full.startswith(f"{LIBRARY}.")}
        name = last_name(next(iter(found), ""))
        if name not in {*AUTO, PIPELINE} or any(full != f"{LIBRARY}.{name}" for full in found):
            return
        parent = self.get_metadata(ParentNodeProvider, node)
        if isinstance(parent, cst.ImportAlias | cst.AsName | cst.Annotation) or (
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
        makers = {maker for found in self._values(node) for maker in self._makers(found)}
        if makers and makers <= moved:
            return ""
        return "its checkpoint is not written in the program"

    def _value(self, node: cst.BaseExpression | None) -> str | None:
        """Return the text of an argument: a literal, or a variable that only ever has one."""
        texts = {_text(value) for value in self._values(node)}
        return next(iter(texts)) if len(texts) == 1 else None

    def _values(self, node: cst.BaseExpression | None) -> Iterator[cst.BaseExpression | None]:
        """Yield the values that an argument may have, with None for those that the program does not write down."""
        if not isinstance(node, cst.Name):
            yield node
            return
        scope = self.get_metadata(ScopeProvider, node, None)
        for assignment in scope[node.value] if scope else ():
            target = assignment.node if isinstance(assignment, Assignment) else None
            statement = self.get_metadata(ParentNodeProvider, target, None) if target else None
            if isinstance(statement, cst.AssignTarget):
                statement = self.get_metadata(ParentNodeProvider, statement)
            yield statement.value if isinstance(statement, cst.Assign | cst.AnnAssign) else None

    def _makers(self, value: cst.BaseExpression | None) -> Iterator[str]:
        """Yield the names of the classes whose call, or whose from_pretrained, is a value; '' for another value."""
        names = names_of(self, value.func) if isinstance(value, cst.Call) else set()
        for full in names or {""}:
            owner, _, method = full.rpartition(".")
            yield last_name(owner) if method in LOADERS else method

    def _note(self, node: cst.CSTNode, name: str, reason: str) -> None:
        self.notes.append(Note(self._line(node), name, reason))

    def _line(self, node: cst.CSTNode) -> int:
        position: CodeRange = self.get_metadata(PositionProvider, node)
        return position.start.line


def _text(node: cst.BaseExpression | None) -> str | None:
    """Return the value of a literal text."""
    value = node.evaluated_value if isinstance(node, cst.SimpleString | cst.ConcatenatedString) else None
    return value if isinstance(value, str) else None
