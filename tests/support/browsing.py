"""Chromium, and what a person does on the page of `distilbert serve`, with Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, sync_playwright

TASKS = ("predict", "tag", "answer", "fill-mask", "embed", "choose", "zero-shot")
ANSWERED = "#result > *, .error:not(:empty)"


@contextmanager
def launched() -> Iterator[Browser]:
    """Debian's Chromium, the one that the variable CHROMIUM names, or Playwright's own."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        # Chromium's sandbox refuses to run as root, as in a container.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


def choose_task(page: Page, task: str) -> None:
    """Select a task, without touching its fields."""
    page.check(f"#tasks input[value={task}]")


def run(page: Page) -> str:
    """Press the button, wait for the answer or for an error, and return the line of the status."""
    page.get_by_role("button", name="Run").click()
    page.wait_for_selector(ANSWERED)
    return page.inner_text("#status")


def ask(page: Page, task: str, model: str = "", **fields: str) -> str:
    """Select a task and a model, fill in fields, and run."""
    choose_task(page, task)
    if model:
        page.select_option("#model", model)
    for name, value in fields.items():
        page.fill(f"#field-{name}", value)
    return run(page)


def rows(page: Page, table: int = 0) -> list[list[str]]:
    """The texts of the cells of a table of the answer, by row."""
    body = page.locator("#result table").nth(table).locator("tbody tr")
    return [row.locator("th, td").all_inner_texts() for row in body.all()]


def marks(page: Page) -> list[str]:
    """The marked pieces of the text above the table, without the names of their labels."""
    return page.locator("#result .text mark").evaluate_all("marks => marks.map(mark => mark.firstChild.data)")
