"""The Python in the README and the documents runs, and prints what its comments say."""

from __future__ import annotations

import html
import re
import shlex

import pytest

from distilbert_cli import main
from support.fences import all_blocks
from support.paths import ROOT

GUIDES = "docs/tasks/"  # their blocks follow each other: models/test_task_guides.py
BLOCKS = [(page, block.code) for page, block in all_blocks() if block.info == "python" and GUIDES not in page]
NUMBER = re.compile(r"[-+]?\d+\.\d+")


@pytest.mark.parametrize(("name", "code"), BLOCKS)
@pytest.mark.filterwarnings("ignore:.*freshly initialised, train before use:UserWarning")
def test_example(name, code, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, name, "exec"), {})
    said = re.findall(r"^print\(.*\)  # (.*)$", code, re.M)
    assert said
    assert capsys.readouterr().out.splitlines() == said


def test_there_are_examples_and_two_commands():
    names = "bias conversion data distillation finetuning flax keras pipelines pytorch tokenizers"
    docs = [f"docs/{name}.md" for name in [*names.split(), "start/flax", "start/keras", "start/pytorch"]]
    assert {name for name, _ in BLOCKS} == {"README.md", "distilbert_core/models/sst2-tiny/README.md", *docs}
    assert (ROOT / "README.md").read_text(encoding="utf-8").count("```bash set-up") == 2


def words(text):
    """The words and numbers of what `predict` prints, without the rule and the difference at the end."""
    found = re.findall(r"[^\s─]+", text.partition("largest")[0])
    return [float(word) if NUMBER.fullmatch(word) else word for word in found]


def test_the_picture_shows_what_the_command_prints(capsys):
    svg = (ROOT / "docs/pictures/answer.svg").read_text(encoding="utf-8")
    shown = html.unescape("\n".join(re.findall(r'<text class="terminal-r.*?>(.*?)</text>', svg))).replace("\xa0", " ")
    command, _, answer = shown.partition("\n")
    program, *arguments = shlex.split(command.removeprefix("$"))
    assert program == "distilbert"
    assert main(arguments) == 0
    printed = words(capsys.readouterr().out)
    assert sum(isinstance(word, float) for word in printed) == 9
    for word, expected in zip(words(answer), printed, strict=True):
        assert word == (pytest.approx(expected, abs=1e-5) if isinstance(expected, float) else expected)
