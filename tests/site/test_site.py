"""The site of the documentation in a headless Chromium: search, pictures, API pages, and widths."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from support.browsing import launched
from support.paths import ROOT

SCREENS = {"desktop": (1280, 900), "phone": (390, 844)}
# The right edges of what no parent of it lets the reader scroll to, in pixels beyond the screen.
WIDE = """() => [...document.querySelectorAll("article table, article pre, article img, article p")].filter(element => {
    for (let parent = element; parent && parent !== document.body; parent = parent.parentElement)
        if (getComputedStyle(parent).overflowX !== "visible") return false;
    return element.getBoundingClientRect().right > innerWidth + 1;
}).map(element => element.outerHTML.slice(0, 100))"""


class Handler(SimpleHTTPRequestHandler):
    """Serves files without a line for each."""

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site. A warning of MkDocs, such as a broken link, is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    made = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture(scope="session")
def address(folder: Path) -> Iterator[str]:
    """The address of a server of the site."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser of all tests."""
    with launched() as browser:
        yield browser


@pytest.fixture
def visit(chromium: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """A function that makes a page: `visit(screen, scheme)`. A request to another host fails the test."""
    contexts, faults = [], []

    def make(screen: str = "desktop", scheme: str = "light") -> Page:
        width, height = SCREENS[screen]
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, base_url=address
        )
        contexts.append(context)
        context.set_default_timeout(60_000)
        page = context.new_page()
        page.on("request", lambda request: request.url.startswith((address, "data:")) or faults.append(request.url))
        page.on("response", lambda response: response.status < 400 or faults.append(response.url))
        page.on("pageerror", lambda error: faults.append(str(error)))
        return page

    yield make
    for context in contexts:
        context.close()
    assert faults == []


def search(page: Page, words: str) -> None:
    """Type words into the field of the search, once it has loaded its index: what is typed before is lost."""
    page.goto("")
    page.click("[data-md-component=search-query]")
    page.get_by_text("Type to start searching").wait_for()
    page.locator("[data-md-component=search-query]").press_sequentially(words, delay=50)
    page.locator(".md-search-result__meta", has_text="matching").wait_for()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("offset", "tokenizers/"),
        ("tf_model.h5", "conversion/"),
        ("FlaxDistilBertForMaskedLM", "api/flax/"),
        ("head_mask", "api/pytorch/"),
        ("packing", "performance/"),
    ],
)
def test_search(visit: Callable[..., Page], words: str, expected: str) -> None:
    page = visit()
    search(page, words)
    page.locator(f".md-search-result__item a[href*='/{expected}?h=']").first.wait_for(state="attached")


def test_search_that_finds_nothing(visit: Callable[..., Page]) -> None:
    page = visit()
    search(page, "qqqzzz")
    page.get_by_text("No matching documents").wait_for()


@pytest.mark.parametrize(("screen", "scheme"), [("desktop", "light"), ("phone", "dark")])
def test_no_page_is_wider_than_the_screen(visit: Callable[..., Page], folder: Path, screen: str, scheme: str) -> None:
    page = visit(screen, scheme)
    names = sorted(path.parent.relative_to(folder).as_posix() for path in folder.rglob("index.html"))
    assert len(names) > 40
    wide = {}
    for name in names:
        page.goto("" if name == "." else f"{name}/")
        beyond = page.evaluate("document.scrollingElement.scrollWidth - innerWidth")
        if beyond > 0 or page.evaluate(WIDE):
            wide[name] = beyond, page.evaluate(WIDE)
    assert wide == {}


def test_a_wide_table_is_found(visit: Callable[..., Page]) -> None:
    page = visit("phone")
    page.goto("numerics/")
    assert page.evaluate(WIDE) == []
    page.evaluate("""document.querySelector("article").innerHTML = "<p style='width: 900px'>x</p>" """)
    assert len(page.evaluate(WIDE)) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_of_the_first_page(visit: Callable[..., Page], scheme: str) -> None:
    page = visit("desktop", scheme)
    page.goto("")
    pictures = page.locator("article img")
    shown = pictures.evaluate_all(
        "images => images.map(image => [image.currentSrc.split('/').pop(), image.naturalWidth > 0])"
    )
    assert shown == [["answer.svg", True], [f"speed-{scheme}.svg", True]]


def test_every_block_of_code_is_one(folder: Path) -> None:
    """A fence that the site does not know would be a paragraph."""
    pages = [path for path in folder.rglob("index.html") if "```" in path.read_text(encoding="utf-8")]
    assert pages == []


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("pytorch", "distilbert_pt.heads.DistilBertForMaskedLM"),
        ("keras", "distilbert_tf.heads.TFDistilBertForMaskedLM"),
        ("flax", "distilbert_flax.heads.FlaxDistilBertForMaskedLM"),
    ],
)
def test_pages_of_the_api_have_arguments_and_examples(visit: Callable[..., Page], name: str, call: str) -> None:
    page = visit()
    page.goto(f"api/{name}/")
    entry = page.locator(f"[id='{call}'] + .doc-contents").first
    assert "config" in entry.inner_text()
    assert ">>>" in entry.inner_text()
    assert "[B, T]" in page.inner_text("article")
    assert "Raises" in page.inner_text("article")
