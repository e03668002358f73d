"""Programs on disk: Python files and notebooks, and the differences that a migration makes."""

from __future__ import annotations

import codecs
import difflib
import io
import json
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libcst as cst

from distilbert_cli.migration.analysis import Note
from distilbert_cli.migration.names import LIBRARY
from distilbert_cli.migration.rewriting import rewrite
from distilbert_core.errors import DistilBertError, InputError
from distilbert_core.files.atomic import replace_files
from distilbert_core.files.boundary import reading
from distilbert_core.files.json_files import read_json
from distilbert_core.files.records import decoded_lines

SUFFIXES = (".py", ".ipynb")
SKIPPED = {".git", ".venv", "venv", "node_modules", "__pycache__", "site-packages", ".ipynb_checkpoints"}
CELL = "#%%distilbert-migrate-cell"  # begins each cell of a notebook, while its code is one program
# Lines of IPython that are not Python: magics, commands of the shell, their results as values, and questions.
MAGIC = re.compile(r"^(\s*)(%%?\w.*|[!?].*|[\w, ]+=[ \t]*(?:!|%\w).*|[\w.]+\?{1,2}[ \t]*)$", re.MULTILINE)
# A cell in another language. The magics that are named here have Python after them.
OTHER_CELL = re.compile(r"\s*%%(?!(?:time|timeit|capture|prun)\b)\w")
HIDDEN = re.compile(r"^(\s*)pass  #%%distilbert-migrate-magic (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Left:
    """A place that was left as it is: the file, the line, the name in Transformers, and why."""

    path: Path
    line: int
    name: str
    reason: str


@dataclass(frozen=True)
class Migration:
    """The migration of a program.

    Attributes:
        path: The program.
        diff: The difference, as `diff -u` shows it; '' if there is none.
        content: The new content of the file.
        left: What was left. In a notebook, lines count over all of its cells with code.
    """

    path: Path
    diff: str
    content: bytes
    left: list[Left]

    def write(self) -> None:
        """Replace the file by its new content. Its mode stays, and a link stays a link."""
        path = self.path.resolve()
        mode = stat.S_IMODE(path.stat().st_mode)
        replace_files(path.parent, {path.name: self.content})
        path.chmod(mode)


def migrate(path: str | Path) -> Iterator[Migration]:
    """Yield the migrations of the programs at a path, of those that use Transformers. Nothing is written.

    Args:
        path: A .py file, a notebook, or a folder of them.

    Raises:
        InputError: The path does not exist, or a file is neither.
        DistilBertError: The one file cannot be read. In a folder, such a file is one that is left.
    """
    root = Path(path).expanduser()
    if root.is_file() and root.suffix not in SUFFIXES:
        raise InputError(f"{path} must be a .py file, a notebook (.ipynb), or a folder of them.")
    if not root.exists():
        raise InputError(f"{path} must be a .py file, a notebook (.ipynb), or a folder of them; it does not exist.")
    if root.is_file():
        yield from _migrate_file(root)
        return
    for file in sorted(_programs(root)):
        try:
            yield from _migrate_file(file)
        except DistilBertError as error:  # the others are migrated
            yield Migration(file, "", b"", [Left(file, 1, "", str(error))])


def _programs(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.suffix in SUFFIXES and path.is_file() and not SKIPPED & {*path.relative_to(folder).parts}:
            yield path


def _migrate_file(path: Path) -> Iterator[Migration]:
    """Yield the migration of a file, if it uses Transformers."""
    with reading(path, "a program"):
        stored = path.read_bytes()
    if LIBRARY.encode() not in stored:
        return
    notebook = read_json(path, "a notebook", "json") if path.suffix == ".ipynb" else None
    source = "".join(decoded_lines(path)) if notebook is None else _source_of(path, notebook)
    try:
        rewritten, notes = rewrite(source, path.parent)
    except cst.ParserSyntaxError as error:
        notes, rewritten = [Note(error.raw_line, "", f"is not Python of this version: {error.message}")], source
    mark = codecs.BOM_UTF8 if stored.startswith(codecs.BOM_UTF8) else b""
    content = mark + rewritten.encode() if notebook is None else _with_source(notebook, rewritten)
    left = [Left(path, note.line, note.name, note.reason) for note in notes]
    yield Migration(path, _diff(path, source, rewritten), content, left)


def _diff(path: Path, before: str, after: str) -> str:
    old, new = ([*io.StringIO(_shown(text), newline="\n")] for text in (before, after))
    lines = difflib.unified_diff(old, new, str(path), f"{path} (migrated)")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _shown(source: str) -> str:
    """Return a program without the marks of a notebook's cells."""
    return HIDDEN.sub(r"\1\2", source).replace(CELL, "# cell")


# -- notebooks: the code of all cells is one program, so that one may import what another one uses ------------------


def _code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def _source_of(path: Path, notebook: dict[str, Any]) -> str:
    """Return the code of a notebook. Lines for IPython become statements that do nothing."""
    with reading(path, "a notebook"):
        cells = ["".join(cell["source"]) for cell in _code_cells(notebook)]
    return "".join(f"{CELL}\n{_hidden(cell)}\n" for cell in cells)


def _hidden(cell: str) -> str:
    """Return the code of a cell in which all that is not Python does nothing; `_shown` is the way back."""
    if OTHER_CELL.match(cell):
        return re.sub("^", "pass  #%%distilbert-migrate-magic ", cell, flags=re.MULTILINE)
    return MAGIC.sub(r"\1pass  #%%distilbert-migrate-magic \2", cell)


def _with_source(notebook: dict[str, Any], source: str) -> bytes:
    """Return the content of a notebook with new code."""
    cells = HIDDEN.sub(r"\1\2", source).split(f"{CELL}\n")[1:]
    for cell, code in zip(_code_cells(notebook), cells, strict=True):
        lines = code.removesuffix("\n").splitlines(keepends=True)
        cell["source"] = lines if isinstance(cell["source"], list) else "".join(lines)
    return (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode()
