"""The pages of queues, workflows and runs: written as text and by hand, run, watched, answered, and done again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.states import State
from tests.api import Api, serving
from tests.flow_api import FlowApi
from tests.markup import Element
from tests.plain_pages import Pages, wrong
from tests.support import Stores

QUEUE = """\
environment = "staging"

[parameters.month]
required = true

[[items]]
bot = "hello"

[[items]]
bot = "hello"
name = "second"
on_failure = "continue"
"""

GRAPH: dict[str, Any] = {
    "steps": {
        "fetch": {"bot": "hello"},
        "release": {"after": "fetch", "approval": {"question": "Book <them>?", "environments": ["dev"]}},
        "book": {"bot": "hello", "after": "release"},
        "alarm": {"bot": "hello", "after": [{"step": "fetch", "on": "failure"}]},
    }
}


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        running.add_bot()
        yield running


@pytest.fixture
def world(api: Api) -> FlowApi:
    return FlowApi(api)


def states(page: Element) -> dict[str, str]:
    """Each step's state as the table of a run says it."""
    rows = page.one("section", aria_labelledby="steps").one("tbody").every("tr")
    return {row.every("span", "name")[0].text: row.every("span", "state")[0].text for row in rows}


def drawn(page: Element) -> dict[str, str]:
    """Each step's classes in the drawing."""
    return {each["data-step"]: each["class"] for each in page.one("svg", "graph-drawing").every("g", "step")}


def test_a_queue_is_written_run_paused_and_removed(api: Api, world: FlowApi) -> None:
    pages = Pages.of(api)
    assert "No queue yet" in pages.see("/queues").text
    form = pages.see("/queues/~new").form("/queues")
    place, page = pages.done("/queues", {**form, "name": "month-end", "definition": QUEUE.replace("\n", "\r\n")})
    assert place == "/queues/month-end"
    assert [each.text for each in page.one("ol", "flow-items").every("span", "name")] == ["hello", "second"]
    shown = pages.see("/queues/month-end/edit").form("/queues/month-end")
    assert api.client.post("/api/v1/queues?name=month-end", content=shown["definition"].encode()).json()["new"] is False

    run_form = page.form("/queues/month-end/runs")
    assert set(run_form) == {"environment", "parameter.month", "key"}
    assert run_form["environment"] == "staging"
    refused = pages.refused("/queues/month-end/runs", run_form)
    assert "month" in wrong(refused)[""]
    run_form["parameter.month"] = "2026-08"
    assert "mars" in pages.refused("/queues/month-end/runs", {**run_form, "environment": "mars"}).text
    place, page = pages.done("/queues/month-end/runs", run_form)
    run = api.client.get(f"/api/v1{place}").json()
    assert (run["environment"], run["parameters"]) == ("staging", {"month": "2026-08"})
    assert pages.done("/queues/month-end/runs", run_form)[0] == place, "a form that is sent twice makes one run"
    world.tick()
    page = pages.see(place)
    assert states(page) == {"hello": "queued", "second": "waiting"}
    assert page.one("div", id="progress")["hx-trigger"] == "every 2s"

    pages.done(f"{place}/pause")
    assert "Paused by root" in pages.see(place).text
    pages.done(f"{place}/resumption")
    pages.done("/queues/month-end/pause")
    assert "Paused by root" in pages.see("/queues/month-end").text
    assert pages.see("/queues").one("span", "state-paused").text == "paused"
    pages.done("/queues/month-end/resumption")
    world.do(State.FAILED, environment="staging")
    page = pages.see(place)
    assert states(page) == {"hello": "failed", "second": "skipped"}
    assert "hello failed" in page.text
    assert "hx-get" not in page.one("div", id="progress").attributes, "what has ended is not asked for again"
    again, page = pages.done(f"{place}/restart")
    assert again != place
    assert page.one("a", href=place).text == "the run before"
    _, page = pages.done(f"{again}/cancellation")
    assert "Being cancelled by root" in page.text
    world.tick()
    assert "has ended" in pages.refused(f"{place}/cancellation", {}).text
    assert len(pages.see("/runs?kind=queue&name=month-end").one("tbody").every("tr")) == 2
    assert "No run fits" in pages.see("/runs?kind=workflow").text
    assert "there is no" in pages.see("/runs?state=odd", status=422).text
    place, page = pages.done("/queues/month-end/removal")
    assert (place, "No queue yet" in page.text) == ("/queues", True)


def test_a_definition_that_cannot_be_used_is_shown_again_with_the_field(api: Api) -> None:
    pages = Pages.of(api)
    odd = QUEUE.replace('bot = "hello"\n\n', 'bot = "nobody"\n\n', 1)
    page = pages.refused("/queues", {"name": "x", "definition": odd})
    assert "items.0.bot: There is no bot" in wrong(page)["definition"]
    assert page.form("/queues") == {"existing": "", "name": "x", "definition": odd}
    assert "name: that of a queue" in wrong(pages.refused("/queues", {"name": "-", "definition": QUEUE}))["name"]
    assert "not valid TOML" in wrong(pages.refused("/workflows", {"name": "x", "definition": "a ="}))["definition"]
    ring = '[steps.a]\nbot = "hello"\nafter = "b"\n[steps.b]\nbot = "hello"\nafter = "a"\n'
    page = pages.refused("/workflows", {"name": "x", "definition": ring})
    assert "steps.a.after: it waits for itself" in wrong(page)["definition"]
    assert len(drawn(page)) == 2, "it is drawn all the same"
    pages.done("/queues", {"name": "x", "definition": QUEUE})
    assert "already" in wrong(pages.refused("/queues", {"name": "x", "definition": QUEUE}))["name"]
    assert Pages(api, api.role("dev", "dev")).post("/queues/x", {"definition": QUEUE}).status_code == 403
    Pages(api, api.role("viewer")).see("/queues/~new", status=403)


def test_a_workflow_is_drawn_by_plain_forms_and_saved_as_its_text(api: Api) -> None:
    pages = Pages.of(api)
    text = pages.see("/workflows/~new").form("/workflows")["definition"]
    given = {"name": "books", "existing": "", "definition": text}

    def change(verb: str, **fields: str) -> Element:
        named = {f"{verb}-{name}": value for name, value in fields.items()}
        page = pages.refused("/workflows/~drawing", {**given, "change": verb, **named}, status=200)
        given["definition"] = page.form("/workflows")["definition"]
        assert page.form("/workflows")["name"] == "books"
        return page

    change("rename", step="first", name="fetch")
    page = change("add", bot="hello", name="book", source="fetch")
    assert page.one("p", id="said").text == "Added a step."
    page = change("add", bot="hello", name="alarm")
    change("connect", source="fetch", target="alarm", on="failure")
    assert set(drawn(page)) == {"fetch", "book", "alarm"}
    refused = pages.refused(
        "/workflows/~drawing", {**given, "change": "connect", "connect-source": "book", "connect-target": "fetch"}
    )
    assert "would wait for itself" in wrong(refused)[""]
    assert refused.form("/workflows")["definition"] == given["definition"]
    page = pages.refused("/workflows/~drawing", {**given, "change": "draw"})
    assert "bot" in wrong(page)["definition"], "the first step names no bot yet"
    part = api.client.post(
        "/workflows/~drawing",
        data={**given, "change": "remove", "remove-step": "book"},
        headers={"HX-Request": "true"},
    )
    assert part.text.lstrip().startswith("<form"), "a script gets the form alone"
    given["definition"] = given["definition"].replace('bot = ""', 'bot = "hello"')
    pages.done("/workflows", given)
    stored = api.client.get("/api/v1/workflows/books").json()["definition"]["steps"]
    assert {name: [edge["on"] for edge in step.get("after", [])] for name, step in stored.items()} == {
        "fetch": [],
        "book": ["success"],
        "alarm": ["failure"],
    }
    assert api.client.get("/api/v1/audit?limit=1").json()["items"][0]["action"] == "workflow.added"


def places(page: Element) -> dict[str, tuple[str, str]]:
    """Where each box of a drawing stands."""
    boxes = [(each["data-step"], each.one("rect")) for each in page.one("svg", "graph-drawing").every("g", "step")]
    return {name: (box["x"], box["y"]) for name, box in boxes}


def test_steps_stand_where_they_were_put_until_they_are_laid_out_anew(api: Api, world: FlowApi) -> None:
    world.save("workflow", "books", GRAPH)
    pages, at = Pages.of(api), "/workflows/books"
    usual = places(pages.see(at))
    form = pages.see(f"{at}/edit").form(at)
    assert form["places"] == ""
    moving = {**form, "change": "move", "move-step": "book", "move-x": "700", "move-y": "500"}
    page = pages.refused("/workflows/~drawing", moving, status=200)
    form = page.form(at)
    assert places(page) == usual | {"book": ("700", "500")}
    assert places(pages.see(at)) == usual, "nothing is kept before it is saved"
    renaming = {**form, "change": "rename", "rename-step": "book", "rename-name": "post"}
    assert places(pages.refused("/workflows/~drawing", renaming, status=200))["post"] == ("700", "500")
    _, page = pages.done(at, form)
    assert "stand where you put them" in page.one(id="notice").text
    assert places(page) == places(pages.see(f"{at}/edit")) == usual | {"book": ("700", "500")}
    assert api.client.get("/api/v1/workflows/books").json()["version"] == 1
    assert api.client.get("/api/v1/audit?limit=1").json()["items"][0]["action"] == "workflow.arranged"
    _, page = pages.done(f"{at}/runs", {"environment": "dev"})
    assert places(page)["book"] == ("700", "500")
    _, page = pages.done(at, form)
    assert "says this already" in page.one(id="notice").text

    half = pages.refused("/workflows/~drawing", {**form, "definition": "[steps", "change": "draw"}).form(at)
    assert half["places"] == form["places"], "a text that is half written loses no place"

    form = pages.refused("/workflows/~drawing", {**form, "change": "tidy"}, status=200).form(at)
    assert form["places"] == ""
    _, page = pages.done(at, form)
    assert places(page) == usual
    broken = pages.refused("/workflows/~drawing", {**form, "places": "[", "change": "draw"}, status=200)
    assert places(broken) == usual
    beside = {**form, "change": "move", "move-step": "none", "move-direction": "left"}
    assert "no step" in pages.refused("/workflows/~drawing", beside).text


def test_a_run_is_watched_and_its_question_answered_by_somebody_else(api: Api, world: FlowApi) -> None:
    world.save("workflow", "books", GRAPH)
    pages = Pages.of(api)
    assert drawn(pages.see("/workflows/books"))["release"] == "step step-approval"
    place, page = pages.done("/workflows/books/runs", {"environment": "dev"})
    world.tick()
    assert drawn(pages.see(place))["fetch"].endswith("step-queued")
    part = pages.see(f"{place}/progress")
    assert not part.every("div", id="questions"), "nothing is asked yet"
    world.do()
    part = pages.see(f"{place}/progress?asked=")
    assert drawn(part) == {
        "fetch": "step step-bot step-succeeded",
        "release": "step step-approval step-approval",
        "book": "step step-bot step-waiting",
        "alarm": "step step-bot step-skipped",
    }
    assert "Book <them>?" in part.one("div", id="questions").text
    poll = part.one("div", id="progress")["hx-get"]
    assert "?asked=release&" in poll
    assert api.client.get(poll).status_code == 204, "nothing has changed"
    assert not pages.see(f"{place}/progress?asked=release").every("div", id="questions"), "it may be being answered"

    answer = f"{place}/approvals/release"
    own = pages.see(place)
    assert not own.every("form", action=answer)
    assert "somebody else has to answer" in own.text
    assert pages.post(answer, {"decision": "allow"}).status_code == 403
    other = Pages(api, api.role("operator"))
    assert other.see(place).form(answer) == {"comment": ""}
    assert "Choose Allow or Refuse" in other.refused(answer, {"decision": "maybe"}).text
    other.done(answer, {"decision": "allow", "comment": "<b>fine</b>"})
    assert "allowed by operator-" in pages.see(place).text
    assert "<b>fine</b>" in pages.see(place).text, "a comment is text"
    world.tick()
    world.do(State.FAILED)
    page = pages.see(place)
    assert states(page)["book"] == "failed"
    assert page.one("div", "run-head").one("span", "state").text == "failed"
    again, page = pages.done(f"{place}/restart", {"from": "release"})
    assert states(pages.see(again))["fetch"] == "succeeded"
    assert "there is no step" in pages.refused(f"{place}/restart", {"from": "nothing"}).text
    assert Pages(api, api.role("viewer")).post(f"{again}/cancellation").status_code == 403
    assert not Pages(api, api.role("viewer")).see(again).every("form", action=f"{again}/cancellation")
    pages.see("/runs/no-id", status=404)
