"""Data sources over HTTP: definitions hold references only, and who may change one may lead a credential elsewhere."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api import Api, error_of, serving
from tests.support import Stores

CONNECTION = "postgresql://app:{{ASSET.DB.PASSWORD}}@db.corp.example/orders"


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        running.set_value("DB.PASSWORD", b"a value", "dev")
        yield running


def order(name: str = "orders", **changes: object) -> dict[str, Any]:
    given = changes.pop("definition", {})
    assert isinstance(given, dict)
    definition = {"connection": CONNECTION, "query": "SELECT 1", **given}
    return {"name": name, "kind": "sql", "definition": definition, **changes}


def test_a_source_is_saved_shown_listed_changed_and_removed(api: Api) -> None:
    added = api.client.post("/api/v1/sources", json=order())
    assert (added.status_code, added.json()["definition"]["connection"]) == (201, CONNECTION)
    assert added.json()["environments"] == ["dev", "staging", "prod"]
    assert api.client.get("/api/v1/sources/orders").json() == added.json()
    assert [item["name"] for item in api.client.get("/api/v1/sources").json()["items"]] == ["orders"]
    text = {key: value for key, value in order(definition={"query": "SELECT 2"}).items() if key != "name"}
    changed = api.client.put("/api/v1/sources/orders", json={**text, "environments": ["dev"], "bots": ["report"]})
    assert (changed.status_code, changed.json()["definition"]["query"]) == (200, "SELECT 2")
    assert (changed.json()["environments"], changed.json()["bots"]) == (["dev"], ["report"])
    assert api.client.delete("/api/v1/sources/orders").status_code == 204
    assert api.client.get("/api/v1/sources/orders").status_code == 404
    actions = [row["action"] for row in api.client.get("/api/v1/audit").json()["items"]]
    assert [each for each in actions if each.startswith("source.")] == [
        "source.removed",
        "source.changed",
        "source.added",
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"definition": {"connection": "postgresql://a:{{ASSET.DB.NOBODY}}@h/d"}}, "ASSET.DB.NOBODY"),
        ({"definition": {"connection": "{{ASSET.DB.PASSWORD}}"}}, "in its parts"),
        ({"definition": {"connection": "{{ASSET.DB}}"}}, "not a reference"),
        ({"definition": {"connection": "{{PASSWORD}}"}}, "double braces"),
        ({"definition": {"connection": "postgresql://a:{{ASSET.DB.PASSWORD}@h/d"}}, "reference"),
        ({"definition": {"query": "SELECT '{{ASSET.DB.PASSWORD}}'"}}, "Bind it"),
        ({"definition": {"{{ASSET.DB.PASSWORD}}": "x"}}, "key"),
        ({"definition": {"parameters": {"{{a}}": "x"}}}, "key"),
        ({"definition": {"quer": "x"}}, "did you mean query"),
        ({"definition": {"timeout": "0s"}}, "timeout"),
        ({"kind": "ftp"}, "no kind"),
        ({"environments": ["production"]}, "no environment"),
        ({"environments": []}, "at least one"),
        ({"name": "a b"}, "not a name"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_field(api: Api, changes: dict[str, Any], words: str) -> None:
    answer = api.client.post("/api/v1/sources", json=order(**changes))
    assert answer.status_code == 422, answer.text
    assert words in error_of(answer)


def test_a_key_given_twice_is_refused(api: Api) -> None:
    text = '{"name": "x", "kind": "sql", "definition": {"connection": "a", "query": "b", "query": "c"}}'
    answer = api.client.post("/api/v1/sources", content=text, headers={"Content-Type": "application/json"})
    assert (answer.status_code, "'query' is given twice" in error_of(answer)) == (422, True)


def test_a_name_is_given_once(api: Api) -> None:
    assert api.client.post("/api/v1/sources", json=order()).status_code == 201
    assert api.client.post("/api/v1/sources", json=order()).status_code == 409


def test_who_may_not_touch_an_environment_cannot_change_where_its_credentials_go(api: Api) -> None:
    limited = api.role("dev", "dev")
    assert limited.post("/api/v1/sources", json=order()).status_code == 403
    assert limited.post("/api/v1/sources", json=order(environments=["dev"])).status_code == 201
    assert api.client.post("/api/v1/sources", json=order("all")).status_code == 201
    text = {key: value for key, value in order(environments=["dev"]).items() if key != "name"}
    assert limited.put("/api/v1/sources/all", json=text).status_code == 403
    assert limited.delete("/api/v1/sources/all").status_code == 403
    assert limited.post("/api/v1/sources/all/checks", json={"environment": "prod"}).status_code == 403


def test_a_check_without_a_runner_says_so_at_once(api: Api) -> None:
    assert api.client.post("/api/v1/sources", json=order(environments=["dev"])).status_code == 201
    found = api.client.post("/api/v1/sources/orders/checks", json={"environment": "dev"})
    assert (found.status_code, found.json()["state"]) == (201, "failed")
    assert "botkeep runner --environment dev" in found.json()["sentence"]
    again = api.client.get(f"/api/v1/sources/orders/checks/{found.json()['id']}")
    assert again.json() == found.json()
    assert api.client.post("/api/v1/sources/orders/checks", json={"environment": "prod"}).status_code == 409
    assert api.client.post("/api/v1/sources/other/checks", json={"environment": "dev"}).status_code == 404


def test_the_policy_for_connections_is_shown_and_changed_list_by_list(api: Api) -> None:
    path = "/api/v1/workspace/connections"
    assert api.client.get(path).json() == {"allow": ["*"], "deny": [], "paths": []}
    changed = api.client.patch(path, json={"allow": ["*.Corp.example", "10.0.0.1/8"], "paths": ["/srv/data/"]})
    assert changed.json() == {"allow": ["*.corp.example", "10.0.0.0/8"], "deny": [], "paths": ["/srv/data"]}
    assert api.client.patch(path, json={"allow": None}).json()["allow"] == ["*"]
    wrongs: list[dict[str, list[str]]] = [
        {"allow": ["a b"]},
        {"paths": ["data"]},
        {"paths": ["/../b"]},
        {"hosts": []},
        {},
    ]
    for wrong in wrongs:
        assert api.client.patch(path, json=wrong).status_code == 422
    assert api.role("dev").patch(path, json={"allow": []}).status_code == 403
