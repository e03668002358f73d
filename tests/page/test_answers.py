"""Each task in a browser: what the screen shows is what the server answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from distilbert_core import DEFAULT_MODEL
from support.browsing import TASKS, ask, choose_task, marks, rows, run
from support.serving import Server

Visit = Callable[..., Page]

# 😀 and 🚀 are one character in Python and two units in JavaScript: offsets must not move.
NAMES = "😀 Zoë met José in São Paulo;\n東京 was too far 🚀, they told <b>Reuters</b>."
CONTEXT = "😀😀 My name is Zoë and I live in 東京 🚀, not in Saint-Étienne; José lives in Unaffableville."


def reply(server: Server, task: str, model: str, inputs: Any, **options: Any) -> Any:
    answer = server.ask(f"/{task}", {"model": model, "inputs": inputs, **options})
    assert answer.status == 200, answer.body
    return answer.json


def scores(table: list[list[str]]) -> list[str]:
    return [row[1].strip() for row in table]


def four(records: list[dict[str, Any]]) -> list[str]:
    return [f"{record['score']:.4f}" for record in records]


def test_labels(visit: Visit, server: Server) -> None:
    page = visit(reduced_motion="reduce")  # the bars have their widths at once
    status = ask(page, "predict", "moods", text="I love it 😀")
    expected = reply(server, "predict", "moods", "I love it 😀", all_scores=True)
    assert status.startswith(f"{expected['label']} ({expected['score']:.4f}), in ")
    table = rows(page)
    assert [row[0] for row in table] == [record["label"] for record in expected["predictions"]]
    assert scores(table) == four(expected["predictions"])
    width = page.locator("#result .bar").first.evaluate(
        "bar => bar.getBoundingClientRect().width / bar.parentNode.clientWidth"
    )
    assert width == pytest.approx(expected["predictions"][0]["score"], abs=0.02)


def test_a_pair_of_texts(visit: Visit, server: Server) -> None:
    page = visit()
    ask(page, "predict", "moods", text="How old is it?", pair="Nobody knows.")
    pair = {"text": "How old is it?", "text_pair": "Nobody knows."}
    assert scores(rows(page)) == four(reply(server, "predict", "moods", pair, all_scores=True)["predictions"])
    ask(page, "predict", "moods", pair="")
    single = reply(server, "predict", "moods", "How old is it?", all_scores=True)
    assert scores(rows(page)) == four(single["predictions"])


@pytest.mark.parametrize("aggregation", ["simple", "none"])
def test_entities(visit: Visit, server: Server, aggregation: str) -> None:
    page = visit()
    choose_task(page, "tag")
    page.select_option("#field-aggregation", aggregation)
    ask(page, "tag", "entities", text=NAMES)
    entities = reply(server, "tag", "entities", NAMES, aggregation=aggregation)["entities"]
    assert len(entities) > 3
    assert marks(page) == [NAMES[entity["start"] : entity["end"]] for entity in entities]
    labels = page.locator("#result .text mark b").all_inner_texts()
    assert labels == [entity["entity" if aggregation == "none" else "entity_group"] for entity in entities]
    # Without the labels, the marked text is the text.
    page.locator("#result .text mark").evaluate_all("marks => marks.forEach(mark => mark.replaceWith(mark.firstChild))")
    assert page.locator("#result .text").evaluate("text => text.textContent") == NAMES
    assert scores(rows(page)) == four(entities)


def test_answers_are_marked_in_the_context(visit: Visit, server: Server) -> None:
    page = visit()
    ask(page, "answer", "answers", question="Where does Zoë live?", context=CONTEXT)
    question = {"question": "Where does Zoë live?", "context": CONTEXT}
    answers = reply(server, "answer", "answers", question, top_k=3)["answers"]
    assert len(answers) == 3
    assert scores(rows(page)) == four(answers)
    for index, answer in enumerate(answers):
        button = page.locator("#result button").nth(index)
        button.click()
        assert marks(page) == [CONTEXT[answer["start"] : answer["end"]]]
        assert button.get_attribute("aria-pressed") == "true"
        assert page.locator("#result button[aria-pressed=true]").count() == 1


def test_candidates_of_two_masks(visit: Visit, server: Server) -> None:
    page = visit()
    text = "The [MASK] film 😀 was very [MASK]."
    ask(page, "fill-mask", "masked_lm", text=text, top_k="4")
    candidates = reply(server, "fill-mask", "masked_lm", text, top_k=4)["predictions"]
    for table, mask in enumerate((1, 2)):
        of_mask = [candidate for candidate in candidates if candidate["mask"] == mask]
        shown = rows(page, table)
        assert scores(shown) == four(of_mask)
        for row, candidate in zip(shown, of_mask, strict=True):
            token = candidate["token_str"]
            before, between, after = text.split("[MASK]")
            pieces = [token.removeprefix("##"), "[MASK]"][:: 1 if mask == 1 else -1]
            assert row[0].split() == f"{token} {before}{pieces[0]}{between}{pieces[1]}{after}".split()


def test_the_button_inserts_a_mask(visit: Visit) -> None:
    page = visit()
    choose_task(page, "fill-mask")
    page.fill("#field-text", "Paris is  big.")
    page.locator("#field-text").evaluate("area => area.setSelectionRange(9, 9)")
    page.get_by_role("button", name="Insert [MASK]").click()
    assert page.input_value("#field-text") == "Paris is [MASK] big."
    assert page.evaluate("document.activeElement.id") == "field-text"


def test_similarities(visit: Visit, server: Server) -> None:
    page = visit()
    texts = ["A lovely film.", "I enjoyed it 😀", "A dull film."]
    status = ask(page, "embed", "moods", sentences="\n".join([texts[0], "", *texts[1:], "  "]))
    vectors = np.array([record["embedding"] for record in reply(server, "embed", "moods", texts)])
    cosines = vectors @ vectors.T
    assert [[float(cell) for cell in row[1:]] for row in rows(page)] == cosines.round(2).tolist()
    assert [row[0] for row in rows(page)] == [f"{number}. {text}" for number, text in enumerate(texts, 1)]
    best = max((cosines[i, j], j + 1, i + 1) for i in range(3) for j in range(i))
    assert status.startswith(f"Sentences {best[1]} and {best[2]} are the most similar ({best[0]:.2f}), in ")


@pytest.mark.parametrize("count", [1, 41])
def test_a_matrix_that_cannot_be_shown(visit: Visit, count: int) -> None:
    page = visit()
    assert ask(page, "embed", "moods", sentences="a\n" * count) == ""
    expected = f"Give 2 to 40 sentences, one on each line; these are {count}."
    assert page.inner_text("#error") == expected
    assert page.locator("#result > *").count() == 0


def test_choices(visit: Visit, server: Server) -> None:
    page = visit()
    choices = ["it was raining.", "no 😀", "he wanted to go out."]
    ask(page, "choose", "choices", prompt="He opened the door because", choices="\n".join(choices))
    expected = reply(server, "choose", "choices", {"prompt": "He opened the door because", "choices": choices})
    heads = [f"{choice} (best)" if index == expected["choice"] else choice for index, choice in enumerate(choices)]
    assert [row[0] for row in rows(page)] == heads
    assert scores(rows(page)) == [f"{score:.4f}" for score in expected["scores"]]


@pytest.mark.parametrize("several", [False, True])
def test_own_labels(visit: Visit, server: Server, several: bool) -> None:
    page = visit()
    choose_task(page, "zero-shot")
    page.set_checked("#field-multi_label", several)
    ask(page, "zero-shot", "inference", text="A draw 😀.", labels="sports, politics,,food ", template="About {}.")
    options = {"labels": ["sports", "politics", "food"], "template": "About {}.", "multi_label": several}
    expected = reply(server, "zero-shot", "inference", "A draw 😀.", **options)["predictions"]
    assert [row[0] for row in rows(page)] == [record["label"] for record in expected]
    assert scores(rows(page)) == four(expected)


def test_backends_side_by_side(visit: Visit, request: pytest.FixtureRequest) -> None:
    backends = request.config.tested_backends  # type: ignore[attr-defined]
    if len(backends) < 2:
        pytest.skip("needs two backends")
    page = visit()
    for task, field in (("predict", {"text": "A lovely film 😀"}), ("embed", {"sentences": "A film.\nA dull film."})):
        status = ask(page, task, f"{DEFAULT_MODEL}@*", **field)
        start, _, rest = status.partition(": ")
        assert start == "Largest difference of scores"
        assert float(rest.split()[0].rstrip(".").replace("\u2212", "-")) < 1e-5
        assert "not the same" not in status
        shown = rows(page)
        assert [row[0] for row in shown] == backends
        assert len({row[1] for row in shown}) == 1
        assert all(float(row[2]) > 0 for row in shown)
        assert page.locator("#result table").count() == 2


def test_a_backend_that_fails_and_answers_that_differ(visit: Visit, request: pytest.FixtureRequest) -> None:
    names = [f"m@{backend}" for backend in ("pt", "tf", "flax")]
    listed = [{"name": n, "backend": n[2:], "dtype": "float32", "tasks": ["tag"], "max_tokens": 9} for n in names]
    entity = {"entity_group": "PER", "word": "a", "start": 0, "end": 1, "score": 0.5}
    answers = {
        "m@pt": (200, {"text": "a b", "entities": [entity, {**entity, "start": 2, "end": 3}]}),
        "m@tf": (503, {"error": "m@tf is stopping."}),
        "m@flax": (200, {"text": "a b", "entities": [{**entity, "score": 0.75}]}),
    }
    page = visit()
    page.route("**/models", lambda route: route.fulfill(json=listed))

    def answer(route: Any) -> None:
        status, body = answers[route.request.post_data_json["model"]]
        route.fulfill(status=status, json=body)

    page.route("**/tag", answer)
    page.reload()
    page.wait_for_selector("#tasks input")
    page.fill("#field-text", "a b")
    expected = "Largest difference of scores: 2.5e\u22121 (pt and flax). 1 of 2 parts of the answer are not the same"
    assert run(page).startswith(expected)
    assert rows(page)[1][1:] == ["m@tf is stopping.", "\u2013"]
    answers["m@flax"] = answers["m@tf"]
    assert run(page) == "Only pt answered; nothing can be compared."
    answers["m@pt"] = answers["m@tf"]
    assert run(page) == ""
    assert page.inner_text("#error") == "m@tf is stopping."


@pytest.mark.parametrize("task", TASKS)
def test_every_example_is_answered(visit: Visit, task: str) -> None:
    page = visit()
    choose_task(page, task)
    examples = page.locator("#examples button")
    assert examples.count() >= 2
    for index in range(examples.count()):
        examples.nth(index).click()
        assert run(page) != ""
        assert page.inner_text("#error") == ""


def test_a_text_that_is_cut_is_said(visit: Visit) -> None:
    page = visit()
    ask(page, "predict", "moods", text="a film " * 400)
    assert "512" in page.inner_text("#result .note")


def test_overlapping_entities(visit: Visit) -> None:
    def entity(start: int, end: int, label: str) -> dict[str, Any]:
        return {"entity_group": label, "word": label.lower(), "start": start, "end": end, "score": 0.5}

    entities = [entity(2, 6, "A"), entity(4, 8, "B"), entity(3, 5, "C")]
    page = visit()
    page.route("**/tag", lambda route: route.fulfill(body=json.dumps({"entities": entities})))
    ask(page, "tag", text="0123456789")
    assert marks(page) == ["2345", "67"]
    assert len(rows(page)) == 3
    text = page.locator("#result .text").evaluate("text => text.textContent")
    assert text == "012345\u00a0A67\u00a0B89"
