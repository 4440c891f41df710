"""Who may do what over HTTP: every route with every role, limited tokens, and what a refusal leaves behind."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from console.permissions import PERMISSIONS, Role
from tests.api import Api, error_of, serving
from tests.support import Stores

#: Names for the parameters in paths; nothing of that name exists.
NOTHING = {"name": "N", "group": "G", "environment": "dev", "job_id": "01920000-0000-7000-8000-000000000000"}


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        yield running


def ask(client: httpx.Client, method: str, path: str) -> int:
    url = re.sub(r"{(\w+)}", lambda match: NOTHING.get(match[1], "N"), path)
    return client.request(method, url).status_code


@pytest.mark.timeout(180)  # a thousand requests
def test_every_route_is_open_to_exactly_the_roles_of_its_entry(api: Api) -> None:
    clients = {role: api.role(role) for role in Role}
    wrong = []
    for (method, path), permission in PERMISSIONS.items():
        for role, client in clients.items():
            status = ask(client, method, path)
            covered = permission is None or role.covers(permission.role)
            if (status == 403) == covered or status == 401 or status >= 500:
                wrong.append((method, path, role, status))
    assert wrong == []


def test_only_public_routes_answer_without_a_token(api: Api) -> None:
    stranger = api.as_token(None)
    for (method, path), permission in PERMISSIONS.items():
        # A page leads to where people sign in.
        assert (ask(stranger, method, path) in {401, 303}) == (permission is not None), path


def test_a_wrong_token_learns_nothing_and_leaves_no_audit(api: Api) -> None:
    removed = api.token("admin", name="removed")
    assert api.client.delete("/api/v1/tokens/removed").status_code == 204
    before = api.audit()
    tokens = [None, "x", "bk_short", "bk_" + "A" * 43, removed, removed[:-1], "bk_" + "é" * 43]
    answers = []
    for token in tokens:
        header = [] if token is None else [(b"Authorization", f"Bearer {token}".encode())]
        answers.append(api.as_token(None).get("/api/v1/bots/hello", headers=header))
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert {answer.headers["www-authenticate"] for answer in answers} == {"Bearer"}
    assert api.audit() == before


def test_the_token_is_stored_as_a_hash_only_and_shown_once(api: Api, stores: Stores) -> None:
    token = api.token("viewer", name="once")
    assert re.fullmatch(r"bk_[A-Za-z0-9_-]{43}", token)
    assert token not in api.client.get("/api/v1/tokens").text
    assert token[3:] not in api.client.get("/api/v1/audit").text
    with api.console.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM api_tokens").all()
    assert token[3:] not in repr(rows)


def test_a_viewer_who_sets_a_value_is_refused_and_the_refusal_is_audited(api: Api) -> None:
    viewer = api.as_token(api.token("viewer", name="eve"))
    answer = viewer.put("/api/v1/assets/SAP/PASSWORD/values/prod", content=b"canary-7731")
    assert answer.status_code == 403
    assert "needs the role dev" in error_of(answer)
    row = api.audit()[0]
    assert (row["actor"], row["action"], row["outcome"]) == ("eve", "asset.set", "refused")
    assert row["environment"] == "prod"
    assert row["address"] == "127.0.0.1"
    assert "SAP/PASSWORD" in row["object"]
    assert "canary-7731" not in str(api.audit())
    assert api.client.get("/api/v1/assets/SAP/PASSWORD").status_code == 404


def test_a_dev_may_set_a_value(api: Api) -> None:
    answer = api.role("dev").put("/api/v1/assets/SAP/PASSWORD/values/prod", content=b"a value")
    assert answer.status_code == 200


def test_a_limited_token_touches_its_environments_only(api: Api) -> None:
    api.add_bot()
    api.set_value("SAP.PASSWORD", b"first value", "prod")
    running, ended = api.run(environment="prod"), api.run(environment="prod")
    api.client.post(f"/api/v1/jobs/{ended['id']}/cancellation")
    limited = api.role("dev", "dev", "staging")
    value = "/api/v1/assets/SAP/PASSWORD/values/prod"
    refused = [
        limited.post("/api/v1/jobs", json={"bot": "hello", "environment": "prod"}),
        limited.put(value, content=b"second value"),
        limited.delete(value),
        limited.post(f"{value}/rollback", json={"number": 1}),
        limited.post(f"/api/v1/jobs/{running['id']}/cancellation"),
        limited.post(f"/api/v1/jobs/{ended['id']}/retry"),
        limited.delete("/api/v1/assets/SAP/PASSWORD"),
        limited.delete("/api/v1/bots/hello"),
    ]
    assert [answer.status_code for answer in refused] == [403] * len(refused)
    assert "limited to dev, staging" in error_of(refused[0])
    assert [row["outcome"] for row in api.audit()[: len(refused)]] == ["refused"] * len(refused)
    asset = api.client.get("/api/v1/assets/SAP/PASSWORD").json()
    assert [past["number"] for past in asset["history"]["prod"]] == [1]
    assert api.client.get(f"/api/v1/jobs/{running['id']}").json()["cancel_requested_at"] is None
    assert len(api.client.get("/api/v1/jobs").json()["items"]) == 2
    assert limited.post("/api/v1/jobs", json={"bot": "hello", "environment": "staging"}).status_code == 201


def test_a_limited_operator_cannot_drain_a_runner_of_another_environment(api: Api) -> None:
    api.add_runner("both", "dev", "prod")
    answer = api.role("operator", "dev").put("/api/v1/runners/both/drain")
    assert answer.status_code == 403
    assert api.client.get("/api/v1/runners", params={"limit": 500}).json()["items"][0]["state"] == "online"


def test_a_limited_admin_cannot_make_a_token_that_may_touch_more(api: Api) -> None:
    limited = api.role("admin", "dev")
    for environments in ([], ["prod"], ["dev", "prod"]):
        order = {"name": "wider", "role": "operator", "environments": environments}
        assert limited.post("/api/v1/tokens", json=order).status_code == 403
    order = {"name": "narrow", "role": "admin", "environments": ["dev"]}
    assert limited.post("/api/v1/tokens", json=order).status_code == 201
    assert limited.put("/api/v1/environments/prod", json={"unset": "refuse"}).status_code == 403


def test_a_path_that_only_resembles_a_route_is_nothing(api: Api) -> None:
    for path in ("/api/v1/bots/", "/api/v1/bots%0A", "/api/v1/jobs%0a", "//api/v1/bots", "/api/v1/BOTS"):
        answer = api.client.get(path)
        assert (path, answer.status_code) == (path, 404)
        error_of(answer)


def test_tokens_are_made_listed_and_removed(api: Api) -> None:
    order = {"name": "ci", "role": "operator", "environments": ["staging", "dev"]}
    made = api.client.post("/api/v1/tokens", json=order).json()
    assert (made["name"], made["role"], made["environments"]) == ("ci", "operator", ["dev", "staging"])
    again = api.client.post("/api/v1/tokens", json=order)
    assert again.status_code == 409
    assert "ci exists" in error_of(again)
    first = api.client.get("/api/v1/tokens", params={"limit": 1}).json()
    assert [row["name"] for row in first["items"]] == ["ci"]
    rest = api.client.get("/api/v1/tokens", params={"after": first["next"]}).json()
    assert ([row["name"] for row in rest["items"]], rest["next"]) == (["root"], None)
    user = api.as_token(made["token"])
    assert user.get("/api/v1/bots").status_code == 200
    assert api.client.delete("/api/v1/tokens/ci").status_code == 204
    assert user.get("/api/v1/bots").status_code == 401
    assert api.client.delete("/api/v1/tokens/ci").status_code == 404
    assert [row["action"] for row in api.audit()[:2]] == ["token.removed", "token.created"]


IMPOSSIBLE: list[tuple[dict[str, object], str]] = [
    ({"name": "a b", "role": "viewer"}, "token's name"),
    ({"name": "", "role": "viewer"}, "token's name"),
    ({"name": "x", "role": "root"}, "no role"),
    ({"name": "x", "role": "viewer", "environments": ["qa"]}, "no environment"),
    ({"name": "x", "role": "viewer", "envs": ["dev"]}, "envs: there is no such field"),
    ({"role": "viewer"}, "name: it is required"),
]


def test_an_impossible_token_is_refused_with_the_reason(api: Api) -> None:
    for order, words in IMPOSSIBLE:
        answer = api.client.post("/api/v1/tokens", json=order)
        assert answer.status_code == 422
        assert words in error_of(answer)
