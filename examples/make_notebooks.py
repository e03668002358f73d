"""Make notebooks of the task guides, one per guide and framework.

A guide (docs/tasks/*.md) has the sections "### PyTorch", "### Keras" and "### JAX / Flax". A notebook has one of them,
and all other sections. Notebooks are not part of the repository, since the guides have every line of them.

    pip install jupytext nbclient ipykernel
    python examples/make_notebooks.py build/notebooks
    python examples/make_notebooks.py build/notebooks --backend flax --run
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
GUIDES = ROOT / "docs" / "tasks"
HEADINGS = {"pt": "PyTorch", "tf": "Keras", "flax": "JAX / Flax"}  # backend -> heading of its sections
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def sections(text: str) -> Iterator[str]:
    """Yield the sections of a page, each with its heading; a heading within a block of code is not one."""
    lines, fenced = [], False
    for line in text.splitlines(keepends=True):
        if line.startswith("```"):
            fenced = not fenced
        if line.startswith("#") and not fenced and lines:
            yield "".join(lines)
            lines = []
        lines.append(line)
    yield "".join(lines)


def of_backend(text: str, backend: str) -> str:
    """Return a guide without the sections of the other backends."""
    others = {f"### {heading}" for name, heading in HEADINGS.items() if name != backend}
    return "".join(section for section in sections(text) if section.partition("\n")[0] not in others)


def blocks(text: str) -> list[str]:
    """Return the blocks of Python on a page."""
    return BLOCK.findall(text)


def write_notebook(text: str, path: Path) -> None:
    """Write a page in Markdown as a notebook: blocks of Python are its cells, and all others stay text."""
    import jupytext

    notebook = jupytext.reads(text.replace("```bash", "```console"), fmt="md")  # it would run bash too
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    jupytext.write(notebook, path, fmt="ipynb")


def run(path: Path) -> float:
    """Run a notebook, write its outputs into it, and return the seconds; a cell that fails is an error."""
    import nbformat
    from nbclient import NotebookClient

    started = time.perf_counter()
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    nbformat.write(notebook, path)
    return time.perf_counter() - started


def main() -> None:
    """Write the notebooks that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder to write to")
    parser.add_argument("--backend", choices=HEADINGS, action="append", help="pt, tf or flax; default: all three")
    parser.add_argument("--run", action="store_true", help="also run each notebook, and print its seconds")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for guide in sorted(GUIDES.glob("*.md")):
        for backend in arguments.backend or HEADINGS:
            path = arguments.folder / f"{guide.stem}-{backend}.ipynb"
            write_notebook(of_backend(guide.read_text(encoding="utf-8"), backend), path)
            if arguments.run:
                print(f"{path.name}: {run(path):.1f} s", flush=True)


if __name__ == "__main__":
    main()
