"""What every page stands in: files, policies, errors as pages, notices, navigation, and Home."""

import gzip
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner import overview
from runner.states import State
from tests.api import Api, error_of, serving
from tests.markup import read
from tests.pages import Pages, notice
from tests.support import Stores

BROWSER = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as api:
        yield api


def test_files_are_kept_for_a_year_at_addresses_that_change_with_them(api: Api) -> None:
    page = Pages(api.client).get("/")
    links = [each["href"] for each in page.every("link")] + [each["src"] for each in page.every("script")]
    stranger = api.as_token(None)
    assert len(links) >= 5
    for link in links:
        answer = stranger.get(link, headers={"Accept-Encoding": "identity"})
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert hashlib.sha256(answer.content).hexdigest().startswith(link.split("/")[2])
        with stranger.stream("GET", link, headers={"Accept-Encoding": "gzip"}) as packed:
            assert gzip.decompress(b"".join(packed.iter_raw())) == answer.content
    # A page of before an upgrade asks for the old address.
    old = stranger.get("/static/0123456789abcdef/app.css")
    assert (old.status_code, old.headers["cache-control"]) == (200, "no-cache")
    assert stranger.get("/favicon.ico").headers["content-type"] == "image/svg+xml"
    assert error_of(stranger.get("/static/0123456789abcdef/VENDORED.md", headers=BROWSER))
    assert stranger.get("/static/0123456789abcdef/..%2fapp.py").status_code == 404


def test_pages_may_load_our_files_only_and_answers_for_programs_nothing(api: Api) -> None:
    page = api.client.get("/").headers
    directives = dict(part.strip().split(" ", 1) for part in page["content-security-policy"].split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == directives["style-src"] == directives["form-action"] == "'self'"
    assert directives["frame-ancestors"] == "'none'"
    assert "unsafe" not in page["content-security-policy"]
    for headers in (page, api.client.get("/api/v1/jobs").headers, api.client.get("/nothing", headers=BROWSER).headers):
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] in {"no-referrer", "same-origin"}
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "script-src" not in api.client.get("/api/v1/jobs").headers["content-security-policy"]


def test_errors_are_pages_for_people_and_json_for_programs(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = api.as_token(None)
    there = stranger.get("/assets?q=a%26b&missing=dev")
    assert (there.status_code, there.headers["location"]) == (
        303,
        "/sign-in?next=%2Fassets%3Fq%3Da%2526b%26missing%3Ddev",
    )
    assert stranger.post("/assets").headers["location"] == "/sign-in"
    part = stranger.get("/home/now", headers={"HX-Request": "true"})
    assert (part.status_code, part.headers["hx-redirect"]) == (401, "/sign-in")

    viewer = api.role("viewer")
    refused = viewer.get("/assets/new")
    assert refused.status_code == 403
    assert "This needs the role dev" in read(refused.text).one("main").text
    assert read(refused.text).every("a", "side-link")
    assert viewer.get("/assets/new", headers={"HX-Request": "true"}).text.startswith('<div class="notice')
    missing = api.client.get("/nothing", headers=BROWSER)
    assert (missing.status_code, read(missing.text).one("h1").text) == (404, "Not found")
    assert error_of(api.client.get("/nothing")) == error_of(api.client.get("/api/v1/nothing", headers=BROWSER))
    unusable = api.client.get("/bots/hello/diff?before=x&after=1")
    assert unusable.status_code == 422
    assert "before: it must be a whole number" in read(unusable.text).text
    nul = api.client.get("/%00", headers=BROWSER)
    assert "NUL character" in read(nul.text).one("main").text

    def broken(*_arguments: object, **_more: object) -> None:
        raise RuntimeError("never shown")

    monkeypatch.setattr(overview, "overview", broken)
    failed = api.client.get("/")
    assert failed.status_code == 500
    assert re.search(r"its log says more under [0-9a-f]{12}\.", read(failed.text).one("main").text)
    assert "never shown" not in failed.text


def test_a_notice_is_shown_once_and_never_as_markup(api: Api) -> None:
    pages = Pages(api.client)
    page = pages.post(pages.get("/assets/new"), "/assets", group="A", name="B")
    assert "A.B was created" in notice(page)
    assert notice(pages.get("/assets")) == ""
    forged = {"Cookie": "botkeep_notice=good%3A%3Cscript%3Ealert(1)%3C/script%3E"}
    shown = api.client.get("/", headers=forged).text
    assert "<script>alert" not in shown
    for cookie in ("x", "danger%3Atext", "%FF%FE", "good%3A", "a" * 3000):
        assert notice(read(api.client.get("/", headers={"Cookie": f"botkeep_notice={cookie}"}).text)) == ""


def test_the_navigation_shows_what_the_role_may_see(api: Api) -> None:
    def entries(role: str) -> list[str]:
        page = Pages(api.role(role)).get("/settings")
        assert page.one("a", "side-link", aria_current="page")["href"] == "/settings"
        return [each["href"] for each in page.every("a", "side-link")]

    viewer, admin = entries("viewer"), entries("admin")
    assert {"/", "/history", "/bots", "/assets", "/keys", "/runners"} <= set(viewer)
    assert {"/audit", "/users", "/tokens"} <= set(admin) - set(viewer)
    for path in viewer:
        assert api.role("viewer").get(path).status_code == 200, path


def test_home_says_what_runs_what_failed_and_what_comes(api: Api) -> None:
    pages = Pages(api.client)
    empty = pages.get("/")
    assert "Nothing runs now" in empty.text
    assert "No runner yet" in empty.text
    api.add_bot("hello")
    api.add_runner("host")
    jobs = [api.run()["id"] for _ in range(4)]
    claims = [api.claim(job) for job in jobs[:3]]
    api.finish(claims[0])
    api.finish(claims[1], State.FAILED)
    definition = {"bot": "hello", "environment": "prod", "schedule": {"cron": "0 3 * * *"}}
    saved = api.client.post("/api/v1/triggers", json={"name": "nightly", "definition": definition})
    assert saved.status_code == 201, saved.text
    part = pages.get("/home/now")
    numbers = {
        each.one("span", "figure-word").text: each.one("span", "figure-number").text
        for each in part.every(css="figure")
    }
    assert numbers == {"Running now": "1", "Queued": "1", "Failed in 24 hours": "1", "Runners online": "1 / 1"}
    links = [each["href"] for each in part.every("a", "name")]
    assert f"/jobs/{jobs[2]}" in links
    assert f"/jobs/{jobs[1]}" in links
    assert f"/jobs/{jobs[0]}" not in links
    assert "/triggers/nightly" in links
