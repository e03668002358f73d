"""The rewriting of a program: its imports, the names under `transformers.`, and arguments without a meaning here."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import libcst as cst
from libcst.helpers import get_full_name_for_node
from libcst.metadata import MetadataWrapper, ParentNodeProvider, QualifiedNameProvider

from distilbert_cli.migration.analysis import Analysis, Note, last_name, names_of
from distilbert_cli.migration.names import FORMATS, LIBRARY, OUTPUTS, home_of


def rewrite(source: str, folder: Path) -> tuple[str, list[Note]]:
    """Return a program for this package, and what was left.

    Args:
        source: The program.
        folder: Its folder, for the paths of checkpoints in it.

    Raises:
        libcst.ParserSyntaxError: It is not Python.

    Example:
        >>> from pathlib import Path
        >>> from distilbert_cli.migration.rewriting import rewrite
        >>> print(rewrite("from transformers import Trainer, TFDistilBertModel", Path())[0])
        from transformers import Trainer
        from distilbert_tf import TFDistilBertModel
    """
    wrapper = MetadataWrapper(cst.parse_module(source))
    analysis = Analysis.of(wrapper, folder)
    rewriter = _Rewriter(analysis.moved)
    rewritten = wrapper.visit(rewriter).code
    return rewritten, sorted({*analysis.notes})


class _Rewriter(cst.CSTTransformer):
    """Rewrites what moves.

    Args:
        moved: The names that move.
    """

    METADATA_DEPENDENCIES = (ParentNodeProvider, QualifiedNameProvider)

    def __init__(self, moved: set[str]):
        super().__init__()
        self._moved = moved
        self._needed: set[str] = set()  # packages whose names are used as attributes
        self._uses: Counter[str] = Counter()  # how often each name of the library is still used

    def _home(self, node: cst.CSTNode) -> tuple[str, str] | None:
        """Return the module here and the name of an object of Transformers that moves."""
        for full in names_of(self, node):
            home, name = home_of(full), last_name(full)
            if home is not None and name in self._moved:
                return home, name
        return None

    def leave_Attribute(self, original_node: cst.Attribute, updated_node: cst.Attribute) -> cst.BaseExpression:
        """Rewrite transformers.NAME."""
        found = self._home(original_node)
        full = get_full_name_for_node(original_node)
        if found is None or full is None or last_name(full) != found[1]:
            return updated_node
        self._needed.add(found[0])
        self._uses[full.partition(".")[0]] -= 1
        return cst.parse_expression(".".join((found[0], OUTPUTS.get(found[1], found[1]))))

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.Name:
        """Count a use of the library."""
        imported = isinstance(self.get_metadata(ParentNodeProvider, original_node), cst.ImportAlias | cst.AsName)
        if not imported and LIBRARY in names_of(self, original_node):
            self._uses[original_node.value] += 1
        return updated_node

    def leave_ImportFrom(
        self, original_node: cst.ImportFrom, updated_node: cst.ImportFrom
    ) -> cst.ImportFrom | cst.FlattenSentinel[cst.ImportFrom]:
        """Divide an import that shares its line with other statements."""
        line = self.get_metadata(ParentNodeProvider, original_node)
        groups = {} if isinstance(line, cst.SimpleStatementLine) and len(line.body) == 1 else self._groups(updated_node)
        return (
            cst.FlattenSentinel(_import(updated_node, *group) for group in groups.items()) if groups else updated_node
        )

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        """Remove from_pt and the like."""
        owner = original_node.func.value if isinstance(original_node.func, cst.Attribute) else None
        if owner is None or self._home(owner) is None:
            return updated_node
        kept = [
            argument
            for argument in updated_node.args
            if argument.keyword is None or argument.keyword.value not in FORMATS
        ]
        if len(kept) == len(updated_node.args):
            return updated_node
        if kept:  # the last argument keeps what follows it: a comma of its own only on lines of their own
            kept[-1] = kept[-1].with_changes(comma=updated_node.args[-1].comma)
        return updated_node.with_changes(args=kept)

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine | cst.FlattenSentinel[cst.SimpleStatementLine]:
        """Divide an import among the modules that have its names."""
        statement = updated_node.body[0]
        if len(updated_node.body) > 1 or not isinstance(statement, cst.ImportFrom):
            return updated_node
        groups = self._groups(statement)
        if not groups:
            return updated_node
        lines = [updated_node.with_changes(body=[_import(statement, *group)]) for group in groups.items()]
        comments = [cst.EmptyLine(comment=cst.Comment(text)) for text in _comments(groups)]
        lines = [
            line.with_changes(
                leading_lines=() if index else (*updated_node.leading_lines, *comments),
                trailing_whitespace=cst.TrailingWhitespace() if index < len(lines) - 1 else line.trailing_whitespace,
            )
            for index, line in enumerate(lines)
        ]
        return cst.FlattenSentinel(lines)

    def _groups(self, statement: cst.ImportFrom) -> dict[str, list[cst.ImportAlias]]:
        """Return imported names by their new module, '' for those that stay, which come first; {} if all stay."""
        module = get_full_name_for_node(statement.module) if statement.module else None
        if module is None or module.partition(".")[0] != LIBRARY or isinstance(statement.names, cst.ImportStar):
            return {}
        groups: dict[str, list[cst.ImportAlias]] = defaultdict(list)
        for alias in statement.names:
            name = alias.evaluated_name
            home = home_of(f"{module}.{name}") if name in self._moved else None
            groups[home or ""].append(alias)
        return {} if set(groups) == {""} else {home: groups[home] for home in sorted(groups)}

    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:
        """Import the packages whose names are used as attributes, after `import transformers`."""
        if not self._needed:
            return updated_node
        body = list(updated_node.body)
        new = [cst.parse_statement(f"import {package}") for package in sorted(self._needed)]
        index = next((i for i, line in enumerate(body) if _library(line)), None)
        if index is None:  # it is imported together with others, or in a function
            index = next((i for i, line in enumerate(body) if not _comes_first(line)), len(body))
            return updated_node.with_changes(body=[*body[:index], *new, *body[index:]])
        rest = updated_node.code_for_node(cst.Module(body=[*body[:index], *body[index + 1 :]]))
        name = _library(body[index])
        kept = [body[index]] if name and (self._uses[name] or f"{name}." in rest) else []
        if not kept:
            new[0] = new[0].with_changes(leading_lines=getattr(body[index], "leading_lines", ()))
        return updated_node.with_changes(body=[*body[:index], *kept, *new, *body[index + 1 :]])


def _library(line: cst.BaseStatement | cst.BaseSmallStatement) -> str | None:
    """Return the name under which a line imports Transformers, and nothing else; None for other lines."""
    statement = line.body[0] if isinstance(line, cst.SimpleStatementLine) else None
    if not isinstance(statement, cst.Import) or len(statement.names) > 1:
        return None
    alias = statement.names[0]
    return (alias.evaluated_alias or LIBRARY) if alias.evaluated_name == LIBRARY else None


def _comes_first(line: cst.BaseStatement | cst.BaseSmallStatement) -> bool:
    """Return whether a line is a docstring, or an import from __future__."""
    statement = line.body[0] if isinstance(line, cst.SimpleStatementLine) else None
    if isinstance(statement, cst.ImportFrom) and statement.module is not None:
        return get_full_name_for_node(statement.module) == "__future__"
    return isinstance(statement, cst.Expr) and isinstance(statement.value, cst.SimpleString)


def _comments(groups: Mapping[str, Sequence[cst.ImportAlias]]) -> list[str]:
    """Return the comments that follow imported names that move."""
    moved = [alias for home, aliases in groups.items() if home for alias in aliases]
    return [text for alias in moved for text in re.findall("#.*", cst.Module(body=()).code_for_node(alias))]


def _import(statement: cst.ImportFrom, home: str, aliases: Sequence[cst.ImportAlias]) -> cst.ImportFrom:
    """Return an import of some of the names of another one."""
    if not home:
        assert not isinstance(statement.names, cst.ImportStar)
        last = aliases[-1].with_changes(comma=statement.names[-1].comma)
        return statement.with_changes(names=[*aliases[:-1], last])
    plain = [_renamed(alias).with_changes(comma=cst.MaybeSentinel.DEFAULT) for alias in aliases]
    module = cst.parse_expression(home)
    assert isinstance(module, cst.Name | cst.Attribute)
    return cst.ImportFrom(module=module, names=plain)


def _renamed(alias: cst.ImportAlias) -> cst.ImportAlias:
    """Return an imported name as it is called here. The program keeps its own name for it."""
    ours = OUTPUTS.get(alias.evaluated_name)
    if ours is None:
        return alias
    kept = alias.asname or cst.AsName(cst.Name(alias.evaluated_name))
    return alias.with_changes(name=cst.Name(ours), asname=kept)
