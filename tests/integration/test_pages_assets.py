"""The pages of assets: values go in by forms, numbers come out, and no answer ever holds a value."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api import Api, serving
from tests.markup import Element
from tests.pages import Pages, notice
from tests.support import Stores


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as api:
        yield api


def row(page: Element, asset: str) -> list[str]:
    """The words of one line of the grid, without the ages."""
    (line,) = [each for each in page.every("tr") if each.every("a", "name") and each.one("a", "name").text == asset]
    return [" ".join(cell.text.split()[:2]) for cell in line.every("a", "cell")]


def test_an_asset_is_created_set_rolled_back_and_removed_without_showing_a_value(api: Api) -> None:
    pages = Pages(api.client)
    empty = pages.get("/assets")
    assert "No assets yet" in empty.text
    form = pages.get(empty.one("a", "button-first", href="/assets/new")["href"])
    values = ["fjord-first-Value", "-----BEGIN\nfjord-key\n-----END\n", "fjord-second-Value"]
    page = pages.post(
        form,
        "/assets",
        group="sap",
        name="password",
        description="of the robot",
        value_dev=values[0],
        value_prod_lines=values[1].replace("\n", "\r\n"),
    )
    assert "SAP.PASSWORD was created, with a value in dev, prod." in notice(page)
    assert row(pages.get("/assets"), "SAP.PASSWORD") == ["set #1", "missing", "set #1"]
    assert notice(pages.get("/assets/SAP/PASSWORD")) == ""

    base = "/assets/SAP/PASSWORD"
    page = pages.post(page, f"{base}/values/dev", value_dev=values[2])
    assert "Value 2 of SAP.PASSWORD is in force in dev." in notice(page)
    page = pages.post(page, f"{base}/values/dev/rollback")
    assert "Value 1 of SAP.PASSWORD is in force in dev again." in notice(page)
    page = pages.post(page, f"{base}/values/dev/removal")
    page = pages.post(page, f"{base}/values/staging", empty="on")
    assert row(pages.get("/assets"), "SAP.PASSWORD") == ["missing", "empty #1", "set #1"]
    page = pages.post(page, f"{base}/description", description="of the robot in Kiel")
    assert "of the robot in Kiel" in page.one("div", "head").text
    listed = pages.post(page, f"{base}/removal")
    assert "SAP.PASSWORD was removed" in notice(listed)
    assert "No assets yet" in listed.text

    actions = [each["action"] for each in reversed(api.audit()) if each["action"].startswith("asset.")]
    assert actions == [
        "asset.added",
        "asset.set",
        "asset.set",
        "asset.set",
        "asset.rollback",
        "asset.unset",
        "asset.set",
        "asset.described",
        "asset.removed",
    ]
    assert len(pages.seen) >= 12
    assert not [text for text in pages.seen if "fjord" in text]


def test_a_value_is_stored_as_it_was_typed_or_chosen(api: Api) -> None:
    pages = Pages(api.client)
    form = pages.get("/assets/new")
    page = pages.post(
        form,
        "/assets",
        group="CERT",
        name="STORE",
        value_dev="abc",
        files={"value-staging-file": ("store.pfx", b"\x00\xff\x30\x82")},
    )
    assert "Advice: dev: The value is shorter than 4 characters" in notice(page)
    assert page.one(id="notice").every("div", "notice-warning")
    assert "staging: The value has a NUL byte" in notice(page)


def test_a_refused_form_keeps_what_was_written_but_no_value(api: Api) -> None:
    pages = Pages(api.client)
    form = pages.get("/assets/new?group=SAP")
    again = pages.post(form, "/assets", status=422, name="PASS WORD", description="kept", value_dev="fjord-value")
    assert again.form("/assets")["group"] == "SAP"
    assert again.form("/assets")["description"] == "kept"
    assert "cannot be the name of an asset" in again.one(id="h-name").text
    assert again.one("input", name="value-dev").attributes.get("value") is None
    twice = pages.post(form, "/assets", status=422, name="A", value_dev="fjord-value", value_dev_lines="fjord-value")
    assert "in one way only" in twice.one("div", "notice-bad").text
    pages.post(form, "/assets", name="PASSWORD")
    exists = pages.post(form, "/assets", status=422, name="PASSWORD")
    assert "is there already" in exists.one("div", "notice-bad").text
    page = pages.get("/assets/SAP/PASSWORD")
    blank = pages.post(page, "/assets/SAP/PASSWORD/values/prod", status=422)
    assert "Give a value" in blank.one(id="prod").text
    assert not [text for text in pages.seen if "fjord" in text]


def test_forms_are_there_only_for_whoever_may_send_them(api: Api) -> None:
    api.set_value("SAP.PASSWORD", b"some-value", "dev")
    viewer = Pages(api.role("viewer"))
    assert [each["method"] for each in viewer.get("/assets/SAP/PASSWORD").every("form")] == []
    assert viewer.get("/assets").every("a", href="/assets/new") == []
    assert "role dev" in viewer.get("/assets/new", status=403).text
    limited = Pages(api.role("dev", "dev"))
    page = limited.get("/assets/SAP/PASSWORD")
    assert page.every("form", action="/assets/SAP/PASSWORD/values/dev")
    assert not page.every("form", action="/assets/SAP/PASSWORD/values/prod")
    refused = limited.client.post("/assets/SAP/PASSWORD/values/prod", data={"value-prod": "x"})
    assert refused.status_code == 403
    assert api.audit()[0]["outcome"] == "refused"


def test_a_bots_own_asset_is_hidden_from_the_shared_list_and_says_what_it_overrides(api: Api) -> None:
    api.add_bot("hello", **{"bot.toml": 'assets = ["SAP.*"]\n'})
    api.set_value("SAP.PASSWORD", b"shared-value", "dev")
    pages = Pages(api.client)
    page = pages.get("/bots/hello/assets")
    assert "no assets of its own" in page.text
    page = pages.post(
        pages.get("/bots/hello/assets/new"), "/bots/hello/assets", group="SAP", name="PASSWORD", value_dev="own-value"
    )
    assert page.one("a", "badge-accent")["href"] == "/assets/SAP/PASSWORD"
    pages.post(
        pages.get("/bots/hello/assets/new"), "/bots/hello/assets", group="OWN", name="KEY", value_dev="own-value"
    )
    assert [each.text for each in pages.get("/assets").every("a", "name")] == ["SAP.PASSWORD"]
    own = pages.get("/bots/hello/assets")
    assert [each.text for each in own.every("a", "name")] == ["OWN.KEY", "SAP.PASSWORD"]
    assert len(own.every("span", "badge-accent")) == 1
    assert [each.text for each in pages.get("/assets/SAP/PASSWORD").every("a", href="/bots/hello")] == ["hello"]
    assert "There is no bot" in pages.get("/bots/nobody/assets", status=404).text


def test_an_asset_whose_values_live_on_hosts_is_declared_and_takes_no_value_here(api: Api) -> None:
    api.add_bot("hello")
    pages, base = Pages(api.client), "/bots/hello/assets"
    form = pages.get(f"{base}/new")
    asked: dict[str, Any] = {"group": "SAP", "name": "USER", "description": "of the portal", "local": "on"}
    refused = pages.post(form, base, status=422, **asked, value_dev="fjord-Value")
    assert "leave the fields of values blank" in refused.text
    assert "fjord" not in refused.text
    page = pages.post(form, base, **asked)
    assert "botkeep local set hello SAP.USER" in notice(page)
    assert page.every("details", "set-value") == [], "no form takes a value"
    assert "botkeep local set hello SAP.USER --env prod" in page.one("section", id="prod").text
    assert row(pages.get(base), "SAP.USER") == ["local", "local", "local"]
    assert pages.get(f"{base}?missing=dev").every("a", "name") == []
    assert pages.get("/assets/new").every("input", name="local") == [], "it belongs to one bot"


def test_the_list_is_narrowed_and_paged_by_name(api: Api) -> None:
    with api.client as client:
        for number in range(60):
            answer = client.put(f"/api/v1/assets/G/N{number:02}/values/dev", content=b"some-value")
            assert answer.status_code == 200
        pages = Pages(client)
        first = pages.get("/assets")
        names = [each.text for each in first.every("a", "name")]
        second = pages.get(first.one("a", rel="next")["href"])
        names += [each.text for each in second.every("a", "name")]
        assert names == [f"G.N{number:02}" for number in range(60)]
        assert not second.every("a", rel="next")
        assert [each.text for each in pages.get("/assets?q=n07").every("a", "name")] == ["G.N07"]
        assert "No asset matches" in pages.get("/assets?q=%25&missing=dev").text
        assert len(pages.get("/assets?missing=prod").every("a", "name")) == 50
