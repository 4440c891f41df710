"""What the tests that walk the table of permissions ask for: one thing of every kind, and the forms that touch it."""

import json
import re
from collections.abc import Mapping
from typing import Any

import httpx

from console.page_permissions import PAGES
from console.permissions import PERMISSIONS, Permission, Role
from tests.api import Api
from tests.flow_api import FlowApi
from vault.names import ENVIRONMENTS

WORKFLOW = {"steps": {"release": {"approval": {"question": "Book?"}}}}
QUEUE = {"items": [{"bot": "hello"}]}
SQL = {"connection": "postgresql://db.corp.example/x", "query": "SELECT 1"}

#: The role below each one that changes something.
BELOW = {Role.OPERATOR: Role.VIEWER, Role.DEV: Role.OPERATOR, Role.ADMIN: Role.DEV}

#: What a form sends, by its fields.
Sent = dict[str, str]


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
    post("tokens", {"name": f"token-{environment}", "role": "admin", "environments": [environment]})
    api.client.put(f"/api/v1/calendars/{environment}", json={"days": ["2026-12-25"]})
    api.add_runner(environment, environment)
    return {
        "name": environment,
        "environment": environment,
        "group": "G",
        "kind": "environment",
        "bot": "hello",
        "fan_out_id": fan_out["id"],
        "step": "release",
        "job_id": api.run(environment=environment)["id"],
        "run_id": flows.start("workflow", environment),
        "item_id": str(post("work-items", {"tray": "box", "data": {}, "environment": environment})["id"]),
    }


def lower(role: Role, *but: str) -> dict[str, str]:
    """What narrows a role everywhere but in these environments."""
    return {environment: role for environment in ENVIRONMENTS if environment not in but}


#: Clients by role and environment.
Clients = dict[tuple[Role, str], httpx.Client]


def narrowed(api: Api) -> tuple[Clients, Clients]:
    """For each role and environment who may do less there, and who may do less everywhere else."""

    def client(role: Role, *where: str) -> httpx.Client:
        order = {
            "name": f"{role}-without-{'-'.join(where)}",
            "role": role,
            "narrowed": dict.fromkeys(where, BELOW[role]),
        }
        return api.as_token(api.client.post("/api/v1/tokens", json=order).json()["token"])

    there = {(role, each): client(role, each) for role in BELOW for each in ENVIRONMENTS}
    elsewhere = {
        (role, each): client(role, *(other for other in ENVIRONMENTS if other != each))
        for role in BELOW
        for each in ENVIRONMENTS
    }
    return there, elsewhere


def definition(environment: str, bot: str = "hello") -> dict[str, Any]:
    """A trigger of an environment."""
    return {"bot": bot, "webhook": {"style": "github"}, "environment": environment}


def writes(*, pages: bool) -> list[tuple[str, str, Permission]]:
    """The routes that change something and ask for a caller, of pages or of the HTTP API; what removes comes last."""
    found = [
        (method, path, permission)
        for (method, path), permission in PERMISSIONS.items()
        if permission is not None and method != "GET" and ((method, path) in PAGES) == pages
    ]
    return sorted(found, key=lambda route: "removal" in route[1]) if pages else found


def address(path: str, things: Mapping[str, str]) -> str:
    """A route's path with the things of an environment in it."""
    if "/tokens/" in path:
        things = {**things, "name": f"token-{things['name']}"}
    if "{group}/{name}" in path:
        things = {**things, "name": "N"}
    return re.sub(r"{(\w+)(?::path)?}", lambda found: things.get(found[1], "unknown"), path)


def form(action: str, *, environment: str, bot: str = "hello", new: str = "") -> Sent:
    """What the form of a page sends that is about an environment; `new` is the name of what it makes."""
    made = new or f"form-{environment}"
    text = {"view": "text", "kind": "webhook", "name": made, "text": json.dumps(definition(environment, bot))}
    flow: dict[str, Any] = {"items": [{"bot": bot}]} if action.startswith("queue") else WORKFLOW
    drawn = {"definition": json.dumps({**flow, "environment": environment}), "name": made}
    source = {"kind": "sql", "definition": SQL, "environments": [environment]}
    others = {f"role_{other}": "viewer" for other in ENVIRONMENTS if other != environment}
    at_once = {"environment": environment, "kind": "environment", "target": "", "at_once": "3"}
    forms: dict[str, Sent] = {
        "asset.set": {"group": "G", "name": f"N_{made}".upper().replace("-", "_"), f"value-{environment}": "new value"},
        "asset.described": {"description": "what it is for"},
        "asset.rollback": {"number": "1"},
        "job.enqueued": {"environment": environment, "parameters": "{}"},
        "run.started": {"environment": environment},
        "run.answered": {"decision": "allow"},
        "item.added": {"tray": "box", "data": "{}", "environment": environment},
        "queue.added": drawn,
        "workflow.added": drawn,
        "workflow.listed": {**drawn, "change": "draw"},
        "trigger.saved": text,
        "trigger.run": {"environment": environment, "once": made},
        "source.added": {**text, "kind": "sql", "text": json.dumps(source)},
        "source.changed": {"kind": "sql", "view": "text", "text": json.dumps(source)},
        "source.check_requested": {"environment": environment},
        "source.fan_out": {"bot": bot, "environment": environment},
        "calendar.changed": {"name": made, "days": "2026-12-25"},
        "environment.policy": {"unset": "warn", "isolation": "any"},
        "workspace.limits": {"memory": "1GB"},
        "workspace.connections": {"deny": "evil.example"},
        "workspace.added": {"name": made},
        "concurrency.set": at_once,
        "concurrency.removed": at_once,
        "retention.decided": {"environment": environment, "age": "30d"},
        "token.created": {"name": f"{made}-token", "role": "admin", **others},
        "user.added": {"name": made, "role": "admin", **others},
        "user.changed": {"role": "viewer"},
    }
    return dict(forms.get(action, {}))
