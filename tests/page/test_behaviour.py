"""What the page does beside showing answers: links, copies, errors, the token, and what it must never do."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from distilbert_core import DEFAULT_MODEL
from support.browsing import ANSWERED, TASKS, ask, choose_task, marks, rows, run
from support.serving import Server, running, sources

Visit = Callable[..., Page]
HOSTILE = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>'
HARD = 'It\'s "$HOME" `id` \\ 100% & <b>=?#\n😀 東京 שלום'


# -- links --


def test_the_routes_of_the_server(visit: Visit) -> None:
    page = visit()
    page.get_by_role("link", name="routes").click()
    page.wait_for_url("**/docs")
    assert "/fill-mask" in page.inner_text("body")


def test_a_link_has_the_input(visit: Visit) -> None:
    page = visit()
    ask(page, "answer", "answers", question="Where? &=#%", context=HARD, top_k="2")
    page.check("#field-impossible")
    page.get_by_role("button", name="Copy link").click()
    other = visit(page.evaluate("location.hash"))
    assert other.input_value("#field-question") == "Where? &=#%"
    assert other.input_value("#field-context") == HARD
    assert other.input_value("#field-top_k") == "2"
    assert other.is_checked("#field-impossible")
    assert other.input_value("#model") == "answers"
    assert other.locator("#result > *").count() == 0  # a link does not run by itself
    run(other)
    page.uncheck("#field-impossible")
    page.check("#field-impossible")
    run(page)
    assert rows(other) == rows(page)


def test_typing_changes_the_link_and_a_new_fragment_the_input(visit: Visit) -> None:
    page = visit()
    page.fill("#field-text", "typed")
    page.wait_for_url("**/#*text=typed*")
    page.evaluate("() => { location.hash = 'task=fill-mask&text=A+[MASK]+b' }")
    page.wait_for_selector("#field-top_k")
    assert page.input_value("#field-text") == "A [MASK] b"
    assert page.is_checked("#tasks input[value=fill-mask]")


@pytest.mark.parametrize(
    ("fragment", "sentence"),
    [
        ("#task=paint&text=a", "The link names the task “paint”, which this page does not have."),
        (
            "#task=tag&model=gone&text=a",
            "The link names the model “gone”, which this server does not have for this task; another one is selected.",
        ),
        ("#task=toString", "The link names the task “toString”, which this page does not have."),
    ],
)
def test_a_link_that_this_server_cannot_follow(visit: Visit, fragment: str, sentence: str) -> None:
    assert visit(fragment).inner_text("#problem") == sentence


def test_another_task_keeps_a_typed_text_and_replaces_an_example(visit: Visit) -> None:
    page = visit()
    choose_task(page, "zero-shot")
    assert page.input_value("#field-labels") == "politics, sports, cooking"
    choose_task(page, "tag")
    assert page.input_value("#field-text").startswith("Ada Lovelace")
    page.fill("#field-text", "my text")
    choose_task(page, "zero-shot")
    assert page.input_value("#field-text") == "my text"
    assert page.input_value("#field-labels") == "politics, sports, cooking"


# -- copies --


def test_the_copied_command_gives_the_answer(visit: Visit) -> None:
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    ask(page, "predict", "moods", text=HARD)
    page.get_by_role("button", name="Copy as curl").click()
    page.wait_for_selector("#status:text('is copied')")
    command = page.evaluate("navigator.clipboard.readText()")
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=60)
    answer = json.loads(done.stdout)
    assert answer["text"] == HARD
    assert [row[1].strip() for row in rows(page)] == [f"{part['score']:.4f}" for part in answer["predictions"]]


def test_one_command_for_each_backend(visit: Visit, request: pytest.FixtureRequest) -> None:
    backends = request.config.tested_backends  # type: ignore[attr-defined]
    if len(backends) < 2:
        pytest.skip("needs two backends")
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    page.select_option("#model", f"{DEFAULT_MODEL}@*")
    page.get_by_role("button", name="Copy as curl").click()
    page.wait_for_selector("#status:text('is copied')")
    commands = page.evaluate("navigator.clipboard.readText()").split("\n")
    assert [f'"model":"{DEFAULT_MODEL}@{backend}"' in line for backend, line in zip(backends, commands, strict=True)]


def test_without_a_clipboard_the_text_is_selected(visit: Visit) -> None:
    page = visit()
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('forbidden')) }")
    page.get_by_role("button", name="Copy as curl").click()
    page.wait_for_selector("#copy-text")
    assert page.evaluate("getSelection().toString()").startswith("curl 'http://127.0.0.1:")
    assert page.evaluate("document.activeElement.id") == "copy-text"
    assert page.inner_text("#status") == "The command is selected; copy it by hand."
    page.fill("#field-text", "another text")
    assert not page.is_visible("#copy-text")


# -- errors --


def test_the_sentence_of_the_server_is_shown(visit: Visit, server: Server) -> None:
    page = visit()
    assert ask(page, "fill-mask", "masked_lm", text="No mask <b>here</b>.") == ""
    refused = server.ask("/fill-mask", {"model": "masked_lm", "inputs": "No mask <b>here</b>.", "top_k": 5})
    assert refused.status == 422
    assert page.inner_text("#error") == refused.error
    ask(page, "fill-mask", "masked_lm", text="A [MASK].")
    assert page.inner_text("#error") == ""


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ({"status": 429, "json": {"error": "moods is busy."}, "headers": {"Retry-After": "3"}}, "moods is busy."),
        ({"status": 502, "body": "<b>Bad Gateway</b>"}, "The server answered 502 without JSON: <b>Bad Gateway</b>"),
        ({"status": 500, "body": "null"}, "The server answered 500."),
        (None, "The server does not answer. Is it still running?"),
    ],
)
def test_failures(visit: Visit, answer: dict[str, Any] | None, sentence: str) -> None:
    page = visit()
    page.route("**/predict", lambda route: route.abort() if answer is None else route.fulfill(**answer))
    ask(page, "predict", "moods", text="a")
    assert page.inner_text("#error") == sentence
    assert page.locator("#error b").count() == 0
    assert page.get_attribute("#result", "aria-busy") == "false"


def test_a_server_without_models(visit: Visit) -> None:
    page = visit()
    page.route("**/models", lambda route: route.fulfill(json=[]))
    page.reload()
    page.wait_for_selector("#problem:not(:empty)")
    assert page.inner_text("#problem") == "This server has no models."
    assert not page.is_visible("#form")


def test_a_task_without_a_model_cannot_be_chosen(visit: Visit) -> None:
    page = visit()
    listed = [{"name": "m", "backend": "pt", "dtype": "float32", "tasks": ["tag"], "max_tokens": 9}]
    page.route("**/models", lambda route: route.fulfill(json=listed))
    page.reload()
    page.wait_for_selector("#tasks input")
    assert page.is_checked("#tasks input[value=tag]")
    assert [task for task in TASKS if page.is_disabled(f"#tasks input[value={task}]")] == [
        task for task in TASKS if task != "tag"
    ]


def test_an_answer_that_comes_late_is_not_shown(visit: Visit) -> None:
    page = visit("#task=predict&model=moods&text=first")
    page.evaluate(
        """() => {
            const fetchNow = window.fetch;
            window.fetch = () => new Promise(done => {
                const late = { label: "late", score: 1, predictions: [{ label: "late", score: 1 }] };
                window.release = () => done(new Response(JSON.stringify(late)));
                window.fetch = fetchNow;
            });
        }"""
    )
    page.get_by_role("button", name="Run").click()
    page.wait_for_selector("#result[aria-busy=true]", state="attached")
    page.fill("#field-text", "second")
    assert page.inner_text("#status") == ""
    run(page)
    shown = rows(page)
    page.evaluate("() => window.release()")
    page.wait_for_timeout(100)
    assert rows(page) == shown
    assert page.inner_text("#status") != ""
    assert not page.is_visible("#stale")
    page.fill("#field-text", "third")
    assert page.is_visible("#stale")


def test_a_change_of_the_input_drops_the_request(visit: Visit) -> None:
    page = visit("#task=predict&model=moods&text=first")
    page.route("**/predict", lambda route: None)  # no answer comes
    page.get_by_role("button", name="Run").click()
    page.wait_for_selector("#result[aria-busy=true]", state="attached")
    with page.expect_event("requestfailed") as failed:
        page.fill("#field-text", "second")
    assert failed.value.url.endswith("/predict")
    assert page.get_attribute("#result", "aria-busy") == "false"


# -- texts are never HTML --


FIELDS = {
    "predict": {"text": HOSTILE, "pair": HOSTILE},
    "tag": {"text": HOSTILE},
    "answer": {"question": HOSTILE, "context": HOSTILE},
    "fill-mask": {"text": f"{HOSTILE} [MASK]"},
    "embed": {"sentences": f"{HOSTILE}\n{HOSTILE}"},
    "choose": {"prompt": HOSTILE, "choices": f"{HOSTILE}\n{HOSTILE}"},
    "zero-shot": {"text": HOSTILE, "labels": f"{HOSTILE},b"},
}


def harmless(page: Page) -> bool:
    page.wait_for_timeout(50)
    return bool(page.evaluate("() => !window.hit && !document.images.length && document.scripts.length === 1"))


@pytest.mark.parametrize("task", TASKS)
def test_a_hostile_text(visit: Visit, task: str) -> None:
    page = visit()
    ask(page, task, **FIELDS[task])
    assert page.inner_text("#error") == ""
    assert harmless(page)
    assert harmless(visit(page.evaluate("location.hash")))


def test_hostile_labels_and_names(visit: Visit) -> None:
    label = {"label": HOSTILE, "score": 1.0}
    listed = [
        {"name": HOSTILE, "backend": HOSTILE, "dtype": HOSTILE, "tasks": ["predict", "tag"], "max_tokens": HOSTILE}
    ]
    entity = {"entity_group": HOSTILE, "word": HOSTILE, "start": 0, "end": 1, "score": 1.0}
    page = visit()
    page.route("**/models", lambda route: route.fulfill(json=listed))
    page.route("**/predict", lambda route: route.fulfill(json={**label, "predictions": [label]}))
    page.route("**/tag", lambda route: route.fulfill(json={"entities": [entity]}))
    page.reload()
    page.wait_for_selector("#tasks input")
    ask(page, "predict", text="a")
    assert rows(page) == [[HOSTILE, "1.0000"]]
    assert harmless(page)
    ask(page, "tag", text="ab")
    assert marks(page) == ["a"]
    assert page.inner_text("#result mark b") == HOSTILE
    assert harmless(page)


def test_a_hostile_fragment(visit: Visit) -> None:
    page = visit(f"#task={HOSTILE}&model={HOSTILE}")
    assert "which this page does not have" in page.inner_text("#problem")
    assert harmless(page)


def test_the_browser_refuses_html_and_other_origins(visit: Visit) -> None:
    """The policy holds beside the code: `visit` sees no request either."""
    page = visit()
    refused = page.evaluate(
        "() => { try { document.body.innerHTML = '<b>a</b>' } catch (error) { return error.name } }"
    )
    assert refused == "TypeError"
    directive = page.evaluate(
        """() => new Promise(done => {
            document.addEventListener('securitypolicyviolation', event => done(event.effectiveDirective));
            fetch('http://127.0.0.2:9/').catch(() => {});
        })"""
    )
    assert directive == "connect-src"


# -- the token --


@pytest.fixture
def guarded(
    server: Server, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Server]:
    """A server that asks for a token."""
    backend = request.config.tested_backends[0]  # type: ignore[attr-defined]
    with running(sources({"tiny": DEFAULT_MODEL}, backend), token="open-sesame") as guarded:  # type: ignore[dict-item]
        yield guarded


def test_a_token(visit: Visit, guarded: Server) -> None:
    page = visit("#task=predict&text=hello", guarded.url, permissions=["clipboard-read", "clipboard-write"])
    assert "token" in page.inner_text("#problem")
    assert page.evaluate("document.activeElement.id") == "token"
    assert not page.is_visible("#form")
    page.fill("#token", "wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("#problem:not(:empty)")
    assert page.is_visible("#token-form")
    page.fill("#token", "open-sesame")
    page.keyboard.press("Enter")
    page.wait_for_selector("#field-text")
    assert not page.is_visible("#token-form")
    assert page.inner_text("#problem") == ""
    assert page.input_value("#field-text") == "hello"
    assert "POSITIVE" in run(page)
    page.get_by_role("button", name="Copy as curl").click()
    page.wait_for_selector("#status:text('is copied')")
    command = page.evaluate("navigator.clipboard.readText()")
    assert '"Authorization: Bearer $DISTILBERT_TOKEN"' in command
    kept = page.evaluate("() => location.href + JSON.stringify({...localStorage, ...sessionStorage}) + document.cookie")
    assert "sesame" not in kept + command
    environment = {"DISTILBERT_TOKEN": "open-sesame", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment, timeout=60)
    assert json.loads(done.stdout)["text"] == "hello"


def test_a_token_that_is_asked_for_later(visit: Visit) -> None:
    page = visit()
    page.route("**/predict", lambda route: route.fulfill(status=401, json={"error": "This server needs a token."}))
    ask(page, "predict", "moods", text="kept text")
    assert page.inner_text("#problem") == "This server needs a token."
    assert page.evaluate("document.activeElement.id") == "token"
    page.unroute("**/predict")
    page.fill("#token", "a")
    page.get_by_role("button", name="Use token").click()
    page.wait_for_selector("#token-form", state="hidden")
    assert page.input_value("#field-text") == "kept text"
    page.get_by_role("button", name="Run").click()
    page.wait_for_selector(ANSWERED)
    assert page.inner_text("#error") == ""
