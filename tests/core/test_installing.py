"""The extras of the package, and the `pip install` commands in messages and in the README."""

from __future__ import annotations

import re
import tomllib

import pytest

from distilbert_core import BACKENDS
from support.paths import ROOT

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def wheels(extra: str) -> set[str]:
    """Return the names of the packages of an extra, on x86-64."""
    found = set()
    for wanted in EXTRAS[extra]:
        name, _, inner = re.match(r"([\w-]+)(\[(.*?)\])?", wanted).groups()
        if name == "distilbert":
            found |= {package for other in inner.split(",") for package in wheels(other)}
        elif "!= 'x86_64'" not in wanted:
            found.add(name)
    return found


@pytest.mark.parametrize("name", BACKENDS)
def test_the_command_of_a_backend(name):
    extra = re.fullmatch(r'pip install "distilbert\[(.*)\]"', BACKENDS[name].install_command)[1]
    assert set(BACKENDS[name].requires) <= wheels(extra)


def test_which_tensorflow():
    """The two wheels have the same files: where one is installed, an extra must not bring the other."""
    of_extras = {extra: wheels(extra) & {"tensorflow", "tensorflow-cpu"} for extra in EXTRAS}
    assert {extra for extra, found in of_extras.items() if "tensorflow-cpu" in found} == {"tf-cpu", "all-cpu"}
    assert {extra for extra, found in of_extras.items() if "tensorflow" in found} == {"tf", "all"}
    assert wheels("all") - {"tensorflow"} == wheels("all-cpu") - {"tensorflow-cpu"}


def test_commands_and_environments_name_extras():
    for file in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for group in re.findall(r'"(?:distilbert|\.)\[([\w,-]+)\]"', file.read_text()):
            assert set(group.split(",")) <= EXTRAS.keys(), file
    assert '".[all-cpu]"' in (ROOT / "README.md").read_text()
    environments = (ROOT / "tox.ini").read_text()
    assert "    tf: tf-cpu\n" in environments
    assert ": all-cpu\n" in environments
