"""The Python in the README and the documents runs, and prints what its comments say."""

from __future__ import annotations

import re

import pytest

from support.paths import ROOT

README = ROOT / "README.md"
BLOCKS = [
    (path.name, code)
    for path in (README, *sorted((ROOT / "docs").glob("*.md")))
    for code in re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.S)
]


@pytest.mark.parametrize(("name", "code"), BLOCKS)
def test_example(name, code, capsys):
    exec(compile(code, name, "exec"), {})
    said = re.findall(r"^print\(.*\)  # (.*)$", code, re.M)
    assert said
    assert capsys.readouterr().out.splitlines() == said


def test_there_are_examples_and_two_commands():
    pages = "bias conversion data distillation finetuning flax keras pipelines pytorch tokenizers"
    assert {name for name, _ in BLOCKS} == {"README.md", *(f"{page}.md" for page in pages.split())}
    assert README.read_text(encoding="utf-8").count("```bash set-up") == 2
