"""The pages of triggers and calendars: forms of every kind, the time line, firings, and a key that is shown once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api import Api, serving
from tests.plain_pages import Pages, wrong
from tests.support import Stores


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as api:
        api.add_bot()
        yield api


def test_a_schedule_is_previewed_saved_paused_run_and_removed(api: Api) -> None:
    pages = Pages.of(api)
    assert "No trigger yet" in pages.see("/triggers").text
    form = pages.see("/triggers/~new").form("/triggers")
    given = {
        **form,
        "name": "nightly",
        "target": "hello",
        "parameters": "region = eu",
        "schedule.cron": "30 2 * * *",
        "schedule.zone": "Europe/Berlin",
    }
    page = pages.refused("/triggers", {**given, "do": "preview"}, status=200)
    assert len(page.one("svg", "time-line-drawing").every("circle")) == 20
    assert page.form("/triggers")["schedule.cron"] == "30 2 * * *"
    assert api.client.get("/api/v1/triggers").json()["items"] == [], "a preview saves nothing"

    place, page = pages.done("/triggers", given)
    assert place == "/triggers/nightly"
    line = page.one("svg", "time-line-drawing")
    assert len(line.every("circle")) == 20
    # Some day within half a year the clock of Berlin changes.
    longer = pages.see("/triggers/nightly?count=200")
    assert 1 <= len(longer.one("svg", "time-line-drawing").every("g", "band")) <= 2
    assert longer.every("span", "badge-warn")[0].text.startswith("clock goes ")
    stored = api.client.get("/api/v1/triggers/nightly").json()
    assert (stored["parameters"], stored["enabled"]) == ({"region": "eu"}, True)

    pages.done("/triggers/nightly/pause")
    page = pages.see("/triggers/nightly")
    assert "Paused by root" in page.text
    assert "Nothing comes" in page.text
    pages.done("/triggers/nightly/resumption")
    answer = pages.post("/triggers/nightly/runs", {"environment": "staging", "parameters": "region = us"})
    assert answer.status_code == 303
    job = api.client.get(f"/api/v1{answer.headers['location']}").json()
    assert (job["environment"], job["parameters"]) == ("staging", {"region": "us"})
    page = pages.see("/triggers/nightly")
    assert [each["href"] for each in page.every("a") if each["href"].startswith("/jobs/")] == [f"/jobs/{job['id']}"]

    edited = pages.see("/triggers/nightly/edit").form("/triggers/nightly")
    assert (edited["target_kind"], edited["target"], edited["enabled"]) == ("bot", "hello", "on")
    del edited["enabled"]
    pages.done("/triggers/nightly", {**edited, "schedule.cron": "0 7 * * mon"})
    assert "Disabled" in pages.see("/triggers/nightly").text
    text = pages.see("/triggers/nightly/edit?view=text").form("/triggers/nightly")
    assert 'cron = "0 7 * * mon"' in text["text"]
    pages.done("/triggers/nightly", {**text, "text": text["text"].replace("mon", "tue").replace("false", "true")})
    assert api.client.get("/api/v1/triggers/nightly").json()["definition"]["schedule"]["cron"] == "0 7 * * tue"
    place, page = pages.done("/triggers/nightly/removal")
    assert (place, "No trigger yet" in page.text) == ("/triggers", True)


def test_what_cannot_be_used_stands_beside_its_field(api: Api) -> None:
    pages = Pages.of(api)
    good = {"kind": "schedule", "name": "x", "target": "hello", "enabled": "on", "schedule.cron": "0 7 * * *"}

    def fault(field: str, **changed: str) -> str:
        page = pages.refused("/triggers", {**good, **{key.replace("__", "."): value for key, value in changed.items()}})
        assert set(wrong(page)) == {field}, wrong(page)
        return wrong(page)[field]

    assert "nobody" in fault("target", target="nobody")
    assert "exactly one" in fault("target", target="")
    assert fault("schedule.cron", schedule__cron="99 7 * * *").startswith("schedule.cron:")
    assert "time zone" in fault("schedule.zone", schedule__zone="Mars/Base")
    assert "no calendar" in fault("schedule.calendars", schedule__calendars="holidays")
    assert "exactly one of cron" in fault("", schedule__every="5m")
    assert "name is" in fault("name", name="-x")
    page = pages.refused("/triggers", {"kind": "schedule", "view": "text", "name": "x", "text": 'bott = "hello"'})
    assert "bott" in wrong(page)["text"]
    pages.done("/triggers", good)
    assert "already" in fault("name")
    again = {
        **pages.see("/triggers/x/edit?view=text").form("/triggers/x"),
        "text": 'bot = "hello"\n[webhook]\nstyle="plain"',
    }
    assert "cannot become a webhook" in wrong(pages.refused("/triggers/x", again))["text"]


def test_every_other_kind_has_a_form(api: Api) -> None:
    pages = Pages.of(api)
    api.add_bot("other")
    api.set_value("MAIL.PASSWORD", b"x")
    mailbox = {"host": "h", "user": "u", "password": "{{ASSET.MAIL.PASSWORD}}"}
    source = {"name": "inbox", "kind": "imap", "definition": mailbox}
    assert api.client.post("/api/v1/sources", json=source).status_code == 201
    kinds = {
        "file": {"file.folder": "/data/in", "parameters_from": 'FILE = "/path"'},
        "completion": {"source": "other", "completion.states": "failed, cancelled"},
        "email": {"email.source": "inbox", "email.from": "a@b", "email.interval": "5m"},
    }
    for kind, fields in kinds.items():
        form = pages.see(f"/triggers/~new?kind={kind}").form("/triggers")
        pages.done("/triggers", {**form, "name": kind, "target": "hello", **fields})
        again = pages.see(f"/triggers/{kind}/edit").form(f"/triggers/{kind}")
        assert {name: again[name] for name in fields} == fields
    rows = pages.see("/triggers").every("tr")
    assert [row.every("span", "badge")[0].text for row in rows[1:]] == ["completion", "email", "file"]


def test_the_key_of_a_webhook_is_shown_once(api: Api) -> None:
    pages = Pages.of(api)
    form = pages.see("/triggers/~new?kind=webhook").form("/triggers")
    _, page = pages.done("/triggers", {**form, "name": "push", "target": "hello", "webhook.style": "plain"})
    assert "none yet: deliveries are refused" in page.text
    answer = pages.post("/triggers/push/key")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    key = answer.text.partition("bkh_")[2].partition("<")[0]
    hook = api.client.get("/api/v1/triggers/push").json()["hook"]
    delivery = api.as_token(None).post(hook, json={"id": 1}, headers={"X-Botkeep-Key": f"bkh_{key}"})
    assert delivery.status_code == 201, delivery.text
    page = pages.see("/triggers/push")
    assert key not in str(page)
    assert "is set" in page.text
    assert len(page.one("section", aria_labelledby="firings").every("tr")) == 2
    assert Pages(api, api.role("operator")).post("/triggers/push/key").status_code == 403


def test_calendars_keep_days_and_say_who_uses_them(api: Api) -> None:
    pages = Pages.of(api)
    assert "No calendar yet" in pages.see("/calendars").text
    page = pages.refused("/calendars", {"name": "holidays", "days": "2027-12-25\nchristmas"})
    assert "christmas" in wrong(page)["days"]
    place, _ = pages.done("/calendars", {"name": "holidays", "days": "2027-12-26 # a note\n\n2027-12-25"})
    assert pages.see(place).form("/calendars/holidays")["days"] == "2027-12-25\n2027-12-26"
    assert "already" in wrong(pages.refused("/calendars", {"name": "holidays", "days": ""}))["name"]
    assert "name is" in wrong(pages.refused("/calendars", {"name": "-", "days": ""}))["name"]
    trigger = {
        "kind": "schedule",
        "name": "x",
        "target": "hello",
        "enabled": "on",
        "schedule.cron": "0 7 * * *",
        "schedule.calendars": "holidays",
    }
    pages.done("/triggers", trigger)
    assert pages.see("/calendars/holidays").one("a", href="/triggers/x").text == "x"
    assert "used by the triggers x" in pages.refused("/calendars/holidays/removal", {}).text
    pages.done("/calendars/holidays", {"days": "2028-01-01"})
    pages.done("/triggers/x/removal")
    pages.done("/calendars/holidays/removal")
    pages.see("/calendars/holidays", status=404)
