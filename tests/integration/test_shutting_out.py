"""People who are shut out: disabled, signed out by an admin, and what lasts longer than a request ends with them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from console import minting, stream
from tests.api import Api, error_of, serving
from tests.markup import read
from tests.person import PASSWORD, Person
from tests.support import Stores
from vault import db


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        yield running


def test_who_is_disabled_is_refused_with_their_tokens_until_they_are_enabled(api: Api) -> None:
    anna = Person.added(api, "anna", "admin")
    ours = {"X-CSRF": anna.csrf, "Origin": api.url}
    token = anna.client.post("/api/v1/tokens", json={"name": "ci", "role": "viewer"}, headers=ours).json()["token"]
    assert anna.post("/account/password", value_password=PASSWORD).status_code == 303
    robot, path = api.as_token(token), "/api/v1/users/anna/disabled"
    assert api.client.put(path).json()["disabled_at"]
    assert api.client.put(path).status_code == 409
    assert anna.client.get("/api/v1/bots").status_code == 401
    assert robot.get("/api/v1/bots").status_code == 401
    refused = Person.new(api).sign_in("anna")
    assert refused.status_code == 422
    assert "This account is disabled. Ask an admin." in read(refused.text).text
    link = api.client.post("/api/v1/users/anna/links").json()["url"]
    assert Person.new(api).use(link).status_code == 422
    rows = [row for row in api.audit() if row["action"] == "session.begun" and row["outcome"] == "refused"]
    assert [row["details"]["method"] for row in rows] == ["link", "password"]
    assert api.client.delete(path).json()["disabled_at"] is None
    assert robot.get("/api/v1/bots").status_code == 200
    assert Person.new(api).use(link).status_code == 303
    assert anna.client.get("/api/v1/bots").status_code == 401


def test_who_is_disabled_in_one_workspace_looks_at_another(api: Api) -> None:
    boss = Person.added(api, "boss", "admin")
    assert boss.post("/workspaces", name="second").status_code == 201
    assert api.client.put("/api/v1/users/boss/disabled").status_code == 200
    assert boss.client.get("/api/v1/bots").status_code == 401
    with db.writing(api.console.engine) as session:
        token = minting.mint_link(session, "boss", now=api.console.now())
    again = Person.new(api)
    assert again.post("/sign-in/link", token=token).status_code == 303
    again.learn()
    assert [row["name"] for row in again.client.get("/api/v1/workspaces").json()["items"]] == ["second"]
    assert again.post("/account/workspace", workspace="default").status_code == 404


def test_an_admin_sees_sessions_and_ends_them(api: Api) -> None:
    anna = Person.added(api, "anna", "dev")
    boss = Person.added(api, "boss", "admin")
    item = next(row for row in api.client.get("/api/v1/users").json()["items"] if row["name"] == "anna")
    assert item["sessions"] == 1
    assert item["seen_at"]
    listed = api.client.get("/api/v1/users/anna/sessions").json()["items"]
    assert [(row["method"], row["address"]) for row in listed] == [("link", "127.0.0.1")]
    assert boss.post("/users/anna/sessions/removal").status_code == 303
    assert anna.client.get("/api/v1/bots").status_code == 401
    assert api.client.delete("/api/v1/users/anna/sessions").json() == {"name": "anna", "ended": 0}
    ended = [row for row in api.audit() if row["action"] == "session.ended"]
    assert [row["actor"] for row in ended] == ["boss"]


def test_nobody_takes_their_own_rights_away(api: Api) -> None:
    boss = Person.added(api, "boss", "admin")
    ours = {"X-CSRF": boss.csrf, "Origin": api.url}
    for method, path, body in (
        ("PUT", "role", {"role": "viewer"}),
        ("PUT", "disabled", None),
        ("DELETE", "", None),
    ):
        answer = boss.client.request(method, f"/api/v1/users/boss/{path}".rstrip("/"), json=body, headers=ours)
        assert answer.status_code == 409
        assert "ask another admin" in error_of(answer)
    assert boss.client.get("/api/v1/users").status_code == 200


ENDS: dict[str, Callable[[Api, Person], object]] = {
    "signed_out": lambda _api, anna: anna.post("/sign-out"),
    "ended": lambda api, _anna: api.client.delete("/api/v1/users/anna/sessions"),
    "disabled": lambda api, _anna: api.client.put("/api/v1/users/anna/disabled"),
    "removed": lambda api, _anna: api.client.delete("/api/v1/users/anna"),
    "switched": lambda _api, anna: anna.post("/account/workspace", workspace="second"),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_log_that_is_followed_ends_with_the_session(api: Api, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    monkeypatch.setattr(stream, "ASKED_EVERY", 0.2)
    api.add_bot()
    anna, job = Person.added(api, "anna", "operator"), api.run()["id"]
    second = api.client.post("/api/v1/workspaces", json={"name": "second"}).json()["token"]
    assert api.as_token(second).post("/api/v1/users", json={"name": "anna", "role": "viewer"}).status_code == 201
    with anna.client.stream("GET", f"/jobs/{job}/log/events", timeout=20) as answer:
        assert answer.status_code == 200
        ENDS[end](api, anna)
        assert "event: end" not in "".join(answer.iter_text())


def test_a_log_that_is_followed_ends_with_the_token_and_not_before(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "ASKED_EVERY", 0.0)
    api.add_bot()
    robot, path = api.as_token(api.token("viewer", name="ci")), f"/api/v1/jobs/{api.run()['id']}/log/stream"
    with api.client.stream("GET", path, timeout=20) as kept:
        with robot.stream("GET", path, timeout=20) as answer:
            assert api.client.delete("/api/v1/tokens/ci").status_code == 204
            assert "event: end" not in "".join(answer.iter_text())
        api.finish(api.claim(path.split("/")[4]))
        assert "event: end" in "".join(kept.iter_text())
