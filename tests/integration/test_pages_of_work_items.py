"""The pages of work items: added by a form, listed, tried again and removed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import work_items
from runner.work_items import Holder
from tests.api import Api, serving
from tests.plain_pages import Pages, wrong
from tests.support import Stores
from vault import db


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as api:
        api.add_bot()
        yield api


def test_an_item_is_added_found_fails_and_is_tried_again(api: Api) -> None:
    pages = Pages.of(api)
    assert "No work item yet" in pages.see("/work-items").text
    form = pages.see("/work-items/~new?tray=invoices").form("/work-items")
    assert form["tray"] == "invoices"
    given = {**form, "data": '{"total": "<script>1</script>"}', "reference": "R-1", "retries": "0"}
    place, page = pages.done("/work-items", {**given, "deadline": "2031-01-01T12:00", "environment": "dev"})
    assert "<script>1</script>" in page.one("section", aria_labelledby="data").text
    assert not page.one("section", aria_labelledby="data").every("script")
    stored = api.client.get(f"/api/v1{place}").json()
    assert (stored["deadline"], stored["retries"], stored["retry_delay"]) == ("2031-01-01T12:00:00Z", 0, 60)

    job = api.run()
    claim = api.claim(job["id"])
    holder = Holder(api.workspace_id, "dev", claim.job_id, claim.attempt)
    with db.writing(api.console.engine) as session:
        item = work_items.reserve(session, "invoices", holder=holder)
        assert item is not None
    assert "reserved" in pages.refused(f"{place}/removal", {}, status=409).text
    assert "only failed and dead" in pages.refused(f"{place}/retry", {}, status=409).text
    with db.writing(api.console.engine) as session:
        work_items.fail(session, item.id, holder=holder, business=False, message="the server said <b>no</b>")
    page = pages.see("/work-items?state=dead")
    assert [each.text for each in page.every("a", "name")] == ["R-1"]
    assert "the server said <b>no</b>" in page.text
    assert "No work item fits" in pages.see("/work-items?state=done&tray=invoices").text
    assert "no such state" in wrong(pages.see("/work-items?state=odd", status=422))["state"]
    pages.done(f"{place}/retry")
    assert pages.see(place).one("span", "state").text == "waiting"
    place, page = pages.done(f"{place}/removal")
    assert (place, "No work item yet" in page.text) == ("/work-items", True)
    assert [row["action"] for row in api.audit()[:3]] == ["item.removed", "item.retried", "job.enqueued"]


def test_what_cannot_be_added_stands_beside_its_field(api: Api) -> None:
    pages = Pages.of(api)
    good = {"tray": "t", "data": "1", "environment": "dev", "reference": "R"}

    def fault(field: str, **changed: str) -> str:
        page = pages.refused("/work-items", {**good, **changed})
        assert set(wrong(page)) == {field}, wrong(page)
        return wrong(page)[field]

    assert "not JSON" in fault("data", data="{")
    assert "letters" in fault("tray", tray="a b")
    assert fault("retries", retries="many")
    assert fault("retries", retries="200").startswith("retries")
    assert fault("retry_delay", retry_delay="-1")
    assert fault("deadline", deadline="soon")
    pages.done("/work-items", good)
    assert "already" in fault("reference")
    limited = Pages(api, api.role("operator", "dev"))
    assert limited.post("/work-items", {**good, "environment": "prod"}).status_code == 403
    viewer = Pages(api, api.role("viewer"))
    assert not viewer.see("/work-items").every("a", href="/work-items/~new")
    viewer.see("/work-items/~new", status=403)
    pages.see("/work-items/no-id", status=404)


def test_a_list_goes_on_where_it_ended_and_keeps_its_filter(api: Api) -> None:
    pages = Pages.of(api)
    with db.writing(api.console.engine) as session:
        for number in range(51):
            draft = work_items.Draft("t", "dev", number, reference=f"R{number}")
            work_items.add(session, draft, workspace_id=api.workspace_id, by="x", now=api.console.now())
    first = pages.see("/work-items?tray=t")
    assert len(first.every("a", "name")) == 50
    following = pages.see(first.one("a", rel="next")["href"])
    assert [each.text for each in following.every("a", "name")] == ["R0"]
    assert following.one("nav", "pager").one("a")["href"] == "/work-items?tray=t"
