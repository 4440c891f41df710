"""The table of permissions, walked: every route that changes something, each role narrowed in each environment."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from console.page_permissions import PAGES
from console.permissions import PERMISSIONS, REACH, Permission, Reach, Role
from tests.api import Api, serving, zipped
from tests.flow_api import FlowApi
from tests.support import Stores
from vault.names import ENVIRONMENTS

WORKFLOW = {"steps": {"release": {"approval": {"question": "Book?"}}}}
QUEUE = {"items": [{"bot": "hello"}]}
SQL = {"connection": "postgresql://db.corp.example/x", "query": "SELECT 1"}

#: The role below each one that changes something.
BELOW = {Role.OPERATOR: Role.VIEWER, Role.DEV: Role.OPERATOR, Role.ADMIN: Role.DEV}


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        yield running


def things_in(api: Api, environment: str) -> dict[str, str]:
    """One thing of every kind in an environment; names and ids by the words of paths."""

    def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = api.client.post(f"/api/v1/{path}", json=body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    flows, named = FlowApi(api), {"name": environment}
    api.set_value("G.N", b"a value of G.N", environment)
    flows.save("queue", environment, QUEUE | {"environment": environment})
    flows.save("workflow", environment, WORKFLOW | {"environment": environment})
    post("sources", named | {"kind": "sql", "definition": SQL, "environments": [environment]})
    fan_out = post(f"sources/{environment}/fan-outs", {"bot": "hello", "environment": environment})
    post("triggers", named | {"definition": definition(environment)})
    post("users", named | {"role": "admin", "narrowed": lower(Role.VIEWER, environment)})
    api.add_runner(environment, environment)
    return {
        "name": environment,
        "environment": environment,
        "group": "G",
        "kind": "environment",
        "fan_out_id": fan_out["id"],
        "step": "release",
        "job_id": api.run(environment=environment)["id"],
        "run_id": flows.start("workflow", environment),
        "item_id": str(post("work-items", {"tray": "box", "data": {}, "environment": environment})["id"]),
    }


def lower(role: Role, *but: str) -> dict[str, str]:
    """What narrows a role everywhere but in these environments."""
    return {environment: role for environment in ENVIRONMENTS if environment not in but}


def definition(environment: str) -> dict[str, Any]:
    return {"bot": "hello", "webhook": {"style": "github"}, "environment": environment}


def order_of(action: str, environment: str) -> dict[str, Any]:
    """The body or query of a request that concerns an environment, where its path does not say which."""
    bodies: dict[str, Any] = {
        "bot.added": {"params": {"name": "hello"}, "content": zipped("print('new')\n")},
        "asset.declared": {"params": {"bot": "hello"}},
        "asset.set": {"content": b"another value"},
        "asset.rollback": {"json": {"number": 1}},
        "job.enqueued": {"json": {"bot": "hello", "environment": environment}},
        "queue.added": {"params": {"name": f"new-{environment}"}, "json": QUEUE | {"environment": environment}},
        "workflow.added": {"params": {"name": f"new-{environment}"}, "json": WORKFLOW | {"environment": environment}},
        "run.started": {"json": {}},
        "run.restarted": {"json": {}},
        "run.answered": {"json": {"decision": "allow"}},
        "item.added": {"json": {"tray": "box", "data": {}, "environment": environment}},
        "trigger.saved": {"json": {"name": f"new-{environment}", "definition": definition(environment)}},
        "trigger.key_set": {"json": {"key": "0123456789abcdef"}},
        "trigger.run": {"json": {}},
        "source.added": {
            "json": {"name": f"new-{environment}", "kind": "sql", "definition": SQL, "environments": [environment]}
        },
        "source.changed": {"json": {"kind": "sql", "definition": SQL, "environments": [environment]}},
        "source.check_requested": {"json": {"environment": environment}},
        "source.fan_out": {"json": {"bot": "hello", "environment": environment}},
        "concurrency.set": {"json": {"at_once": 3}},
        "environment.policy": {"json": {"unset": "warn"}},
        "retention.records": {"json": {"age": "30d"}},
        "retention.decided": {"json": {"environment": environment, "age": "30d"}},
        "token.created": {"json": {"name": f"new-{environment}", "role": "admin", "environments": [environment]}},
        "user.added": {
            "json": {
                "name": f"new-{environment}",
                "role": "admin",
                "narrowed": {other: "viewer" for other in ENVIRONMENTS if other != environment},
            }
        },
        "user.changed": {"json": {"role": "viewer"}},
        "user.password_set": {"json": {"password": "four quiet words here"}},
        "calendar.changed": {"json": {"days": ["2026-12-25"]}},
        "workspace.limits": {"json": {"memory": "1GB"}},
        "workspace.connections": {"json": {"deny": ["evil.example"]}},
        "workspace.added": {"json": {"name": f"new-{environment}"}},
        "audit.verified": {"json": {"anchors": []}},
    }
    return dict(bodies.get(action, {}))


def writes() -> list[tuple[str, str, Permission]]:
    """The routes of the HTTP API that change something and ask for a caller."""
    return [
        (method, path, permission)
        for (method, path), permission in PERMISSIONS.items()
        if permission is not None and method != "GET" and (method, path) not in PAGES
    ]


def test_in_an_environment_where_a_role_is_narrowed_nothing_of_it_can_be_touched(api: Api) -> None:
    api.add_bot()
    things = {environment: things_in(api, environment) for environment in ENVIRONMENTS}

    def client(role: Role, *where: str) -> httpx.Client:
        narrowed = dict.fromkeys(where, BELOW[role])
        order = {"name": f"{role}-without-{'-'.join(where)}", "role": role, "narrowed": narrowed}
        return api.as_token(api.client.post("/api/v1/tokens", json=order).json()["token"])

    narrow = {(role, environment): client(role, environment) for role in BELOW for environment in ENVIRONMENTS}
    others = {
        (role, environment): client(role, *(other for other in ENVIRONMENTS if other != environment))
        for role in BELOW
        for environment in ENVIRONMENTS
    }

    def status(asker: httpx.Client, method: str, path: str, action: str, environment: str) -> int:
        url = re.sub(r"{(\w+)}", lambda found: things[environment].get(found[1], "N"), path)
        url = url.replace("/assets/G/" + environment, "/assets/G/N")
        given = order_of(action, environment)
        url = url.replace("/records/environment", "/records/runs")
        if path.endswith("/batch"):
            given = {"json": {"jobs": [given["json"]]}}
        return asker.request(method, url, **given).status_code

    wrong = []
    for environment in ENVIRONMENTS:
        for method, path, permission in writes():
            reach = REACH.get(permission.action, Reach.NONE)
            found = status(narrow[permission.role, environment], method, path, permission.action, environment)
            if (found == 403) != (reach is not Reach.NONE) or found in {401, 422} or found >= 500:
                wrong.append((method, path, environment, "narrowed there", found))
    assert not wrong, "\n".join(map(str, wrong))
    for environment in ENVIRONMENTS:
        for method, path, permission in writes():
            reach = REACH.get(permission.action, Reach.NONE)
            found = status(others[permission.role, environment], method, path, permission.action, environment)
            if (found == 403) != (reach is Reach.EVERY) or found in {401, 422} or found >= 500:
                wrong.append((method, path, environment, "narrowed elsewhere", found))
    assert not wrong, "\n".join(map(str, wrong))
