"""The pages of settings and of keys: every form, what it refuses beside itself, and who may send it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.api import Api, serving
from tests.markup import Element
from tests.pages import Pages, notice
from tests.support import Stores
from vault import db, recipients
from vault.decrypt import Identity


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as api:
        yield api


def test_every_setting_is_changed_by_its_form(api: Api) -> None:
    api.add_bot("hello")
    pages = Pages(api.client)
    page = pages.get("/settings")
    page = pages.post(page, "/settings/environments/prod", unset="refuse", isolation="landlock")
    assert "The policy of prod was saved." in notice(page)
    prod = api.client.get("/api/v1/environments").json()["items"][2]
    assert (prod["unset"], prod["isolation"]) == ("refuse", "landlock")

    page = pages.post(page, "/settings/limits", memory="1GB", cpu_time="90s", processes="20")
    assert page.form("/settings/limits")["memory"] == "1GB"
    chosen = api.client.get("/api/v1/workspace/limits").json()["chosen"]
    assert (chosen["memory"], chosen["processes"], chosen["cpu_time"]) == (1 << 30, 20, 90.0)
    page = pages.post(page, "/settings/limits", memory="")
    chosen = api.client.get("/api/v1/workspace/limits").json()["chosen"]
    assert (chosen["memory"], chosen["processes"]) == (None, 20)
    page = pages.post(page, "/settings/limits", status=422, memory="1 elephant", disk="2GB")
    assert "must be a size" in page.one(id="h-memory").text
    assert page.form("/settings/limits")["disk"] == "2GB"

    page = pages.post(page, "/settings/concurrency", environment="staging", kind="bot", target="hello", at_once="1")
    (limit,) = api.client.get("/api/v1/concurrency").json()["items"]
    assert (limit["environment"], limit["target"], limit["at_once"]) == ("staging", "hello", 1)
    page = pages.post(page, "/settings/concurrency", status=422, kind="bot", target="nobody", at_once="2")
    assert "nobody" in page.one(id="concurrency").one("div", "notice-bad").text
    assert page.form("/settings/concurrency")["target"] == "nobody"
    page = pages.post(page, "/settings/concurrency", status=422, kind="bot", target="hello", at_once="²")
    page = pages.post(page, "/settings/concurrency/removal")
    assert api.client.get("/api/v1/concurrency").json()["items"] == []

    page = pages.post(page, "/settings/retention", bot="hello", environment="prod", age="90d")
    rule = api.client.get("/api/v1/retention").json()["items"][0]
    assert (rule["bot"], rule["environment"], rule["age"], rule["size"]) == ("hello", "prod", "90d", "default")
    page = pages.post(page, "/settings/retention", status=422, age="soon")
    assert page.one(id="retention").every("div", "notice-bad")

    page = pages.post(page, "/settings/connections", allow="*.corp.example\n10.0.0.0/8", deny="10.1.0.0/16")
    lists = api.client.get("/api/v1/workspace/connections").json()
    assert (lists["allow"], lists["deny"]) == (["*.corp.example", "10.0.0.0/8"], ["10.1.0.0/16"])
    page = pages.post(page, "/settings/connections", status=422, allow="not a host!")
    assert page.form("/settings/connections")["allow"] == "not a host!"


def test_only_an_admin_is_offered_the_forms(api: Api) -> None:
    for role in ("viewer", "dev"):
        page = Pages(api.role(role)).get("/settings")
        assert page.one("main").every("button") == []
        assert "disabled" in page.one("select", id="unset-prod").attributes
        assert api.role(role).post("/settings/limits", data={"memory": "1GB"}).status_code == 403
    limited = Pages(api.role("admin", "dev")).get("/settings")
    assert "disabled" in limited.one("select", id="unset-prod").attributes
    assert "disabled" not in limited.one("select", id="unset-dev").attributes


def test_keys_say_who_holds_them_and_how_far_a_rotation_is(api: Api) -> None:
    def of(page: Element, environment: str) -> Element:
        return page.one("section", aria_labelledby=f"key-{environment}")

    pages = Pages(api.client)
    api.add_runner("box", "dev", "prod")
    for value in (b"first-value", b"second-value"):
        api.set_value("SAP.PASSWORD", value, "prod")
    page = pages.get("/keys")
    assert "box" in of(page, "prod").text
    assert "No runner of staging is up" in of(page, "staging").text
    assert "2 values" in of(page, "prod").text
    assert not page.every("progress")
    with db.writing(api.console.engine) as session:
        recipients.register(session, Identity.generate("prod").recipient, now=datetime.now(UTC))
    api.set_value("SAP.PASSWORD", b"third-value", "prod")
    page = pages.get("/keys")
    progress = of(page, "prod").one("progress")
    assert (progress["value"], progress["max"]) == ("1", "3")
    assert "former since now 2 values" in of(page, "prod").text
