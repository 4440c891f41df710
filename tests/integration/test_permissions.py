"""The table of permissions, walked: every route that changes something, each role narrowed in each environment."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from console.permissions import REACH, Reach
from tests.api import Api, serving, zipped
from tests.permitted import QUEUE, SQL, WORKFLOW, address, definition, narrowed, things_in, writes
from tests.support import Stores
from vault.names import ENVIRONMENTS


@pytest.fixture
def api(stores: Stores, tmp_path: Path) -> Iterator[Api]:
    with serving(stores, tmp_path) as running:
        yield running


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


@pytest.mark.timeout(180)  # hundreds of requests
def test_in_an_environment_where_a_role_is_narrowed_nothing_of_it_can_be_touched(api: Api) -> None:
    api.add_bot()
    things = {environment: things_in(api, environment) for environment in ENVIRONMENTS}

    narrow, others = narrowed(api)

    def status(asker: httpx.Client, method: str, path: str, action: str, environment: str) -> int:
        url = address(path, things[environment])
        given = order_of(action, environment)
        url = url.replace("/records/environment", "/records/runs")
        if path.endswith("/batch"):
            given = {"json": {"jobs": [given["json"]]}}
        return asker.request(method, url, **given).status_code

    wrong = []
    for environment in ENVIRONMENTS:
        for method, path, permission in writes(pages=False):
            reach = REACH.get(permission.action, Reach.NONE)
            found = status(narrow[permission.role, environment], method, path, permission.action, environment)
            if (found == 403) != (reach is not Reach.NONE) or found in {401, 422} or found >= 500:
                wrong.append((method, path, environment, "narrowed there", found))
    assert not wrong, "\n".join(map(str, wrong))
    for environment in ENVIRONMENTS:
        for method, path, permission in writes(pages=False):
            reach = REACH.get(permission.action, Reach.NONE)
            found = status(others[permission.role, environment], method, path, permission.action, environment)
            if (found == 403) != (reach is Reach.EVERY) or found in {401, 422} or found >= 500:
                wrong.append((method, path, environment, "narrowed elsewhere", found))
    assert not wrong, "\n".join(map(str, wrong))
