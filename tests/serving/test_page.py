"""The page at `/`: it is served, whole in itself, and small. `tests/page/` runs it in a browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import distilbert_serve
from distilbert_core.pipelines.records import FORMS
from distilbert_serve.bodies import BODIES
from support.serving import Server

PAGE = Path(distilbert_serve.__file__).with_name("page.html")
MOST_BYTES = 40_000
VOID = {"br", "input", "link", "meta"}
REFERENCES = {"for", "aria-describedby", "aria-labelledby"}  # attributes that hold ids


class Checker(HTMLParser):
    """Collects what is wrong with a page: elements that are not closed, ids, references, and what it would load."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.faults: list[str] = []
        self.feed(text)
        self.close()
        self.faults += [f"<{tag}> is not closed" for tag in self.open]
        self.faults += [f"two elements have the id {name}" for name in set(self.ids) if self.ids.count(name) > 1]
        self.faults += [f"nothing has the id {name}" for name in self.references if name not in self.ids]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(str(value))
            elif name in REFERENCES:
                self.references += str(value).split()
            elif name in ("src", "href", "srcset", "action", "data") and tag != "a":
                self.faults.append(f"<{tag} {name}> loads {value}")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes another element")


def faults(text: str) -> list[str]:
    found = Checker(text).faults
    found += [f"{match} leads elsewhere" for match in re.findall(r"https?:\S*|@import\b|\burl\(|//\w[\w-]*\.\w+", text)]
    return found


def test_the_page_is_served(server: Server) -> None:
    reply = server.ask("/")
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    assert reply.body == PAGE.read_bytes()
    policy = dict(part.strip().split(" ", 1) for part in reply.headers["Content-Security-Policy"].split(";"))
    assert (policy["default-src"], policy["connect-src"]) == ("'none'", "'self'")


def test_the_page_is_valid_and_loads_nothing() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>\n")
    assert faults(text) == []
    assert len(text.encode()) <= MOST_BYTES


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("<p>a", "<p> is not closed"),
        ("<p><b>a</p></b>", "</p> closes another element"),
        ("<p id=a></p><p id=a></p>", "two elements have the id a"),
        ("<label for=b>a</label>", "nothing has the id b"),
        ("<script src=x.js></script>", "<script src> loads x.js"),
        ("<a href=https://example.org/x>a</a>", "https://example.org/x>a</a> leads elsewhere"),
        ("<style>p { background: url(x.png) }</style>", "url( leads elsewhere"),
        ("<p>https://example.org/</p>", "https://example.org/</p> leads elsewhere"),
        ("<p>//cdn.example.org</p>", "//cdn.example leads elsewhere"),
    ],
)
def test_a_fault_is_found(text: str, fault: str) -> None:
    assert fault in faults(text)


def test_the_page_knows_all_tasks() -> None:
    table = re.search(r"\nconst TASKS = \{\n(.*?)\n\};\n", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert table
    tasks = re.findall(r'^  "?([\w-]+)"?: \{$', table[1], re.MULTILINE)
    assert sorted(tasks) == sorted(FORMS)
    for name, options in zip(tasks, re.findall(r"^    options: .*?=> \((.*)\),$", table[1], re.MULTILINE), strict=True):
        assert set(re.findall(r"(\w+)(?=[,:]| \})", options)) - {"true"} <= set(BODIES[name].model_fields)
