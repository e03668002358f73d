"""The pages of the project, and the blocks of code in them."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.paths import ROOT

FENCE = re.compile(r"^( *)```(.*)\n((?:.*\n)*?)\1```$", re.MULTILINE)
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md")), ROOT / "tests/README.md"]
CARD = ROOT / "distilbert_core/models/sst2-tiny/README.md"


@dataclass(frozen=True)
class Block:
    """A block of code: the words behind its first fence, and its lines."""

    info: str
    code: str


def name_of(page: Path) -> str:
    """The path of a page in the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks_of(text: str) -> Iterator[Block]:
    """The blocks of a page, without their indentation."""
    for match in FENCE.finditer(text):
        yield Block(match[2].strip(), textwrap.dedent(match[3]))


def all_blocks() -> Iterator[tuple[str, Block]]:
    """Each block of each page, and the path of the page."""
    for page in [*PAGES, CARD]:
        for block in blocks_of(page.read_text(encoding="utf-8")):
            yield name_of(page), block


def command_lines(block: Block) -> Iterator[str]:
    """The calls of `distilbert` in a block of a shell, each without what follows it in its line."""
    if block.info.partition(" ")[0] != "bash":
        return
    for line in block.code.replace("\\\n", " ").splitlines():
        for part in re.split(r" *(?:\||&&?|;) *", line.partition("  #")[0]):
            match = re.match(r"(?:\w+=\S* )*(?:\S*/)?(distilbert [a-z].*?)(?: *2?>.*)?$", part.strip())
            if match:
                yield match[1]
