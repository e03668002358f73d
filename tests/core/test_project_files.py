"""The files of the project beside the code: they agree with each other, and with tox and the package."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import distilbert_core

ROOT = Path(__file__).parents[2]


def environments() -> set[str]:
    """The environments that tox.ini has."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    names = {"core", "pt", "tf", "flax", "cross"}  # of the section [testenv]
    for section in tox.sections():
        _, _, name = section.partition("testenv:")
        stem, _, factors = name.partition("{")
        names |= {stem + factor for factor in factors.rstrip("}").split(",")} - {""}
    return names


def test_workflows_run_environments_of_tox() -> None:
    named: set[str] = set()
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        text = path.read_text(encoding="utf-8")
        named |= set(re.findall(r"environment: ([\w-]+)", text))
        for listed in re.findall(r"tox run -e ([\w,-]+)", text):
            named |= set(listed.split(","))
        for listed in re.findall(r"environment: \[(.*?)\]", text):
            named |= set(listed.split(", "))
    assert len(named) > 15
    assert named <= environments()


def test_the_citation_has_the_version_of_the_package() -> None:
    assert f"\nversion: {distilbert_core.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_changelog_begins_with_the_version_of_the_package() -> None:
    first = re.search(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert first is not None
    assert first[1] == distilbert_core.__version__
