"""Every reader of files from outside is behind the boundary: read from the source, function by function."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from support.paths import ROOT

PACKAGES = (
    *("distilbert_core", "distilbert_pt", "distilbert_tf", "distilbert_flax", "weight_conversion", "distilbert_cli"),
)
# Calls that read bytes from outside, or parse them: the last part of the name, or 'module.name' where it is ambiguous.
READS = {"read_text", "read_bytes", "safe_open", "load_file", "fromfile", "memmap", "from_str", "from_file"}
READS |= {"json.loads", "json.load", "h5py.File", "zipfile.ZipFile", "gzip.open", "torch.load", "np.load", "csv.reader"}
READS |= {"msgpack.Unpacker", "msgpack.unpackb", "tensorstore.open", "pickletools.genops", "ElementTree.parse", "open"}
BOUNDARIES = {"reading", "reads"}  # of distilbert_core.files.boundary

# Readers whose callers set the boundary up -> the caller. An entry stands for all readers that begin with it.
OPENED = "weight_conversion/reading.py open_checkpoint"
INSIDE = {
    "weight_conversion/formats/": OPENED,
    "weight_conversion/reading.py _open: ": OPENED,
    "weight_conversion/reading.py _open_adapter: ": OPENED,
    "distilbert_core/files/checkpoint.py": "distilbert_core/files/checkpoint.py Checkpoint.__init__",
    "distilbert_core/files/records.py _open: ": "distilbert_core/files/records.py decoded_lines",
    "distilbert_core/tokenization/fast.py": "distilbert_core/tokenization/base.py BaseTokenizer.__init__",
}
# Readers that need no boundary -> the reason.
TRUSTED = {
    "distilbert_cli/__init__.py": "opens the null device",
    "distilbert_cli/info.py": "the text of a configuration that was read before",
    "distilbert_cli/turns.py": "answers of the command's own processes, and the kernel's files",
    "distilbert_core/files/checksums.py file_sum": "the bytes are only added up",
    "distilbert_core/files/journal.py flush": "opens a file to flush it to the disk",
    "distilbert_core/files/json_files.py parse_json": "raises its own errors, which have the name of the file",
    "distilbert_core/files/locks.py": "the lock of a folder, which has no content",
    "distilbert_core/files/records.py _parse_csv": "the lines are behind the boundary; _csv_rows names the line",
    "distilbert_core/pipelines/measuring.py": "the command's own processes, and the kernel's files",
    "distilbert_core/tokenization/library_engine.py": "the text of a tokenizer in memory",
    "distilbert_core/tokenization/training.py": "the text of a tokenizer in memory",
    "distilbert_core/training/data.py": "TokenShards.open",
    "distilbert_core/training/shard_writing.py": "TokenShards.open",
    "distilbert_core/training/distillation/cache.py TeacherCache.open": "settings of the caller",
    "distilbert_core/training/distillation/distilling.py": "TeacherCache.open",
    "distilbert_core/training/sources.py file_checksum": "the bytes are not looked at; the file has been read before",
    "distilbert_flax/trees.py": "the names of a tree in memory",
    "distilbert_tf/saving.py": "the text of a configuration in memory",
    "weight_conversion/students/vocabulary.py": "the files of a tokenizer that was loaded before",
}


def read_calls(source: str) -> Iterator[tuple[str, str, bool]]:
    """Yield each call that reads: the function that it is in, the call, and whether it is behind the boundary."""

    def visit(node: ast.AST, names: tuple[str, ...], inside: bool) -> Iterator[tuple[str, str, bool]]:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = (*names, node.name)
            inside = inside or any(_name(item) in BOUNDARIES for item in node.decorator_list)
        if isinstance(node, ast.With):
            # In `with reading(...), path.open()`, what follows the boundary is inside.
            for item in node.items:
                yield from visit(item.context_expr, names, inside)
                inside = inside or any(_name(part) in BOUNDARIES for part in ast.walk(item.context_expr))
            for child in node.body:
                yield from visit(child, names, inside)
            return
        if isinstance(node, ast.Call) and (call := _read(node)):
            yield ".".join(names), call, inside
        for child in ast.iter_child_nodes(node):
            yield from visit(child, names, inside)

    return visit(ast.parse(source), (), False)


def _name(node: ast.AST) -> str:
    """The last part of the name of what is called."""
    if isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _read(call: ast.Call) -> str:
    """The name of a call that reads; empty for another call, such as opening a file to write."""
    name = _name(call)
    owner = _name(call.func.value) if isinstance(call.func, ast.Attribute) else ""
    first = 0 if isinstance(call.func, ast.Attribute) and name == "open" else 1  # path.open(mode), or open(path, mode)
    modes = [*call.args[first:], *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    texts = [node.value for node in modes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    if name in ("open", "File", "ZipFile") and any(set(text) & set("wax") for text in texts if len(text) < 4):
        return ""
    qualified = f"{owner}.{name}"
    return qualified if qualified in READS else name if name in READS else ""


def unguarded() -> Iterator[str]:
    """Each function with a call that reads outside of the boundary, as 'path function: calls'."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for function, call, inside in read_calls(path.read_text()):
                if not inside:
                    yield f"{path.relative_to(ROOT).as_posix()} {function}: {call}"


def is_guarded(place: str) -> bool:
    """Whether a function, 'path name', sets the boundary up."""
    path, _, name = place.partition(" ")
    node: ast.AST = ast.parse((ROOT / path).read_text())
    for part in name.split("."):
        node = next(n for n in ast.iter_child_nodes(node) if getattr(n, "name", None) == part)
    return any(_name(inner) in BOUNDARIES for inner in ast.walk(node) if isinstance(inner, ast.Call))


def test_every_reader_is_behind_the_boundary() -> None:
    known = (*INSIDE, *TRUSTED)
    assert [reader for reader in unguarded() if not reader.startswith(known)] == []


def test_the_tables_name_only_readers_that_exist() -> None:
    readers = list(unguarded())
    assert [entry for entry in (*INSIDE, *TRUSTED) if not any(reader.startswith(entry) for reader in readers)] == []


@pytest.mark.parametrize("place", sorted(set(INSIDE.values())))
def test_the_callers_of_readers_set_the_boundary_up(place: str) -> None:
    assert is_guarded(place)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f(path):\n    return path.read_text()", [("f", "read_text", False)]),
        ("def f(path):\n    with reading(path, 'x'):\n        return json.loads(path)", [("f", "json.loads", True)]),
        ("@reads('x')\ndef f(path):\n    return h5py.File(path, 'r')", [("f", "h5py.File", True)]),
        ("def f(path):\n    with reading(path, 'x'), path.open('rb') as file:\n        pass", [("f", "open", True)]),
        ("def f(path):\n    with path.open() as file, reading(path, 'x'):\n        pass", [("f", "open", False)]),
        ("class A:\n    def f(self):\n        open('x')", [("A.f", "open", False)]),
        ("def f(path):\n    path.open('w').write('')\n    h5py.File(path, 'w')\n    loads(path)", []),
    ],
)
def test_calls_that_read_are_found(source: str, found: list[tuple[str, str, bool]]) -> None:
    assert list(read_calls(source)) == found
