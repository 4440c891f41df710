"""Workspaces apart: from one, no route shows or changes anything of another; people of several switch."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from console.page_permissions import PAGES
from console.permissions import INSTALLATION, PERMISSIONS, Permission
from tests.api import Api, error_of, serving, zipped
from tests.flow_api import FlowApi
from tests.permitted import form
from tests.person import PASSWORD, Person
from tests.support import Stores
from vault import db
from vault.models import Model

#: In every name that the first workspace gives.
MARK = "zanzibar"

#: What both workspaces have by nature: hosts, and what is said of the whole installation.
SHARED = {"/healthz", "/readyz", "/metrics", "/api/v1/openapi.json", "/permissions", "/api/v1/runners", "/runners"}
SHARED |= {"/api/v1/keys", "/keys", "/keys/rings"}  # keys belong to environments, which all workspaces share


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        yield running


def other_workspace(api: Api, name: str = "other") -> httpx.Client:
    answer = api.client.post("/api/v1/workspaces", json={"name": name})
    assert answer.status_code == 201, answer.text
    return api.as_token(answer.json()["token"])


def filled(api: Api) -> dict[str, str]:
    """Everything that a workspace can hold, marked; names and ids by the words of paths."""

    def post(path: str, body: dict[str, Any], **query: str) -> dict[str, Any]:
        answer = api.client.post(f"/api/v1/{path}", json=body, params=query)
        assert answer.status_code in {200, 201}, (path, answer.text)
        return dict(answer.json())

    api.add_bot(MARK)
    api.set_value(f"{MARK.upper()}.N", b"a value of zanzibar")
    api.client.put(f"/api/v1/calendars/{MARK}", json={"days": ["2026-12-25"]})
    flows, named = FlowApi(api), {"name": MARK}
    flows.save("queue", MARK, {"items": [{"bot": MARK}]})
    flows.save("workflow", MARK, {"steps": {"release": {"approval": {"question": f"{MARK}?"}}}})
    sql = {"connection": "postgresql://db.corp.example/x", "query": "SELECT 1"}
    post("sources", named | {"kind": "sql", "definition": sql})
    post("triggers", named | {"definition": {"bot": MARK, "webhook": {"style": "github"}, "environment": "dev"}})
    post("users", named | {"role": "admin"})
    post("tokens", {"name": f"{MARK}-token", "role": "viewer"})
    fan_out = post(f"sources/{MARK}/fan-outs", {"bot": MARK})
    check = post(f"sources/{MARK}/checks", {"environment": "dev"})
    return {
        "name": MARK,
        "group": MARK.upper(),
        "kind": "bot",
        "environment": "dev",
        "step": "release",
        "path": "x",
        "job_id": api.run(MARK)["id"],
        "run_id": flows.start("workflow", MARK),
        "item_id": str(post("work-items", {"tray": MARK, "data": MARK})["id"]),
        "check_id": str(check["id"]),
        "fan_out_id": str(fan_out["id"]),
        "session_id": "01920000-0000-7000-8000-000000000000",
    }


ORDERS: dict[str, dict[str, Any]] = {
    "asset.set": {"content": b"another value"},
    "asset.rollback": {"json": {"number": 1}},
    "bot.added": {"params": {"name": "mine"}, "content": zipped("pass\n")},
    "job.enqueued": {"json": {"bot": MARK}},
    "run.started": {"json": {}},
    "run.restarted": {"json": {}},
    "run.answered": {"json": {"decision": "allow"}},
    "trigger.key_set": {"json": {"key": "0123456789abcdef"}},
    "trigger.run": {"json": {}},
    "trigger.saved": {"json": {"name": "t", "definition": {"bot": MARK, "webhook": {"style": "github"}}}},
    "source.changed": {"json": {"kind": "sql", "definition": {"connection": "postgresql://h/d", "query": "SELECT 1"}}},
    "source.check_requested": {"json": {"environment": "dev"}},
    "source.fan_out": {"json": {"bot": MARK, "environment": "dev"}},
    "concurrency.set": {"json": {"at_once": 3, "target": MARK}},
    "user.changed": {"json": {"role": "viewer"}},
    "user.password_set": {"json": {"password": PASSWORD}},
}

#: A list of nothing.
EMPTY = '{"items":[],"next":null}'

#: Routes with a name in their path that make a thing of that name, in the workspace that asks.
MAKES = {"calendar.changed", "asset.set", "environment.policy"}


def state(api: Api, here: object) -> dict[str, list[str]]:
    """Every row of a workspace but its audit, as text."""
    given = str(here).replace("-", "") if api.console.engine.dialect.name == "sqlite" else here
    rows: dict[str, list[str]] = {}
    with db.reading(api.console.engine) as session:
        for table in Model.metadata.sorted_tables:
            if "workspace_id" in table.columns and not table.name.startswith("audit_"):
                query = text(f"SELECT * FROM {table.name} WHERE workspace_id = :here")
                rows[table.name] = sorted(map(str, session.execute(query, {"here": given})))
    return rows


def test_no_route_shows_or_changes_anything_of_another_workspace(api: Api) -> None:
    things = filled(api)
    stranger, before = other_workspace(api), state(api, api.workspace_id)
    stranger.headers["Accept"] = "text/html, application/json"
    wrong = []
    # The stranger's own refusals are in the stranger's audit, so that is looked at first.
    for (method, path), permission in sorted(PERMISSIONS.items(), key=lambda route: "/audit" not in route[0][1]):
        if permission is None or path in SHARED:
            continue
        if problem := tried(stranger, method, path, permission, things):
            wrong.append((method, path, *problem))
    assert not wrong, "\n".join(map(str, wrong))
    assert state(api, api.workspace_id) == before


def tried(
    stranger: httpx.Client, method: str, path: str, permission: Permission, things: dict[str, str]
) -> tuple[int, str] | None:
    """What is wrong with an answer that a stranger gets, if anything is."""

    def word(found: re.Match[str]) -> str:
        name = found[1]
        if permission.action == "asset.set" and name == "group":
            return "OWN"
        return "N" if name == "name" and "{group}" in path else things.get(name, things["name"])

    named = "{" in path.replace("{environment}", "").replace("{kind}", "")
    given = ORDERS.get(permission.action, {})
    if (method, path) in PAGES and method != "GET":
        given = {"data": form(permission.action, environment="dev", bot=MARK, new="theirs")}
    if path.endswith("/batch"):
        given = {"json": {"jobs": [{"bot": MARK}]}}
    answer = stranger.request(method, re.sub(r"{(\w+)(?::path)?}", word, path), **given)
    status, shown = answer.status_code, answer.text.lower()
    asked = {MARK} if named or given else set()  # a refusal says what was asked for, which the stranger knew
    leaked = MARK in shown and not (asked and status in {403, 404, 409, 422})
    if permission.action in INSTALLATION:
        return None if status == 403 else (status, shown[:200])
    if permission.action in MAKES:
        leaked = False
    nothing = status in {404, 422} or (method == "GET" and answer.text == EMPTY) or path.startswith("/account/")
    found = named and permission.action not in MAKES and not nothing
    return (status, shown[:300]) if leaked or found or status >= 500 or status == 401 else None


def test_a_person_of_several_workspaces_switches_and_is_somebody_else_there(api: Api) -> None:
    api.add_bot(MARK)
    anna = Person.added(api, "anna", "admin")
    assert anna.post("/workspaces", name="second").status_code == 201
    answer = anna.post("/account/workspace", workspace="second")
    assert answer.status_code == 303
    assert anna.client.get("/api/v1/bots").json()["items"] == []
    assert [row["name"] for row in anna.client.get("/api/v1/workspaces").json()["items"]] == ["default", "second"]
    assert [row["current"] for row in anna.client.get("/api/v1/workspaces").json()["items"]] == [False, True]
    assert anna.post("/users", name="bert", role="viewer").status_code == 201
    assert [row["name"] for row in api.client.get("/api/v1/users").json()["items"]] == ["anna"]
    assert anna.post("/account/workspace", workspace="none").status_code == 404
    other_workspace(api, "third")
    assert anna.post("/account/workspace", workspace="third").status_code == 404
    assert anna.post("/account/workspace", workspace="default").status_code == 303
    assert [row["name"] for row in anna.client.get("/api/v1/bots").json()["items"]] == [MARK]


def test_who_administers_one_workspace_cannot_open_an_account_that_belongs_to_others(api: Api) -> None:
    stranger = other_workspace(api)
    Person.added(api, "anna", "admin")
    assert stranger.post("/api/v1/users/anna/links").status_code == 404
    assert stranger.post("/api/v1/users", json={"name": "anna", "role": "viewer"}).status_code == 201
    for method, path, body in (
        ("POST", "links", None),
        ("PUT", "password", {"password": PASSWORD}),
        ("DELETE", "totp", None),
    ):
        answer = stranger.request(method, f"/api/v1/users/anna/{path}", json=body)
        assert answer.status_code == 409
        assert "other workspaces" in error_of(answer)
    assert stranger.delete("/api/v1/users/anna").status_code == 200
    assert [row["name"] for row in api.client.get("/api/v1/users").json()["items"]] == ["anna"]
    assert stranger.post("/api/v1/workspaces", json={"name": "mine"}).status_code == 403


def test_who_is_narrowed_cannot_give_or_take_over_more(api: Api) -> None:
    Person.added(api, "boss", "admin")
    anna = Person.added(api, "anna", "admin", prod="viewer")
    shown = {"X-CSRF": anna.csrf, "Origin": api.url}

    def ask(method: str, path: str, body: object = None) -> int:
        return anna.client.request(method, f"/api/v1/{path}", json=body, headers=shown).status_code

    assert ask("POST", "users", {"name": "x", "role": "dev"}) == 403
    assert ask("POST", "users", {"name": "x", "role": "dev", "narrowed": {"prod": "viewer"}}) == 201
    assert ask("PUT", "users/x/role", {"role": "dev"}) == 403
    assert ask("PUT", "users/anna/role", {"role": "admin"}) == 403
    for method, path in (("POST", "links"), ("DELETE", "totp"), ("DELETE", "")):
        assert ask(method, f"users/boss/{path}".rstrip("/")) == 403
    assert ask("PUT", "users/boss/password", {"password": PASSWORD}) == 403
    assert ask("POST", "tokens", {"name": "t", "role": "dev"}) == 403
    assert ask("POST", "tokens", {"name": "t", "role": "dev", "narrowed": {"prod": "viewer"}}) == 201
    assert ask("POST", "users/x/links") == 201
    assert ask("POST", "users", {"name": "y", "role": "dev", "narrowed": {"prod": "admin"}}) == 422


def test_nobody_answers_what_they_asked_for_as_themselves_or_with_a_token_of_theirs(api: Api) -> None:
    flows = FlowApi(api)
    flows.save("workflow", "release", {"steps": {"ask": {"approval": {"question": "Book?"}}}})
    anna, bert = Person.added(api, "anna", "admin"), Person.added(api, "bert", "operator")
    ours = {"X-CSRF": anna.csrf, "Origin": api.url}
    token = anna.client.post("/api/v1/tokens", json={"name": "ci", "role": "admin"}, headers=ours).json()["token"]
    robot, prod = api.as_token(token), {"environment": "prod"}
    for asker in ("anna", "ci"):
        run = (
            anna.client.post("/api/v1/workflows/release/runs", json=prod, headers=ours)
            if asker == "anna"
            else robot.post("/api/v1/workflows/release/runs", json=prod)
        ).json()["id"]
        flows.tick()
        path, allow = f"/api/v1/runs/{run}/approvals/ask", {"decision": "allow"}
        assert anna.client.put(path, json=allow, headers=ours).status_code == 403
        assert robot.put(path, json=allow).status_code == 403
        answer = bert.client.put(path, json=allow, headers={"X-CSRF": bert.csrf, "Origin": api.url})
        assert answer.status_code == 200, answer.text
    assert api.client.delete("/api/v1/users/anna").json()["tokens"] == ["ci"]
    assert robot.get("/api/v1/bots").status_code == 401
