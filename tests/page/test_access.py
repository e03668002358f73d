"""The page without a mouse, for screen readers, in light and dark, and on small screens: axe-core finds no fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from support.browsing import ANSWERED, TASKS, ask, choose_task, run

Visit = Callable[..., Page]
SCREENS = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "narrow": {"color_scheme": "light", "viewport": {"width": 320, "height": 640}},
    "narrow-dark": {"color_scheme": "dark", "viewport": {"width": 320, "height": 640}},
}
BEST_PRACTICES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def violations(page: Page) -> list[str]:
    found = Axe().run(page, options=BEST_PRACTICES).response["violations"]
    return [f"{one['id']}: {node['html']}: {node['failureSummary']}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("screen", SCREENS)
def test_each_task_on_each_screen(visit: Visit, screen: str, pictures: Path) -> None:
    page = visit(**SCREENS[screen])
    for task in TASKS:
        choose_task(page, task)
        if task == "tag":
            page.locator("#examples button").nth(1).click()
        run(page)
        assert page.inner_text("#error") == ""
        assert violations(page) == [], task
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{task} is wider than the screen"
        page.screenshot(path=pictures / f"{task}-{screen}.png", full_page=True)


@pytest.mark.parametrize("screen", SCREENS)
def test_errors_and_forms(visit: Visit, screen: str, pictures: Path) -> None:
    page = visit("#task=none", **SCREENS[screen])
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('forbidden')) }")
    page.get_by_role("button", name="Copy as curl").click()
    page.wait_for_selector("#copy-text")
    assert violations(page) == []
    page.route("**/tag", lambda route: route.fulfill(status=401, json={"error": "This server needs a token."}))
    ask(page, "fill-mask", text="no mask")
    page.fill("#field-text", "no mask now")
    assert violations(page) == []
    choose_task(page, "tag")
    run(page)
    assert page.is_visible("#token-form")
    assert violations(page) == []
    page.screenshot(path=pictures / f"errors-{screen}.png", full_page=True)


def test_axe_finds_a_violation(visit: Visit) -> None:
    page = visit()
    page.locator("label[for=model]").evaluate("label => label.remove()")
    page.locator("h1").evaluate("title => { title.style.color = '#999' }")
    assert {fault.split(":")[0] for fault in violations(page)} >= {"select-name", "color-contrast"}


def focused(page: Page) -> str:
    return str(
        page.evaluate(
            "() => document.activeElement.id || document.activeElement.value || document.activeElement.textContent"
        )
    )


def test_the_keyboard_alone(visit: Visit) -> None:
    page = visit()
    order = []
    while len(order) < 14:
        page.keyboard.press("Tab")
        order.append(focused(page))
    assert order[:4] == ["routes", "theme", "predict", "model"]
    assert [order.index(name) for name in ("field-text", "field-pair", "Run", "curl", "link")] == [7, 8, 9, 10, 11]
    page.keyboard.press("Escape")
    while focused(page) != "predict":
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert focused(page) == "answer"
    while focused(page) != "field-question":
        page.keyboard.press("Tab")
    page.keyboard.press("Control+A")
    page.keyboard.type("Who?")
    page.keyboard.press("Tab")
    page.keyboard.press("Control+A")
    page.keyboard.type("Ada wrote it, and Charles built it.")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(ANSWERED)
    assert focused(page) == "field-context"  # an answer does not move the focus; it is announced
    first = page.locator("#result mark").inner_text()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('#result button[aria-pressed=false]')"):
            break
    page.keyboard.press("Space")
    assert page.locator("#result mark").inner_text() != first


def test_every_focus_is_visible(visit: Visit) -> None:
    page = visit("#task=answer&question=a&context=a+b")
    run(page)
    page.locator("#theme").focus()
    for _ in range(16):
        page.keyboard.press("Tab")
        outline = page.evaluate(
            """() => {
                const element = document.activeElement;
                const shown = element.closest('.pill') ?? element;
                return element === document.body ? '3px' : getComputedStyle(shown).outlineWidth;
            }"""
        )
        assert outline == "3px", focused(page)


def test_what_screen_readers_are_told(visit: Visit) -> None:
    page = visit()
    tree = page.locator("body").aria_snapshot()
    for line in (
        'heading "DistilBERT" [level=1]',
        'group "Task"',
        'radio "Classify" [checked]',
        'combobox "Model"',
        'group "Examples"',
        'textbox "Text"',
        'region "Answer"',
        "status",
    ):
        assert line in tree, tree
    ask(page, "predict", "moods", text="A film.")
    tree = page.locator("#answer").aria_snapshot()
    assert 'table "Labels"' in tree
    assert "rowheader" in tree
    assert "in " in page.get_by_role("status").inner_text()
    ask(page, "fill-mask", "masked_lm", text="no mask")
    assert page.locator("#error[role=alert]").inner_text() != ""
    ask(page, "embed", "moods", sentences="a\nb")
    assert 'region "Matrix of similarities"' in page.locator("#answer").aria_snapshot()


def test_the_theme_is_kept(visit: Visit) -> None:
    page = visit(color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.select_option("#theme", "dark")
    dark = page.evaluate(background)
    assert dark != light
    page.reload()
    page.wait_for_selector("#tasks input")
    assert page.evaluate(background) == dark
    page.select_option("#theme", "light dark")
    assert page.evaluate(background) == light
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(background) == dark


def test_reduced_motion(visit: Visit) -> None:
    page = visit(reduced_motion="reduce")
    ask(page, "predict", "moods", text="A film.")
    duration = "bar => getComputedStyle(bar).transitionDuration"
    assert page.locator("#result .bar").first.evaluate(duration) == "0s"
    page.emulate_media(reduced_motion="no-preference")
    assert page.locator("#result .bar").first.evaluate(duration) == "0.25s"


@pytest.mark.parametrize(("text", "direction"), [("سافرت ليلى إلى باريس.", "rtl"), ("Layla went to Paris.", "ltr")])
def test_texts_keep_their_direction(visit: Visit, text: str, direction: str) -> None:
    page = visit()
    ask(page, "tag", "entities", text=text)
    for selector in ("#field-text", "#result .text"):
        assert page.locator(selector).evaluate("element => getComputedStyle(element).direction") == direction
