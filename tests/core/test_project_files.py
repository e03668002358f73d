"""The files of the project beside the code: they agree with each other, and with tox, the package and the figures."""

from __future__ import annotations

import configparser
import importlib.util
import json
import re
from types import ModuleType

import pytest

import distilbert_core
from support.paths import ROOT


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


# -- tests/quick.txt ---------------------------------------------------------------------------------------------

QUICK = (ROOT / "tests/quick.txt").read_text(encoding="utf-8").splitlines()
FOLDERS = {"core", "cli", "conversion", "models", "pt", "tf", "flax", "serving"}


@pytest.mark.parametrize("line", QUICK)
def test_a_quick_test_exists(line: str) -> None:
    name, _, test = line.partition("::")
    text = (ROOT / name).read_text(encoding="utf-8")
    assert not test or f"def {test.partition('[')[0]}(" in text


def test_quick_tests_are_of_all_packages_and_backends() -> None:
    assert {line.split("/")[1] for line in QUICK} == FOLDERS
    backends = [re.findall(r"\[(pt|tf|flax)", line) for line in QUICK]
    assert min(sum(name in found for found in backends) for name in ("pt", "tf", "flax")) > 10


# -- pictures ----------------------------------------------------------------------------------------------------

PICTURES = ROOT / "docs/pictures"
SPEED = json.loads((PICTURES / "speed.json").read_text(encoding="utf-8"))


def drawing() -> ModuleType:
    """The script that draws the pictures."""
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "docs/site/pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_bars_show_the_table_of_the_page() -> None:
    page = (ROOT / "docs/performance.md").read_text(encoding="utf-8")
    table = page.split("### float32, with AVX512")[1].split("\n| (b) ")[1].split("\n\n")[0]
    here, *others = (re.split(r" *\| *", row)[1:3] for row in table.splitlines()[2:])
    assert here == ["here: PyTorch, Keras, Flax", ", ".join(map(str, SPEED["here"].values()))]
    assert [(name, float(value)) for name, value in others] == list(SPEED["others"].items())


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_bars_are_those_of_the_script(theme: str) -> None:
    assert (PICTURES / f"speed-{theme}.svg").read_text(encoding="utf-8") == drawing().bars(SPEED, theme)


def test_the_longest_bar_is_the_fastest() -> None:
    svg = drawing().bars({"title": "a < b", "here": {"x": 100}, "others": {"y": 50, "z": 25.5}}, "light")
    longest, *widths = map(float, re.findall(r"width='([0-9.]+)' height='18'", svg))
    assert [longest / width for width in widths] == pytest.approx([2, 100 / 25.5], rel=1e-3)
    assert "a &lt; b" in svg
