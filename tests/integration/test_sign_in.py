"""Signing in: passwords, codes, links; sessions that end; and what another site's page cannot make a browser do."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pyotp
import pytest

from console import sign_in
from console.pages.sign_in import own_path
from tests.api import Api, serving
from tests.person import PASSWORD, Person
from tests.support import Stores
from vault import db


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        yield running


def with_password(api: Api, name: str = "anna", role: str = "dev") -> None:
    assert api.client.post("/api/v1/users", json={"name": name, "role": role}).status_code == 201
    answer = api.client.put(f"/api/v1/users/{name}/password", json={"password": PASSWORD})
    assert answer.status_code == 204, answer.text


def cookie_of(answer: httpx.Response) -> str:
    return next(line for line in answer.headers.get_list("set-cookie") if line.startswith(("botkeep=", "__Host")))


def test_a_password_signs_in_and_everything_else_is_refused_alike(api: Api) -> None:
    with_password(api)
    api.client.post("/api/v1/users", json={"name": "bert", "role": "dev"})
    person = Person.new(api)
    refused = [
        person.sign_in("anna", "four quiet words there"),
        person.sign_in("anna", ""),
        person.sign_in("bert", PASSWORD),
        person.sign_in("nobody", PASSWORD),
    ]
    assert {answer.status_code for answer in refused} == {422}
    assert len({re.sub(r"anna|bert|nobody", "", answer.text) for answer in refused}) == 1
    assert all(PASSWORD not in answer.text for answer in refused)
    rows = api.audit()[:4]
    assert [(row["actor"], row["action"], row["outcome"]) for row in rows] == [
        ("unknown account", "session.begun", "refused"),
        ("bert", "session.begun", "refused"),
        ("anna", "session.begun", "refused"),
        ("anna", "session.begun", "refused"),
    ]
    assert "nobody" not in str(api.audit())
    answer = person.sign_in("ANNA", PASSWORD)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "HttpOnly" in cookie_of(answer)
    assert "SameSite=lax" in cookie_of(answer)
    assert "Secure" not in cookie_of(answer)
    assert person.client.get("/api/v1/bots").status_code == 200
    assert (api.audit()[0]["actor"], api.audit()[0]["action"]) == ("anna", "session.begun")


def test_only_digests_are_stored_and_nothing_opens_the_account_again(api: Api) -> None:
    with_password(api)
    person = Person.new(api)
    cookie = cookie_of(person.sign_in("anna")).split(";")[0].partition("=")[2]
    link = api.client.post("/api/v1/users/anna/links").json()["url"]
    with api.console.engine.connect() as connection:
        stored = [
            str(connection.exec_driver_sql(f"SELECT * FROM {table}").all())
            for table in ("users", "sessions", "sign_in_links", "audit_events")
        ]
    assert "$argon2id$v=19$m=65536,t=3,p=4$" in stored[0]
    for known in (PASSWORD, cookie, link.partition("token=")[2]):
        assert all(known not in text for text in stored)
    assert PASSWORD not in api.client.get("/api/v1/users").text


def test_who_tries_often_is_slowed_down_by_account(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    with_password(api)
    person = Person.new(api)
    # On a slow machine one more try would be given back every six seconds.
    monkeypatch.setattr(sign_in, "time", SimpleNamespace(monotonic=lambda: 0.0))
    statuses = [person.sign_in("anna", "wrong").status_code for _ in range(11)]
    assert statuses == [422] * 10 + [429]
    slowed = person.sign_in("anna")
    assert slowed.status_code == 429
    assert int(slowed.headers["retry-after"]) > 0
    assert len([row for row in api.audit() if row["outcome"] == "refused"]) == 10


def test_a_link_signs_in_once_and_looking_at_it_does_not_use_it_up(api: Api) -> None:
    api.client.post("/api/v1/users", json={"name": "anna", "role": "viewer"})
    old, link = (api.client.post("/api/v1/users/anna/links").json()["url"] for _ in range(2))
    person, other = Person.new(api), Person.new(api)
    for _ in range(2):
        assert "Sign in as anna" in person.client.get(link).text
    assert other.use(old).status_code == 422
    assert person.use(link).headers["location"] == "/account"
    assert other.use(link).status_code == 422
    assert other.client.get(link).status_code == 404
    assert api.client.post("/api/v1/users/anna/links").status_code == 201
    expired = api.client.post("/api/v1/users/anna/links").json()["url"]
    with db.writing(api.console.engine) as session:
        session.connection().exec_driver_sql("UPDATE sign_in_links SET expires_at = '2020-01-01 00:00:00'")
    assert other.use(expired).status_code == 422


def test_a_session_ends_when_it_is_revoked_signed_out_of_or_its_person_removed(api: Api) -> None:
    with_password(api)
    one, two, three = Person.new(api), Person.new(api), Person.new(api)
    for person in (one, two, three):
        assert person.sign_in("anna").status_code == 303
    page = one.client.get("/account").text
    ends = re.findall(r"/account/sessions/[0-9a-f-]+/removal", page)
    assert len(ends) == 2
    assert one.post(ends[0]).status_code == 303
    alive = [person for person in (two, three) if person.client.get("/api/v1/bots").status_code == 200]
    assert len(alive) == 1
    assert one.post(ends[0]).status_code == 404
    assert alive[0].post("/sign-out").headers["location"] == "/sign-in"
    assert alive[0].client.get("/api/v1/bots").status_code == 401
    assert one.client.get("/api/v1/bots").status_code == 200
    assert api.client.delete("/api/v1/users/anna").json() == {"name": "anna", "tokens": []}
    assert one.client.get("/api/v1/bots").status_code == 401
    assert Person.new(api).sign_in("anna").status_code == 422


def test_an_idle_session_ends_and_so_does_an_old_one(stores: Stores, tmp_path: Path) -> None:
    with serving(stores, tmp_path) as api:
        person = Person.added(api, "anna", "viewer")
        assert person.client.get("/api/v1/bots").status_code == 200
        console = api.console
        with db.writing(console.engine) as session:
            session.connection().exec_driver_sql("UPDATE sessions SET seen_at = '2020-01-01 00:00:00'")
        assert person.client.get("/api/v1/bots").status_code == 401
        with db.writing(console.engine) as session:
            change = "UPDATE sessions SET seen_at = created_at, expires_at = '2020-01-01 00:00:00'"
            session.connection().exec_driver_sql(change)
        assert person.client.get("/api/v1/bots").status_code == 401


def test_a_code_is_asked_for_once_it_was_switched_on_and_works_once(api: Api) -> None:
    with_password(api)
    person = Person.new(api)
    person.sign_in("anna")
    page = person.client.get("/account").text
    key = re.search(r'name="key" value="([A-Z2-7]{32})"', page)
    assert key
    totp = pyotp.TOTP(key[1])
    given = {"key": key[1], "value_proof": PASSWORD}
    assert person.post("/account/totp", value_code="000000", **given).status_code == 422
    step = int(api.console.now().timestamp()) // 30
    assert person.post("/account/totp", value_code=totp.generate_otp(step - 1), **given).status_code == 201
    assert key[1] not in person.client.get("/account").text
    other = Person.new(api)
    assert other.sign_in("anna").status_code == 422
    assert other.sign_in("anna", code=totp.generate_otp(step - 1)).status_code == 422
    right = totp.generate_otp(int(api.console.now().timestamp()) // 30)
    assert other.sign_in("anna", code=right).status_code == 303
    assert Person.new(api).sign_in("anna", code=right).status_code == 422
    with api.console.engine.connect() as connection:
        assert key[1].encode() not in connection.exec_driver_sql("SELECT totp FROM users").scalar_one()
    assert api.client.delete("/api/v1/users/anna/totp").status_code == 204
    assert Person.new(api).sign_in("anna").status_code == 303


def test_another_site_cannot_make_a_browser_do_anything(api: Api) -> None:
    api.add_bot()
    person = Person.added(api, "anna", "admin")
    ours, job = str(person.client.base_url).rstrip("/"), {"bot": "hello"}
    shown = {"X-CSRF": person.csrf}
    foreign = [
        {},
        shown,
        shown | {"Origin": "https://evil.example"},
        shown | {"Origin": "null"},
        shown | {"Origin": ours, "Sec-Fetch-Site": "cross-site"},
        shown | {"Origin": ours, "Sec-Fetch-Site": "same-site"},
        {"Origin": ours},
        {"Origin": ours, "X-CSRF": "x"},
        {"Origin": ours, "X-CSRF": ""},
    ]
    answers = [person.client.post("/api/v1/jobs", json=job, headers=headers) for headers in foreign]
    assert {answer.status_code for answer in answers} == {403}
    assert api.client.get("/api/v1/jobs").json()["items"] == []
    assert [(row["actor"], row["outcome"]) for row in api.audit()[: len(foreign)]] == [("anna", "refused")] * len(
        foreign
    )
    good = [shown | {"Origin": ours}, shown | {"Sec-Fetch-Site": "same-origin"}]
    assert [person.client.post("/api/v1/jobs", json=job, headers=headers).status_code for headers in good] == [201, 201]
    forged = person.client.post("/sign-out", data={}, headers={"Origin": ours})
    assert forged.status_code == 403
    assert person.client.get("/api/v1/bots").status_code == 200
    answer = Person.new(api).client.post("/sign-in", data={"name": "anna", "password": "x"})
    assert answer.status_code == 422
    assert "not sent from this page" in answer.text


@pytest.mark.parametrize(
    "target", ["//evil.example", "/\\evil.example", "https://evil.example/", "javascript:1", "/sign-in", ""]
)
def test_after_a_sign_in_nobody_is_led_elsewhere(target: str) -> None:
    assert own_path(target) == "/"
    assert own_path("/jobs?after=1") == "/jobs?after=1"


def test_over_tls_the_cookie_is_for_this_host_and_secure(stores: Stores, tmp_path: Path) -> None:
    with serving(stores, tmp_path, public_url="https://botkeep.corp.example") as api:
        with_password(api)
        person = Person.new(api)
        fields = {"name": "anna", "password": PASSWORD}
        assert person.client.post("/sign-in", data=fields, headers={"Origin": api.url}).status_code == 422
        answer = person.client.post("/sign-in", data=fields, headers={"Origin": "https://botkeep.corp.example"})
        assert cookie_of(answer).startswith("__Host-botkeep=")
        assert "Secure" in cookie_of(answer)
        assert "Path=/" in cookie_of(answer)
        assert "Domain" not in cookie_of(answer)
        link = api.client.post("/api/v1/users/anna/links").json()["url"]
        assert link.startswith("https://botkeep.corp.example/sign-in/link?token=")


def test_every_answer_carries_the_security_headers(api: Api) -> None:
    person = Person.added(api, "anna", "admin")
    for path in ("/sign-in", "/account", "/users", "/nothing", "/api/v1/bots", "/api/v1/nothing", "/healthz"):
        headers = person.client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy, path
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
    stranger = Person.new(api).client.get("/users")
    assert (stranger.status_code, stranger.headers["location"]) == (303, "/sign-in?next=%2Fusers")
