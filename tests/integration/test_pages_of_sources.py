"""The pages of data sources: written as a form and as text, checked, and refused with the field named."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import source_checks
from tests.api import Api, serving
from tests.markup import Element
from tests.plain_pages import Pages, wrong
from tests.support import Stores
from vault import db

CONNECTION = "postgresql://app:{{ASSET.DB.PASSWORD}}@db/orders"


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as api:
        api.set_value("DB.PASSWORD", b"a value that no page may know", "prod")
        yield api


def sentences(page: Element) -> list[str]:
    return [each.text for each in page.every("span", "sentence")]


def test_a_source_is_written_as_a_form_and_changed_as_text(api: Api) -> None:
    pages = Pages.of(api)
    assert "No data source yet" in pages.see("/sources").text
    new = pages.see("/sources/~new")
    assert new.one("datalist", id="references").one("option")["value"] == "{{ASSET.DB.PASSWORD}}"
    form = new.form("/sources")
    assert form["read_only"] == "on"
    given = {
        **form,
        "name": "orders",
        "connection": CONNECTION,
        "query": "SELECT id\nFROM orders WHERE due < :until",
        "parameters": 'until = "2026-12-31"',
        "timeout": "2m",
        "environments": ["dev", "prod"],
    }
    place, page = pages.done("/sources", given)
    assert place == "/sources/orders"
    assert "Saved the data source orders." in page.one("div", id="notice").text
    stored = api.client.get("/api/v1/sources/orders").json()
    assert (stored["environments"], stored["bots"]) == (["dev", "prod"], None)
    assert stored["definition"]["connection"] == CONNECTION
    assert (stored["definition"]["timeout"], stored["definition"]["parameters"]) == (120, {"until": "2026-12-31"})
    assert [each.text for each in pages.see("/sources").every("a", "name")] == ["orders"]

    again = pages.see("/sources/orders/edit").form("/sources/orders")
    assert (again["query"], again["timeout"]) == (given["query"], "2m")
    text = pages.see("/sources/orders/edit?view=text").form("/sources/orders")
    assert 'connection = "postgresql://app:{{ASSET.DB.PASSWORD}}@db/orders"' in text["text"]
    pages.done("/sources/orders", {**text, "text": text["text"].replace('"prod"', '"staging"')})
    assert api.client.get("/api/v1/sources/orders").json()["environments"] == ["dev", "staging"]
    place, page = pages.done("/sources/orders/removal")
    assert (place, "No data source yet" in page.text) == ("/sources", True)
    assert [row["action"] for row in api.audit()[:3]] == ["source.removed", "source.changed", "source.added"]


def test_a_mailbox_has_a_form_of_its_own(api: Api) -> None:
    pages = Pages.of(api)
    form = pages.see("/sources/~new?kind=imap").form("/sources")
    given = {
        **form,
        "name": "inbox",
        "host": "mail.example",
        "user": "bot",
        "password": "{{ASSET.DB.PASSWORD}}",
        "search": "seen = false",
        "attachments.name": "*.pdf",
        "attachments.required": "on",
        "mark": "move:Done",
        "environments": ["dev"],
        "bots": "a, b",
    }
    pages.done("/sources", given)
    stored = api.client.get("/api/v1/sources/inbox").json()
    assert (stored["kind"], stored["bots"]) == ("imap", ["a", "b"])
    assert stored["definition"]["search"]["seen"] is False
    assert stored["definition"]["attachments"]["required"] is True
    again = pages.see("/sources/inbox/edit").form("/sources/inbox")
    assert (again["search"], again["attachments.name"], again["bots"]) == ("seen = false", "*.pdf", "a, b")


def test_what_cannot_be_used_stands_beside_its_field_and_what_was_typed_stays(api: Api) -> None:
    pages = Pages.of(api)
    good = {"kind": "sql", "name": "x", "connection": CONNECTION, "query": "select 1", "environments": ["dev"]}

    def fault(field: str, **changed: str) -> str:
        page = pages.refused("/sources", {**good, **changed})
        assert set(wrong(page)) == {field}, wrong(page)
        assert page.form("/sources")["query"] == changed.get("query", "select 1")
        return wrong(page)[field]

    assert "password" in fault("connection", connection="postgresql://app:hunter2@db/orders")
    assert "does not exist" in fault("connection", connection=CONNECTION.replace("PASSWORD", "NONE"))
    assert "duration" in fault("timeout", timeout="soon")
    assert "whole number" in fault("row_limit", row_limit="many")
    assert "line such as" in fault("parameters", parameters="nothing")
    assert "is not a name" in fault("name", name="-")
    page = pages.refused("/sources", {**good, "environments": []})
    assert "at least one environment" in page.text
    mailbox = {"kind": "imap", "name": "x", "host": "h", "user": "u", "password": "hunter2", "environments": ["dev"]}
    page = pages.refused("/sources", mailbox)
    assert "reference" in wrong(page)["password"]
    assert "hunter2" not in str(page), "a password that was written out is not sent back"
    for connection in ("postgresql://app:hunter2@db/orders", "Server=db;Password=hunter2", "postgresql://app:hunter2"):
        page = pages.refused("/sources", {**good, "connection": connection})
        assert "not sent back" in wrong(page)["connection"]
        assert "hunter2" not in str(page)
        written = f'environments = ["dev"]\n[definition]\nconnection = "{connection}"\nquery = "a"\n'
        for text in (written, written + "x = "):
            page = pages.refused("/sources", {"kind": "sql", "view": "text", "name": "x", "text": text})
            assert "not sent back" in wrong(page)["text"]
            assert "hunter2" not in str(page)
    text = 'environments = ["dev"]\n[definition]\nconnection = "x"\nquery = "a"\nquerry = "b"\n'
    page = pages.refused("/sources", {"kind": "sql", "view": "text", "name": "x", "text": text})
    assert "querry" in wrong(page)["text"]
    assert page.form("/sources")["text"] == text
    page = pages.refused("/sources", {"kind": "sql", "view": "text", "name": "x", "text": "a = "})
    assert "not valid TOML" in wrong(page)["text"]
    pages.done("/sources", good)
    assert "already" in fault("name")


def test_a_check_says_its_sentence_as_soon_as_a_runner_has_answered(api: Api) -> None:
    pages = Pages.of(api)
    api.add_runner("host", "dev")
    given = {"kind": "sql", "name": "orders", "connection": CONNECTION, "query": "select 1", "environments": ["dev"]}
    pages.done("/sources", given)
    _, page = pages.done("/sources/orders/checks", {"environment": "dev"})
    assert "Waits for a runner" in page.one("div", id="state").text
    poll = page.one("div", id="state")["hx-get"]
    assert api.client.get(poll).status_code == 204, "nothing has changed"
    with db.writing(api.console.engine) as session:
        check = source_checks.waiting(session, ["dev"])
        assert check is not None
        assert source_checks.claim(session, check, runner="host") is not None
        answer = {"sentence": "orders in dev: resolved, <b>reachable</b>."}
        assert source_checks.answer(session, check, runner="host", ok=True, document=answer)
    part = pages.see(poll).one("div", id="state")
    assert sentences(part) == ["orders in dev: resolved, <b>reachable</b>."]
    assert "hx-get" not in part.attributes, "what is known is not asked for again"
    assert "open in dev only" in pages.refused("/sources/orders/checks", {"environment": "prod"}).text


def test_a_bot_is_started_for_each_row(api: Api) -> None:
    pages = Pages.of(api)
    api.add_bot("hello", **{"bot.toml": "[parameters.row]\n[parameters.region]\n"})
    given = {"kind": "sql", "name": "orders", "connection": CONNECTION, "query": "select 1", "environments": ["dev"]}
    pages.done("/sources", given)
    fan_out = {"bot": "hello", "environment": "dev", "parameters": "region = eu"}
    api.add_runner("host", "dev")
    _, page = pages.done("/sources/orders/fan-outs", fan_out)
    assert "hello" in page.one("section", aria_labelledby="fan-outs").text
    assert "nobody" in wrong(pages.refused("/sources/orders/fan-outs", {**fan_out, "bot": "nobody"}))["bot"]
    assert "whole number" in wrong(pages.refused("/sources/orders/fan-outs", {**fan_out, "batch": "x"}))["batch"]


def test_who_may_not_change_a_source_sees_it_without_the_means_to(api: Api) -> None:
    given = {"kind": "sql", "name": "orders", "connection": CONNECTION, "query": "select 1", "environments": ["prod"]}
    Pages.of(api).done("/sources", given)
    limited = Pages(api, api.role("dev", "dev"))
    page = limited.see("/sources/orders")
    assert not page.every("a", href="/sources/orders/edit")
    assert not page.every("form", action="/sources/orders/checks")
    assert "limited to dev" in limited.refused("/sources/orders", given, status=403).text
    assert api.audit()[0]["outcome"] == "refused"
    assert Pages(api, api.role("viewer")).post("/sources", given).status_code == 403
    limited.see("/sources/nobody", status=404)
