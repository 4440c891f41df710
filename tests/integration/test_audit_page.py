"""The audit as people look at it, narrowed and page by page; and whose word about addresses counts."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from tests.api import Api, serving
from tests.person import PASSWORD, Person
from tests.plain_pages import Pages, wrong
from tests.support import Stores


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        yield running


def shown(api: Api, **query: str) -> list[tuple[str, str]]:
    """Action and object of the rows of a page."""
    page = Pages.of(api).see(str(httpx.URL("/audit", params=query)))
    rows = page.one("tbody").every("tr") if page.every("tbody") else []
    return [(row.one("td", data_head="Action").text, row.one("td", data_head="Object").text) for row in rows]


def test_rows_are_narrowed_by_who_did_what_to_which_object_when_and_whether_it_was_refused(api: Api) -> None:
    api.set_value("SAP.PASSWORD", b"a value of the vault", "prod")
    assert api.role("viewer").post("/api/v1/jobs", json={"bot": "x"}).status_code == 403
    assert [row[0] for row in shown(api, action="asset")] == ["asset.set"]
    assert [row[0] for row in shown(api, outcome="refused")] == ["job.enqueued refused"]
    assert [row[0] for row in shown(api, environment="prod")] == ["asset.set"]
    assert [row[0] for row in shown(api, about="SAP.")] == ["asset.set"]
    assert shown(api, actor="nobody") == []
    assert shown(api, action="asset", since="1h") == shown(api, action="asset")
    assert shown(api, until="1h") == []
    hour = timedelta(hours=1)
    ago, ahead = (api.console.now() - hour).isoformat(), (api.console.now() + hour).isoformat()
    items = api.client.get("/api/v1/audit", params={"since": ago, "until": ahead}).json()["items"]
    assert items == api.audit()
    assert api.client.get("/api/v1/audit", params={"since": ahead}).json()["items"] == []
    refused = Pages.of(api).see("/audit?since=yesterday")
    assert "Write 2h, 7d, or a time such as" in wrong(refused)["since"]


def test_pages_of_the_audit_follow_one_another_and_keep_the_filter(api: Api) -> None:
    for number in range(60):
        api.set_value("SAP.PASSWORD", f"a value of the vault {number}".encode())
    pages = Pages.of(api)
    first = pages.see("/audit?action=asset&since=1h")
    following = first.one("a", rel="next")["href"]
    assert "action=asset" in following
    assert "since=1h" in following
    counts = [len(page.one("tbody").every("tr")) for page in (first, pages.see(following))]
    assert counts == [50, 10]


@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "stranger"])
def test_only_a_trusted_proxy_is_believed_about_addresses_and_tls(
    stores: Stores,
    tmp_path: Path,
    trusted: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    proxies = ("127.0.0.1",) if trusted else ("192.0.2.1",)
    with serving(stores, tmp_path, trusted_proxies=proxies) as api:
        Person.added(api, "anna", "dev").post("/account/password", value_password=PASSWORD)
        person = Person.new(api, **{"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https"})
        ours = str(person.client.base_url).rstrip("/")
        answer = person.client.post(
            "/sign-in",
            data={"name": "anna", "password": PASSWORD},
            headers={"Origin": ours.replace("http:", "https:") if trusted else ours},
        )
        assert answer.status_code == 303
        cookie = next(line for line in answer.headers.get_list("set-cookie") if "botkeep=" in line)
        assert cookie.startswith("__Host-botkeep=") is trusted
        assert ("Secure" in cookie) is trusted
        row = api.audit()[0]
        assert (row["action"], row["address"]) == ("session.begun", "203.0.113.7" if trusted else "127.0.0.1")
