"""The README's Python runs, and prints what its comments say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)


@pytest.mark.parametrize("code", BLOCKS)
def test_example(code, capsys):
    exec(compile(code, str(README), "exec"), {})
    said = re.findall(r"^print\(.*\)  # (.*)$", code, re.M)
    assert said
    assert capsys.readouterr().out.splitlines() == said


def test_there_are_examples_and_two_commands():
    assert BLOCKS
    assert README.read_text(encoding="utf-8").count("```bash set-up") == 2
