"""A system on which bots of other worlds run with the packages that their worlds published, from the registry.

Environments are built by the runner itself, by content and once for a session, from uv's own cache. Without the
registry the tests are skipped on a laptop, and fail in CI.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import uv
from sqlalchemy import select

from runner.flow_models import WorkItem, WorkItemFile
from tests.services import Services, services_required
from tests.support import ROOT, wait_until
from tests.system import System, new_stores, running
from vault.models import AuditEvent

BOTS = ROOT / "tests/compat/bots"

#: Bots with their dependencies; the newest client of Roboto, and two older lines.
ROBOTO = {"new": "roboto", "middle": "roboto>=0.44,<0.45", "old": "roboto>=0.33,<0.34"}

#: Values of the assets that the bots ask for; each is looked for in what nobody may see.
API_KEY, PASSWORD, OTHERS = "sk-1234567890abcdef", "pa55-of-the-shop", "another-bots-own-value"

WITHIN = 120.0


def cache() -> str:
    """Where uv keeps what it fetched, for whoever runs the tests."""
    return subprocess.run([uv.find_uv_bin(), "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()


def source(name: str) -> str:
    """A bot of this folder, as it is."""
    return (BOTS / name).read_text()


def robot_files() -> dict[str, str]:
    """The robot of two tasks, as it is."""
    return {path.name: path.read_text() for path in (BOTS / "robot").iterdir() if path.is_file()}


class Worlds:
    """The system, with bots that were started together; each test looks at its own job."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.jobs: dict[str, str] = {}

    def start(self, name: str, files: Mapping[str, str], *, toml: str = "", **order: Any) -> None:  # noqa: ANN401
        """Register a bot and enqueue a job of it."""
        main = files.get("main.py", "")
        rest = {path: text for path, text in files.items() if path != "main.py"}
        self.system.add_bot(name, main, toml=toml, **rest)
        self.jobs[name] = self.system.enqueue(name, **order)

    def done(self, name: str) -> dict[str, Any]:
        """A job at its end."""
        return self.system.wait_for(self.jobs[name], timeout=WITHIN)

    def told(self, name: str) -> dict[str, Any]:
        """The JSON that a bot printed last."""
        job = self.done(name)
        lines = self.system.log(job["id"], "stdout")
        assert job["state"] == "succeeded", (job["reason"], job["detail"], lines[-30:])
        return dict(json.loads(lines[-1]))

    def refusals(self, name: str) -> list[str]:
        """What the audit says a job asked for in vain."""
        with self.system.edit() as session:
            rows = session.scalars(select(AuditEvent).where(AuditEvent.actor == f"job {self.jobs[name]}")).all()
            return [row.object for row in rows if row.action == "endpoint.refused"]

    def items(self, tray: str) -> list[tuple[str, Any]]:
        """State and data of the items of a tray, the oldest first."""
        with self.system.edit() as session:
            rows = session.scalars(select(WorkItem).where(WorkItem.tray == tray).order_by(WorkItem.id)).all()
            return [(row.state, row.data["is"]) for row in rows]

    def files(self, tray: str) -> list[tuple[str, int]]:
        """Names and sizes of the files of a tray's items."""
        with self.system.edit() as session:
            found = session.execute(
                select(WorkItemFile.name, WorkItemFile.size)
                .join(WorkItem, WorkItem.id == WorkItemFile.item_id)
                .where(WorkItem.tray == tray)
            ).all()
            return [(row.name, row.size) for row in found]


@pytest.fixture(scope="session")
def worlds(services: Services) -> Iterator[Worlds]:
    """The system with everything started."""
    if not _registry_answers():
        if services_required():
            pytest.fail("The package registry does not answer, and CI needs it.")
        pytest.skip("The package registry does not answer.")
    env = {"UV_OFFLINE": "false", "UV_CACHE_DIR": cache(), "UV_SYSTEM_CERTS": "true", "UV_FIND_LINKS": ""}

    def no_server() -> Any:  # noqa: ANN401 - never called for embedded stores
        raise AssertionError

    with new_stores(services, no_server, "embedded") as (stores, _broker), running(stores, env=env) as system:
        kept = {process.identity for process in system.processes.values()}
        services.kept.update(kept)
        made = Worlds(system)
        _fill(system)
        _start_all(made)
        yield made
        services.kept.difference_update(kept)


def _registry_answers() -> bool:
    env = {**os.environ, "UV_SYSTEM_CERTS": "true"}
    command = [uv.find_uv_bin(), "pip", "compile", "-", "--no-deps", "--quiet", "--no-header"]
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(command, input=b"robocorp-vault\n", env=env, capture_output=True, check=False, timeout=60)
        return done.returncode == 0
    return False


def _fill(system: System) -> None:
    system.set_value("MYAPP.API_KEY", "key-of-my-app")
    system.set_value("GLOBAL.PASSWORD", "password-of-all")
    system.set_value("GLOBAL.SAP_USER", "sap-user")
    system.set_value("GLOBAL.SAP_PASSWORD", "sap-password")
    system.set_value("GLOBAL.MY_API_KEY", API_KEY)
    system.set_value("SHOP.USERNAME", "shop-user")
    system.set_value("SHOP.PASSWORD", PASSWORD)
    system.set_value("GLOBAL.SESSIONS", json.dumps({"token": "none-yet", "Kept": "as it is"}))
    system.add_bot("other", "print('nothing')")
    system.set_value("GLOBAL.OTHERS_OWN", OTHERS, bot="other")


def _start_all(worlds: Worlds) -> None:
    tell = "\nimport hashlib\nprint(hashlib.sha256({}.encode()).hexdigest())\n"
    parameters = {"api_key": "roboto-secret://my-api-key", "region": "eu"}
    worlds.start("klango", {"main.py": source("klango.py") + tell.format("(api_key + password)")})
    shows = "def login_to_sap(user, password):\n    import hashlib\n    "
    shows += "print(hashlib.sha256((user + password).encode()).hexdigest())\n\n"
    worlds.start("heptora", {"main.py": shows + source("heptora.py")})
    worlds.start("heptora-imported", {"main.py": "import heptora\n" + shows + source("heptora.py")})
    for line, requirement in ROBOTO.items():
        worlds.start(
            f"roboto-{line}",
            {"main.py": source("roboto_old.py"), "requirements.txt": f"{requirement}\n"},
            parameters=parameters,
        )
    newest = {"requirements.txt": "roboto\n"}
    worlds.start("roboto-direct", {"main.py": source("roboto_direct.py") + tell.format("api_key"), **newest})
    worlds.start(
        "roboto-parameter",
        {"main.py": source("roboto_parameter.py") + tell.format("api_key"), **newest},
        parameters={"api_key": "roboto-secret://my-api-key"},
    )
    worlds.start(
        "roboto-actions",
        {"main.py": source("roboto_actions.py"), **newest},
        toml='writes = ["GLOBAL.SESSION_TOKEN", "GLOBAL.MADE_HERE"]\n',
        parameters=parameters,
    )
    worlds.start(
        "producer",
        robot_files(),
        toml='[robot]\ntask = "Producer"\noutput = "orders"\n',
        parameters={"numbers": [1, 2, 3]},
    )
    older = {"main.py": source("rpaframework.py"), "requirements.txt": "rpaframework\n"}
    worlds.start("rpa", older, parameters={"day": "Monday"})


def eventually(reached: Any, what: str) -> None:  # noqa: ANN401 - a condition
    """Wait with the patience of this folder."""
    wait_until(reached, WITHIN, what)
