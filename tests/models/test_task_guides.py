"""The task guides run from top to bottom in each framework, and print what their comments say."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest

from support.paths import EXAMPLES, ROOT

sys.path.insert(0, str(EXAMPLES))

from make_notebooks import HEADINGS, blocks, of_backend, sections

GUIDES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs" / "tasks").glob("*.md"))}

# The pages differ in their data more than in their loops, and TensorFlow and JAX compile for seconds on each.
ORDINARY = {"question-answering", "text-classification", "zero-shot-classification"}
CASES = [pytest.param(name, marks=() if name in ORDINARY else pytest.mark.long) for name in GUIDES]


@pytest.mark.filterwarnings("ignore::distilbert_core.CheckpointWarning")  # of new heads
@pytest.mark.parametrize("guide", CASES)
def test_a_guide_runs(framework, guide, capsys):
    names: dict[str, Any] = {}
    for code in blocks(of_backend(GUIDES[guide], framework.name)):
        expected = re.findall(r"^print\(.*\)  # (.*)$", code, re.M)
        assert expected
        exec(compile(code, guide, "exec"), names)
        assert capsys.readouterr().out.splitlines() == expected


def test_a_notebook_has_the_sections_of_one_backend():
    page = (
        "# Task\n\nText.\n\n"
        + "".join(f"### {heading}\n\n```python\n# a comment\n{name} = 1\n```\n" for name, heading in HEADINGS.items())
        + "## Evaluate\n\n```python\ndone = 1\n```\n"
    )
    assert [section.partition("\n")[0] for section in sections(page)] == [
        "# Task",
        "### PyTorch",
        "### Keras",
        "### JAX / Flax",
        "## Evaluate",
    ]
    assert "".join(sections(page)) == page
    for name in HEADINGS:
        assert blocks(of_backend(page, name)) == [f"# a comment\n{name} = 1\n", "done = 1\n"]


@pytest.mark.parametrize("guide", GUIDES)
def test_a_guide_has_the_three_frameworks(guide):
    headings = [section.partition("\n")[0] for section in sections(GUIDES[guide])]
    assert [heading for heading in headings if heading.startswith("### ")] == [f"### {h}" for h in HEADINGS.values()]
    assert {"## Data", "## Predict", "## Evaluate", "## Serve and export", "## Pitfalls"} <= set(headings)
